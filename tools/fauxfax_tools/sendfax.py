"""A fax by mail, written as the family writes it and handed to an SMTP server.

Source: what is known of sent mail (service manual p.276, DP-1520 p.456, DP-8020 p.458): X-Mailer, Subject, the
Content-Transfer-Encoding at the top, the boundary, the shape of the Message-Id; TIFF-F of profile S attached.
"""

from __future__ import annotations

import base64
import re
import secrets
import smtplib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from fauxfax.imaging.raster import Raster
from fauxfax.imaging.tiffwriter import write_profile_s
from fauxfax_tools.errors import BadUsage, Busy, LinkLost, Refused

MAILER = "Internet FAX, Panasonic"
SUBJECT = "IMAGE from Internet FAX"
BOUNDARY = "+-+-+-Pan-+-+"
TIMEOUT = 300.0  # seconds, of RFC 1123 5.3.2 for most replies; the final one has its own
FINAL_TIMEOUT = 600.0  # seconds for the reply to the final dot
GO_ON = (250, 354)
ADDRESS = re.compile(r"[^\s<>@]{1,256}@[^\s<>@]{1,255}")


@dataclass(frozen=True, slots=True)
class Fax:
    """What is sent: pages, and the envelope."""

    sender: str
    recipients: tuple[str, ...]
    pages: Sequence[Raster]
    receipt: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the server made of it: its final reply, and the recipients it did not take with theirs."""

    message_id: str
    octets: int
    reply: str
    refused: dict[str, str]


def check_address(address: str) -> str:
    """The address if it can stand in an envelope. Raises BadUsage that shows the forms."""
    if not ADDRESS.fullmatch(address) or not address.isascii():
        raise BadUsage(
            f"{address!r} is no address; it is written like fax@uf-8000.local or FAX=+12125551212@example.org"
        )
    return address


def compose(fax: Fax, now: datetime, serial: int) -> tuple[str, bytes]:
    """Message-Id and message. `serial` is the five-digit hex word that tells messages of one instant apart."""
    mailbox, _, domain = fax.sender.partition("@")
    message_id = f"<{now:%Y%m%d%H%M%S}{now.microsecond // 1000:03d}.{serial & 0xFFFFF:05X}.{mailbox}@{domain}>"
    document = write_profile_s(fax.pages)
    headers = [
        f"Date: {format_datetime(now)}",
        f"From: <{fax.sender}>",
        f"To: {', '.join(f'<{recipient}>' for recipient in fax.recipients)}",
        f"Subject: {SUBJECT}",
        f"Message-Id: {message_id}",
        f"X-Mailer: {MAILER}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{BOUNDARY}"',
        "Content-Transfer-Encoding: 7bit",
    ]
    if fax.receipt:
        headers.append(f"Disposition-Notification-To: <{fax.sender}>")
    body = [
        "",
        f"--{BOUNDARY}",
        'Content-Type: image/tiff; application=faxbw; name="image.tif"',
        "Content-Transfer-Encoding: base64",
        'Content-Disposition: attachment; filename="image.tif"',
        "",
    ]
    lines = "\r\n".join([*headers, *body, ""]).encode("ascii")
    return message_id, lines + base64.encodebytes(document).replace(b"\n", b"\r\n") + f"--{BOUNDARY}--\r\n".encode()


def send(fax: Fax, host: str, port: int, now: datetime) -> Delivery:
    """Hand the fax to the server at HOST:PORT.

    Raises Refused (5xx) or Busy (4xx) with the server's words if nobody gets it, LinkLost if nobody answers.
    """
    message_id, message = compose(fax, now, secrets.randbits(20))
    where = f"{host}:{port}"
    try:
        with smtplib.SMTP(host, port, timeout=TIMEOUT) as client:
            return _transfer(client, fax, message_id, message)
    except smtplib.SMTPRecipientsRefused as error:
        raise _refusal(where, *next(iter(error.recipients.values()))) from error
    except smtplib.SMTPResponseException as error:
        raise _refusal(where, error.smtp_code, error.smtp_error) from error
    except (OSError, EOFError) as error:  # smtplib's other errors are OSErrors
        raise LinkLost(f"{where}: no mail server answers there, or it went away ({error})") from error


def _transfer(client: smtplib.SMTP, fax: Fax, message_id: str, message: bytes) -> Delivery:
    client.ehlo_or_helo_if_needed()
    notify = ["NOTIFY=SUCCESS,FAILURE"] if fax.receipt and client.has_extn("dsn") else []
    size = [f"SIZE={len(message)}"] if client.has_extn("size") else []
    _expect(client.mail(fax.sender, size))
    refused = {}
    for recipient in fax.recipients:
        code, text = client.rcpt(recipient, notify)
        if code not in (250, 251):
            refused[recipient] = (code, text)
    if len(refused) == len(fax.recipients):
        raise smtplib.SMTPRecipientsRefused(refused)
    if client.sock is not None:
        client.sock.settimeout(FINAL_TIMEOUT)
    reply = _expect(_send_data(client, message))
    complaints = {recipient: f"{code} {_words(text)}" for recipient, (code, text) in refused.items()}
    return Delivery(message_id, len(message), reply, complaints)


def _send_data(client: smtplib.SMTP, message: bytes) -> tuple[int, bytes]:
    """DATA, the message, the final dot. The sample dialogue of the family answers DATA with 250: also "go on"."""
    client.putcmd("data")
    code, text = client.getreply()
    if code not in GO_ON:
        raise smtplib.SMTPDataError(code, text)
    client.send(message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    return client.getreply()


def _expect(reply: tuple[int, bytes]) -> str:
    code, text = reply
    if code != 250:
        raise smtplib.SMTPResponseException(code, text)
    return f"{code} {_words(text)}"


def _refusal(where: str, code: int, text: bytes | str) -> Refused | Busy | LinkLost:
    sentence = f"{where}: {code} {_words(text)}"
    if code <= 0:
        return LinkLost(f"{where}: {_words(text)}")
    return Busy(sentence) if code < 500 else Refused(sentence)


def _words(text: bytes | str) -> str:
    plain = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    return " ".join(plain.split())
