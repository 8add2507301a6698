"""What the receiver takes, and for whom, asked of a whole machine."""

from __future__ import annotations

import base64
import os
import signal
import smtplib
import struct
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

from e2e_mailserver import MailServer, lines

from fauxfax.imaging import t4
from fauxfax.imaging.raster import Raster
from fauxfax.imaging.t4 import Coding
from fauxfax.testing import MachineProcess

Start = Callable[..., MachineProcess]
FAX = "fax@uf-8000.local"
BEGIN = ("SEND", "SOML", "SAML")


def begin(machine: MachineProcess, command: str) -> int:
    """The reply to a transaction that is begun in that way; one that may begin is carried through."""
    with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=20) as smtp:
        smtp.helo("sender.example")
        code = smtp.docmd(f"{command} FROM:<me@example.org>")[0]
        if code == 250:
            assert smtp.rcpt(FAX)[0] == 250
            assert smtp.data(f"Subject: {command}\r\n\r\ntext\r\n")[0] == 250
    return code


def test_send_and_saml_need_the_engine_now_and_soml_stores(fauxfax: MachineProcess) -> None:
    fauxfax.arm("page nth=1 -> paper-out")
    assert begin(fauxfax, "SEND") == 250
    fauxfax.wait("panel=NO PAPER")
    assert [begin(fauxfax, command) for command in BEGIN] == [450, 250, 451]
    fauxfax.client.post("/v1/panel/keys", {"keys": ["CLEAR"]})
    fauxfax.wait("fax", count=2)
    fauxfax.wait("panel=READY")
    assert begin(fauxfax, "SAML") == 250
    fauxfax.wait("fax", count=3)
    printed = [(one["headers"]["Subject"], one["envelope"]["mode"]) for one in fauxfax.tray()]
    assert printed == [("SEND", "SEND"), ("SOML", "SOML"), ("SAML", "SAML")]


def test_a_fax_to_the_address_it_is_sent_to_arrives(fauxfax: MachineProcess) -> None:
    with smtplib.SMTP("127.0.0.1", fauxfax.ports["smtp"], timeout=20) as smtp:
        smtp.sendmail("me@example.org", "fax@[127.0.0.1]", b"Subject: no names here\r\n\r\ntext\r\n")
    fauxfax.wait("fax")
    assert fauxfax.tray()[0]["envelope"]["recipients"][0]["mailbox"] == "fax"


def test_headers_route_nothing(start: Start, server: MailServer) -> None:
    """RFC 3965 2.1.3, RFC 2532 2.2.2: a relay request in To: and Cc: is text."""
    relay = ("--set", "smtp.relay_domains=['g3.example']", "--set", "smtp.relay_password=secret")
    machine = start(*server.options(), *relay)
    request = "jane%g3.example/RELAY=secret@uf-8000.local"
    body = f"To: {request}\r\nCc: {request}\r\nBcc: {request}\r\nApparently-To: {request}\r\n\r\ntext\r\n"
    with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=20) as smtp:
        smtp.sendmail("me@example.org", [FAX], body)
        machine.wait("fax")
        smtp.sendmail("me@example.org", [request], "Subject: by the envelope\r\n\r\ntext\r\n")
    (relayed,) = server.wait()
    assert relayed["Subject"] == "by the envelope"
    assert [line["document"] for line in lines(machine, "RLY")] == [2]
    assert [document["id"] for document in machine.tray()] == [1]


def several(good: bytes, bad: bytes) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"], mail["Message-Id"] = "two", "me@example.org", FAX, "<2@example.org>"
    mail.set_content("")
    for name, data in (("good.tif", good), ("bad.tif", bad)):
        mail.add_attachment(data, maintype="image", subtype="tiff", filename=name)
    return mail


def test_one_tiff_of_several_that_cannot_be_printed_fails_the_whole_message_loudly(
    start: Start, server: MailServer, page_tif: bytes
) -> None:
    """RFC 3965 2.2.4: an error sheet in the tray, a DSN, and a line in the journal."""
    machine = start(*server.options())
    with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=20) as smtp:
        smtp.send_message(several(page_tif, page_tif[:60]))
    (report,) = server.wait()
    recipient = report.get_payload()[1].get_payload()[1]
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.6.1")
    assert "part 3 (image/tiff bad.tif)" in recipient["Diagnostic-Code"]
    (document,) = machine.tray()
    assert (document["result"], len(document["pages"])) == ("870", 1)
    assert document["pages"][0]["height"] > 600, "the sheet, and not the page that was good"
    assert "bad.tif" in document["reason"]
    assert lines(machine, "RCV")[0]["result"] == "870"


