"""FTP against curl and lftp."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from code_files import code_file, spoilt
from fauxfax.testing import MachineProcess

pytestmark = pytest.mark.real

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed (package curl)")
needs_lftp = pytest.mark.skipif(shutil.which("lftp") is None, reason="lftp is not installed (package lftp)")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.pfc"
    file.write_bytes(code_file("UF-8000 PNL V10200"))
    return file


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    file = tmp_path / "bad.pfc"
    file.write_bytes(spoilt(code_file("UF-8000 PNL V10200")))
    return file


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=60)


def url(machine: MachineProcess, login: str = "") -> str:
    return f"ftp://{login}127.0.0.1:{machine.ports['ftp']}/"


def installed(machine: MachineProcess) -> str:
    machine.wait("panel=READY")
    return str(machine.status()["firmware"]["PNL"])


@needs_curl
@pytest.mark.parametrize("mode", [[], ["--disable-epsv"], ["--ftp-port", "-"], ["--ftp-port", "-", "--disable-eprt"]],
                         ids=["EPSV", "PASV", "EPRT", "PORT"])  # fmt: skip
def test_curl_installs_a_code_file(fauxfax: MachineProcess, good: Path, mode: list[str]) -> None:
    done = run("curl", "-sSv", *mode, "-T", good, url(fauxfax))
    assert done.returncode == 0, done.stderr
    assert "226 firmware V10200 installed" in done.stderr
    assert installed(fauxfax) == "V10200"


@needs_curl
def test_curl_fails_when_the_machine_refuses(fauxfax: MachineProcess, bad: Path) -> None:
    done = run("curl", "-sSv", "-T", bad, url(fauxfax))
    assert done.returncode != 0
    assert "550 block 5 of 8 of PNL" in done.stderr
    assert installed(fauxfax) == "V10100"


@needs_curl
def test_curl_lists_an_empty_folder(fauxfax: MachineProcess) -> None:
    done = run("curl", "-sS", url(fauxfax))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@needs_lftp
def test_lftp_is_refused_then_installs(fauxfax: MachineProcess, good: Path, bad: Path) -> None:
    refused = run("lftp", "-e", f"put {bad}; quit", url(fauxfax))
    assert "550 block 5 of 8 of PNL" in refused.stderr
    done = run("lftp", "-e", f"put {good} && ls && quit 0; quit 1", url(fauxfax, "me:1234@"))
    assert done.returncode == 0, done.stderr
    assert installed(fauxfax) == "V10200"
