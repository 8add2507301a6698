"""LPD against programs nobody here wrote: CUPS' own backend, run by hand, and rlpr."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from code_files import code_file, spoilt
from fauxfax.testing import MachineProcess

pytestmark = pytest.mark.real

BACKEND = Path("/usr/lib/cups/backend/lpd")
needs_cups = pytest.mark.skipif(not BACKEND.exists(), reason="CUPS' lpd backend is not installed (package cups)")
needs_rlpr = pytest.mark.skipif(shutil.which("rlpr") is None, reason="rlpr is not installed (package rlpr)")


def cups(machine: MachineProcess, file: Path, options: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    """What CUPS' scheduler does with a job; the backend tries for ever, so it is given `seconds`."""
    uri = f"lpd://127.0.0.1:{machine.ports['lpd']}/fax?{options}"
    return subprocess.run(
        ["timeout", str(seconds), str(BACKEND), "1", "me", "a title", "1", "", str(file)],
        env={**os.environ, "DEVICE_URI": uri}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def rlpr(machine: MachineProcess, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, "--no-bind", "-H", "127.0.0.1", f"--port={machine.ports['lpd']}", "-P", "fax", *words],
        capture_output=True, text=True, check=False, timeout=40,
    )  # fmt: skip


@needs_cups
@pytest.mark.parametrize(
    "options", ["", "order=data,control", "mode=stream"], ids=lambda options: options or "standard"
)
def test_cups_installs_a_code_file(fauxfax: MachineProcess, tmp_path: Path, options: str) -> None:
    file = tmp_path / "code.pfc"
    file.write_bytes(code_file("UF-8000 PNL V10200"))
    done = cups(fauxfax, file, options)
    assert done.returncode == 0, done.stderr
    fauxfax.wait("update")
    fauxfax.wait("panel=READY")
    assert fauxfax.status()["firmware"]["PNL"] == "V10200"


@needs_cups
def test_cups_is_told_that_a_code_file_was_refused(fauxfax: MachineProcess, tmp_path: Path) -> None:
    file = tmp_path / "code.pfc"
    file.write_bytes(spoilt(code_file("UF-8000 PNL V10200")))
    done = cups(fauxfax, file, "", seconds=3)
    assert "ERROR: Remote host did not accept data file (1)." in done.stderr
    assert fauxfax.status()["firmware"]["PNL"] == "V10100"


@needs_rlpr
def test_rlpr_installs_is_refused_and_asks(fauxfax: MachineProcess, tmp_path: Path) -> None:
    file = tmp_path / "code.pfc"
    file.write_bytes(code_file("UF-8000 PNL V10200"))
    assert rlpr(fauxfax, "rlpr", str(file)).returncode == 0
    fauxfax.wait("panel=READY")
    assert fauxfax.status()["firmware"]["PNL"] == "V10200"
    again = rlpr(fauxfax, "rlpr", str(file))
    assert again.returncode != 0
    assert "refused our data file contents" in again.stderr
    assert rlpr(fauxfax, "rlpq").stdout == "fax on EMUFAX1 is ready\nno entries\n"
