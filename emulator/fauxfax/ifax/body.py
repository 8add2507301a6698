"""The message after DATA: found to its end, unstuffed and checked, in whatever pieces it comes.

The message ends at CRLF.CRLF and at nothing else. A chunk without a dot, which is nearly every chunk of base64, is
kept as it is; only around a dot is anything looked at closely. What may be half a terminator at the end of a chunk
is held back until the next one decides.
"""

from __future__ import annotations

import re
from enum import Enum
from io import IncrementalNewlineDecoder

_SMALL = 16 * 1024
"""Pieces below this are gathered in one buffer, so that a message fed octet by octet costs no more than its size."""
_GATHERED = 64 * 1024
"""As much is gathered before it is checked and kept."""
_HEADERS = 64 * 1024
"""Received lines are counted in this much of a message's beginning."""
_BLOCK = 32 * 1024
"""Line ends are checked in blocks of this size: only the block with other lines among those of base64 is slow."""
_DOTS = 32
"""Dots within lines that are passed over one by one, before a chunk is searched for the whole terminator."""
_COLUMNS = 4096
"""Octets from which lines of one length are worth checking as columns, and dots within lines worth passing over."""

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_TERMINATOR = b"\r\n.\r\n"
_GOES_ON = frozenset(b"\r.")
"""Octets that may follow the beginning of a line towards the terminator, or begin it anew."""


class Fault(Enum):
    """Why a message that was read to its end is refused."""

    TOO_LARGE = "larger than there is room for"
    BARE_LINE_END = "CR or LF alone"
    NUL = "a NUL octet"
    LONG_LINE = "a text line over the limit"
    LOOP = "too many Received lines"


class Body:
    """Collects one message. Once it has a fault it keeps nothing and only looks for the end.

    `limit` is the size, `line_limit` the length of a line with its CRLF; `repair` makes bare CR and LF into CRLF
    instead of refusing them. `octets` counts what is kept, `total` all that came.
    """

    __slots__ = ("_breaks", "_column", "_gathered", "_last_carriage", "_limit", "_line_limit", "_pieces", "_repair",
                 "_seen", "fault", "octets", "total")  # fmt: skip

    def __init__(self, limit: int, line_limit: int, *, repair: bool = False) -> None:
        self._limit = limit
        self._line_limit = line_limit
        self._repair = repair
        self._pieces: list[bytes] = []
        self._gathered = bytearray()
        self._seen = b"\r\n"  # as much of the terminator as the octets before end with: a message begins a line
        self._last_carriage = False
        self._breaks = 0  # CR, plus LF, less two for each CRLF: whatever is left stands alone
        self._column = 0
        self.octets = self.total = 0
        self.fault: Fault | None = None

    def feed(self, chunk: bytes, start: int = 0) -> int:
        """Take a chunk from `start` on. Returns the position behind the terminator, or -1 if all of it was taken."""
        if self._seen == b"\r\n" and start < len(chunk) and chunk[start] not in _GOES_ON:
            self._seen = b""  # what nearly every message begins with
        elif self._seen:
            start = self._settle(chunk, start)
            if self._seen == _TERMINATOR:
                return start
        if start >= len(chunk):
            return -1
        if chunk.find(b".", start) < 0:
            self._seen = _half_terminator(chunk)
            self._take(chunk[start:] if start else chunk)
            return -1
        return self._feed_dots(chunk, start)

    def refuse(self, fault: Fault) -> None:
        """Keep nothing of this message: it will be refused at its end. The first fault stays."""
        self.fault = self.fault or fault
        self._pieces.clear()
        self._gathered = bytearray()
        self.octets = 0

    def finish(self, hops: int) -> tuple[bytes, ...]:
        """The message in pieces, once its end was found; empty if `fault` says why it is refused."""
        self._flush()
        if self._breaks and not self._repair:
            self.refuse(Fault.BARE_LINE_END)
        if self._breaks and self.fault is None:
            self._pieces = [_BARE.sub(b"\r\n", b"".join(self._pieces))]
        if self.fault is None and self._received_lines() > hops:
            self.refuse(Fault.LOOP)
        return tuple(self._pieces)

    def _settle(self, chunk: bytes, start: int) -> int:
        """Go on with half a terminator octet by octet, until it is a whole one or none. Returns the place reached."""
        while start < len(chunk):
            octet = chunk[start : start + 1]
            if octet == _TERMINATOR[len(self._seen) : len(self._seen) + 1]:
                self._seen += octet
                start += 1
                if self._seen == _TERMINATOR:
                    return start
                if len(self._seen) <= 2:
                    self._take(octet)
                continue
            if len(self._seen) == 4:  # the dot held back was stuffing, the CR behind it is text
                self._take(b"\r")
            if octet != b"\r":
                self._seen = b""
                return start
            self._seen = octet
            self._take(octet)
            start += 1
        return start

    def _feed_dots(self, chunk: bytes, start: int) -> int:
        """A chunk with dots in it, from a place where no terminator is half seen."""
        near = _pass_dots(chunk, start)
        found = chunk.find(_TERMINATOR, near)
        if found == near:
            self._take(chunk[start : found + 2], last=True)
            return found + len(_TERMINATOR)
        if near > start:
            self._take(chunk[start:near])
            start = near
        if found >= 0:
            self._take(chunk[start : found + 2].replace(b"\r\n.", b"\r\n"), last=True)
            return found + len(_TERMINATOR)
        self._seen = _half_terminator(chunk)
        held = max(0, len(self._seen) - 2)
        self._take(chunk[start : len(chunk) - held].replace(b"\r\n.", b"\r\n"))
        return -1

    def _take(self, piece: bytes, *, last: bool = False) -> None:
        """Keep a piece of the unstuffed message. Small ones are gathered and checked together, but for one alone."""
        self.total += len(piece)
        if self.fault is not None or not piece:
            return
        self.octets += len(piece)
        if self.octets > self._limit:
            self.refuse(Fault.TOO_LARGE)
        elif len(piece) >= _SMALL or (last and not self._gathered):
            self._flush()
            self._check(piece)
        else:
            self._gathered += piece
            if len(self._gathered) >= _GATHERED:
                self._flush()

    def _flush(self) -> None:
        """Check and keep what was gathered."""
        if self._gathered:
            piece = bytes(self._gathered)
            self._gathered = bytearray()
            self._check(piece)

    def _check(self, piece: bytes) -> None:
        if self.fault is not None:
            return
        if b"\0" in piece:
            self.refuse(Fault.NUL)
        elif self._longest_line(piece) > self._line_limit:
            self.refuse(Fault.LONG_LINE)
        else:
            if len(piece) <= _BLOCK:
                self._count_breaks(piece)
            else:
                for start in range(0, len(piece), _BLOCK):
                    self._count_breaks(piece[start : start + _BLOCK])
            self._pieces.append(piece)

    def _count_breaks(self, block: bytes) -> None:
        """Whether every CR and every LF of the message is one of a CRLF, of one across two blocks too."""
        if self._last_carriage and block.startswith(b"\n"):
            self._breaks -= 2
        self._breaks += _count_alone(block)
        self._last_carriage = block.endswith(b"\r")

    def _longest_line(self, piece: bytes) -> int:
        """The length of a line over the limit, if the piece has or ends one; else of some line within it."""
        position = piece.find(b"\n") + 1
        if position == 0:
            self._column += len(piece)
            return self._column
        longest = self._column + position
        while len(piece) - position > self._line_limit:
            behind = piece.rfind(b"\n", position, position + self._line_limit) + 1
            if behind == 0:
                return self._line_limit + 1
            position = behind
        self._column = len(piece) - 1 - piece.rfind(b"\n")
        return longest

    def _received_lines(self) -> int:
        head = b""
        end = -1
        for piece in self._pieces:
            head = (head + piece if head else piece)[:_HEADERS]
            end = head.find(b"\r\n\r\n")
            if end >= 0 or len(head) >= _HEADERS:
                break
        head = (head if end < 0 else head[:end]).lower()
        return head.count(b"\nreceived:") + head.startswith(b"received:")


