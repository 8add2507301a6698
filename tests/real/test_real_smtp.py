"""The receiver and the mail programs of the world: what each sends arrives once, whole, and is a fax."""

from __future__ import annotations

import asyncio
import shutil
import smtplib
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path

import pytest
from queue_managers import RECIPIENT, SUBMISSION, Exim, listening, postfix, program

from fauxfax.clock import RealClock
from fauxfax.ifax.host import MessageReceived
from fauxfax.ifax.mail import open_document
from fauxfax.ifax.standalone import StandaloneHost
from fauxfax.imaging import tiff
from fauxfax.imaging.raster import Raster
from fauxfax.servers.smtp import SmtpServer
from fauxfax.servers.ticker import Ticker
from fauxfax.testing import MachineProcess
from fax_mails import BUILDERS

pytestmark = pytest.mark.real

CERTIFICATES = Path(__file__).parents[1] / "tls"
FAX = tiff.write([Raster(1728, 200, bytes(range(216)) * 200)] * 2)


class Machine:
    """A receiver in a thread, and what it stored."""

    def __init__(self) -> None:
        self.host = StandaloneHost()
        self.messages: list[MessageReceived] = []
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def store(self, messages: Sequence[MessageReceived]) -> Sequence[int]:
        self.messages += messages
        return range(len(messages))

    def __enter__(self) -> Machine:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._told.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        clock = RealClock()
        ticker = Ticker(clock)
        ticker.start()
        server = SmtpServer(self.host, self, clock)
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        self.port = await server.start()
        self._ready.set()
        await self._told.wait()
        await server.stop()
        await ticker.stop()

    def wait_for(self, count: int, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while len(self.messages) < count and time.monotonic() < end:
            time.sleep(0.05)
        assert len(self.messages) == count


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


@pytest.fixture
def fax(tmp_path: Path) -> Path:
    path = tmp_path / "fax.tif"
    path.write_bytes(FAX)
    return path


def as_mail() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "jane@example.org", RECIPIENT, "a fax"
    message.set_content("cover\n.\n..dots\n")
    message.add_attachment(FAX, maintype="image", subtype="tiff", filename="fax.tif")
    return message


def check(message: MessageReceived, pages: int) -> None:
    assert message.envelope.sender == "jane@example.org"
    assert [one.address for one in message.envelope.recipients] == [RECIPIENT]
    document = open_document(message.data)
    assert (document.failure, len(document.pages)) == ("", pages)
    assert document.pages[-1].raster.rows == bytes(range(216)) * 200


def swaks(machine: Machine, *options: str) -> subprocess.CompletedProcess[str]:
    command = [program("swaks"), "--server", f"127.0.0.1:{machine.port}", "--from", "jane@example.org", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("options", [(), ("--pipeline",), ("--protocol", "SMTP")], ids=["plain", "pipelined", "HELO"])
def test_swaks_sends_a_fax(machine: Machine, fax: Path, options: tuple[str, ...]) -> None:
    sent = swaks(machine, "--to", RECIPIENT, "--attach-type", "image/tiff", "--attach", f"@{fax}", *options)
    assert sent.returncode == 0, sent.stdout
    check(machine.messages[0], 3)


def test_swaks_hears_of_a_bad_recipient(machine: Machine) -> None:
    sent = swaks(machine, "--to", f"nobody@uf-8000.local,{RECIPIENT}")
    assert "550 Requested action not taken" in sent.stdout
    assert len(machine.messages) == 1


def test_msmtp_sends_a_fax(machine: Machine) -> None:
    command = [program("msmtp"), "--host=127.0.0.1", f"--port={machine.port}", "--from=jane@example.org", "--auth=off",
               "--tls=off", "--dsn-notify=failure,success", "--dsn-return=headers", RECIPIENT]  # fmt: skip
    subprocess.run(command, input=as_mail().as_bytes(), check=True, timeout=60)
    check(machine.messages[0], 3)
    assert machine.messages[0].envelope.recipients[0].notify == ("FAILURE", "SUCCESS")
    assert machine.messages[0].envelope.ret == "HDRS"


def test_smtplib_sends_many_faxes_in_one_session(machine: Machine) -> None:
    with smtplib.SMTP("127.0.0.1", machine.port) as client:
        for _ in range(20):
            client.send_message(as_mail())
        assert client.verify("fax")[0] == 250
    assert len(machine.messages) == 20
    check(machine.messages[19], 3)


def test_smtp_source_sends_from_many_sessions(machine: Machine) -> None:
    command = [program("smtp-source"), "-f", "jane@example.org", "-t", RECIPIENT, "-m", "500", "-s", "20", "-l", "3000",
               f"127.0.0.1:{machine.port}"]  # fmt: skip
    subprocess.run(command, check=True, timeout=60)
    assert len(machine.messages) == 500


def test_msmtp_sends_every_mail_that_fax_servers_build_and_a_whole_machine_prints_it(tmp_path: Path) -> None:
    machine = MachineProcess(tmp_path / "machine").start()
    command = [program("msmtp"), "--host=127.0.0.1", f"--port={machine.ports['smtp']}", "--from=jane@example.org",
               "--auth=off", "--tls=off", RECIPIENT]  # fmt: skip
    try:
        for build in BUILDERS:
            subprocess.run(command, input=build(), check=True, timeout=60)
        machine.wait("fax", count=len(BUILDERS))
        printed = machine.tray()
    finally:
        machine.stop()
    assert [(one["result"], len(one["pages"])) for one in printed] == [("R-OK", n + 2) for n in BUILDERS.values()]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the other users Postfix runs as can reach."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_postfix_delivers_and_tries_again_until_it_may(machine: Machine, open_folder: Path) -> None:
    refused = machine.host.faults.arm("rcpt times=1 -> reply 450 busy")
    dropped = machine.host.faults.arm("dot times=1 -> drop")
    with postfix(open_folder, machine.port) as post:
        post(as_mail().as_bytes())
        machine.wait_for(1, 60)
    assert (refused.fired, dropped.fired) == (1, 1)
    check(machine.messages[0], 3)


def test_postfix_hands_its_dsn_wishes_over_and_does_not_report_itself(machine: Machine, open_folder: Path) -> None:
    with postfix(open_folder, machine.port) as post:
        post(as_mail().as_bytes())
        machine.wait_for(1, 60)
        end = time.monotonic() + 20
        while "removed" not in (log := (open_folder / "log").read_text()) and time.monotonic() < end:
            time.sleep(0.1)
    envelope = machine.messages[0].envelope
    assert (envelope.envid, envelope.ret) == ("QQ314", "HDRS")
    assert envelope.recipients[0].notify == ("SUCCESS", "FAILURE")
    assert envelope.recipients[0].original == f"rfc822;{RECIPIENT}"
    assert "status=sent (250 OK)" in log
    assert "sender delivery status notification" not in log, "the machine took that over (RFC 3461 5.2.2)"


def test_exim_keeps_a_fax_in_its_queue_until_the_machine_takes_it(machine: Machine, open_folder: Path) -> None:
    rules = ("mail times=1 -> reply 421 not now", "rcpt times=1 -> reply 450 busy", "dot times=1 -> drop")
    faults = [machine.host.faults.arm(rule) for rule in rules]
    exim = Exim(open_folder, machine.port)
    exim.post(as_mail().as_bytes())
    for fault in faults:
        exim.run_queue()
        assert fault.fired == 1
        assert b"jane@example.org" in exim.waiting()
    exim.run_queue()
    assert exim.waiting() == b""
    machine.wait_for(1)
    check(machine.messages[0], 3)


@pytest.mark.parametrize(
    ("mechanism", "prompts", "user", "password"),
    [("PLAIN", ":", "$auth2", "$auth3"), ("LOGIN", "<| User | Password", "$auth1", "$auth2")],
    ids=["PLAIN", "LOGIN"],
)
def test_a_receipt_leaves_by_exim_that_wants_starttls_and_a_login(
    open_folder: Path, tmp_path: Path, mechanism: str, prompts: str, user: str, password: str
) -> None:
    for name in ("mail.pem", "mail.key"):
        shutil.copy(CERTIFICATES / name, open_folder)
        (open_folder / name).chmod(0o644)
    more = SUBMISSION.format(folder=open_folder, mechanism=mechanism, prompts=prompts, user=user, password=password)
    exim = Exim(open_folder, 25, more)
    with listening(exim) as port:
        settings = {"host": "127.0.0.1", "port": port, "tls": "starttls", "ca": open_folder / "mail.pem",
                    "user": "jane", "password": "geheim"}  # fmt: skip
        sets = [word for name, value in settings.items() for word in ("--set", f"outbox.{name}={value}")]
        machine = MachineProcess(tmp_path / "machine", sets).start()
        try:
            mail = as_mail()
            mail["Disposition-Notification-To"] = "jane@example.org"
            with smtplib.SMTP("127.0.0.1", machine.ports["smtp"]) as client:
                client.send_message(mail)
            end = time.monotonic() + 30
            while not (queued := exim.queued()) and time.monotonic() < end:
                time.sleep(0.1)
            shown = {row["key"]: row["value"] for row in machine.client.get("/v1/config")}
        finally:
            machine.stop()
    assert [message["Subject"] for message in queued] == ["Read Receipt:a fax"]
    assert "with esmtpsa" in queued[0]["Received"], "secret, and with a login"
    assert (shown["outbox.user"], shown["outbox.password"]) == ("jane", "(set)")
    assert "geheim" not in (tmp_path / "machine.log").read_text()
