from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from fauxfax.errors import FauxfaxError
from fauxfax.testing import MachineProcess


def run(*words: str, code: int = 0) -> str:
    """Run the command and return what it printed; stderr too if it failed as expected."""
    done = subprocess.run(
        [sys.executable, "-m", "fauxfax", *words], capture_output=True, text=True, timeout=40, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + (done.stderr if code else "")


def first_octets(port: int) -> bytes:
    """What a peer says first; nothing if it cuts the connection."""
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        return peer.recv(100)
    return b""


@pytest.fixture
def on(fauxfax: MachineProcess) -> tuple[str, str]:
    """The words that name the machine, by its state folder."""
    return "--state", str(fauxfax.state)


def test_a_person_reads_the_machine(
    fauxfax: MachineProcess, on: tuple[str, str], send_fax: Callable, page_tif: bytes
) -> None:
    send_fax(fauxfax, page_tif)
    assert "seen" in run("wait", "--for", "fax", *on)
    assert "UF-8000 (emulated), power on, ready" in run("status", *on)
    assert "| UF-8000 EMU V10100   |" in run("panel", *on)
    assert "R-OK" in run("tray", *on)
    assert "1728 x 600" in run("tray", "show", "1", *on)
    assert "R-OK" in run("journal", *on)
    assert "octets free" in run("memory", *on)
    assert "smtp.domain" in run("config", "show", *on)


def test_json_is_what_the_api_says(fauxfax: MachineProcess, on: tuple[str, str]) -> None:
    status = json.loads(run("status", "--json", *on))
    assert status["model"] == "UF-8000"
    assert status["emulated"] is True
    for key in ("name", "power", "state", "firmware", "update", "memory", "panel", "faults", "errors"):
        assert key in status
    assert status["update"]["state"] == "RUNNING"
    assert json.loads(run("tray", "--json", *on)) == []


def test_a_document_is_exported_with_a_picture_of_each_page(
    fauxfax: MachineProcess, on: tuple[str, str], send_fax: Callable, page_tif: bytes, tmp_path: Path
) -> None:
    send_fax(fauxfax, page_tif)
    fauxfax.wait("fax")
    run("tray", "export", "1", str(tmp_path / "out"), *on)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"document.json", "document.pdf", "document.tif", "message.eml", "page-1.png"}
    assert (tmp_path / "out" / "page-1.png").read_bytes().startswith(b"\x89PNG")


def test_a_document_that_failed_says_why(fauxfax: MachineProcess, on: tuple[str, str], send_fax: Callable) -> None:
    send_fax(fauxfax, b"this is no TIFF")
    fauxfax.wait("fax")
    assert "failed: part 1 (image/tiff page.tif): offset 0: the file is no TIFF" in run("tray", "show", "1", *on)


