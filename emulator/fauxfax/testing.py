"""For tests: a machine in a process of its own, and the pytest fixture that gives one.

    def test_a_fax_comes_out(fauxfax):
        with smtplib.SMTP("127.0.0.1", fauxfax.ports["smtp"]) as smtp:
            smtp.send_message(mail)
        fauxfax.wait("fax")
        assert fauxfax.tray()[0]["result"] == "R-OK"

The fixture is a pytest plugin of the installed package: nothing needs importing.
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fauxfax.client import Client
from fauxfax.errors import FauxfaxError
from fauxfax.waiting import wait_for

START_SECONDS = 30.0
STOP_SECONDS = 10.0


class MachineProcess:
    """`fauxfax run` as a child process, on free ports of the loopback.

    Args:
        state: its state folder; kept, so that a second start finds what the first left.
        options: more words of the command line, such as `--model UF-7100` or `--set smtp.sessions=2`.
        clock: see `fauxfax run --help`; nothing is waited for by default.
    """

    def __init__(self, state: Path, options: Sequence[str] = (), clock: str = "fast") -> None:
        self.state = state
        self._command = [
            sys.executable, "-m", "fauxfax", "run", "--free-ports", "--announce",
            "--state", str(state), "--clock", clock, *options,
        ]  # fmt: skip
        self.process: subprocess.Popen[str] | None = None
        self.announcement: dict[str, Any] = {}

    def start(self) -> MachineProcess:
        """Start it and wait for its announcement. Raises FauxfaxError with what it said if it does not come up."""
        with (self.state.parent / f"{self.state.name}.log").open("a+", encoding="utf-8") as log:
            self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log, text=True)
            assert self.process.stdout is not None
            readable, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
            line = self.process.stdout.readline() if readable else ""
            if not line:
                self.kill()
                log.seek(0)
                raise FauxfaxError(f"the machine did not start: {log.read()[-2000:]}")
        self.announcement = json.loads(line)
        return self

    @property
    def ports(self) -> dict[str, int]:
        """Way in to port."""
        ports: dict[str, int] = self.announcement["ports"]
        return ports

    @property
    def url(self) -> str:
        """The control API."""
        return f"http://127.0.0.1:{self.ports['control']}"

    @property
    def client(self) -> Client:
        """A client of the control API."""
        return Client(self.url)

    def status(self) -> dict[str, Any]:
        """What `fauxfax status --json` prints."""
        status: dict[str, Any] = self.client.get("/v1/machine")
        return status

    def wait(self, what: str, count: int = 1, timeout: float = 30.0) -> None:
        """Wait for fax, page, update or panel=TEXT, counted from the start. Raises FauxfaxError if it is not seen."""
        if not wait_for(self.client, what, count=count, new=False, timeout=timeout):
            raise FauxfaxError(f"{what} x {count} not seen in {timeout:g} s; status: {self.status()}")

    def tray(self) -> list[dict[str, Any]]:
        """The `document.json` of each document in the tray."""
        documents: list[dict[str, Any]] = self.client.get("/v1/tray")
        return documents

    def arm(self, rule: str) -> None:
        """Arm a fault rule."""
        self.client.post("/v1/faults", {"rule": rule})

    def power(self, action: str) -> None:
        """`on`, `off` or `cut`."""
        self.client.post("/v1/power", {"action": action})

    def advance(self, seconds: float) -> None:
        """Move the machine's time; it must have been started with `clock="manual"`."""
        self.client.post("/v1/clock", {"advance": seconds})

    def stop(self) -> int:
        """End it as Ctrl-C does. Returns its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise FauxfaxError(f"the machine did not stop in {STOP_SECONDS:g} s") from None
        self._close()
        return code

    def kill(self) -> None:
        """End it as a power cut of the whole computer does: SIGKILL, at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._close()

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None


@pytest.fixture
def fauxfax(tmp_path: Path) -> Iterator[MachineProcess]:
    """A UF-8000 on free ports, nothing waited for, its state in the test's own folder."""
    machine = MachineProcess(tmp_path / "machine").start()
    try:
        yield machine
    finally:
        machine.stop()
