"""A disk that is really full: a small file system of its own, mounted by root."""

from __future__ import annotations

import os
import shutil
import smtplib
import subprocess
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
