"""An update by mail with swaks as the service centre: the instruction and the program are its mails."""

from __future__ import annotations

import contextlib
import re
import shutil
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_files import code_file
from fauxfax.machine.mailupdate import INSTRUCTION
from fauxfax.testing import MachineProcess

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not shutil.which("swaks"), reason="swaks is not installed: apt-get install swaks"),
]


class Inbox(socketserver.StreamRequestHandler):
    """The centre's mail server: takes whatever comes."""

    server: Centre

    def handle(self) -> None:
        self.wfile.write(b"220 centre\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go\r\n")
                mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.mails.append(mail)
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 OK\r\n")


class Centre(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Inbox)
        self.mails: list[bytes] = []


@pytest.fixture
def centre() -> Iterator[Centre]:
    with Centre() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def swaks(machine: MachineProcess, *words: str) -> None:
    server = ["--server", "127.0.0.1", "--port", str(machine.ports["smtp"])]
    command = ["swaks", *server, "--to", "fax@uf-8000.local", "--from", "service@centre.example", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout


def test_swaks_instructs_is_asked_and_sends_the_program(tmp_path: Path, centre: Centre) -> None:
    port = centre.server_address[1]
    sets = ["update.by_mail=true", "update.password=4711", "outbox.host=127.0.0.1", f"outbox.port={port}"]
    machine = MachineProcess(tmp_path / "machine", [word for one in sets for word in ("--set", one)]).start()
    try:
        swaks(machine, "--header", f"Subject: {INSTRUCTION}", "--body", "PASSWORD=4711")
        machine.wait("panel=PRESS SET")
        machine.client.post("/v1/panel/keys", {"keys": ["SET"]})
        deadline = time.monotonic() + 20
        while not centre.mails and time.monotonic() < deadline:
            time.sleep(0.05)
        [request] = centre.mails
        found = re.search(rb"^Message-Id: (<.*>)", request, re.MULTILINE)
        assert found is not None
        program = tmp_path / "scn.pfc"
        program.write_bytes(code_file("UF-8000 SCN V10200"))
        swaks(machine, "--header", f"In-Reply-To: {found[1].decode()}", "--attach", f"@{program}")
        machine.wait("update")
        with contextlib.suppress(TimeoutError):
            while machine.status()["firmware"].get("SCN") != "V10200" and time.monotonic() < deadline:
                time.sleep(0.05)
        assert machine.status()["firmware"]["SCN"] == "V10200"
        assert machine.tray() == []
    finally:
        machine.stop()
