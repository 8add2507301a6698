"""The three dialogues of RFC 3249 4.4.3 with a whole machine: what is said, what is printed, and what is reported."""

from __future__ import annotations

import base64
import smtplib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_mailserver import MailServer, lines

from fauxfax.testing import MachineProcess

Start = Callable[..., MachineProcess]
GOOD = b"Subject: IMAGE from Internet FAX\r\n\r\ntext\r\n"
JBIG_TIFF = (Path(__file__).parents[1] / "fuzz/corpus/tiff/JBIG.tif").read_bytes()
JBIG = b"Content-Type: image/tiff\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(JBIG_TIFF)
JBIG = JBIG.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
BAD = b"Subject: IMAGE from Internet FAX\r\nContent-Type: image/tiff\r\n\r\nthis is no TIFF file\r\n"


def send(machine: MachineProcess, message: bytes) -> tuple[int, bytes]:
    with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=20) as smtp:
        smtp.ehlo("ifax1.example.com")
        smtp.mail("ifax1@example.com", ["RET=HDRS", "ENVID=MM123456"])
        options = ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;fax@uf-8000.local"]
        assert smtp.rcpt("fax@uf-8000.local", options)[0] == 250
        return smtp.data(message)


@pytest.mark.parametrize(
    ("inspect", "message", "result", "action", "status"),
    [
        ("false", GOOD, "R-OK", "delivered", "2.0.0"),
        ("true", GOOD, "R-OK", "delivered", "2.0.0"),
        ("false", BAD, "870", "failed", "5.6.1"),
        ("false", JBIG, "870", "failed", "5.6.1"),
    ],
    ids=["success", "success, inspected", "failure after acceptance", "JBIG without its setting"],
)
def test_what_is_accepted_is_reported_by_dsn(
    start: Start, server: MailServer, inspect: str, message: bytes, result: str, action: str, status: str
) -> None:
    machine = start(*server.options(), "--set", f"smtp.inspect={inspect}")
    assert send(machine, message)[0] == 250
    (report,) = server.wait()
    whole, recipient = report.get_payload()[1].get_payload()
    assert whole["Original-Envelope-Id"] == "MM123456"
    assert (recipient["Action"], recipient["Status"]) == (action, status)
    assert recipient["Original-Recipient"] == "rfc822;fax@uf-8000.local"
    assert [document["result"] for document in machine.tray()] == [result]


def test_what_is_found_undecodable_before_acceptance_is_554_and_no_dsn_of_ours(
    start: Start, server: MailServer
) -> None:
    machine = start(*server.options(), "--set", "smtp.inspect=true")
    assert send(machine, BAD) == (554, b"Transaction failed: media not supported")
    assert send(machine, GOOD)[0] == 250
    server.wait()
    assert [line["document"] for line in lines(machine, "DSN")] == [1]
    assert [document["result"] for document in machine.tray()] == ["R-OK"]
    time.sleep(0.1)
    server.wait(1)


@pytest.mark.parametrize(("jbig", "code"), [("false", 554), ("true", 250)])
def test_what_is_inspected_may_be_jbig_if_the_setting_allows_it(
    start: Start, server: MailServer, jbig: str, code: int
) -> None:
    machine = start(*server.options(), "--set", "smtp.inspect=true", "--set", f"machine.jbig={jbig}")
    assert send(machine, JBIG)[0] == code
    if code == 250:
        server.wait()
        (document,) = machine.tray()
        assert [page["coding"] for page in document["pages"]] == ["JBIG"]
