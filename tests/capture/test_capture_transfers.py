"""Transfers in a capture: when they are told of, in which order, and how they ended."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from capture_reader import packets

from fauxfax.capture.urb import BULK, HEADER_SIZE
from fauxfax.hostport.jobstream import UEL
from fauxfax.hostport.usb import Outcome, Setup, Transfer
from fauxfax.hostport.usbdescriptors import BULK_IN, BULK_OUT, Speed
from fauxfax.inprocess import InProcessMachine
from fauxfax.servers.capture import Capture

Block = tuple[str, int, bytes, int]
"""S or C, the endpoint, what was kept of the data, and the status."""
HALT = Setup(0x02, 3, 0, BULK_OUT, 0)


def bulk(path: Path) -> list[Block]:
    """The bulk blocks of a capture."""
    return [
        (chr(one.data[8]), one.data[10], one.data[HEADER_SIZE:], struct.unpack_from("<i", one.data, 28)[0])
        for one in packets(path.read_bytes())
        if one.data[9] == BULK
    ]


def nothing(_: Transfer) -> None:
    """Nobody waits for the end."""


@pytest.fixture
def host() -> Iterator[InProcessMachine]:
    with InProcessMachine() as machine:
        yield machine


def test_a_transfer_is_written_down_after_its_answer_and_one_in_pieces_with_its_whole_length(
    host: InProcessMachine, tmp_path: Path
) -> None:
    capture = Capture(path := tmp_path / "run.pcapng", limit=1 << 20, snap=8)
    sizes: list[int] = []

    def done(_: Transfer) -> None:
        sizes.append(path.stat().st_size)

    function = host.machine.open_usb(Speed.HIGH, capture.usb())
    function.submit(Transfer(BULK_OUT, b"at once", 7, done))
    enumerated = sizes.pop()
    assert path.stat().st_size > enumerated
    function.submit(pieces := Transfer(BULK_OUT, b"the", 20, done))
    function.extend(pieces, b" be", b"ginning")
    begun = path.stat().st_size
    function.extend(pieces, b"the", b" end")
    assert sizes == [begun]
    capture.close()
    assert bulk(path) == [
        ("S", BULK_OUT, b"at once", -115),
        ("C", BULK_OUT, b"", 0),
        ("S", BULK_OUT, b"the begi", -115),
        ("C", BULK_OUT, b"", 0),
    ]
    assert [one.original - HEADER_SIZE for one in packets(path.read_bytes()) if one.data[9] == BULK] == [7, 0, 20, 0]


def test_a_transfer_stands_before_what_it_brings_about(host: InProcessMachine, tmp_path: Path) -> None:
    capture = Capture(path := tmp_path / "run.pcapng", limit=1 << 20)
    function = host.machine.open_usb(Speed.HIGH, capture.usb())
    query = UEL + b"@PJL ECHO hello\r\n"
    function.submit(reply := Transfer(BULK_IN, b"", 64, nothing))
    function.submit(Transfer(BULK_OUT, query, len(query), nothing))
    capture.close()
    assert bytes(reply.data) == b"@PJL ECHO hello\r\n\x0c"
    assert bulk(path) == [
        ("S", BULK_IN, b"", -115),
        ("S", BULK_OUT, query, -115),
        ("C", BULK_OUT, b"", 0),
        ("C", BULK_IN, b"@PJL ECHO hello\r\n\x0c", 0),
    ]


def test_transfers_that_are_refused_or_taken_back_are_told_of(host: InProcessMachine, tmp_path: Path) -> None:
    capture = Capture(path := tmp_path / "run.pcapng", limit=1 << 20)
    function = host.machine.open_usb(Speed.HIGH, capture.usb())
    function.submit(reply := Transfer(BULK_IN, b"", 64, nothing))
    function.cancel(reply)
    function.submit(begun := Transfer(BULK_OUT, b"half", 8, nothing))
    function.control(HALT)
    function.submit(refused := Transfer(BULK_OUT, b"whole", 5, nothing))
    function.submit(late := Transfer(BULK_OUT, b"ha", 4, nothing))
    function.extend(late, b"lf")
    capture.close()
    assert [one.outcome for one in (begun, refused, late)] == [Outcome.STALLED] * 3
    assert bulk(path) == [
        ("S", BULK_IN, b"", -115),
        ("C", BULK_IN, b"", -104),
        ("S", BULK_OUT, b"half", -115),
        ("C", BULK_OUT, b"", -32),
        ("S", BULK_OUT, b"whole", -115),
        ("C", BULK_OUT, b"", -32),
        ("S", BULK_OUT, b"ha", -115),
        ("C", BULK_OUT, b"", -32),
    ]


def test_a_transfer_that_has_to_wait_is_told_of_when_it_begins_and_when_it_ends(
    host: InProcessMachine, tmp_path: Path
) -> None:
    capture = Capture(path := tmp_path / "run.pcapng", limit=1 << 20)
    function = host.machine.open_usb(Speed.HIGH, capture.usb())
    question = b"@PJL INFO ID\r\n" * 2000  # more answers than wait for a PC: it is busy until they are read
    function.submit(Transfer(BULK_OUT, UEL + question, len(UEL + question), nothing))
    function.submit(waiting := Transfer(BULK_OUT, b"more", 4, nothing))
    function.submit(pieces := Transfer(BULK_OUT, bytearray(b"pi"), 6, nothing))
    function.extend(pieces, b"eces")
    assert (waiting.outcome, pieces.outcome) == (None, None)
    while pieces.outcome is None:
        function.submit(Transfer(BULK_IN, b"", 4096, nothing))
    capture.close()
    told = [block for block in bulk(path) if block[1] == BULK_OUT]
    assert [block[0] for block in told] == ["S", "C", "S", "S", "C", "C"]
    assert [block[2] for block in told[2:]] == [b"more", b"pieces", b"", b""]


def test_who_submits_in_the_end_of_a_transfer_finds_both_in_order(host: InProcessMachine, tmp_path: Path) -> None:
    capture = Capture(path := tmp_path / "run.pcapng", limit=1 << 20)
    function = host.machine.open_usb(Speed.HIGH, capture.usb())
    second = Transfer(BULK_OUT, b"two", 3, nothing)
    function.submit(Transfer(BULK_OUT, b"one", 3, lambda _: function.submit(second)))
    capture.close()
    assert second.outcome is Outcome.DONE
    assert [block[:3] for block in bulk(path)] == [
        ("S", BULK_OUT, b"one"),
        ("C", BULK_OUT, b""),
        ("S", BULK_OUT, b"two"),
        ("C", BULK_OUT, b""),
    ]
