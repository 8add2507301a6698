"""ECP and EPP, driven as a PC's driver does it in software."""

from __future__ import annotations

import itertools

import pytest
from hostport_memory import DEVICE_ID, MemoryPort
from hostport_pc import AUTO_FD, INIT, SELECT_IN, EcpPc, EppPc
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.hostport.ieee1284 import Phase


def decoded(heard: list[tuple[bool, int]]) -> bytes:
    """What a host makes of data and run lengths."""
    data, repeat = bytearray(), 1
    for is_data, octet in heard:
        if is_data:
            data += bytes((octet,)) * repeat
            repeat = 1
        else:
            assert octet < 0x80, "the machine has one channel"
            repeat = octet + 1
    return bytes(data)


@given(st.binary(max_size=100), st.binary(max_size=100), st.booleans())
def test_ecp_carries_octets_both_ways(out: bytes, back: bytes, runs: bool) -> None:
    port = MemoryPort()
    pc = EcpPc(port)
    pc.begin(runs=runs)
    assert all(pc.send(octet) for octet in out)
    port.said += back
    pc.reverse()
    assert decoded(pc.receive()) == back
    pc.forward()
    assert pc.send(0x41)
    pc.terminate()
    assert pc.put(b"B") == 1
    assert bytes(port.heard) == out + b"AB"


def test_a_run_is_one_count_and_one_octet() -> None:
    port = MemoryPort()
    pc = EcpPc(port)
    pc.begin(runs=True)
    assert pc.send(127, command=True)
    assert pc.send(0x55)
    assert pc.send(0x66)
    port.said += b"\0" * 130 + b"ab"
    pc.reverse()
    assert pc.receive() == [(False, 127), (True, 0), (True, 0), (True, 0), (True, ord("a")), (True, ord("b"))]
    assert bytes(port.heard) == b"\x55" * 128 + b"\x66"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 300)), max_size=20))
def test_answers_with_runs_come_back_as_they_were(pieces: list[tuple[int, int]]) -> None:
    port = MemoryPort()
    port.said += (answer := b"".join(bytes((octet,)) * count for octet, count in pieces))
    pc = EcpPc(port)
    pc.begin(runs=True)
    pc.reverse()
    heard = pc.receive()
    assert decoded(heard) == answer
    assert len(heard) <= len(answer)


def test_without_run_lengths_a_count_means_nothing_and_none_is_sent() -> None:
    port = MemoryPort()
    port.said += b"\0" * 50
    pc = EcpPc(port)
    pc.begin()
    pc.send(9, command=True)
    pc.send(0x41)
    pc.reverse()
    assert pc.receive() == [(True, 0)] * 50
    assert bytes(port.heard) == b"A"


def test_a_channel_address_is_kept_and_is_no_data() -> None:
    port = MemoryPort()
    pc = EcpPc(port)
    pc.begin()
    assert pc.send(0x85, command=True)
    assert pc.send(0x41)
    assert (pc.cable.ecp.channel, bytes(port.heard)) == (5, b"A")


def test_an_octet_that_is_not_taken_can_be_taken_back_and_sent_again() -> None:
    port = MemoryPort(space=1)
    pc = EcpPc(port)
    pc.begin()
    assert pc.send(1)
    assert not pc.send(2)
    port.space = 5
    assert pc.send(2)
    assert bytes(port.heard) == b"\1\2"


def test_a_run_longer_than_the_room_waits_for_room_and_loses_nothing() -> None:
    port = MemoryPort(space=10)
    pc = EcpPc(port)
    pc.begin(runs=True)
    pc.send(99, command=True)
    pc.send(7)
    assert (len(port.heard), pc.cable.phase) == (10, Phase.ECP_FORWARD_TAKEN)
    port.space = 1000
    pc.cable.read_status()
    assert (bytes(port.heard), pc.cable.phase) == (bytes([7]) * 100, Phase.ECP_FORWARD_IDLE)


def test_an_answer_is_announced_and_an_octet_on_the_lines_is_not_lost_when_the_bus_turns() -> None:
    port = MemoryPort()
    pc = EcpPc(port)
    pc.begin()
    assert pc.cable.read_status() & 0x08, "nPeriphRequest is high: nothing waits"
    port.said += b"AB"
    assert not pc.cable.read_status() & 0x08
    pc.reverse()
    assert pc.cable.phase is Phase.ECP_REVERSE_DATA
    pc.forward()
    pc.reverse()
    assert decoded(pc.receive()) == b"AB"


@pytest.mark.parametrize("runs", [False, True], ids=["ECP", "ECP with RLE"])
def test_the_device_id_comes_by_ecp(runs: bool) -> None:
    port = MemoryPort()
    port.said += b"not part of the id"
    pc = EcpPc(port)
    pc.begin(runs=runs, device_id=True)
    pc.reverse()
    reply = decoded(pc.receive())
    assert (int.from_bytes(reply[:2], "big"), reply[2:].decode()) == (len(reply), DEVICE_ID)
    pc.forward()
    pc.terminate()
    assert port.pending == 18


def test_the_events_of_ecp_are_the_standards() -> None:
    port = MemoryPort()
    port.said += b"A"
    pc = EcpPc(port)
    pc.begin()
    pc.send(1)
    pc.reverse()
    pc.receive()
    pc.forward()
    pc.terminate()
    assert pc.events == [1, 3, 4, 30, 35, 36, 37, 39, 43, 44, 47, 22, 25, 29]


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_epp_carries_octets_both_ways_in_any_order(out: bytes, back: bytes) -> None:
    port = MemoryPort()
    port.said += back
    pc = EppPc(port)
    pc.begin()
    heard = []
    for octet, answer in itertools.zip_longest(out, back):
        assert octet is None or pc.write(octet)
        if answer is not None:
            heard.append(pc.read_cycle())
    assert (bytes(port.heard), bytes(heard)) == (out, back)
    pc.control(low=INIT)
    pc.control(low=SELECT_IN, high=INIT)
    assert (pc.cable.phase, port.happened) == (Phase.FORWARD_IDLE, [])


def test_an_epp_address_is_read_back_and_is_no_data() -> None:
    port = MemoryPort()
    pc = EppPc(port)
    pc.begin()
    assert pc.write(0x2A, SELECT_IN)
    assert pc.read_cycle(SELECT_IN) == 0x2A
    assert bytes(port.heard) == b""


def test_an_epp_cycle_the_machine_cannot_end_changes_nothing() -> None:
    port = MemoryPort(space=0)
    pc = EppPc(port)
    pc.begin()
    assert not pc.write(1)
    assert pc.read_cycle(AUTO_FD) is None
    port.space = 1
    assert pc.write(2)
    assert bytes(port.heard) == b"\2"


@given(st.sampled_from([0x10, 0x30, 0x34, 0x40]), st.lists(st.tuples(st.integers(0, 255), st.integers(0, 15))))
def test_whatever_the_lines_do_in_a_mode_a_reset_brings_the_cable_back(
    request: int, writes: list[tuple[int, int]]
) -> None:
    port = MemoryPort(echo=True)
    pc = EcpPc(port)
    pc.negotiate(request)
    for data, control in writes:
        pc.cable.write_data(data)
        pc.cable.write_control(control)
        assert 0 <= pc.cable.read_status() <= 0xFF
        assert 0 <= pc.cable.read_data() <= 0xFF
    pc.cable.write_control(SELECT_IN)
    assert pc.cable.phase is Phase.FORWARD_IDLE
    pc.cable.write_control(SELECT_IN | INIT)
    assert pc.put(b"ok") == 2
    assert port.heard.endswith(b"ok")
