"""A running machine's device nodes, used by programs of the system under umockdev."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fauxfax.testing import MachineProcess

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="umockdev is not installed (package umockdev)"),
]


def run(machine: MachineProcess, *command: str) -> str:
    folder = machine.announcement["umockdev"]
    environment = {**os.environ, "UMOCKDEV_DIR": folder, "LD_PRELOAD": "libumockdev-preload.so.0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("lsusb") is None, reason="lsusb is not installed (package usbutils)")
def test_every_run_shows_its_usb_and_its_parallel_socket_and_takes_them_away_at_the_end(tmp_path: Path) -> None:
    for _ in ("first run", "second run"):
        machine = MachineProcess(tmp_path / "machine").start()
        try:
            assert "04da:1500" in run(machine, "lsusb")
            probe = run(machine, sys.executable, "-m", "fauxfax_tools", "probe", "--port", "parport:/dev/parport0")
            assert "UF-8000, EMUFAX1 (emulated)" in probe
        finally:
            machine.stop()
        assert not Path(machine.announcement["umockdev"]).exists()
