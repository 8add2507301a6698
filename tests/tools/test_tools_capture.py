"""The how-to "learn an unknown tool", step by step; and what the analysis finds and does not find."""

from __future__ import annotations

import binascii
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.hostport import recording
from fauxfax.hostport.recording import Piece
from fauxfax.testing import MachineProcess
from fauxfax_tools.cli import run
from fauxfax_tools.errors import Exit
from fauxfax_tools.framing import find_checksums, find_counters, find_fixed, find_framing

TOOL = Path(__file__).with_name("unknown_tool.py")
CHANCE = random.Random(1)


def test_an_unknown_tool_is_recorded_shown_analysed_and_said_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = MachineProcess(tmp_path / "machine", ["--set", "update.dialect=capture"], clock="real").start()
    try:
        firmware = tmp_path / "firmware.bin"
        firmware.write_bytes(CHANCE.randbytes(20_250))
        before = machine.status()["firmware_sha256"]
        subprocess.run([sys.executable, TOOL, "127.0.0.1", str(machine.ports["raw"]), firmware], check=True, timeout=30)
        [file] = (tmp_path / "machine" / "recordings").iterdir()
        while '"end"' not in file.read_text():
            pass
        assert run(["capture", "show", str(file)]) == Exit.DONE
        assert "LFUT 3.00 HELLO" in capsys.readouterr().out
        assert run(["capture", "analyse", str(file)]) == Exit.DONE
        said = capsys.readouterr().out
        assert "42 frames from offset 17, each begins with a5" in said
        assert "its length is in 2 octet(s) at 3 (big endian), plus 7" in said
        assert "the octet at 2 of each frame counts up by one" in said
        assert "CRC-16/CCITT-FALSE (big endian) at -2, from 0" in said
        link = f"tcp://127.0.0.1:{machine.ports['raw']}"
        assert run(["capture", "replay", str(file), "--port", link]) == Exit.REFUSED, "it does not say that it is EMU"
        assert run(["capture", "replay", str(file), "--port", link, "--real", "--yes", "--pace", "0"]) == Exit.DONE
        while file.read_text().count('"end"') < 3:
            pass
        spoken: dict[int, bytes] = {}
        for piece in recording.parse(file.read_text().splitlines(keepends=True)):
            spoken[piece.connection] = spoken.get(piece.connection, b"") + piece.data
        assert sorted(map(len, spoken.values()))[1:] == [20_250 + 42 * 7 + 17] * 2
        assert len(set(spoken.values()) - {b""}) == 1, "it was said again octet for octet"
        assert machine.status()["firmware_sha256"] == before
    finally:
        machine.stop()


def test_a_machine_in_the_capture_dialect_takes_even_its_own_code_file_without_acting_on_it(tmp_path: Path) -> None:
    from code_files import code_file

    machine = MachineProcess(tmp_path / "machine", ["--set", "update.dialect=capture"]).start()
    try:
        import socket

        data = code_file("UF-8000 SCN V10200")
        with socket.create_connection(("127.0.0.1", machine.ports["raw"]), timeout=20) as peer:
            peer.sendall(b"\x1b%-12345X@PJL INFO ID\r\n" + data)
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(100) == b"", "it answers nothing"
        [file] = (tmp_path / "machine" / "recordings").iterdir()
        assert b"".join(piece.data for piece in recording.parse(file.read_text().splitlines(keepends=True))).endswith(
            data
        )
        assert machine.status()["firmware"]["SCN"] == "V10100"
    finally:
        machine.stop()


Frames = Callable[[list[bytes]], bytes]


def little(payloads: list[bytes]) -> bytes:
    frames = [b"\x02" + struct.pack("<I", len(each)) + each for each in payloads]
    return b"".join(each + struct.pack("<I", zlib.crc32(each)) for each in frames)


def summed(payloads: list[bytes]) -> bytes:
    frames = [b"\x1b\x10" + struct.pack(">H", len(each) + 5) + each for each in payloads]
    return b"".join(each + bytes([sum(each) & 0xFF]) for each in frames)


