"""Mails as fax servers, fax machines and mail programs build them; docs/reference/fax-mails.md has their structures."""

from __future__ import annotations

import base64
import binascii
from email import policy
from email.message import EmailMessage

from fauxfax.imaging import tiff
from fauxfax.imaging.raster import Raster

RASTER = Raster(1728, 100, bytes(range(216)) * 100, 204.0, 98.0)
FAX = tiff.write_profile_s([RASTER] * 2)


def lines(*text: str) -> bytes:
    return "\r\n".join(text).encode() + b"\r\n"


def in_base64() -> str:
    return base64.encodebytes(FAX).decode().replace("\n", "\r\n").rstrip()


def as_sister_machine() -> bytes:
    return lines(
        "Subject: IMAGE from Internet FAX", "X-Mailer: Internet FAX, Panasonic", "MIME-Version: 1.0",
        'Content-Type: multipart/mixed; boundary="+-+-+-Pan-+-+"', "Content-Transfer-Encoding: 7bit", "",
        "--+-+-+-Pan-+-+", "Content-Type: text/plain; charset=us-ascii", "", "",
        "--+-+-+-Pan-+-+", 'Content-Type: image/tiff; name="image.tif"', "Content-Transfer-Encoding: base64",
        'Content-Disposition: attachment; filename="image.tif"', "", in_base64(), "--+-+-+-Pan-+-+--",
    )  # fmt: skip


def as_hylafax() -> bytes:
    return lines(
        'From: "Facsimile Agent" <fax@hylafax.example>', "Subject: facsimile received from +12125551212",
        "Mime-Version: 1.0", 'Content-Type: Multipart/Mixed; Boundary="NextPart4711"',
        "Content-Transfer-Encoding: 7bit", "", "This is a multi-part message in MIME format.",
        "--NextPart4711", "Content-Type: text/plain; charset=us-ascii", "Content-Transfer-Encoding: quoted-printable",
        "", "recvq/fax000000012.tif:", "      Sender: +12125551212", "       Pages: 2=", "",
        "--NextPart4711", "Content-Type: image/tiff; name=fax000000012.tif", "Content-Description: FAX document",
        "Content-Transfer-Encoding: base64", "Content-Disposition: attachment; filename=fax000000012.tif", "",
        in_base64(), "", "--NextPart4711--",
    )  # fmt: skip


def as_t37_gateway() -> bytes:
    return lines(
        "From: FAX=+12125551212@gateway.example", "MIME-Version: 1.0",
        'Content-Type: multipart/fax-message; boundary="yradnuoB=_0"', "",
        "--yradnuoB=_0", "Content-ID: <1@gateway>", 'Content-Type: image/tiff; name="1.tif"; application=faxbw',
        "Content-Transfer-Encoding: base64", "", in_base64(), "--yradnuoB=_0--",
    )  # fmt: skip


def as_one_tiff() -> bytes:
    return lines(
        "Subject: fax", "MIME-Version: 1.0", "Content-Type: image/tiff; application=faxbw",
        "Content-Transfer-Encoding: base64", "", in_base64(),
    )  # fmt: skip


def as_shell_script() -> bytes:
    rows = [binascii.b2a_uu(FAX[i : i + 45]).decode().rstrip("\n") for i in range(0, len(FAX), 45)]
    return lines("Subject: fax", "", "here it is", "", "begin 644 fax.tif", *rows, "`", "end")


def as_thunderbird() -> bytes:
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"], message["User-Agent"] = "Fäx", "Mozilla Thunderbird"
    message.set_content("Grüße\n", cte="8bit")
    message.add_alternative("<html><body><p>Grüße</p></body></html>", subtype="html")
    message.add_attachment(FAX, maintype="image", subtype="tiff", filename="Fäx Seite.tif")
    return message.as_bytes()


def as_octet_stream() -> bytes:
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = "scan"
    message.make_mixed()
    message.add_attachment(FAX, maintype="application", subtype="octet-stream", filename="SCAN0001.TIF")
    return message.as_bytes()


BUILDERS = {
    as_sister_machine: 0, as_hylafax: 1, as_t37_gateway: 0, as_one_tiff: 0, as_shell_script: 1, as_thunderbird: 1,
    as_octet_stream: 0,
}  # fmt: skip
"""What builds a mail, and how many pages of text come before the two of its fax."""
