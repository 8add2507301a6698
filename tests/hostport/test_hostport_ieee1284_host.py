"""Both ends of the cable together: a program's octets arrive in every mode, whatever the machine's room."""

from __future__ import annotations

import pytest
from hostport_memory import DEVICE_ID, MemoryPort
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.hostport.ieee1284 import Peripheral, Phase
from fauxfax.hostport.ieee1284host import ADDRESS, COMPATIBILITY, Host

NIBBLE, BYTE, ECP, ECP_RUNS, EPP = 0x00, 0x01, 0x10, 0x30, 0x40
FORWARD = {"compatibility": COMPATIBILITY, "ECP": ECP, "ECP with runs": ECP_RUNS, "EPP": EPP}
REVERSE = {"nibble": NIBBLE, "byte": BYTE, "ECP": ECP, "ECP with runs": ECP_RUNS, "EPP": EPP}
forward = pytest.mark.parametrize("mode", FORWARD.values(), ids=FORWARD.keys())
reverse = pytest.mark.parametrize("mode", REVERSE.values(), ids=REVERSE.keys())


@forward
@given(data=st.binary(max_size=50), rooms=st.lists(st.integers(0, 5), max_size=20))
def test_octets_arrive_in_order_however_little_room_there_is(mode: int, data: bytes, rooms: list[int]) -> None:
    port = MemoryPort(space=0)
    cable = Peripheral(port)
    host = Host(cable)
    assert host.negotiate(mode)
    rest = data
    for room in (*rooms, 100):
        port.space = room
        rest = rest[host.write(rest) :]
    assert rest == b""
    assert host.negotiate(COMPATIBILITY)
    assert (bytes(port.heard), cable.phase, port.happened) == (data, Phase.FORWARD_IDLE, [])


@reverse
@given(answers=st.lists(st.binary(max_size=300), max_size=5), limit=st.integers(1, 200))
def test_answers_are_read_whole_though_they_come_late(mode: int, answers: list[bytes], limit: int) -> None:
    port = MemoryPort()
    cable = Peripheral(port)
    host = Host(cable)
    assert host.negotiate(mode)
    heard = b""
    for answer in answers:
        port.said += answer
        while piece := host.read(limit):
            assert len(piece) <= limit
            heard += piece
    assert heard == b"".join(answers)
    assert host.negotiate(COMPATIBILITY)
    assert (cable.phase, port.happened) == (Phase.FORWARD_IDLE, [])


def test_a_run_is_read_whole_an_octet_at_a_time() -> None:
    port = MemoryPort()
    port.said += b"aaaab"
    host = Host(Peripheral(port))
    assert host.negotiate(ECP_RUNS)
    assert [host.read(1) for _ in range(6)] == [b"a", b"a", b"a", b"a", b"b", b""]


@pytest.mark.parametrize("mode", [ECP, ECP_RUNS, EPP])
def test_both_directions_take_turns_in_one_mode(mode: int) -> None:
    port = MemoryPort(echo=True)
    host = Host(Peripheral(port))
    assert host.negotiate(mode)
    for word in (b"one", b"2" * 200, b"three"):
        assert host.write(word) == len(word)
        assert host.read(1000) == word


@pytest.mark.parametrize("mode", [NIBBLE | 4, BYTE | 4, ECP | 4, ECP_RUNS | 4])
def test_the_device_id_is_read_in_every_mode_that_has_it(mode: int) -> None:
    host = Host(Peripheral(MemoryPort()))
    assert host.negotiate(mode)
    reply = host.read(1000)
    assert (int.from_bytes(reply[:2], "big"), reply[2:].decode()) == (len(reply), DEVICE_ID)


def test_a_mode_the_machine_refuses_leaves_the_cable_as_it_was() -> None:
    port = MemoryPort()
    host = Host(Peripheral(port))
    assert not host.negotiate(0x08)
    assert host.mode == COMPATIBILITY
    assert host.write(b"x") == 1


def test_a_write_after_an_answer_goes_back_to_compatibility_mode_by_itself() -> None:
    port = MemoryPort(echo=True)
    host = Host(Peripheral(port))
    assert host.write(b"question") == 8
    assert host.read(100) == b""
    assert host.negotiate(NIBBLE)
    assert host.read(100) == b"question"
    assert host.write(b"next") == 4
    assert host.mode == COMPATIBILITY


def test_an_epp_address_is_kept() -> None:
    port = MemoryPort()
    cable = Peripheral(port)
    host = Host(cable)
    assert host.negotiate(EPP)
    host.mode = EPP | ADDRESS
    assert host.write(b"\x2a") == 1
    assert host.read(1) == b"\x2a"
    assert (cable.epp.address, port.heard) == (0x2A, b"")


MODES = (NIBBLE, BYTE, ECP, ECP_RUNS, EPP, COMPATIBILITY, 0x3F, ADDRESS | EPP)


@pytest.mark.parametrize("agreed", [NIBBLE, BYTE, ECP, ECP_RUNS, EPP, COMPATIBILITY])
@pytest.mark.parametrize("said", MODES)
def test_a_program_that_names_another_mode_than_the_cable_is_in_gets_an_end(agreed: int, said: int) -> None:
    """PPSETMODE takes any number: lines which then move for ever must not hold the machine."""
    cable = CountingCable(MemoryPort(echo=True))
    host = Host(cable)
    assert host.negotiate(agreed)
    host.write(b"hello")
    host.mode = said
    host.read(5)
    host.write(b"hello")
    host.read(5)
    host.negotiate(COMPATIBILITY)
    assert host.mode == COMPATIBILITY


class CountingCable(Peripheral):
    """Counts how often the control lines move; an octet never needs ten moves."""

    moves = 0

    def write_control(self, value: int) -> None:
        self.moves += 1
        assert self.moves < 200, "moves for ever"
        super().write_control(value)
