"""CUPS' own `socket` backend, run by hand, at the raw port."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from code_files import code_file, spoilt
from fauxfax.testing import MachineProcess

BACKEND = Path("/usr/lib/cups/backend/socket")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not BACKEND.exists(), reason="CUPS' socket backend is not installed (package cups)"),
]


def cups(machine: MachineProcess, file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BACKEND), "1", "me", "a title", "1", "", str(file)],
        env={**os.environ, "DEVICE_URI": f"socket://127.0.0.1:{machine.ports['raw']}"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("component", ["PNL", "SC"])
def test_a_code_file_printed_through_cups_is_installed(fauxfax: MachineProcess, tmp_path: Path, component: str) -> None:
    file = tmp_path / "code.pfc"
    file.write_bytes(code_file(f"UF-8000 {component} V10200"))
    done = cups(fauxfax, file)
    assert done.returncode == 0, done.stderr
    fauxfax.wait("update")
    fauxfax.wait("panel=READY")
    assert fauxfax.status()["firmware"][component] == "V10200"


def test_a_job_that_is_no_code_file_is_taken_and_a_spoilt_one_is_refused_on_the_panel(
    fauxfax: MachineProcess, tmp_path: Path
) -> None:
    file = tmp_path / "job"
    file.write_bytes(b"%!PS\nshowpage\n" * 5_000)
    assert cups(fauxfax, file).returncode == 0
    file.write_bytes(spoilt(code_file("UF-8000 PNL V10200")))
    cups(fauxfax, file)
    fauxfax.wait("update")
    assert "block" in fauxfax.status()["update"]["last"]["reason"]
