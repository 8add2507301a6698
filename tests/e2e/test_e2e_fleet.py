"""The Network Firmware Update Tool against whole machines: by LPD and FTP to the proof, and several in one call."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fauxfax.testing import MachineProcess
from fauxfax_tools.cli import run
from fauxfax_tools.errors import Exit

CodeFile = Callable[[str], Path]


def update(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict]]:
    """Exit code, and what was printed with `--json`."""
    code = run(["network-update", "--json", *words])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("via", ["lpd", "ftp"])
def test_a_job_by_lpd_or_ftp_is_a_success_when_the_new_version_runs(
    fauxfax: MachineProcess, code_file: CodeFile, capsys: pytest.CaptureFixture[str], via: str
) -> None:
    words = ("--host", "127.0.0.1", "--via", via, "--port", str(fauxfax.ports[via]))
    code, lines = update(capsys, *words, str(code_file("UF-8000 PNL V10200")))
    assert (code, lines[-1]["result"]) == (Exit.DONE, "updated")
    assert "the machine runs PNL V10200, and its content is the file's" in lines[-1]["text"]
    assert fauxfax.status()["firmware"]["PNL"] == "V10200"
    code, lines = update(capsys, *words, str(code_file("UF-8000 PNL V10200")))
    assert (code, lines[-1]["result"]) == (Exit.DONE, "already-installed")
    code, lines = update(capsys, *words, str(code_file("UF-7000 PNL V10200")))
    assert (code, lines[-1]["result"]) == (Exit.REFUSED, "refused")
    assert "is for UF-7000, but the machine is UF-8000 EMUFAX1; nothing was sent" in lines[-1]["text"]


@contextlib.contextmanager
def machine_at(address: str, port: int, name: str) -> Iterator[int]:
    """A machine on an address of its own, with nothing but a raw port, which is yielded."""
    others = [f"ports.{way}=-1" for way in ("smtp", "lpd", "ftp", "usbip", "usbredir", "parallel")]
    settings = [f"ports.address={address}", f"ports.raw={port}", "ports.control=0", f"machine.name={name}", *others]
    command = [sys.executable, "-m", "fauxfax", "run", "--ephemeral", "--announce", "--clock", "fast"]
    command += [word for setting in settings for word in ("--set", setting)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["ports"]["raw"]
        finally:
            process.terminate()


@pytest.fixture
def two_machines() -> Iterator[int]:
    """The port at which both 127.0.0.2 and 127.0.0.3 have a machine."""
    try:
        with socket.create_server(("127.0.0.3", 0)):
            pass
    except OSError:
        pytest.skip("this computer has one loopback address only")
    with machine_at("127.0.0.2", 0, "upstairs") as port, machine_at("127.0.0.3", port, "downstairs"):
        yield port


@pytest.mark.parametrize("hosts", ["127.0.0.2-3", "127.0.0.2,127.0.0.3"], ids=["a range", "a list"])
def test_several_files_go_to_several_machines_with_a_report_at_the_end(
    two_machines: int, code_file: CodeFile, capsys: pytest.CaptureFixture[str], hosts: str
) -> None:
    files = [str(code_file(f"UF-8000 {component} V10200")) for component in ("PNL", "EC")]
    code = run(["network-update", "--host", hosts, "--port", str(two_machines), *files])
    report = capsys.readouterr().out.split("\nReport: ")[1].splitlines()
    assert code == Exit.DONE
    assert report[0] == "4 of 4 done"
    assert [tuple(line.split()[:4]) for line in report[1:]] == [
        ("updated", f"tcp://127.0.0.{last}:{two_machines}", component, "V10200")
        for last in (2, 3)
        for component in ("PNL", "EC")
    ]


def test_a_machine_that_is_not_there_does_not_keep_the_others_from_their_update(
    two_machines: int, code_file: CodeFile, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = update(
        capsys, "--host", "127.0.0.2-4", "--port", str(two_machines), str(code_file("UF-8000 PNL V10200"))
    )
    assert code == Exit.NO_MACHINE
    results = [(line["target"], line["result"]) for line in lines if "target" in line]
    assert results == [
        (f"tcp://127.0.0.{last}:{two_machines}", result)
        for last, result in ((2, "updated"), (3, "updated"), (4, "no-machine"))
    ]