def _pass_dots(chunk: bytes, start: int) -> int:
    """A place from which on a chunk must be looked at closely: no line before it begins with a dot.

    Single octets are found at memory speed, which the five of the terminator are not: in base64 only the last dot
    begins a line. A text with many dots is not passed over, so that a chunk of nothing else takes no longer.
    """
    if len(chunk) - start < _COLUMNS:
        near = chunk.find(b"\r\n.", start)
        return near if near >= 0 else len(chunk)
    near = start
    for _ in range(_DOTS):
        dot = chunk.find(b".", near)
        if dot < 0 or chunk[dot - 2 : dot] == b"\r\n":
            return max(start, dot - 2) if dot >= 0 else len(chunk)
        near = dot + 1
    return near


def _half_terminator(chunk: bytes) -> bytes:
    """The longest beginning of the terminator, short of all of it, that a chunk ends with."""
    last = chunk[-1:]
    if last not in b"\r\n.":
        return b""
    return next((_TERMINATOR[:size] for size in (4, 3, 2, 1) if chunk.endswith(_TERMINATOR[:size])), b"")


def _count_alone(block: bytes) -> int:
    """How many CR and LF stand alone in a block, with the CR at its end and the LF at its beginning.

    Lines of one length, as base64 has them, are checked as columns: their ends are blanked out in a copy, and what is
    left is searched at memory speed. Counting octet by octet takes ten times as long.
    """
    if len(block) < _COLUMNS:
        return _count_few(block)
    first = block.find(b"\n") + 1
    width = block.find(b"\n", first) + 1 - first
    rows = (len(block) - first) // width if width > 1 else 0
    if rows < 2:
        return _count_plainly(block)
    end = first + rows * width
    feeds, returns = block[first + width - 1 : end : width], block[first + width - 2 : end : width]
    if feeds.count(b"\n") != rows or returns.count(b"\r") != rows:
        return _count_plainly(block)
    text = bytearray(block[first:end])
    text[width - 1 :: width] = text[width - 2 :: width] = bytes(rows)
    if b"\r" in text or b"\n" in text:  # a row may hold two short lines
        return _count_plainly(block)
    return _count_plainly(block[:first]) + _count_plainly(block[end:])


def _count_few(block: bytes) -> int:
    """The same for a small block. `io`'s decoder notes which line ends it has seen, in less than half the time."""
    decoder = IncrementalNewlineDecoder(None, translate=False)
    decoder.decode(block.decode("latin-1"), final=True)
    return 0 if decoder.newlines in (None, "\r\n") else _count_plainly(block)


def _count_plainly(block: bytes) -> int:
    return block.count(b"\r") + block.count(b"\n") - 2 * block.count(b"\r\n")
