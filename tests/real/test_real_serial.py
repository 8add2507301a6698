"""The serial port with programs that know a tty and nothing else: stty and cat."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from code_files import code_file, spoilt
from fauxfax.testing import MachineProcess

pytestmark = pytest.mark.real


def test_cat_installs_over_the_serial_port_and_is_refused(tmp_path: Path) -> None:
    line, file = tmp_path / "serial", tmp_path / "code.pfc"
    machine = MachineProcess(tmp_path / "machine", ["--set", f"ports.serial={line}"]).start()
    try:
        stty = subprocess.run(["stty", "-F", line, "115200", "raw"], capture_output=True, text=True, check=False)
        assert stty.returncode == 0, stty.stderr
        for number, data in enumerate((spoilt(code_file("UF-8000 PNL V10200")), code_file("UF-8000 PNL V10200")), 1):
            file.write_bytes(data)
            subprocess.run(["sh", "-c", 'cat "$0" > "$1"', file, line], check=True, timeout=60)
            machine.wait("update", count=number)
            machine.wait("panel=READY")
            version = machine.status()["firmware"]["PNL"]
            assert version == ("V10100", "V10200")[number - 1]
    finally:
        machine.kill()
