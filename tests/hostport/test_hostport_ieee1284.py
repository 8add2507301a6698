"""The parallel port at register level, driven as a PC's driver does it."""

from __future__ import annotations

import pytest
from hostport_memory import DEVICE_ID, MemoryPort
from hostport_pc import ACK, AUTO_FD, FAULT, IDLE, INIT, NOT_BUSY, PAPER, SELECT, SELECT_IN, STROBE, Pc
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.hostport.ieee1284 import Peripheral, Phase
from fauxfax.hostport.port import PortStatus


def test_octets_are_strobed_in_until_the_machine_is_busy() -> None:
    port = MemoryPort(space=5)
    pc = Pc(port)
    assert pc.put(b"hello world") == 5
    port.space = 99
    assert pc.put(b" world") == 6
    assert bytes(port.heard) == b"hello world"


def test_a_strobe_in_spite_of_busy_is_lost() -> None:
    port = MemoryPort(space=0)
    pc = Pc(port)
    pc.cable.write_control(IDLE | STROBE)
    pc.cable.write_control(IDLE)
    assert bytes(port.heard) == b""


@pytest.mark.parametrize("request_", [0, 1], ids=["nibble", "byte"])
def test_an_answer_is_read_back(request_: int) -> None:
    port = MemoryPort()
    port.said += bytes(range(256))
    pc = Pc(port)
    assert pc.negotiate(request_)
    assert pc.read(request_) == bytes(range(256))
    pc.terminate()
    assert pc.put(b"next") == 4
    assert bytes(port.heard) == b"next"


@pytest.mark.parametrize("request_", [4, 5], ids=["nibble", "byte"])
def test_the_device_id_counts_its_own_length(request_: int) -> None:
    port = MemoryPort()
    port.said += b"an answer that is not part of the id"
    pc = Pc(port)
    assert pc.negotiate(request_)
    reply = pc.read(request_)
    assert (int.from_bytes(reply[:2], "big"), reply[2:].decode()) == (len(reply), DEVICE_ID)
    pc.terminate()
    assert port.pending == 36


def test_the_events_of_a_negotiation_are_the_standards() -> None:
    port = MemoryPort()
    port.said += b"A"
    pc = Pc(port)
    pc.negotiate(0)
    pc.read(0)
    pc.terminate()
    assert pc.events == [1, 3, 4, 7, 10, 7, 10, 22, 25, 29]


def test_an_answer_that_comes_late_is_announced_when_the_host_looks_again() -> None:
    port = MemoryPort()
    pc = Pc(port)
    pc.negotiate(0)
    assert pc.read(0) == b""
    pc.cable.write_control(INIT | AUTO_FD)
    assert pc.cable.phase is Phase.REVERSE_IDLE
    port.said += b"late"
    pc.cable.write_control(INIT)
    assert pc.read(0) == b"late"


@pytest.mark.parametrize("request_", [0x08, 0x44, 0x80], ids=["reserved", "device id by EPP", "extensibility link"])
def test_a_mode_that_is_not_served_is_refused_and_the_cable_still_works(request_: int) -> None:
    port = MemoryPort()
    pc = Pc(port)
    assert not pc.negotiate(request_)
    pc.terminate()
    assert pc.put(b"x") == 1


def test_reading_may_be_broken_off_in_the_middle_of_an_octet() -> None:
    port = MemoryPort()
    port.said += b"AB"
    pc = Pc(port)
    pc.negotiate(0)
    assert pc.read_nibble() == 1
    pc.terminate()
    pc.negotiate(0)
    assert pc.read(0) == b"AB", "an octet that was not taken whole is offered again"


def test_n_init_drops_the_job() -> None:
    port = MemoryPort()
    port.said += b"stale"
    pc = Pc(port)
    pc.negotiate(0)
    pc.cable.write_control(SELECT_IN)
    assert (port.happened, port.pending, pc.cable.phase) == (["reset"], 0, Phase.FORWARD_IDLE)


@pytest.mark.parametrize(
    ("status", "online", "lines"),
    [
        (PortStatus(paper_empty=False, selected=True, error=False), True, NOT_BUSY | ACK | SELECT | FAULT),
        (PortStatus(paper_empty=True, selected=True, error=True), True, NOT_BUSY | ACK | PAPER | SELECT),
        (PortStatus(paper_empty=False, selected=False, error=False), False, ACK | FAULT),
    ],
    ids=["ready", "no paper", "off"],
)
def test_the_status_lines_follow_the_machine(status: PortStatus, online: bool, lines: int) -> None:
    port = MemoryPort()
    port.status, port.online = status, online
    assert Pc(port).cable.read_status() == lines


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=200))
def test_whatever_the_lines_do_a_reset_brings_the_cable_back(writes: list[tuple[int, int]]) -> None:
    port = MemoryPort(echo=True)
    pc = Pc(port)
    for data, control in writes:
        pc.cable.write_data(data)
        pc.cable.write_control(control)
        assert 0 <= pc.cable.read_status() <= 0xFF
    pc.cable.write_control(SELECT_IN)
    pc.cable.write_control(IDLE)
    before = len(port.heard)
    assert pc.put(b"ok") == 2
    assert bytes(port.heard[before:]) == b"ok"


def test_data_lines_that_nobody_drives_are_high() -> None:
    cable = Peripheral(MemoryPort())
    cable.turn_data(reverse=True)
    cable.write_data(0x55)
    assert cable.read_data() == 0xFF
    cable.turn_data(reverse=False)
    assert cable.read_data() == 0x55
