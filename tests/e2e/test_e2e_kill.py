"""Whatever a sender has seen acknowledged survives SIGKILL at any instant, and is printed once.

Several senders send without a pause while the process is killed and started again. A message has a name of its own and
is sent once, so the tray must hold each acknowledged name exactly once and any other at most once.
"""

from __future__ import annotations

import random
import smtplib
import threading
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

from fauxfax.testing import MachineProcess

SENDERS = 4


class Sender(threading.Thread):
    """Sends messages one after the other, over new connections and kept ones, and remembers every 250 to a dot."""

    def __init__(self, name: str, domain: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.name = name
        self.domain = domain
        self.port = 0
        self.acknowledged: list[str] = []
        self.sent = 0
        self._chance = random.Random(seed)
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.port, timeout=10) as smtp:
                    for _ in range(self._chance.randint(1, 5)):
                        self._send(smtp)
            except (OSError, smtplib.SMTPException):
                self._over.wait(0.01)

    def _send(self, smtp: smtplib.SMTP) -> None:
        self.sent += 1
        name = f"<{self.sent}.{self.name}@example.org>"
        body = "a line of some text\r\n" * self._chance.choice((1, 10, 80))
        smtp.sendmail("me@example.org", f"fax@{self.domain}", f"Message-Id: {name}\r\n\r\n{body}")
        self.acknowledged.append(name)
        self._over.wait(self._chance.random() * 0.15)

    def stop(self) -> None:
        self._over.set()
        self.join(15)
        assert not self.is_alive()


def printed_names(machine: MachineProcess, at_least: int) -> Counter[str]:
    """The names in the tray, once nothing waits in the memory any more."""
    end = time.monotonic() + 60 + at_least / 5
    while (status := machine.status())["memory"]["documents"]:
        assert time.monotonic() < end, status
        if status["errors"]:
            machine.client.post("/v1/panel/keys", {"keys": ["CLEAR"]})  # more paper
        time.sleep(0.1)
    assert all(document["result"] == "R-OK" for document in machine.tray())
    return Counter(document["headers"]["Message-Id"] for document in machine.tray())


def kill_under_load(tmp_path: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    only_smtp = [word for way in ("raw", "lpd", "ftp", "usbip", "usbredir", "parallel")
                 for word in ("--set", f"ports.{way}=-1")]  # fmt: skip
    # The port of a killed machine may become another machine's on this computer, which must not take its mail.
    domain = f"{uuid.uuid4().hex}.example"
    machine = MachineProcess(tmp_path / "machine", [*only_smtp, "--set", f"smtp.domain={domain}"])
    senders = [Sender(f"sender{number}", domain, seed + number) for number in range(SENDERS)]
    try:
        machine.start()
        for sender in senders:
            sender.port = machine.ports["smtp"]
            sender.start()
        for _ in range(kills):
            time.sleep(chance.random() * 0.3)
            machine.kill()
            machine.start()
            for sender in senders:
                sender.port = machine.ports["smtp"]
        time.sleep(0.1)
        for sender in senders:
            sender.stop()
        acknowledged = [name for sender in senders for name in sender.acknowledged]
        printed = printed_names(machine, len(acknowledged))
    finally:
        machine.kill()
    assert len(acknowledged) >= kills, f"the load was too light to prove anything: {len(acknowledged)}"
    assert [name for name in acknowledged if printed[name] == 0] == [], "lost"
    assert {name: count for name, count in printed.items() if count > 1} == {}, "doubled"
    sent = {f"<{number}.{sender.name}@example.org>" for sender in senders for number in range(1, sender.sent + 1)}
    assert set(printed) <= sent


def test_no_acknowledged_message_is_lost_or_doubled_by_8_kills(tmp_path: Path) -> None:
    kill_under_load(tmp_path, 8, seed=1)


@pytest.mark.sweep
@pytest.mark.timeout(900)
def test_no_acknowledged_message_is_lost_or_doubled_by_200_kills(tmp_path: Path) -> None:
    kill_under_load(tmp_path, 200, seed=2)
