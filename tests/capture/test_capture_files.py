"""Files of a capture: what gets into them, where they end, and that nothing raises into a machine."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import pytest

from fauxfax.errors import Misuse
from fauxfax.hostport.ieee1284 import Control, Levels, Phase, Status
from fauxfax.servers.capture import FLUSH_SECONDS, LARGE, BoundedFile, Capture, SignalTrace

IDLE = Levels(Control.N_INIT | Control.N_SELECT_IN, Status.N_ACK, 0x41, Phase.FORWARD_IDLE)
DECLARATIONS = re.compile(
    r"\$timescale 1 us \$end\n\$scope module ieee1284 \$end\n"
    r"(\$var (wire|string) \d+ [!-~] [A-Za-z]+ \$end\n)+\$upscope \$end\n\$enddefinitions \$end\n"
)
CHANGE = re.compile(r"#(?P<tick>\d+)|[01][!-~]|b[01]{8} [!-~]|s[A-Z_]+ [!-~]")


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
        await asyncio.sleep(2 * FLUSH_SECONDS)
        assert file.path.read_bytes() == b"onetwo"
        write(file, b"three", bytes(LARGE))
        assert file.path.read_bytes() == b"onetwothree" + bytes(LARGE)
        file.close()

    asyncio.run(scenario())


def test_a_file_ends_whole_at_its_limit_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = BoundedFile(tmp_path / "file", 7, "capture.limit")
    with caplog.at_level(logging.WARNING):
        write(file, b"four", b"four", b"1")
    assert file.path.read_bytes() == b"four"
    assert [record.getMessage() for record in caplog.records] == [
        f"capture: {file.path} ends at 4 octets; capture.limit allows no more"
    ]
    file.close()


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
