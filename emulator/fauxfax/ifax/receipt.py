"""Receipts: the MDN that says a fax was printed, and the DSN that says it was not. Pure: facts in, a mail out.

The MDN is the family's own, octet for octet where the manuals show it (DP-1520 service manual p.456, DP-8020 p.458);
its fields are RFC 8098. The DSN is RFC 3464. Whatever comes from a message is put on one line of ASCII first, so that
no header of a sender can add one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime, getaddresses
from enum import Enum

from fauxfax.ifax.host import Envelope, Recipient

MAILER = "Internet FAX, Panasonic"
SUBJECT = "IMAGE from Internet FAX"
BOUNDARY = "+-+-+-Pan-+-+"
MEDIA_FEATURES = (
    '(& (type="image/tiff")',
    "   (color=Binary)",
    "   (image-file-structure=TIFF-minimal)",
    "   (MRC-mode=0)",
    "   (ua-media=stationery)",
    "   (paper-size=[A4,B4,letter,legal])",
    "   (image-coding=[MH,MR,MMR])",
    "   (| (& (dpi=200) (dpi-xyratio=[200/100,200/200]))",
    "      (& (dpi=204) (dpi-xyratio=[204/98,204/196,204/391]))",
    "      (& (dpi=408) (dpi-xyratio=[408/391]))))",
)  # fmt: skip
"""What the machine can print, as RFC 2879 writes it; the values are the family's (DP-8020 p.458)."""
_CODINGS = "   (image-coding=[MH,MR,MMR])"
_CODINGS_AND_JBIG = (
    "   (| (image-coding=[MH,MR,MMR])",
    "      (& (image-coding=JBIG) (image-coding-constraint=JBIG-T85) (JBIG-stripe-size>=0)))",
)
"""What stands there instead with profile J: any height of a stripe, whatever T.85 makes optional (RFC 2879, 3.7)."""
RETURNED = 1024 * 1024
"""Octets of a message that RET=FULL returns at most; of a larger one its headers: a project value."""
_HEADERS = 64 * 1024
_STARS = "*" * 50
_LINE = 900