def test_power_and_faults_by_command(fauxfax: MachineProcess, on: tuple[str, str]) -> None:
    assert "power off" in run("power", "cut", *on)
    assert first_octets(fauxfax.ports["smtp"]) == b"", "a dark machine greets nobody"
    run("power", "on", *on)
    assert "ready" in run("ready", *on)
    assert "1: rcpt -> drop" in run("fault", "arm", "rcpt -> drop", *on)
    assert "1: rcpt -> drop" in run("fault", *on)
    assert "No fault" in run("fault", "clear", *on)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["run", "--model", "UF-9"], 2, "machine.model"),
        (["run", "--set", "smtp.domian=x"], 2, "did you mean smtp.domain?"),
        (["run", "--config", "no.toml"], 2, "no.toml: No such file"),
        (["run", "--ephemeral", "--state", "x"], 2, "has no meaning"),
        (["run", "--clock", "slow"], 2, "none of real, fast, manual"),
        (["status", "--state", "nowhere"], 3, "no machine runs"),
        (["status", "--url", "http://127.0.0.1:1"], 3, "no machine answers"),
        (["status", "--url", "ftp://x"], 1, "expected http://HOST:PORT"),
        (["power", "sideways"], 2, "sideways"),
        (["ready", "--state", "nowhere", "--timeout", "0.1"], 1, "not ready"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_gets_a_sentence_and_a_code(
    words: list[str], code: int, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in run(*words, code=code)


def test_a_mistake_at_a_machine_gets_a_sentence_and_a_code(fauxfax: MachineProcess, on: tuple[str, str]) -> None:
    assert "no key 'BELL'" in run("press", "BELL", *on, code=1)
    assert "no point" in run("fault", "arm", "rcpd -> drop", *on, code=1)
    assert "document 7 has no" in run("tray", "show", "7", *on, code=1)
    assert "expected fax, page, update" in run("wait", "--for", "tea", *on, code=2)
    assert "not seen in 0.2 s" in run("wait", "--for", "fax", "--timeout", "0.2", *on, code=1)


def test_a_state_folder_in_use_names_the_other_process(fauxfax: MachineProcess) -> None:
    said = run("run", "--free-ports", "--state", str(fauxfax.state), code=2)
    assert f"in use by the machine of process {fauxfax.announcement['pid']}" in said


def test_a_state_folder_stays_the_model_it_was(start: Callable[..., MachineProcess]) -> None:
    machine = start("--model", "UF-7100")
    assert machine.announcement["model"] == "UF-7100"
    machine.stop()
    assert "is a UF-7100, not a UF-8000" in run(
        "run", "--free-ports", "--model", "UF-8000", "--state", str(machine.state), code=2
    )
    assert machine.start().announcement["model"] == "UF-7100"


def test_a_port_that_is_taken_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = [f"ports.{way}=0" for way in ("smtp", "lpd", "ftp", "usbip", "usbredir", "parallel", "control")]
        sets = [word for option in (*options, f"ports.raw={port}") for word in ("--set", option)]
        said = run("run", "--state", str(tmp_path / "x"), *sets, code=2)
    assert f"port {port}" in said
    assert "ports.raw" in said
    assert "--free-ports" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_it_stops_within_a_second_with_a_browser_and_a_sender_connected(
    start: Callable[..., MachineProcess], number: signal.Signals
) -> None:
    machine = start()
    process = machine.process
    assert process is not None
    with (
        urllib.request.urlopen(f"{machine.url}/v1/events", timeout=10) as browser,
        socket.create_connection(("127.0.0.1", machine.ports["smtp"])) as sender,
        socket.create_connection(("127.0.0.1", machine.ports["raw"])) as printer,
    ):
        assert browser.readline() == b": listening\n"
        assert sender.recv(100).startswith(b"220")
        printer.sendall(b"@PJL INFO ID\r\n")
        assert b"UF-8000" in printer.recv(200)
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 1.5, "a second, and some patience with a busy computer"


def test_another_sites_page_cannot_drive_the_machine(fauxfax: MachineProcess) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        request = urllib.request.Request(
            f"{fauxfax.url}/v1/power", b'{"action": "cut"}', {"Content-Type": "application/json", **headers}
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        assert caught.value.code == 403
        caught.value.close()
    assert fauxfax.status()["power"] == "on"


def test_a_snapshot_brings_back_the_whole_machine(
    fauxfax: MachineProcess, on: tuple[str, str], send_fax: Callable, page_tif: bytes, tmp_path: Path
) -> None:
    file = str(tmp_path / "machine.snapshot")
    send_fax(fauxfax, page_tif)
    fauxfax.wait("fax")
    before = fauxfax.status()
    assert "octets" in run("snapshot", "save", file, *on)
    send_fax(fauxfax, page_tif)
    fauxfax.wait("fax", count=2)
    run("snapshot", "restore", file, *on)
    fauxfax.wait("panel=READY")
    assert [document["id"] for document in fauxfax.tray()] == [1]
    assert fauxfax.status()["firmware_sha256"] == before["firmware_sha256"]
    (tmp_path / "bad").write_bytes(b"not a zip")
    assert "no ZIP archive" in run("snapshot", "restore", str(tmp_path / "bad"), *on, code=1)
    send_fax(fauxfax, page_tif)
    fauxfax.wait("fax", count=3)
    assert [document["id"] for document in fauxfax.tray()] == [1, 2]


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys; from fauxfax.cli import cli\n"
        f"try: cli({words!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'rich', 'construct', 'PIL', 'starlette', 'uvicorn', 'asyncio', 'usb', 'sqlite3'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_a_manual_clock_moves_only_when_a_test_moves_it(
    start: Callable[..., MachineProcess], send_fax: Callable, page_tif: bytes
) -> None:
    machine = start(clock="manual")
    send_fax(machine, page_tif)
    machine.wait("panel=PRINTING")
    assert machine.status()["clock"] == {"kind": "manual", "now": 0}
    assert not any(machine.status()["since_start"].get(what) for what in ("documents", "pages"))
    machine.advance(60)
    machine.wait("fax")
    assert machine.status()["clock"]["now"] == 60


def test_a_clock_that_runs_by_itself_is_not_moved(fauxfax: MachineProcess) -> None:
    with pytest.raises(FauxfaxError, match="only a manual clock"):
        fauxfax.advance(1)
    for wrong in (-1, "1", True, 1e9, None):
        with pytest.raises(FauxfaxError, match="expected"):
            fauxfax.client.post("/v1/clock", {"advance": wrong})
