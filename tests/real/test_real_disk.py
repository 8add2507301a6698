"""A disk that is really full: a small file system of its own, mounted by root."""

from __future__ import annotations

import os
import re
import shutil
import signal
import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fauxfax.testing import MachineProcess

pytestmark = pytest.mark.real

MIB = 1024 * 1024
MAIL = b"Subject: a fax\r\n\r\nsome text\r\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("a file system can only be mounted by root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={64 * MIB}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this computer lets nobody mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        while (room := shutil.disk_usage(folder).free - leave) > 0:
            file.write(bytes(min(room, MIB)))
            file.flush()
    return ballast


def send(machine: MachineProcess) -> int:
    with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=20) as smtp:
        try:
            smtp.sendmail("me@example.org", "fax@uf-8000.local", MAIL)
        except smtplib.SMTPDataError as error:
            return error.smtp_code
    return 250


def test_a_full_disk_is_452_and_reception_goes_on_when_there_is_room(small_disk: Path) -> None:
    machine = MachineProcess(small_disk / "machine").start()
    try:
        assert send(machine) == 250
        machine.wait("fax")
        ballast = fill(small_disk, 0)
        assert [send(machine), send(machine)] == [452, 452]
        ballast.unlink()
        assert send(machine) == 250
        machine.wait("fax", count=2)
    finally:
        machine.kill()


def test_a_disk_that_fills_up_under_a_stored_fax_prints_it_when_there_is_room(small_disk: Path) -> None:
    machine = MachineProcess(small_disk / "machine", clock="manual").start()
    try:
        assert send(machine) == 250
        machine.wait("panel=PRINTING")
        ballast = fill(small_disk, 0)
        machine.advance(60)
        assert send(machine) == 452
        ballast.unlink()
        machine.advance(60)
        machine.wait("fax")
        assert [document["result"] for document in machine.tray()] == ["R-OK"]
        assert send(machine) == 250
    finally:
        machine.kill()


def system_calls(machine: MachineProcess, folder: Path) -> list[str]:
    """What the machine asks of the system while it receives one message, in order."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed; tests/real/install-packages installs it")
    assert machine.process is not None
    trace = folder / "trace"
    command = ["strace", "-f", "-q", "-e", "trace=fdatasync,fsync,sendto", "-o", str(trace),
               "-p", str(machine.process.pid)]  # fmt: skip
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 10
        status = Path(f"/proc/{machine.process.pid}/status")
        while (traced := re.search(r"TracerPid:\t(\d+)", status.read_text())) and traced[1] == "0":
            if tracer.poll() is not None or time.monotonic() > end:
                pytest.skip("this computer lets nobody trace a process")
            time.sleep(0.02)
        assert send(machine) == 250
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    return [line.split(None, 1)[1] for line in trace.read_text().splitlines()]


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "in memory"])
def test_the_message_is_synced_to_the_disk_between_the_dot_and_its_250(tmp_path: Path, durable: bool) -> None:
    options = ["--set", f"smtp.durable={str(durable).lower()}"]
    machine = MachineProcess(tmp_path / "machine", options, clock="manual").start()
    try:
        calls = system_calls(machine, tmp_path)
    finally:
        machine.kill()
    begin = next(place for place, call in enumerate(calls) if "354 Start mail" in call)
    end = next(place for place, call in enumerate(calls) if place > begin and '"250 OK' in call)
    assert any(re.match(r"f(data)?sync\(", call) for call in calls[begin:end]) == durable
