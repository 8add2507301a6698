"""Files of a capture: what gets into them, where they end, and that nothing raises into a machine."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from capture_reader import packets

from fauxfax.capture.pcapng import LINK_RAW_IP, LINK_USB, MAX_SNAP, Writer
from fauxfax.capture.tcp import Address, Conversation, End
from fauxfax.capture.urb import HEADER_SIZE, Recorder
from fauxfax.errors import Misuse
from fauxfax.events import CaptureEnded, Event
from fauxfax.hostport.ieee1284 import Control, Levels, Phase, Status
from fauxfax.hostport.usb import Transfer
from fauxfax.hostport.usbdescriptors import BULK_OUT
from fauxfax.servers.boundedfile import BoundedFile
from fauxfax.servers.capture import Capture, SignalTrace
from fauxfax.servers.filewriter import HEAD, MEMORY, SEGMENT, SEGMENTS
from fauxfax.servers.writerprocess import LOOK_SECONDS

IDLE = Levels(Control.N_INIT | Control.N_SELECT_IN, Status.N_ACK, 0x41, Phase.FORWARD_IDLE)
DECLARATIONS = re.compile(
    r"\$timescale 1 us \$end\n\$scope module ieee1284 \$end\n"
    r"(\$var (wire|string) \d+ [!-~] [A-Za-z]+ \$end\n)+\$upscope \$end\n\$enddefinitions \$end\n"
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="who the writer is stands in /proc")
CHANGE = re.compile(r"#(?P<tick>\d+)|[01][!-~]|b[01]{8} [!-~]|s[A-Z_]+ [!-~]")


async def has(file: BoundedFile, content: bytes) -> None:
    """The writer has written that, and nothing else."""
    while len(seen := file.path.read_bytes()) < len(content):
        await asyncio.sleep(0.001)
    assert seen == content


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from fauxfax.servers.boundedfile import BoundedFile

async def scenario():
    file = BoundedFile(Path(sys.argv[1]), 1 << 30, "key")
    for number in range(200):
        size = number * 7919 % 400_000
        file.write(size, (bytes((number & 0xFF,)) * size,))
        if number % 20 == 0:
            await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(scenario())
"""


def write(file: BoundedFile, *octets: bytes) -> None:
    for one in octets:
        file.write(len(one), (one,))


def test_without_an_event_loop_every_block_is_written_at_once(tmp_path: Path) -> None:
    file = BoundedFile(tmp_path / "file", 100, "key")
    write(file, b"one", b"two")
    assert file.path.read_bytes() == b"onetwo"
    file.close()


def test_on_an_event_loop_blocks_are_gathered_until_a_pause(tmp_path: Path) -> None:
    async def scenario() -> None:
        file = BoundedFile(tmp_path / "file", 1 << 20, "key")
        write(file, b"one", b"two")
        assert file.path.read_bytes() == b""
        await has(file, b"onetwo")
        write(file, b"three", bytes(SEGMENT), b"four")
        file.close()
        assert file.path.read_bytes() == b"onetwothree" + bytes(SEGMENT) + b"four"

    asyncio.run(scenario())


def test_what_comes_without_a_pause_is_written_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fauxfax.servers.writerprocess.MAX_LOOKS", 5)

    async def scenario() -> None:
        file, written = BoundedFile(tmp_path / "file", 1 << 30, "key"), 0
        begin = time.monotonic()
        while not (seen := file.path.read_bytes()):
            write(file, b"%8d" % written)
            written += 8
            await asyncio.sleep(0)
        assert time.monotonic() - begin >= 5 * LOOK_SECONDS
        file.close()
        assert file.path.read_bytes() == b"".join(b"%8d" % at for at in range(0, written, 8))
        assert len(seen) <= written < MEMORY // 2

    asyncio.run(scenario())


