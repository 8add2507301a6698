"""Receipts and relayed messages leave by the configured mail server: here it is a second machine, or a scripted one."""

from __future__ import annotations

import email
import smtplib
import socket
import time
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from pathlib import Path

import pytest
from e2e_mailserver import MailServer, lines

from fauxfax.testing import MachineProcess

DOMAIN = "uf-8000.local"
Start = Callable[..., MachineProcess]


def send(
    machine: MachineProcess, body: bytes = b"a text\r\n", *, to: str = f"fax@{DOMAIN}", sender: str = "me@example.org",
    wants: str = "", options: Sequence[str] = (), kind: str = "text/plain",
) -> None:  # fmt: skip
    mail = f"Subject: IMAGE from Internet FAX\r\nMessage-Id: <7@example.org>\r\nContent-Type: {kind}\r\n"
    mail += f"Disposition-Notification-To: {wants}\r\n" if wants else ""
    with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=20) as smtp:
        smtp.sendmail(sender, [to], mail.encode() + b"\r\n" + body, rcpt_options=options)


def test_a_printed_fax_that_asked_for_it_gets_its_mdn(start: Start, server: MailServer) -> None:
    machine = start(*server.options())
    send(machine, wants="me@example.org")
    (receipt,) = server.wait()
    commands = server.mails[0][0]
    assert commands[1:3] == ["MAIL FROM:<>", "RCPT TO:<me@example.org> NOTIFY=NEVER"]
    assert receipt["Subject"] == "Read Receipt:IMAGE from Internet FAX"
    assert receipt.get_payload()[1].get_payload()[0]["Original-Message-ID"] == "<7@example.org>"
    (line,) = lines(machine, "MDN")
    assert (line["result"], line["peer"], line["document"]) == ("OK", "me@example.org", 1)
    events = [event for event in machine.client.events(0, 1.0) if event["event"] == "receipt-sent"]
    assert [(event["kind_of_receipt"], event["to"]) for event in events] == [("MDN", "me@example.org")]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"wants": "other@example.org"}, "another return path"),
        ({"wants": "me@example.org", "sender": ""}, "null return path"),
        ({"wants": "me@example.org", "kind": "multipart/report; boundary=x", "body": b"--x\r\n\r\ntext\r\n--x--\r\n"},
         "is a receipt itself"),
        ({}, "not asked for"),
        ({"options": ["NOTIFY=NEVER"], "kind": "application/pdf", "body": b"%PDF"}, "failure nobody wants to hear of"),
        ({"sender": "", "kind": "application/pdf", "body": b"%PDF"}, "failure of a mail from nobody"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_no_receipt_leaves(start: Start, server: MailServer, changes: dict, why: str) -> None:
    machine = start(*server.options())
    send(machine, **changes)
    machine.wait("fax")
    send(machine, wants="me@example.org")  # its receipt comes after whatever the first one would have caused
    (receipt,) = server.wait()
    assert "rfc822" in receipt.as_string()
    assert [line["document"] for line in lines(machine, "MDN")] == [2]


@pytest.mark.parametrize(
    ("options", "kind", "action"),
    [
        ([], "application/pdf", "failed"),
        (["NOTIFY=FAILURE,DELAY"], "application/pdf", "failed"),
        (["NOTIFY=SUCCESS"], "text/plain", "delivered"),
    ],
    ids=["failure, nobody said how", "failure, asked for", "success, asked for"],
)
def test_a_dsn_is_sent_to_who_wants_it(start: Start, server: MailServer, options: list, kind: str, action: str) -> None:
    machine = start(*server.options())
    send(machine, kind=kind, options=options)
    (receipt,) = server.wait()
    assert receipt.get_content_type() == "multipart/report"
    assert receipt.get_payload()[1].get_payload()[1]["Action"] == action
    assert lines(machine, "DSN")[0]["result"] == "OK"


def pass_time(machine: MachineProcess, until: Callable[[], object], step: float = 60.0) -> None:
    """Move a manual clock on until that is so; a try that is under way gets its real time."""
    end = time.monotonic() + 30
    while not until():
        assert time.monotonic() < end, machine.client.get("/v1/journal")
        machine.advance(step)
        time.sleep(0.02)


def test_a_busy_mail_server_is_tried_again(start: Start, server: MailServer) -> None:
    server.script = [("EHLO", "421 busy"), ("RCPT", "450 later"), (".", "451 disk")]
    machine = start(*server.options(), clock="manual")
    send(machine, wants="me@example.org")
    pass_time(machine, lambda: server.mails)
    assert [line["result"] for line in lines(machine, "MDN")] == ["OK"]
    assert server.script == []


def test_tries_are_spaced_on_the_machines_clock(start: Start, server: MailServer) -> None:
    server.script = [("RCPT", "450 later"), ("RCPT", "450 later")]
    machine = start(*server.options(), clock="manual")
    send(machine, wants="me@example.org")
    machine.wait("panel=PRINTING")
    machine.advance(60)
    for left, wait in ((1, 61), (0, 121)):
        end = time.monotonic() + 10
        while len(server.script) > left and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(server.script) == left
        assert server.mails == []
        machine.advance(wait)
    server.wait()


def test_a_mail_server_that_never_takes_it_ends_in_the_journal(start: Start, server: MailServer) -> None:
    server.script = [("RCPT", "550 nobody here")]
    machine = start(*server.options())
    send(machine, wants="me@example.org")
    (line,) = lines(machine, "MDN")
    assert (line["result"], line["note"]) == ("872", "550 nobody here")


def test_a_mail_server_that_is_not_there_is_given_up_in_the_end(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    machine = start("--set", "outbox.host=127.0.0.1", "--set", f"outbox.port={port}", clock="manual")
    send(machine, wants="me@example.org")
    pass_time(machine, lambda: any(line["kind"] == "MDN" for line in machine.client.get("/v1/journal")), 3600.0)
    (line,) = lines(machine, "MDN")
    assert line["result"] == "872"
    assert "given up after 10 tries: no connection" in line["note"]


def test_without_a_mail_server_the_journal_says_that_no_receipt_could_leave(fauxfax: MachineProcess) -> None:
    send(fauxfax, wants="me@example.org")
    (line,) = lines(fauxfax, "MDN")
    assert (line["result"], line["note"]) == ("872", "no mail could leave: outbox.host is not set")


def test_an_owed_receipt_survives_a_kill(start: Start, server: MailServer) -> None:
    server.script = [("RCPT", "450 later")]
    machine = start(*server.options(), clock="x50")
    send(machine, wants="me@example.org")
    end = time.monotonic() + 20
    while server.script and time.monotonic() < end:
        time.sleep(0.01)
    machine.kill()
    machine.start()
    server.wait()
    lines(machine, "MDN")
    machine.kill()
    machine.start()
    time.sleep(0.3)
    server.wait(1)


RELAY = ("--set", "smtp.relay_domains=['g3.example']", "--set", "smtp.relay_password=secret")
RELAYED = f"jane%g3.example/RELAY=secret@{DOMAIN}"


def test_a_message_for_somebody_else_goes_on_with_a_trace_line_and_is_not_printed(
    start: Start, server: MailServer
) -> None:
    machine = start(*server.options(), *RELAY)
    send(machine, to=RELAYED, options=["NOTIFY=SUCCESS", "ORCPT=rfc822;jane+2B@g3.example"])
    (message,) = server.wait()
    commands = server.mails[0][0]
    assert commands[1] == "MAIL FROM:<me@example.org>"
    assert commands[2] == "RCPT TO:<jane@g3.example> NOTIFY=SUCCESS ORCPT=rfc822;jane+2B@g3.example"
    assert f"by {DOMAIN}" in message["Received"]
    assert message.get_payload() == "a text\r\n"
    (line,) = lines(machine, "RLY")
    assert (line["result"], line["peer"]) == ("OK", "jane@g3.example")
    assert machine.tray() == []
    assert machine.status()["memory"]["documents"] == 0
    accepted = [event for event in machine.client.events(0, 1.0) if event["event"] == "message-accepted"]
    assert [event["recipients"] for event in accepted] == [["jane%g3.example/RELAY=***@uf-8000.local"]]
    assert "secret" not in (machine.state.parent / f"{machine.state.name}.log").read_text()


def test_the_sender_hears_of_a_relay_that_failed(start: Start, server: MailServer) -> None:
    server.script = [("RCPT", "550 no such fax")]
    machine = start(*server.options(), *RELAY)
    send(machine, to=RELAYED)
    (receipt,) = server.wait()
    fields = receipt.get_payload()[1].get_payload()[1]
    assert (fields["Action"], fields["Final-Recipient"]) == ("failed", "rfc822; jane@g3.example")
    assert "550 no such fax" in fields["Diagnostic-Code"]


def test_a_relay_to_a_server_without_dsn_is_reported_by_the_machine(start: Start, server: MailServer) -> None:
    server.extensions = ("mail.example",)
    machine = start(*server.options(), *RELAY)
    send(machine, to=RELAYED, options=["NOTIFY=SUCCESS"])
    receipt = server.wait(2)[1]
    assert receipt.get_payload()[1].get_payload()[1]["Action"] == "relayed"


def test_nobody_is_relayed_for_without_a_mail_server(start: Start) -> None:
    machine = start(*RELAY)
    with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
        send(machine, to=RELAYED)
    assert caught.value.recipients[RELAYED] == (551, b"User not local; please try <jane@g3.example>")


def test_two_machines_exchange_a_fax_and_its_receipt(start: Start) -> None:
    """The receipt is a mail like any other: the other machine prints it, and does not answer."""
    office = start("--set", "smtp.domain=example.org", "--set", "smtp.aliases={me='fax'}", state="office")
    to_office = ("--set", "outbox.host=127.0.0.1", "--set", f"outbox.port={office.ports['smtp']}")
    machine = start(*to_office)
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "IMAGE from Internet FAX", "me@example.org", f"fax@{DOMAIN}"
    mail["Disposition-Notification-To"] = "me@example.org"
    mail.set_content("hello")
    with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=20) as smtp:
        smtp.send_message(mail)
    office.wait("fax")
    raw = (Path(office.announcement["tray"]) / "0001" / "message.eml").read_bytes()
    assert email.message_from_bytes(raw)["Subject"] == "Read Receipt:IMAGE from Internet FAX"
    assert office.tray()[0]["result"] == "R-OK"
