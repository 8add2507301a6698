from __future__ import annotations

import dataclasses
import email
from email.header import decode_header, make_header
from email.message import Message

import pytest

from fauxfax.ifax.host import Envelope, Recipient
from fauxfax.ifax.receipt import Action, Mail, Station, delivery_status, disposition_notification, trace_line

STATION = Station("uf-8000.local")
ENVELOPE = Envelope(
    session=1, peer="192.0.2.1", helo="sender.example", sender="jane@example.org", received_at=1_000_000_000.0,
    recipients=(Recipient(address="fax@uf-8000.local", mailbox="fax", original="rfc822;fax@uf-8000.local"),),
    envid="QQ314", ret="HDRS",
)  # fmt: skip
HEADERS = {
    "Subject": "IMAGE from Internet FAX",
    "Message-Id": "<1@example.org>",
    "Date": "Sun, 09 Sep 2001 01:46:40 +0000",
    "Disposition-Notification-To": "Jane <jane@example.org>",
}
MESSAGE = b"Subject: IMAGE\r\nX-Secret: no\r\n\r\nthe text\r\n"


def notify(envelope: Envelope = ENVELOPE, *, notification: bool = False, **headers: str) -> Mail | None:
    changed = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return disposition_notification(envelope, changed, STATION, 7, 1_000_000_100.0, notification=notification)


def parsed(mail: Mail | None) -> Message:
    assert mail is not None
    assert b"\n" not in mail.data.replace(b"\r\n", b"")
    message = email.message_from_bytes(mail.data)
    assert not any(part.defects for part in message.walk())
    return message


def test_the_mdn_has_every_field_as_the_manuals_show_it() -> None:
    mail = notify()
    message = parsed(mail)
    assert mail is not None
    assert (mail.sender, mail.recipient) == ("", "jane@example.org")
    assert b"\r\nSubject: Read Receipt:IMAGE from Internet FAX\r\n" in mail.data
    assert message["In-Reply-To"] == message["References"] == "<1@example.org>"
    assert message["X-Mailer"] == "Internet FAX, Panasonic"
    assert message["Message-Id"] == "<200109090148200007.00007.fax@uf-8000.local>"
    assert (message.get_content_type(), message.get_param("report-type")) == (
        "multipart/report",
        "disposition-notification",
    )
    assert message.get_boundary() == "+-+-+-Pan-+-+"
    words, report = message.get_payload()
    assert words.get_payload().startswith("*" * 50)
    fields = report.get_payload()[0]
    assert report.get_content_type() == "message/disposition-notification"
    assert fields["Final-Recipient"] == "rfc822;fax@uf-8000.local"
    assert fields["Original-Recipient"] == "rfc822;fax@uf-8000.local"
    assert fields["Original-Message-ID"] == "<1@example.org>"
    assert fields["Disposition"] == "automatic-action/MDN-sent-automatically; dispatched"
    features = "".join(fields["Media-Accept-Features"].split())
    for feature in (
        'type="image/tiff"', "color=Binary", "image-file-structure=TIFF-minimal", "MRC-mode=0", "ua-media=stationery",
        "paper-size=[A4,B4,letter,legal]", "image-coding=[MH,MR,MMR]", "204/391", "408/391", "200/100",
    ):  # fmt: skip
        assert f"({feature})" in features or feature in features
    assert features.count("(") == features.count(")")


def test_a_machine_that_prints_jbig_says_so_and_says_the_same_otherwise() -> None:
    def features(station: Station) -> str:
        mail = disposition_notification(ENVELOPE, HEADERS, station, 7, 0.0, notification=False)
        fields = parsed(mail).get_payload()[1].get_payload()[0]
        return "".join(fields["Media-Accept-Features"].split())

    without, with_jbig = features(STATION), features(dataclasses.replace(STATION, jbig=True))
    added = "(&(image-coding=JBIG)(image-coding-constraint=JBIG-T85)(JBIG-stripe-size>=0))"
    assert with_jbig == without.replace("(image-coding=[MH,MR,MMR])", f"(|(image-coding=[MH,MR,MMR]){added})")
    assert "JBIG" not in without
    assert with_jbig.count("(") == with_jbig.count(")")


