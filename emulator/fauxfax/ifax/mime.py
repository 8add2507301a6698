"""The MIME tree of a message, read with the standard library and kept from its weaknesses.

What would take too long or too deep is refused before it is parsed; what real senders get wrong is mended: a
multipart without its boundary parameter, a missing closing boundary, base64 with junk in it or cut short, files
uuencoded in text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

from fauxfax.errors import FormatError

HEADERS = (
    "From", "To", "Cc", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Return-Path", "X-Mailer",
    "Disposition-Notification-To", "Disposition-Notification-Options", "Original-Recipient", "Auto-Submitted",
)  # fmt: skip
"""The headers a document keeps."""
_HEADER_LENGTH = 2000
"""Characters kept of one header: a project value."""
_HEADERS_LENGTH = 256 * 1024
"""Octets in which the headers of a message that is not opened are looked for: a project value."""

_NESTING = re.compile(rb"^content-type:\s*(?:multipart|message)/", re.IGNORECASE | re.MULTILINE)
_FIRST_BOUNDARY = re.compile(r"^--([!-~](?:[ -~]{0,68}[!-~])?)[ \t]*\r?$", re.MULTILINE)
_UUENCODED = re.compile(rb"^begin [0-7]{3,4} ([^\r\n]+)\r?\n", re.MULTILINE)
_UUEND = re.compile(rb"^end[ \t]*\r?$", re.MULTILINE)
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_UNREADABLE = (MessageError, RecursionError, ValueError, LookupError, AttributeError, TypeError)
"""What the standard library raises for octets it did not expect."""


@dataclass(frozen=True, slots=True)
class MimeLimits:
    """What a message may ask for before it is parsed; all are project values."""

    parts: int = 500
    nesting: int = 30
    separators: int = 20_000
    """Lines that begin with two hyphens: each could begin a part."""


DEFAULT_LIMITS = MimeLimits()


@dataclass(frozen=True, slots=True)
class Part:
    """One leaf of the tree: its content type in lower case, its file name, its octets decoded."""

    kind: str
    name: str
    data: bytes
    charset: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


def parse(message: bytes, limits: MimeLimits = DEFAULT_LIMITS) -> Message:
    """The tree. Raises FormatError for what is nested too deep or has too many parts to be read at all."""
    if len(_NESTING.findall(message)) > limits.nesting:
        raise FormatError(f"more than {limits.nesting} multiparts and messages within one another")
    if message.count(b"\n--") > limits.separators:
        raise FormatError(f"more than {limits.separators} lines that could begin a part")
    try:
        tree = BytesParser(policy=compat32).parsebytes(message)
        return _with_boundary(tree)
    except _UNREADABLE as error:
        raise FormatError(f"the message cannot be read as MIME ({type(error).__name__})") from None


def parse_headers(message: bytes) -> Message:
    """The headers alone, of a message whose body is not to be parsed; none if they cannot be read."""
    try:
        return BytesParser(policy=compat32).parsebytes(message[:_HEADERS_LENGTH], headersonly=True)
    except _UNREADABLE:
        return Message()


def read_headers(tree: Message) -> dict[str, str]:
    """The headers of `HEADERS` that are there, the first of each name, decoded (RFC 2047), each on one line."""
    there: dict[str, str] = {}
    for name, value in tree.raw_items():
        there.setdefault(name.lower(), str(value))
    return {
        name: decode_words(_of_eight_bits(there[name.lower()]))[:_HEADER_LENGTH]
        for name in HEADERS
        if name.lower() in there
    }


def _of_eight_bits(value: str) -> str:
    """A header with octets that no header may have: UTF-8 as most who write them mean, else Latin-1."""
    octets = value.encode("utf-8", "surrogateescape")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def decode_words(text: str) -> str:
    """A header with its encoded words decoded, folding and controls taken out. What cannot be decoded stays."""
    try:
        text = str(make_header(decode_header(text)))
    except _UNREADABLE:
        pass
    text = " ".join(text.split())
    return "".join(character if character.isprintable() else "?" for character in text)


def leaves(tree: Message, limits: MimeLimits = DEFAULT_LIMITS) -> Iterator[Part]:
    """The parts that hold something, in order; of alternatives the best. Raises FormatError for too many."""
    count = 0
    for leaf in _walk(tree):
        for part in _split_uuencoded(_part(leaf)):
            count += 1
            if count > limits.parts:
                raise FormatError(f"more than {limits.parts} parts")
            yield part


def _walk(tree: Message) -> Iterator[Message]:
    if not tree.is_multipart():
        yield tree
        return
    children = [child for child in tree.get_payload() if isinstance(child, Message)]
    if tree.get_content_type() == "multipart/alternative" and children:
        children = [max(reversed(children), key=_preference)]
    for child in children:
        yield from _walk(child)


def _preference(alternative: Message) -> int:
    """How well a fax machine prints an alternative: a picture best, then plain text."""
    kinds = {part.get_content_type() for part in alternative.walk()}
    return 2 * ("image/tiff" in kinds) + ("text/plain" in kinds)


def _with_boundary(tree: Message) -> Message:
    """A multipart that names no boundary: the first line that looks like one is it."""
    payload = tree.get_payload()
    if tree.get_content_maintype() != "multipart" or tree.is_multipart() or not isinstance(payload, str):
        return tree
    found = _FIRST_BOUNDARY.search(payload)
    if found is None:
        return tree
    tree.set_param("boundary", found[1])
    return BytesParser(policy=compat32).parsebytes(tree.as_bytes())


def _part(leaf: Message) -> Part:
    try:
        kind, charset = leaf.get_content_type(), str(leaf.get_param("charset", "") or "")
        name = decode_words(leaf.get_filename() or "")
        return Part(kind, name[:200], _decoded(leaf), charset)
    except _UNREADABLE as error:
        raise FormatError(f"a part cannot be read ({type(error).__name__})") from None


def _decoded(leaf: Message) -> bytes:
    """The octets of a leaf, its transfer encoding undone."""
    encoding = str(leaf.get("Content-Transfer-Encoding", "")).strip().lower()
    raw = leaf.get_payload(decode=False)
    if encoding == "base64" and isinstance(raw, str):
        return decode_base64(raw.encode("ascii", "replace"))
    decoded = leaf.get_payload(decode=True)
    return decoded if isinstance(decoded, bytes) else b""


def decode_base64(text: bytes) -> bytes:
    """Base64 as it comes from senders: junk is skipped, what follows the padding too, a cut end gives what it has."""
    try:
        return binascii.a2b_base64(text.translate(None, b"\r\n \t"), strict_mode=True)
    except binascii.Error:
        digits = _NOT_BASE64.sub(b"", text.partition(b"=")[0])
        return base64.b64decode(digits[: len(digits) - (len(digits) % 4 == 1)] + b"==")


def _split_uuencoded(part: Part) -> Iterator[Part]:
    """A text with uuencoded files in it: text, file, text, …"""
    position = 0
    if part.kind.startswith("text/") and b"begin " in part.data:
        while (begin := _UUENCODED.search(part.data, position)) is not None:
            end = _UUEND.search(part.data, begin.end())
            stop = end.start() if end else len(part.data)
            file = _decode_uu(part.data[begin.end() : stop])
            if file is None:
                break
            yield Part(part.kind, part.name, part.data[position : begin.start()], part.charset)
            yield Part("application/octet-stream", begin[1].decode("ascii", "replace")[:200], file)
            position = end.end() if end else stop
    yield Part(part.kind, part.name, part.data[position:], part.charset) if position else part


def _decode_uu(lines: bytes) -> bytes | None:
    """A uuencoded file, or None if it is none."""
    try:
        return b"".join(binascii.a2b_uu(line) for line in lines.splitlines() if line.strip())
    except binascii.Error:
        return None
