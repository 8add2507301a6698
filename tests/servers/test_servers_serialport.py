from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from code_files import code_file
from fauxfax.testing import MachineProcess


@pytest.fixture
def line(tmp_path: Path) -> Path:
    return tmp_path / "serial"


@pytest.fixture
def machine(tmp_path: Path, line: Path) -> Iterator[MachineProcess]:
    machine = MachineProcess(tmp_path / "machine", ["--set", f"ports.serial={line}"]).start()
    yield machine
    machine.kill()


def asked(line: Path, question: bytes) -> bytes:
    with serial.Serial(str(line), 115200, timeout=5) as port:
        port.write(question)
        return bytes(port.read_until(b"\x0c"))


def test_a_question_is_answered_each_time_the_port_is_opened(machine: MachineProcess, line: Path) -> None:
    for _ in range(2):
        assert asked(line, b"@PJL INFO ID\r\n") == b'@PJL INFO ID\r\n"UF-8000"\r\nSERIAL=EMUFAX1\r\n\x0c'


def test_the_local_update_tool_installs_over_it(machine: MachineProcess, line: Path, tmp_path: Path) -> None:
    file = tmp_path / "code.pfc"
    file.write_bytes(code_file("UF-8000 PNL V10200"))
    command = [sys.executable, "-m", "fauxfax_tools", "local-update", "--yes", "--port", f"serial:{line}", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.status()["firmware"]["PNL"] == "V10200"


def test_a_busy_machine_holds_the_sender_back_and_loses_nothing(tmp_path: Path, line: Path) -> None:
    slow = MachineProcess(tmp_path / "slow", ["--set", f"ports.serial={line}"], clock="x20").start()
    try:
        data = code_file("UF-8000 SCN V10200")
        with serial.Serial(str(line), 115200, timeout=5) as port:
            start = time.monotonic()
            port.write(data)
            assert time.monotonic() - start > 0.1, "the machine stores it slower than a pseudo-terminal carries it"
            slow.wait("update")
        slow.wait("panel=READY")
        assert slow.status()["firmware"]["SCN"] == "V10200"
    finally:
        slow.kill()


def test_a_link_that_was_left_behind_is_renewed_and_taken_away_at_the_end(tmp_path: Path, line: Path) -> None:
    line.symlink_to("/dev/pts/999")
    machine = MachineProcess(tmp_path / "machine", ["--set", f"ports.serial={line}"]).start()
    assert os.path.realpath(line) != "/dev/pts/999"
    machine.stop()
    assert not line.is_symlink()