def test_a_line_of_text_may_be_as_long_as_configured(start: Start) -> None:
    machine = start("--set", "smtp.text_line=65536")
    with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=20) as smtp:
        for length, code in ((65_534, 250), (65_535, 500)):
            smtp.ehlo()
            smtp.mail("me@example.org")
            smtp.rcpt(FAX)
            assert smtp.data("Subject: x\r\n\r\n" + "y" * length + "\r\n")[0] == code


def test_200_recipients_of_one_message_are_one_document(fauxfax: MachineProcess) -> None:
    with smtplib.SMTP("127.0.0.1", fauxfax.ports["smtp"], timeout=20) as smtp:
        smtp.ehlo()
        smtp.mail("me@example.org")
        assert {smtp.rcpt(FAX)[0] for _ in range(200)} == {250}
        assert smtp.rcpt(FAX)[0] == 452
        assert smtp.data("Subject: many\r\n\r\ntext\r\n")[0] == 250
    fauxfax.wait("fax")
    (document,) = fauxfax.tray()
    assert len(document["envelope"]["recipients"]) == 200


def test_what_a_fax_cannot_print_is_reported(start: Start, server: MailServer) -> None:
    machine = start(*server.options())
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "letter", "me@example.org", FAX
    word = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 100
    mail.add_attachment(word, maintype="application", subtype="msword", filename="letter.doc")
    with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=20) as smtp:
        smtp.send_message(mail)
    (report,) = server.wait()
    assert "this machine prints TIFF-F and text only" in report.get_payload()[0].get_payload()


def multipart(parts: int) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * parts + b"--b--\r\n"


def nested(depth: int) -> bytes:
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(depth))


def bomb() -> bytes:
    """A TIFF of some kilobytes that decodes to 1.6 gigabytes: 500 pages of one strip."""
    strip = t4.encode(Raster.blank(1728, 15_000), Coding.MMR)
    values = {256: 1728, 257: 15_000, 259: 4, 262: 0, 273: 8, 278: 15_000, 279: len(strip)}
    file = bytearray(struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip)
    for left in reversed(range(500)):
        file += struct.pack("<H", len(values))
        file += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
        file += struct.pack("<I", len(file) + 4 if left else 0)
    head = b"Content-Type: image/tiff\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head + base64.encodebytes(file).replace(b"\n", b"\r\n")


def test_hostile_messages_are_error_sheets_and_the_next_fax_is_printed(fauxfax: MachineProcess) -> None:
    hostile = {"more than 500 parts": multipart(10_000), "within one another": nested(1000), "octets decoded": bomb()}
    with smtplib.SMTP("127.0.0.1", fauxfax.ports["smtp"], timeout=20) as smtp:
        for message in (*hostile.values(), b"Subject: next\r\n\r\ntext\r\n"):
            smtp.sendmail("me@example.org", [FAX], message)
    fauxfax.wait("fax", count=4)
    *sheets, last = fauxfax.tray()
    assert [one["result"] for one in sheets] == ["870"] * 3
    for reason, sheet in zip(hostile, sheets, strict=True):
        assert reason in sheet["reason"]
    assert last["result"] == "R-OK"


def decoder_of(machine: MachineProcess) -> int:
    """The process that decodes."""
    assert machine.process is not None
    tasks = Path(f"/proc/{machine.process.pid}/task").iterdir()
    children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    (decoder,) = [pid for pid in children if b"decodeworker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return decoder


def test_a_decoder_that_is_killed_over_a_fax_costs_that_fax_and_nothing_else(fauxfax: MachineProcess) -> None:
    def send(subject: str) -> None:
        with smtplib.SMTP("127.0.0.1", fauxfax.ports["smtp"], timeout=20) as smtp:
            smtp.sendmail("me@example.org", [FAX], f"Subject: {subject}\r\n\r\ntext\r\n")

    send("before")
    fauxfax.wait("fax")
    decoder = decoder_of(fauxfax)
    os.kill(decoder, signal.SIGSTOP)
    send("over this one")
    end = time.monotonic() + 20
    while [one["state"] for one in fauxfax.client.get("/v1/memory")["documents"]] != ["decoding"]:
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(decoder, signal.SIGKILL)
    send("after")
    fauxfax.wait("fax", count=3)
    assert [(one["headers"]["Subject"], one["result"]) for one in fauxfax.tray()] == [
        ("before", "R-OK"), ("over this one", "870"), ("after", "R-OK"),
    ]  # fmt: skip
    assert decoder_of(fauxfax) != decoder