def modbus_like(payloads: list[bytes]) -> bytes:
    def crc(data: bytes) -> int:
        register = 0xFFFF
        for octet in data:
            register ^= octet
            for _ in range(8):
                register = register >> 1 ^ (0xA001 if register & 1 else 0)
        return register

    frames = [b"\x7e" + bytes([len(each)]) + each for each in payloads]
    return b"".join(each + struct.pack("<H", crc(each[1:])) + b"\x7d" for each in frames)


PAYLOADS = [CHANCE.randbytes(size) for size in (100, 100, 64, 100, 3, 80)]


@pytest.mark.parametrize(
    ("cut", "length", "checksum"),
    [
        (little, "4 octet(s) at 1 (little endian), plus 9", "CRC-32 (little endian) at -4, from 0"),
        (summed, "2 octet(s) at 2 (big endian), plus 0", "sum of 8 bits at -1, from 0"),
        (modbus_like, "1 octet(s) at 1, plus 5", "CRC-16/MODBUS (little endian) at -3, from 1"),
    ],
    ids=["32 bits, CRC-32", "length of all, sum", "an octet, CRC-16, end mark"],
)  # fmt: skip
def test_length_fields_and_checksums_are_found_after_whatever_went_before(
    cut: Frames, length: str, checksum: str
) -> None:
    data = b"HELLO\r\n" + cut(PAYLOADS)
    framing = find_framing(data)
    assert framing is not None
    assert (framing.start, length in str(framing)) == (7, True), str(framing)
    assert checksum in map(str, find_checksums(framing.frames(data)))


def test_frames_of_one_size_are_known_by_the_writes_of_the_tool() -> None:
    frames = [b"\x01" + bytes([number]) + CHANCE.randbytes(125) for number in range(8)]
    frames = [each + bytes([sum(each) & 0xFF]) for each in frames]
    framing = find_fixed(b"".join(frames), [128] * 8)
    assert framing is not None
    assert framing.frames(b"".join(frames)) == frames
    assert find_counters(frames) == [1]
    assert next(str(each) for each in find_checksums(frames)).startswith("sum of 8 bits")


@pytest.mark.parametrize("seed", range(5))
def test_random_octets_have_no_framing_and_no_checksum(seed: int) -> None:
    data = random.Random(seed).randbytes(5000)
    assert find_framing(data) is None
    assert find_checksums([data[at : at + 100] for at in range(0, 5000, 100)]) == []


def test_a_checksum_that_is_wrong_in_one_frame_is_no_checksum() -> None:
    frames = [each + struct.pack(">H", binascii.crc_hqx(each, 0)) for each in PAYLOADS]
    assert find_checksums(frames)
    frames[3] = frames[3][:-1] + bytes([frames[3][-1] ^ 1])
    assert not [each for each in find_checksums(frames) if each.name == "CRC-16/XMODEM"]


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 9), st.sampled_from(recording.EVENTS), st.binary(max_size=50)))
)
def test_a_recording_is_read_as_it_was_written(fields: list[tuple[float, int, str, bytes]]) -> None:
    pieces = [Piece(round(at, 6), "usb", number, event, data) for at, number, event, data in fields]
    lines = [recording.head("UF-8000", 0.0), *map(recording.line, pieces)]
    assert list(recording.parse(lines)) == pieces
    assert list(recording.parse([*lines, '{"at": 1.0, "wa'])) == pieces, "a line that a kill cut short"


@pytest.mark.parametrize(
    "text", ["", "{}\n", "nothing\n", '{"fauxfax recording": 2}\n', '{"fauxfax recording": 1}\n[]\n']
)
def test_what_is_no_recording_is_refused_with_its_line(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.jsonl"
    file.write_text(text)
    code = run(["capture", "analyse", str(file)])
    assert code == (Exit.BAD_FILE if text else Exit.USAGE)
    assert "line" in capsys.readouterr().err or not text
