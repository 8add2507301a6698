"""A message becomes a fax document: its parts in order, each as pages.

TIFF is known by its first octets whatever it is called, text prints as text, and what a fax machine cannot print is a
failure of the whole document, said aloud (RFC 3965 2.2.4).
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from email.message import Message
from html.parser import HTMLParser

from fauxfax.errors import FormatError
from fauxfax.ifax.mime import MimeLimits, Part, leaves, parse, parse_headers, read_headers
from fauxfax.imaging import text, tiff
from fauxfax.imaging.page import Page

_TIFF_MAGIC = (b"II*\0", b"MM\0*")
_TIFF_TYPES = frozenset({"image/tiff", "image/tiff-fx", "image/tif", "image/x-tiff", "application/tiff"})
_SILENT_TYPES = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature", "text/x-vcard"}
)
"""Parts that are for programs: nobody misses them on paper."""
_NOT_FOR_MAIL = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"})
"""Codecs that are no character sets of mail; two of them take quadratic time."""
_FAILURES = 5
"""Failures named in the reason; more would not help who reads it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may ask for before a picture element is decoded."""

    mime: MimeLimits = field(default_factory=MimeLimits)
    image: tiff.Limits = field(default_factory=tiff.Limits)
    text_pages: int = 100
    """Pages that one text part may fill."""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Document:
    """What a message says as a fax.

    `headers` has the headers that were there, decoded. With a `failure` the pages are those that could be read, and
    the document as a whole has failed. `notification`: it is an MDN or a DSN itself, and is never answered.
    """

    headers: dict[str, str]
    pages: tuple[Page, ...]
    failure: str = ""
    notification: bool = False


def open_document(message: bytes, limits: Limits = DEFAULT_LIMITS) -> Document:
    """The document of a message. It does not raise for what a message says: the document then has a `failure`."""
    try:
        tree = parse(message, limits.mime)
    except FormatError as error:
        return unopened(message, str(error))
    pages, failures = _all_pages(tree, limits)
    if not pages and not failures:
        failures.append("the message has nothing to print")
    decoded = sum((page.width + 7) // 8 * page.height for page in pages)
    if len(pages) > limits.image.pages or decoded > limits.image.decoded:
        failures.append(f"{len(pages)} pages of {decoded} octets: more than a document may have")
        pages = []
    return Document(read_headers(tree), tuple(pages), "; ".join(failures[:_FAILURES]), _is_notification(tree))


def unopened(message: bytes, failure: str) -> Document:
    """The document of a message that must not be opened again: what its headers say, and why it failed."""
    top = parse_headers(message)
    return Document(read_headers(top), (), failure, _is_notification(top))


def _is_notification(tree: Message) -> bool:
    return tree.get_content_type() in ("multipart/report", "message/disposition-notification")


def error_sheet(document: Document, sender: str) -> list[Page]:
    """The page that is printed for a document that failed: what came, from whom, and why it is not here."""
    lines = [f"From: {document.headers.get('From', sender)}", f"Envelope sender: <{sender}>"]
    lines += [
        f"{name}: {document.headers[name]}" for name in ("Subject", "Date", "Message-Id") if name in document.headers
    ]
    lines += ["", "This message could not be printed:", *document.failure.split("; ")]
    return [Page.of(raster, number) for number, raster in enumerate(text.render("\n".join(lines), heading="ERROR"), 1)]


def _all_pages(tree: Message, limits: Limits) -> tuple[list[Page], list[str]]:
    """The pages of all parts, and what is wrong with those that have none. No part is drawn before all are found."""
    pages: list[Page] = []
    failures: list[str] = []
    try:
        parts = list(leaves(tree, limits.mime))
    except FormatError as error:
        return [], [str(error)]
    for number, part in enumerate(parts, 1):
        try:
            pages += _pages(part, limits)
        except FormatError as error:
            failures.append(f"part {number} ({part}): {error}")
    return pages, failures


def _pages(part: Part, limits: Limits) -> list[Page]:
    if part.data.startswith(_TIFF_MAGIC) or _is_called_tiff(part):
        return tiff.read(part.data, limits.image)
    if part.kind.startswith("text/") or part.kind in ("message/delivery-status", "message/disposition-notification"):
        return (
            [Page.of(raster) for raster in text.render(words, max_pages=limits.text_pages)]
            if (words := _words(part))
            else []
        )
    if part.kind in _SILENT_TYPES or not part.data.strip():
        return []
    raise FormatError("this machine prints TIFF-F and text only")


def _is_called_tiff(part: Part) -> bool:
    return part.kind in _TIFF_TYPES or part.name.lower().endswith((".tif", ".tiff"))


def _words(part: Part) -> str:
    """The text of a text part; nothing if there is only white space."""
    try:
        codec = codecs.lookup(part.charset or "utf-8").name
        if codec in _NOT_FOR_MAIL:
            codec = "utf-8"
        words = part.data.decode(codec, "strict" if codec == "utf-8" else "replace")
    except (LookupError, UnicodeDecodeError, TypeError, ValueError):
        words = part.data.decode("latin-1")
    if part.kind == "text/html":
        words = _without_markup(words)
    return words if words.strip() else ""


class _Words(HTMLParser):
    """What a reader sees of HTML, roughly: its text, a line a block."""

    _BLOCKS = frozenset(
        {"p", "div", "br", "tr", "li", "table", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "blockquote"}
    )
    _UNSEEN = frozenset({"script", "style", "head", "title"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._hidden += tag in self._UNSEEN
        if tag in self._BLOCKS:
            self.words.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in self._UNSEEN and self._hidden > 0

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(re.sub(r"\s+", " ", data))


def _without_markup(html: str) -> str:
    parser = _Words()
    try:
        parser.feed(html)
        parser.close()
    except (AssertionError, ValueError):
        return html
    return "".join(parser.words).strip()
