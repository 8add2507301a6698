"""Files of a capture: what gets into them, where they end, and that nothing raises into a machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from pathlib import Path

import pytest
from capture_reader import packets

from fauxfax.capture.urb import BULK, HEADER_SIZE
from fauxfax.errors import Misuse
from fauxfax.events import CaptureEnded, Event
from fauxfax.hostport.ieee1284 import Control, Levels, Phase, Status
from fauxfax.hostport.usb import Transfer
from fauxfax.hostport.usbdescriptors import BULK_OUT, Speed
from fauxfax.inprocess import InProcessMachine
from fauxfax.servers.boundedfile import BUFFER, FLUSH_SECONDS, LARGE, MAX_BATCHES, BoundedFile
from fauxfax.servers.capture import Capture, SignalTrace

IDLE = Levels(Control.N_INIT | Control.N_SELECT_IN, Status.N_ACK, 0x41, Phase.FORWARD_IDLE)
DECLARATIONS = re.compile(
    r"\$timescale 1 us \$end\n\$scope module ieee1284 \$end\n"
    r"(\$var (wire|string) \d+ [!-~] [A-Za-z]+ \$end\n)+\$upscope \$end\n\$enddefinitions \$end\n"
)
CHANGE = re.compile(r"#(?P<tick>\d+)|[01][!-~]|b[01]{8} [!-~]|s[A-Z_]+ [!-~]")


async def has(file: BoundedFile, content: bytes) -> None:
    """The thread has written that, and nothing else."""
    while len(seen := file.path.read_bytes()) < len(content):
        await asyncio.sleep(0.001)
    assert seen == content


def write(file: BoundedFile, *octets: bytes) -> None:
    for one in octets:
        file.write(len(one), (one,))


def test_without_an_event_loop_every_block_is_written_at_once(tmp_path: Path) -> None:
    file = BoundedFile(tmp_path / "file", 100, "key")
    write(file, b"one", b"two")
    assert file.path.read_bytes() == b"onetwo"
    file.close()


def test_on_an_event_loop_blocks_are_gathered_for_a_moment(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = BoundedFile(tmp_path / "file", 1 << 20, "key")
        write(file, b"one", b"two")
        assert file.path.read_bytes() == b""
        await has(file, b"onetwo")
        write(file, b"three", bytes(BUFFER), b"four")
        file.close()
        assert file.path.read_bytes() == b"onetwothree" + bytes(BUFFER) + b"four"

    asyncio.run(scenario())


def test_a_batch_is_written_as_soon_as_it_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxfax.servers.boundedfile.FLUSH_SECONDS", 3600)

    async def scenario() -> None:
        file = BoundedFile(tmp_path / "file", 1 << 20, "key")
        write(file, b"begin")  # and the thread with it
        blocks = [bytes((number,)) * (BUFFER // 16) for number in range(16)]
        write(file, *blocks)
        await has(file, b"".join((b"begin", *blocks[:15])))
        file.close()
        assert file.path.read_bytes() == b"".join((b"begin", *blocks))

    asyncio.run(scenario())


def test_what_is_taken_may_change_and_buffers_are_used_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        file, written, octets = BoundedFile(tmp_path / "file", 1 << 30, "key"), [], bytearray(LARGE)
        for number in range(500):
            octets[:] = bytes((number & 0xFF,)) * LARGE
            size = (number * 997) % LARGE if number % 10 else LARGE
            file.write(size, (memoryview(octets)[:size], b""))
            written.append(bytes(octets[:size]))
            if number % 100 == 0:
                await asyncio.sleep(2 * FLUSH_SECONDS)
        file.close()
        assert file.path.read_bytes() == b"".join(written)

    asyncio.run(scenario())


def test_a_disk_that_fails_behind_the_machines_back_ends_the_file(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        file = BoundedFile(Path("/dev/full"), 1 << 20, "key")
        write(file, b"one", bytes(BUFFER), b"two")
        while not file.ended:
            await asyncio.sleep(0.001)
        write(file, b"three")
        file.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert [record.getMessage() for record in caplog.records] == [
        "capture: /dev/full ends at 0 octets: No space left on device"
    ]


def test_a_machine_waits_for_a_disk_that_is_too_far_behind_and_loses_nothing(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "pipe")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    total = (MAX_BATCHES + 4) * BUFFER

    async def scenario() -> int:
        file = BoundedFile(path, 1 << 30, "key")
        write(file, b"begin")
        writing = asyncio.create_task(asyncio.to_thread(write, file, *[bytes(BUFFER)] * (MAX_BATCHES + 4)))
        await asyncio.sleep(2 * FLUSH_SECONDS)
        assert not writing.done()
        read = 0
        while read < total + len(b"begin"):
            with contextlib.suppress(BlockingIOError):
                read += len(os.read(reader, 1 << 20))
            await asyncio.sleep(0)
        await writing
        file.close()
        return read

    assert asyncio.run(scenario()) == total + len(b"begin")
    os.close(reader)


def test_a_file_ends_whole_at_its_limit_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[int, str]] = []
    file = BoundedFile(tmp_path / "file", 7, "capture.limit", lambda *end: told.append(end))
    with caplog.at_level(logging.WARNING):
        write(file, b"four", b"four", b"1")
    assert file.path.read_bytes() == b"four"
    assert [record.getMessage() for record in caplog.records] == [
        f"capture: {file.path} ends at 4 octets: capture.limit allows no more"
    ]
    file.close()
    assert told == [(4, "capture.limit allows no more")]


@pytest.mark.parametrize("kind", ["capture", "trace"])
def test_the_machine_is_told_that_a_capture_ended_before_its_time(kind: str) -> None:
    events: list[Event] = []
    match kind:
        case "capture":
            Capture(Path("/dev/full"), limit=1 << 20, publish=events.append).close()
        case "trace":
            SignalTrace(Path("/dev/full"), 1 << 20, lambda: 0.0, events.append).close()
    assert events == [CaptureEnded("/dev/full", 0, "No space left on device")]


def test_a_full_disk_ends_the_file_and_nothing_raises(caplog: pytest.LogCaptureFixture) -> None:
    file = BoundedFile(Path("/dev/full"), 100, "key")
    with caplog.at_level(logging.WARNING):
        write(file, b"one", b"two")
    assert file.ended
    assert [record.getMessage() for record in caplog.records] == [
        "capture: /dev/full ends at 0 octets: No space left on device"
    ]
    file.close()


def test_a_path_that_cannot_be_is_a_misuse(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="name another file"):
        Capture(tmp_path / "nowhere" / "run.pcapng", limit=1000)


def test_a_signal_trace_keeps_to_the_grammar_of_a_dump(tmp_path: Path) -> None:
    now = [0.0]
    trace = SignalTrace(tmp_path / "cable.vcd", 1 << 20, lambda: now[0])
    for status in (Status.N_ACK, Status.N_ACK | Status.BUSY, Status.N_ACK):
        trace.changed(IDLE._replace(status=status))
        now[0] += 0.001
    trace.close()
    dump = (tmp_path / "cable.vcd").read_text()
    declared = DECLARATIONS.match(dump)
    assert declared
    lines = [CHANGE.fullmatch(line) for line in dump[declared.end() :].splitlines()]
    assert all(lines)
    ticks = [int(line["tick"]) for line in lines if line and line["tick"]]
    assert ticks == [0, 1000, 2000]


def test_a_transfer_is_written_down_after_its_answer_and_one_in_pieces_with_its_whole_length(tmp_path: Path) -> None:
    capture = Capture(path := tmp_path / "run.pcapng", limit=1 << 20, snap=8)
    sizes: list[int] = []

    def done(_: Transfer) -> None:
        sizes.append(path.stat().st_size)

    with InProcessMachine() as host:
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
    blocks = [one for one in packets(path.read_bytes()) if one.data[9] == BULK]
    assert [(chr(one.data[8]), one.data[HEADER_SIZE:], one.original - HEADER_SIZE) for one in blocks] == [
        ("S", b"at once", 7),
        ("C", b"", 0),
        ("S", b"the begi", 20),
        ("C", b"", 0),
    ]