@dataclass(frozen=True, slots=True)
class Station:
    """The machine that writes: its mail domain, its mailbox, the name of its model, and whether it prints JBIG."""

    domain: str
    mailbox: str = "fax"
    model: str = "UF-8000"
    jbig: bool = False

    @property
    def address(self) -> str:
        """The machine's own address."""
        return f"{self.mailbox}@{self.domain}"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to send: `sender` is empty, so that nobody answers a receipt (RFC 8098 3, RFC 3464 2)."""

    recipient: str
    data: bytes
    sender: str = ""


def disposition_notification(
    envelope: Envelope, headers: Mapping[str, str], station: Station, number: int, at: float, *, notification: bool
) -> Mail | None:
    """The MDN for a printed document, or None where there must be none.

    None without a Disposition-Notification-To; when that address is not the envelope's sender (the return path; the
    family's rule, and RFC 8098 2.1's); for more than one address; and never for a `notification` itself.
    `number` is the document's, `at` seconds since 1970.
    """
    wanted = [address for _, address in getaddresses([headers.get("Disposition-Notification-To", "")]) if address]
    if notification or not envelope.sender or len(wanted) != 1 or wanted[0].lower() != envelope.sender.lower():
        return None
    date = datetime.fromtimestamp(at, UTC)
    subject, original_id = _line(headers.get("Subject", "")), _line(headers.get("Message-Id", ""))
    original = next((one.original for one in envelope.recipients if one.original), "")
    text = [
        _STARS,
        "Your message was received and printed by",
        f"  {station.model} <{station.address}>",
        f"Subject: {subject}",
        f"Sent:    {_line(headers.get('Date', ''))}",
        f"Printed: {format_datetime(date)}",
        _STARS,
    ]
    fields = [
        f"Reporting-UA: {station.domain}; {MAILER}",
        *([f"Original-Recipient: {_line(original)}"] if original else []),
        f"Final-Recipient: rfc822;{station.address}",
        *([f"Original-Message-ID: {original_id}"] if original_id else []),
        "Disposition: automatic-action/MDN-sent-automatically; dispatched",
        *_features(station),
    ]
    head = _head(station, wanted[0], f"Read Receipt:{headers.get('Subject', '') or SUBJECT}", number, date)
    if original_id:
        head += [f"In-Reply-To: {original_id}", f"References: {original_id}"]
    parts = [_part("text/plain; charset=us-ascii", text), _part("message/disposition-notification", fields)]
    return Mail(wanted[0], _report(head, "disposition-notification", BOUNDARY, parts))


def _features(station: Station) -> list[str]:
    lines: list[str] = []
    for line in MEDIA_FEATURES:
        lines += _CODINGS_AND_JBIG if station.jbig and line == _CODINGS else [line]
    return ["Media-Accept-Features: " + lines[0], *lines[1:]]


class Action(Enum):
    """What became of a recipient (RFC 3464 2.3.3), and its status code (RFC 3463)."""

    DELIVERED = ("delivered", "2.0.0", "SUCCESS")
    RELAYED = ("relayed", "2.0.0", "SUCCESS")
    FAILED = ("failed", "5.6.1", "FAILURE")

    def __init__(self, word: str, status: str, keyword: str) -> None:
        self.word = word
        self.status = status
        self.keyword = keyword


def delivery_status(
    envelope: Envelope,
    message: bytes,
    station: Station,
    number: int,
    at: float,
    *,
    action: Action = Action.FAILED,
    status: str = "",
    reason: str = "",
    recipients: Iterable[Recipient] | None = None,
) -> Mail | None:
    """The DSN for those recipients that want to hear of `action`, or None if nobody does.

    NOTIFY says who (RFC 3461 4.1): without it failures are reported and nothing else; NEVER is never. Nobody is told
    if the envelope's sender is `<>`. RET=FULL returns the message, anything else its headers (RFC 3461 4.3).
    """
    concerned = [one for one in recipients or envelope.recipients if _wants(one, action)]
    if not envelope.sender or not concerned:
        return None
    date = datetime.fromtimestamp(at, UTC)
    reason = _line(reason)
    text = [
        f"This is the network fax machine {station.model} <{station.address}>.",
        "",
        "Your message could not be printed:" if action is Action.FAILED else "Your message has arrived:",
        *(f"  {one.address}" for one in concerned),
        *(["", reason] if reason else []),
    ]
    fields = [
        *([f"Original-Envelope-Id: {_line(envelope.envid)}"] if envelope.envid else []),
        f"Reporting-MTA: dns; {station.domain}",
        *([f"Received-From-MTA: dns; {_line(envelope.helo)}"] if envelope.helo else []),
        f"Arrival-Date: {format_datetime(datetime.fromtimestamp(envelope.received_at, UTC))}",
    ]
    for one in concerned:
        fields += ["", *_recipient_fields(one, station, action, status or action.status, reason)]
    boundary = f"{BOUNDARY}-{number}-{date:%Y%m%d%H%M%S}"
    subject = "Undelivered mail" if action is Action.FAILED else "Delivery report"
    parts = [
        _part("text/plain; charset=us-ascii", text),
        _part("message/delivery-status", fields),
        _returned(message, full=envelope.ret == "FULL" and len(message) <= RETURNED),
    ]
    head = _head(station, envelope.sender, subject, number, date)
    return Mail(envelope.sender, _report(head, "delivery-status", boundary, parts))


def trace_line(envelope: Envelope, station: Station, number: int) -> bytes:
    """The Received line for a message that goes on to somebody else: what cuts loops (RFC 5321 4.4)."""
    date = format_datetime(datetime.fromtimestamp(envelope.received_at, UTC))
    protocol = "ESMTP" if envelope.helo == "" or envelope.body != "7BIT" else "SMTP"
    return (
        f"Received: from {_line(envelope.helo) or 'unknown'} ([{envelope.peer}])\r\n"
        f"\tby {station.domain} with {protocol} id {number};\r\n\t{date}\r\n"
    ).encode("ascii", "replace")


def _wants(recipient: Recipient, action: Action) -> bool:
    if not recipient.notify:
        return action is Action.FAILED
    return action.keyword in recipient.notify


def _recipient_fields(one: Recipient, station: Station, action: Action, status: str, reason: str) -> list[str]:
    final = one.mailbox if one.forward else f"{one.mailbox}@{station.domain}"
    return [
        *([f"Original-Recipient: {_line(one.original)}"] if one.original else []),
        f"Final-Recipient: rfc822; {_line(final)}",
        f"Action: {action.word}",
        f"Status: {status}",
        *([f"Diagnostic-Code: X-Fax; {reason}"] if reason else []),
    ]


def _head(station: Station, to: str, subject: str, number: int, date: datetime) -> list[str]:
    """The headers every mail of the machine begins with. The Message-Id is built as the family's (DP-8020 p.458)."""
    return [
        f"Date: {format_datetime(date)}",
        f"From: {station.model} <{station.address}>",
        f"To: {_line(to)}",
        f"Subject: {_words(subject)}",
        f"Message-Id: <{date:%Y%m%d%H%M%S}{number:04d}.{number & 0xFFFFF:05X}.{station.address}>",
        f"X-Mailer: {MAILER}",
        "MIME-Version: 1.0",
    ]


def _report(head: Sequence[str], kind: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    lines = [*head, f'Content-Type: multipart/report; report-type={kind}; boundary="{boundary}"']
    separator = f"\r\n--{boundary}".encode()
    body = b"".join(separator + b"\r\n" + part for part in parts)
    return _lines([*lines, "Content-Transfer-Encoding: 7bit"]) + body + separator + b"--\r\n"


def _part(kind: str, lines: Iterable[str]) -> bytes:
    return _lines([f"Content-Type: {kind}", "Content-Transfer-Encoding: 7bit", "", *lines])


def _returned(message: bytes, *, full: bool) -> bytes:
    """The message, or its headers, as the last part of a DSN."""
    kind = "message/rfc822" if full else "text/rfc822-headers"
    content = message if full else message.partition(b"\r\n\r\n")[0][:_HEADERS] + b"\r\n"
    encoding = "7bit" if content.isascii() else "8bit"
    return _lines([f"Content-Type: {kind}", f"Content-Transfer-Encoding: {encoding}", ""]) + content


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("ascii", "replace")


def _words(text: str) -> str:
    """A sender's words as a header: encoded (RFC 2047) if ASCII does not hold them."""
    text = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))[:_LINE]
    return text if text.isascii() else Header(text, "utf-8").encode(linesep="\r\n")


def _line(text: str) -> str:
    """A sender's words on one line of printable ASCII."""
    return re.sub(r"[^ -~]+", "?", " ".join(text.split()))[:_LINE]
