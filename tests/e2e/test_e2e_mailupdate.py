"""An instruction to update, and a kill between its storing and its being noticed: it is not printed, and not lost."""

from __future__ import annotations

import contextlib
import signal
import smtplib
from pathlib import Path

from e2e_mailserver import MailServer

from fauxfax.machine.mailupdate import INSTRUCTION
from fauxfax.testing import MachineProcess

KILLED_AT_THE_NEWS = """
import os, signal
from fauxfax.cli import main
from fauxfax.machine.machine import Machine
Machine.accepted = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main()
"""


class DoomedProcess(MachineProcess):
    """A machine that is killed when it would hear that a mail has been stored."""

    def __init__(self, state: Path, options: tuple[str, ...]) -> None:
        super().__init__(state, options)
        self._command[1:3] = ["-c", KILLED_AT_THE_NEWS]


def test_a_kill_before_an_instruction_is_noticed_prints_nothing_and_loses_nothing(
    tmp_path: Path, server: MailServer
) -> None:
    options = (*server.options(), "--set", "update.by_mail=true", "--set", "update.password=4711")
    doomed = DoomedProcess(tmp_path / "machine", options)
    doomed.start()
    assert doomed.process is not None
    mail = f"Subject: {INSTRUCTION}\r\n\r\nPASSWORD=4711\r\n"
    with (
        contextlib.suppress(smtplib.SMTPServerDisconnected, ConnectionResetError),
        smtplib.SMTP("127.0.0.1", doomed.ports["smtp"], timeout=20) as smtp,
    ):
        smtp.sendmail("me@centre.example", "fax@uf-8000.local", mail)
    assert doomed.process.wait(20) == -signal.SIGKILL
    doomed.kill()
    machine = MachineProcess(tmp_path / "machine", options).start()
    try:
        assert machine.status()["panel"][1] == "UPDATE? PRESS SET"
        assert machine.status()["memory"]["documents"] == 0
        assert machine.tray() == []
    finally:
        machine.stop()