def test_what_comes_without_a_pause_is_written_when_half_of_the_memory_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fauxfax.servers.writerprocess.MAX_LOOKS", 1_000_000)
    block = bytes(SEGMENT // 4 - HEAD.size)

    async def scenario() -> None:
        file, written = BoundedFile(tmp_path / "file", 1 << 30, "key"), 0
        while not file.path.stat().st_size:
            write(file, *[block] * 4)
            written += 4 * len(block)
            await asyncio.sleep(0)
        assert written > 0.49 * MEMORY
        file.close()
        assert file.path.stat().st_size == written

    asyncio.run(scenario())


def test_what_is_taken_may_change_and_memory_is_used_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        file, written, octets = BoundedFile(tmp_path / "file", 1 << 30, "key"), [], bytearray(3 * SEGMENT)
        for number in range(500):
            octets[:] = bytes((number & 0xFF,)) * len(octets)
            size = (number * 997) % (SEGMENT // 4) if number % 50 else len(octets) - number
            file.write(size, (memoryview(octets)[:size], b""))
            written.append(bytes(octets[:size]))
            if number % 100 == 0:
                await asyncio.sleep(2 * LOOK_SECONDS)
        file.close()
        assert file.path.read_bytes() == b"".join(written)

    asyncio.run(scenario())


def test_a_disk_that_fails_behind_the_machines_back_ends_the_file(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        file = BoundedFile(Path("/dev/full"), 1 << 20, "key")
        write(file, b"one", bytes(SEGMENT), b"two")
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
    blocks = [bytes(SEGMENT // 2 - HEAD.size)] * (2 * SEGMENTS + 8)
    total = sum(map(len, blocks)) + len(b"begin")

    async def scenario() -> int:
        file = BoundedFile(path, 1 << 30, "key")
        write(file, b"begin")
        writing = asyncio.create_task(asyncio.to_thread(write, file, *blocks))
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert not writing.done()
        read = 0
        while read < total:
            with contextlib.suppress(BlockingIOError):
                read += len(os.read(reader, 1 << 20))
            await asyncio.sleep(0)
        await writing
        file.close()
        return read

    assert asyncio.run(scenario()) == total
    os.close(reader)


def test_nothing_is_left_to_do_when_a_file_is_closed_on_a_loop_that_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        file = BoundedFile(tmp_path / "file", 1 << 20, "key")
        write(file, b"one")
        file.close()
        await asyncio.sleep(3 * LOOK_SECONDS)

    asyncio.run(scenario())
    assert not caplog.records
    assert (tmp_path / "file").read_bytes() == b"one"


def writers_pid() -> int:
    """The only child of this thread."""
    (child,) = Path("/proc/self/task", str(threading.get_native_id()), "children").read_text().split()
    return int(child)


@linux
def test_a_writer_that_is_killed_ends_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        file = BoundedFile(tmp_path / "file", 1 << 20, "key")
        write(file, b"one")
        await has(file, b"one")
        os.kill(writers_pid(), signal.SIGKILL)
        while not file.ended:
            write(file, b"two")
            await asyncio.sleep(LOOK_SECONDS)
        file.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    (message,) = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(r"capture: .*/file ends at [03] octets: Broken pipe", message)  # 3, if that was heard of


@linux
def test_a_disk_that_fills_up_leaves_whole_packets(tmp_path: Path) -> None:
    import resource  # not everywhere

    async def scenario() -> None:
        file = BoundedFile(tmp_path / "file", 1 << 30, "key")
        writer = Writer(file, lambda: 0, "test")
        here, there = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
        conversation = Conversation(writer, writer.interface(LINK_RAW_IP, "mail", ""), 1, here, there)
        while not file.path.stat().st_size:  # what comes before the packets would be part of their first write
            await asyncio.sleep(0.001)
        resource.prlimit(writers_pid(), resource.RLIMIT_FSIZE, (150_000, 150_000))
        for number in range(3000):
            conversation.said(End.CLIENT, b"%8d" % number)
        file.close()

    asyncio.run(scenario())
    content = (tmp_path / "file").read_bytes()
    assert 0 < len(content) <= 150_000
    said = [one.data[40:] for one in packets(content) if one.data[40:]]
    assert said == [b"%8d" % number for number in range(len(said))]
    assert 1000 <= len(said) < 3000


def test_transfers_are_whole_however_they_lie_in_the_memory(tmp_path: Path) -> None:
    sizes = [SEGMENT - 300, 9, 250_000, SEGMENT - 64, 0, 70_001] * 5
    payloads = [bytes((number,)) * size for number, size in enumerate(sizes)]

    async def scenario() -> None:
        file = BoundedFile(tmp_path / "file", 1 << 30, "key")
        writer = Writer(file, lambda: 0, "test")
        recorder = Recorder(writer, writer.interface(LINK_USB, "usb", ""), 1, 1, itertools.count(1), MAX_SNAP)
        for number, payload in enumerate(payloads):
            transfer = Transfer(BULK_OUT, payload, len(payload), lambda _: None)
            recorder.sent(transfer, memoryview(payload), number, number)
        file.close()

    asyncio.run(scenario())
    found = packets((tmp_path / "file").read_bytes())
    assert [one.data[HEADER_SIZE:] for one in found[::2]] == payloads
    assert [one.time for one in found[1::2]] == list(range(len(payloads)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the signal is of systems that fork")
def test_what_a_killed_machine_had_put_down_is_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    expected = b"".join(bytes((number & 0xFF,)) * (number * 7919 % 400_000) for number in range(200))
    end = time.monotonic() + 30
    while path.stat().st_size < len(expected) and time.monotonic() < end:
        time.sleep(0.01)
    assert path.read_bytes() == expected


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


def test_a_limit_is_kept_to_the_octet_whoever_writes_and_however_large_a_record_is(tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []
    sizes = 100, 2 * SEGMENT, SEGMENT + 1
    limit = sum(sizes)
    file = BoundedFile(tmp_path / "file", limit, "capture.limit", lambda *end: told.append(end))
    write(file, bytes(sizes[0]))  # before there is a loop

    async def scenario() -> None:
        write(file, *map(bytes, sizes[1:]))
        assert not file.ended
        write(file, b"1")
        assert told == [(limit, "capture.limit allows no more")]
        file.close()
        write(file, b"after its end")

    asyncio.run(scenario())
    assert file.path.stat().st_size == limit
    assert len(told) == 1


def test_a_file_that_was_closed_takes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        failed: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        file = BoundedFile(tmp_path / "file", 1 << 20, "key")
        write(file, b"one")
        file.close()
        write(file, b"two")
        await asyncio.sleep(2 * LOOK_SECONDS)
        assert file.path.read_bytes() == b"one"
        assert failed == []

    asyncio.run(scenario())


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
