from __future__ import annotations

import base64
import binascii
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fauxfax.ifax.mail import Document, Limits, error_sheet, open_document
from fauxfax.ifax.mime import MimeLimits, decode_base64, decode_words
from fauxfax.imaging import text, tiff
from fauxfax.imaging.raster import Raster

RASTER = Raster(1728, 20, bytes(range(216)) * 20)
FAX = tiff.write([RASTER, RASTER])


def mail(*parts: tuple[str, str, str, bytes], boundary: str = "b", close: bool = True, kind: str = "mixed") -> bytes:
    """A multipart: of each part its type, more headers, its encoding and its encoded octets."""
    lines = [f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\nSubject: IMAGE\r\n\r\npreamble\r\n'.encode()]
    for content_type, more, encoding, data in parts:
        head = f"--{boundary}\r\nContent-Type: {content_type}\r\n{more}Content-Transfer-Encoding: {encoding}\r\n\r\n"
        lines += [head.encode(), data, b"\r\n"]
    return b"".join([*lines, f"--{boundary}--\r\n".encode() if close else b""])


def b64(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def quoted(data: bytes) -> bytes:
    return binascii.b2a_qp(data, istext=False).replace(b"\n", b"\r\n")


def uuencoded(data: bytes, name: str) -> bytes:
    lines = [binascii.b2a_uu(data[i : i + 45]) for i in range(0, len(data), 45)]
    return b"".join([f"begin 644 {name}\n".encode(), *lines, b"`\nend\n"]).replace(b"\n", b"\r\n")


TIFF = ("image/tiff", "", "base64", b64(FAX))
NAMED = 'Content-Disposition: attachment; filename="IMAGE.TIF"\r\n'
READABLE = {
    "one TIFF as the whole message": (
        b"Content-Type: image/tiff\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b64(FAX),
        2,
    ),
    "TIFF in a multipart": (mail(TIFF), 2),
    "two TIFFs in order": (mail(TIFF, TIFF), 4),
    "a boundary as the family writes it": (mail(TIFF, boundary="+-+-+-Pan-+-+"), 2),
    "faxbw application": (mail(("image/tiff; application=faxbw", "", "base64", b64(FAX))), 2),
    "octet-stream named .tif": (mail(("application/octet-stream", NAMED, "base64", b64(FAX))), 2),
    "wrong type, known by its first octets": (mail(("application/x-fax", "", "base64", b64(FAX))), 2),
    "quoted-printable": (mail(("image/tiff", "", "quoted-printable", quoted(FAX))), 2),
    "x-uuencode": (mail(("image/tiff", "", "x-uuencode", uuencoded(FAX, "a.tif"))), 2),
    "uuencoded within text": (b"Subject: x\r\n\r\nhello\r\n" + uuencoded(FAX, "a.tif") + b"bye\r\n", 4),
    "a part inside a multipart inside a multipart": (
        mail(
            (
                "multipart/mixed; boundary=c",
                "",
                "7bit",
                b"--c\r\nContent-Type: image/tiff\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                + b64(FAX)
                + b"\r\n--c--",
            )
        ),
        2,
    ),
    "no closing boundary": (mail(TIFF, close=False), 2),
    "no boundary parameter": (mail(TIFF).replace(b'; boundary="b"', b""), 2),
    "base64 cut in the middle of a digit": (mail(("image/tiff", "", "base64", b64(FAX)[:-3])), 2),
    "base64 with junk": (mail(("image/tiff", "", "base64", b64(FAX).replace(b"\r\n", b" \r\n!"))), 2),
    "text before the picture": (mail(("text/plain", "", "7bit", b"cover\r\n"), TIFF), 3),
    "an empty text is no page": (mail(("text/plain", "", "7bit", b" \r\n\r\n"), TIFF), 2),
    "plain text, no MIME at all": (b"hello\r\n", 1),
    "text of an unknown character set": (b"Content-Type: text/plain; charset=klingon\r\n\r\nhello \xff\r\n", 1),
    "HTML alone": (b"Content-Type: text/html\r\n\r\n<p>hello<br>world</p><script>1</script>", 1),
    "of alternatives the plain text": (
        mail(("text/plain", "", "7bit", b"a"), ("text/html", "", "7bit", b"<p>a"), kind="alternative"),
        1,
    ),
    "a forwarded message": (mail(("message/rfc822", "", "7bit", b"Subject: y\r\n\r\ninner\r\n")), 1),
    "a signature is for programs": (mail(TIFF, ("application/pgp-signature", "", "7bit", b"sig")), 2),
}


@pytest.mark.parametrize(("message", "pages"), READABLE.values(), ids=READABLE)
def test_what_senders_make_is_read(message: bytes, pages: int) -> None:
    document = open_document(message)
    assert document.failure == ""
    assert len(document.pages) == pages


def test_the_pages_are_the_ones_that_were_sent() -> None:
    pages = open_document(mail(TIFF)).pages
    assert [page.raster.rows for page in pages] == [RASTER.rows] * 2


def test_a_message_of_the_email_package_is_read() -> None:
    message = EmailMessage()
    message["Subject"] = "Grüße"
    message.set_content("cover sheet")
    message.add_attachment(FAX, maintype="image", subtype="tiff", filename="fax.tif")
    document = open_document(message.as_bytes().replace(b"\n", b"\r\n"))
    assert (len(document.pages), document.headers["Subject"]) == (3, "Grüße")


UNREADABLE = {
    "PDF": (mail(("application/pdf", "", "base64", b64(b"%PDF-1.4"))), "part 1 (application/pdf): this machine prints"),
    "one good TIFF and a bad one": (
        mail(TIFF, ("image/tiff", NAMED, "base64", b64(b"no TIFF"))),
        "part 2 (image/tiff IMAGE.TIF)",
    ),
    "nothing": (b"Subject: x\r\n\r\n", "nothing to print"),
    "nesting of 1,000": (
        b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i) for i in range(1000)),
        "within one another",
    ),
    "messages within messages": (b"Content-Type: message/rfc822\r\n\r\n" * 1000, "within one another"),
    "10,000 parts": (mail(*[("text/plain", "", "7bit", b"x")] * 10_000), "more than 500 parts"),
    "100,000 separators": (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 100_000,
        "could begin a part",
    ),
    "a boundary that is not there": (b"Content-Type: multipart/mixed; boundary=zz\r\n\r\n", "nothing to print"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("message", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_printed_fails_and_says_why(message: bytes, reason: str) -> None:
    document = open_document(message)
    assert reason in document.failure
    assert error_sheet(document, "a@b")


def test_too_many_pages_fail() -> None:
    document = open_document(mail(TIFF, TIFF), Limits(image=tiff.Limits(pages=3)))
    assert "4 pages" in document.failure


def test_a_notification_is_known_as_one() -> None:
    message = mail(("text/plain", "", "7bit", b"read"), kind="report; report-type=disposition-notification")
    assert open_document(message).notification
    assert not open_document(mail(TIFF)).notification


def test_an_error_sheet_names_sender_and_reason() -> None:
    sheet = error_sheet(Document({"Subject": "x"}, (), "part 1: bad"), "jane@example.org")
    longer = error_sheet(Document({"Subject": "x"}, (), "part 1: bad; part 2: bad"), "jane@example.org")
    assert sheet[0].raster.rows != longer[0].raster.rows
    blank = text.render("")[0]
    assert sheet[0].raster.rows != blank.rows


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?utf-8?b?not base64?=", "=?utf-8?b?not base64?="),
        ("=?klingon?q?a?=", "=?klingon?q?a?="),
        ("two\r\n lines", "two lines"),
        ("bell\x07", "bell?"),
    ],
)
def test_a_header_is_decoded_onto_one_line(raw: str, words: str) -> None:
    assert decode_words(raw) == words


@pytest.mark.parametrize(
    ("octets", "words"),
    [("Grüße".encode(), "Grüße"), ("Grüße".encode("latin-1"), "Grüße"), (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße")],
    ids=["UTF-8", "Latin-1", "as it should be"],
)
def test_a_header_of_eight_bits_is_read_as_it_was_meant(octets: bytes, words: str) -> None:
    document = open_document(b"subject: " + octets + b"\r\nSubject: a second one\r\n\r\ntext\r\n")
    assert document.headers["Subject"] == words


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_base64_survives_junk_between_its_digits(data: bytes) -> None:
    assert (
        decode_base64(b"\r\n*".join(base64.b64encode(data)[i : i + 1] for i in range(len(base64.b64encode(data)))))
        == data
    )


ODDITIES = st.sampled_from(
    [
        b"Content-Type: ",
        b"multipart/mixed",
        b"; boundary=",
        b'"b"',
        b"b",
        b"\r\n",
        b"\r\n\r\n",
        b"--b",
        b"--b--",
        b"image/tiff",
        b"Content-Transfer-Encoding: ",
        b"base64",
        b"quoted-printable",
        b"x-uuencode",
        b"=",
        b"text/plain",
        b"; charset=",
        b"utf-16",
        b"begin 644 a\r\n",
        b"end\r\n",
        b"II*\0\x08\0\0\0",
        b"Subject: =?utf-8?b?",
        b"?=",
        b"message/rfc822",
        b"\xff",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(ODDITIES, st.binary(max_size=20)), max_size=40))
def test_whatever_a_message_is_made_of_it_is_a_document_with_pages_or_a_failure(parts: list[bytes]) -> None:
    document = open_document(b"".join(parts), Limits(mime=MimeLimits(parts=20), text_pages=2))
    assert document.pages or document.failure
