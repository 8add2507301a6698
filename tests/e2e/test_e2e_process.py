"""The process around the machine: what it says and does when something inside or beside it breaks."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fauxfax import console
from fauxfax.client import Client
from fauxfax.errors import FauxfaxError
from fauxfax.rig import Rig
from fauxfax.statefolder import StateFolder
from fauxfax.testing import MachineProcess
from fauxfax.waiting import wait_for, wait_until_ready


class BreakingRig(Rig):
    """A rig with a timer whose callback raises, as only a mistake in the program can."""

    async def start(self) -> dict[str, Any]:
        announcement = await super().start()
        self.clock.call_later(0.0, lambda: 1 // 0)
        return announcement


def test_an_error_inside_the_machine_ends_the_process_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "Rig", BreakingRig)
    with pytest.raises(ZeroDivisionError):
        console.run(state=tmp_path, config_file=None, sets=[], free_ports=True, announce=True, verbose=False)
    assert "cannot go on" in capsys.readouterr().err
    StateFolder(tmp_path).close()  # it is free for the next one


def test_a_log_that_nobody_reads_any_more_does_not_stop_the_machine(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fauxfax", "run", "--state", str(tmp_path), "--free-ports", "--clock", "fast"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        while not process.stdout.readline().startswith("Mail a TIFF"):  # the last line of the welcome
            pass
        process.stdout.close()
        assert wait_until_ready(None, tmp_path, 30.0)
        client = Client.find(None, tmp_path)
        for action in ("cut", "on", "cut", "on"):
            client.post("/v1/power", {"action": action})
        assert wait_for(client, "panel=READY", count=1, new=False, timeout=10.0)
        assert any(event["event"] == "powered-off" for event in client.events(0, 10.0))
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=10.0)
    assert (process.returncode, errors) == (0, "")


def test_a_fax_is_not_taken_for_an_old_one_although_the_memory_was_deleted(
    tmp_path: Path, send_fax: Callable[[MachineProcess, bytes], None], page_tif: bytes
) -> None:
    machine = MachineProcess(tmp_path / "machine")
    for number in (1, 2):
        machine.start()
        send_fax(machine, page_tif)
        machine.wait("fax")
        assert [document["id"] for document in machine.tray()] == list(range(1, number + 1))
        machine.stop()
        for file in machine.state.glob("memory.sqlite*"):
            file.unlink()


@pytest.mark.parametrize("address", ["::1", "::", "0.0.0.0"])
def test_a_machine_on_any_address_is_found_through_its_state_folder(tmp_path: Path, address: str) -> None:
    if ":" in address and not _has_ipv6():
        pytest.skip("this computer has no IPv6 loopback")
    machine = MachineProcess(tmp_path / "machine", ["--set", f"ports.address={address}"]).start()
    try:
        assert Client.find(None, machine.state).get("/v1/machine")["state"] == "ready"
    finally:
        machine.stop()


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("machine.json", "", "names no model; remove it"),
        ("machine.json", "[]", "names no model; remove it"),
        ("memory.sqlite", "no database " * 100, "this memory cannot be read"),
        ("flash.bin", "no flash", "this is no flash file"),
    ],
    ids=["an empty card", "another card", "another memory", "another flash"],
)
def test_a_state_folder_that_somebody_broke_is_refused_with_a_sentence(
    tmp_path: Path, file: str, content: str, sentence: str
) -> None:
    (tmp_path / file).write_text(content)
    command = [sys.executable, "-m", "fauxfax", "run", "--state", str(tmp_path), "--free-ports"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30.0, check=False)
    assert ended.returncode in (1, 2)
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_cannot_be_is_a_sentence() -> None:
    with pytest.raises(FauxfaxError, match="from 1 to 65535"):
        Client("http://127.0.0.1:99999")