@pytest.mark.parametrize(
    ("changes", "headers", "notification"),
    [
        ({"sender": "john@example.org"}, {}, False),
        ({"sender": ""}, {}, False),
        ({}, {"Disposition_Notification_To": ""}, False),
        ({}, {"Disposition_Notification_To": "jane@example.org, john@example.org"}, False),
        ({}, {}, True),
    ],
    ids=["another return path", "null return path", "not asked for", "two addresses", "is an MDN itself"],
)
def test_no_mdn_is_sent(changes: dict[str, str], headers: dict[str, str], notification: bool) -> None:
    assert notify(ENVELOPE._replace(**changes), notification=notification, **headers) is None


@pytest.mark.parametrize("field", ["Subject", "Message_Id", "Date"])
def test_a_sender_cannot_add_headers_to_a_receipt(field: str) -> None:
    message = parsed(notify(**{field: "x\r\nBcc: all@example.com\r\n\r\nbody \x00ü"}))
    assert message["Bcc"] is None
    assert message.get_content_type() == "multipart/report"


@pytest.mark.parametrize("subject", ["Grüße", "語" * 200, "x" * 300 + "ü", "a\r\nBcc: all@example.com ü"])
def test_a_subject_that_is_not_ascii_comes_back_as_it_was(subject: str) -> None:
    message = parsed(notify(Subject=subject))
    assert str(make_header(decode_header(message["Subject"]))) == f"Read Receipt:{' '.join(subject.split())}"[:900]
    assert message["Bcc"] is None
    assert message["Message-Id"]
    assert max(map(len, message.as_string().splitlines())) < 998


def test_the_dsn_is_as_rfc_3464_wants_it() -> None:
    mail = delivery_status(ENVELOPE, MESSAGE, STATION, 7, 1_000_000_100.0, reason="part 1: no TIFF")
    message = parsed(mail)
    assert mail is not None
    assert (mail.sender, mail.recipient) == ("", "jane@example.org")
    assert (message.get_content_type(), message.get_param("report-type")) == ("multipart/report", "delivery-status")
    words, report, returned = message.get_payload()
    assert "part 1: no TIFF" in words.get_payload()
    whole, recipient = report.get_payload()
    assert whole["Reporting-MTA"] == "dns; uf-8000.local"
    assert whole["Original-Envelope-Id"] == "QQ314"
    assert whole["Arrival-Date"] == "Sun, 09 Sep 2001 01:46:40 +0000"
    assert recipient["Final-Recipient"] == "rfc822; fax@uf-8000.local"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.6.1")
    assert returned.get_content_type() == "text/rfc822-headers"
    assert "the text" not in returned.get_payload()


def test_ret_full_returns_the_message() -> None:
    mail = delivery_status(ENVELOPE._replace(ret="FULL"), MESSAGE, STATION, 7, 0.0)
    assert parsed(mail).get_payload()[2].get_payload()[0].get_payload() == "the text\r\n"


@pytest.mark.parametrize(
    ("notify", "action", "sent"),
    [
        ((), Action.FAILED, True), ((), Action.DELIVERED, False), (("NEVER",), Action.FAILED, False),
        (("SUCCESS",), Action.FAILED, False), (("SUCCESS",), Action.DELIVERED, True),
        (("FAILURE", "DELAY"), Action.FAILED, True), (("FAILURE",), Action.DELIVERED, False),
    ],
)  # fmt: skip
def test_notify_decides_who_hears_of_what(notify: tuple[str, ...], action: Action, sent: bool) -> None:
    recipients = (ENVELOPE.recipients[0]._replace(notify=notify),)
    envelope = ENVELOPE._replace(recipients=recipients)
    assert (delivery_status(envelope, MESSAGE, STATION, 7, 0.0, action=action) is not None) == sent


def test_mail_to_nobody_is_never_answered() -> None:
    assert delivery_status(ENVELOPE._replace(sender=""), MESSAGE, STATION, 7, 0.0) is None


def test_a_trace_line_is_one_header() -> None:
    line = trace_line(ENVELOPE._replace(helo="a\r\nBcc: x"), STATION, 3)
    assert list(email.message_from_bytes(line + b"\r\n").keys()) == ["Received"]
