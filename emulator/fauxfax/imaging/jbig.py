"""JBIG as fax machines send it: one plane, one resolution, decoded with a count of the damage.

The octets of a strip are a *bi-level image entity* (BIE): a header, then stripes of rows, each coded arithmetically and
ended by a marker. Sources: ITU-T T.82 (the coding), T.85 (what of it a fax may use), RFC 3949 section 5 (profile J).

An arithmetic code has no code words that could be wrong: any octets give some picture. So damage is noticed where a
stripe ends, and what it is worth is told as honestly as that allows:

- The octets of a stripe must be used up by its rows. If they are not, all its rows are bad, and so are those of the
  stripes after it, which go on with what was learnt in it, up to the next reset (SDRST). Bad rows repeat the row above.
- A marker that does not exist, or may not stand where it stands, loses the rest of the strip: those rows are bad.
- A strip that is cut, or that its sender broke off (ABORT), gives the rows that rest on octets which came.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from fauxfax.errors import FormatError
from fauxfax.imaging.jbigcoder import ArithmeticDecoder
from fauxfax.imaging.t4decoder import StripRows

_HEADER = struct.Struct(">4B3I4B")
HEADER_SIZE = _HEADER.size
_SEGMENT = struct.Struct(">BI")
_PLACE = struct.Struct("bB")

_MAX_MOVES = 64
"""Project value: moves of the adaptive element in one stripe; T.85 allows one."""
_MAX_X = 127

_TYPICAL_PREDICTION = 0x08
_VARIABLE_LENGTH = 0x20
_TWO_LINES = 0x40
_OWN_BITS = (2, 4)
"""Elements of the row itself in a context, by three lines and two."""
_TYPICAL_CONTEXT = (0x0E5, 0x195)
"""In which a row says whether it is as typical as the one above; they are ordinary contexts, too."""
_OWN_TABLE = 0x07
"""DPON, DPPRIV and DPLAST: only together with DPPRIV and without DPLAST does a table of 1,728 octets follow."""
_TABLE_FOLLOWS = 0x06
_TABLE_SIZE = 1728

_MARKER = re.compile(rb"\xff[^\0]", re.DOTALL)
_FLOATING = re.compile(rb"\xff(?:[\x05\x07].{4}|\x06.{6})", re.DOTALL)
_DIGITS = bytes.maketrans(b"\0\1", b"01")


class Marker(IntEnum):
    """The octet after an escape."""

    STUFF = 0x00
    SDNORM = 0x02
    SDRST = 0x03
    ABORT = 0x04
    NEWLEN = 0x05
    ATMOVE = 0x06
    COMMENT = 0x07


_ENDS = (Marker.SDNORM, Marker.SDRST)
_EMPTY_STRIPES = tuple(bytes((0xFF, end)) for end in _ENDS)
"""What may follow a NEWLEN that comes after the last row (T.82, 6.2.6.2)."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a BIE says of its picture.

    Attributes:
        width: picture elements in a row.
        height: rows; at most, if `variable_length`.
        stripe_rows: rows of each stripe but the last.
        max_x: how far the adaptive element may move along a row.
        max_y: and how far up.
        two_lines: a context has elements of two rows, not of three.
        typical_prediction: a row may say that it is like the row above.
        variable_length: a NEWLEN may lower the height.
        size: octets of the header, with a table that may follow it.
    """

    width: int
    height: int
    stripe_rows: int
    max_x: int
    max_y: int
    two_lines: bool
    typical_prediction: bool
    variable_length: bool
    size: int


def read_header(strip: bytes, width: int, height: int) -> Header:
    """The header of a strip that should hold so many rows of so many picture elements.

    Raises FormatError for what no fax may send, and for a size that is not the strip's. A height that may still be
    lowered (T.85) may be too large, but not too small.
    """
    if len(strip) < HEADER_SIZE:
        raise FormatError(f"the JBIG header is cut: {len(strip)} octets of {HEADER_SIZE}")
    first, last, planes, fill, x, y, stripe_rows, max_x, max_y, order, options = _HEADER.unpack_from(strip)
    if first or last:
        raise FormatError(f"JBIG in layers {first} to {last}: a fax has one resolution, not progressive ones (T.85)")
    if planes != 1:
        raise FormatError(f"JBIG of {planes} planes: a fax page is black and white (T.85)")
    if fill or order & 0xF0 or options & 0x80 or max_x > _MAX_X or not stripe_rows:
        raise FormatError(f"no header of JBIG: {strip[:HEADER_SIZE].hex(' ')}")
    variable = bool(options & _VARIABLE_LENGTH)
    if x != width:
        raise FormatError(f"JBIG of {x} picture elements a row, where {width} are announced")
    if y < height or (y > height and not variable):
        raise FormatError(f"JBIG of {y} rows, where {height} are announced")
    return Header(
        width=x,
        height=y,
        stripe_rows=stripe_rows,
        max_x=max_x,
        max_y=max_y,
        two_lines=bool(options & _TWO_LINES),
        typical_prediction=bool(options & _TYPICAL_PREDICTION),
        variable_length=variable,
        size=HEADER_SIZE + (_TABLE_SIZE if options & _OWN_TABLE == _TABLE_FOLLOWS else 0),
    )


def is_reversed(strip: bytes) -> bool:
    """Whether the octets stand with the least significant bit first: one plane looks like 128 then."""
    return strip[2:3] == b"\x80"


@dataclass(frozen=True, slots=True)
class Stripe:
    """The octets of some rows, escapes undone; where the adaptive element moves to, by row; and how it ended."""

    data: bytes
    moves: dict[int, tuple[int, int]]
    end: Marker | None
    """SDNORM or SDRST; None if the strip was cut, or broken off by its sender."""


class _Segments:
    """Takes a BIE apart: stripes, and marker segments between them. Nothing is decoded here.

    Attributes:
        height: rows of the picture, as far as no NEWLEN has lowered them yet.
        at: where the part begins that was not looked at.
    """

    def __init__(self, strip: bytes, header: Header) -> None:
        self._strip = strip
        self._header = header
        self._new_length = False
        self.height = header.height
        self.at = header.size

    @property
    def ends(self) -> bool:
        """Whether nothing follows but padding, and the empty stripe that a late NEWLEN has (T.82, 6.2.6.2)."""
        rest = self._strip[self.at :].rstrip(b"\0")
        return not rest or (self._new_length and rest in _EMPTY_STRIPES)

    def __iter__(self) -> Iterator[Stripe]:
        """The stripes; when one comes, the NEWLEN behind it, which may concern it, has been read.

        Raises FormatError, instead of the next stripe, for a marker segment that is none.
        """
        moves = self._floating()
        while self.at < len(self._strip):
            data, end = self._coded()
            problem, following = None, {}
            try:
                following = self._floating()
            except FormatError as error:
                problem = error
            yield Stripe(data, moves, end)
            if problem is not None:
                raise problem
            moves = following

    def _coded(self) -> tuple[bytes, Marker | None]:
        """The octets up to the next marker, escapes undone, and the marker if it is an end."""
        start, found = self.at, _MARKER.search(self._strip, self.at)
        self.at = found.end() if found else len(self._strip)
        data = self._strip[start : found.start() if found else self.at].removesuffix(b"\xff")
        code = found[0][1] if found else Marker.ABORT
        if code not in (*_ENDS, Marker.ABORT):
            raise FormatError(f"a stripe ends with marker {code}")
        return data.replace(b"\xff\0", b"\xff"), Marker(code) if code in _ENDS else None

    def _floating(self) -> dict[int, tuple[int, int]]:
        """Read the marker segments up to the next stripe; the moves of the adaptive element that they ask for."""
        moves: dict[int, tuple[int, int]] = {}
        while found := _FLOATING.match(self._strip, self.at):
            kind, number = _SEGMENT.unpack_from(found[0], 1)
            if kind == Marker.NEWLEN:
                self._shorten(number)
            elif kind == Marker.ATMOVE:
                moves[number] = self._move(*_PLACE.unpack_from(found[0], 6))
            self.at = found.end() + (number if kind == Marker.COMMENT else 0)
            if len(moves) > _MAX_MOVES:
                raise FormatError(f"more than {_MAX_MOVES} moves of the adaptive element in a stripe")
        return moves

    def _shorten(self, height: int) -> None:
        if self._new_length or not self._header.variable_length or height > self.height:
            raise FormatError(f"a new height of {height} rows, where none may come")
        self._new_length = True
        self.height = height

    def _move(self, x: int, y: int) -> tuple[int, int]:
        """Where the element goes: within the limits of the header, and not onto one that the context has anyway."""
        header = self._header
        nearest = _OWN_BITS[header.two_lines] + 1 if y == 0 else -header.max_x
        if (x or y) and not (nearest <= x <= header.max_x and y <= header.max_y):
            raise FormatError(f"the adaptive element moves to {x}, {y}")
        return x, y


def decode(strip: bytes, width: int, height: int, above: bytes) -> StripRows:
    """Decode one strip, most significant bit first. Damage is in the answer, never an exception.

    Args:
        strip: a BIE. One whose header `read_header` refuses has no rows.
        width: picture elements in a row.
        height: rows that it should hold.
        above: the packed row above the strip, which a bad first row repeats.
    """
    try:
        header = read_header(strip, width, height)
    except FormatError:
        return StripRows([], [], end_damaged=len(strip) >= HEADER_SIZE)
    return _PictureDecoder(strip, header, height, above).decode()


class _PictureDecoder:
    """Decodes one BIE; for one call of `decode`.

    Rows go out packed. For the contexts a row is a long number, an octet an element and the leftmost lowest, so that a
    shift brings the neighbours of all elements into place at once.
    """

    def __init__(self, strip: bytes, header: Header, wanted: int, above: bytes) -> None:
        self._header = header
        self._segments = _Segments(strip, header)
        self._wanted = wanted
        self._above = above
        self._coder = ArithmeticDecoder(_OWN_BITS[header.two_lines])
        self._lines: deque[int] = deque(maxlen=max(2, header.max_y))
        self._out: list[bytes] = []
        self._bad: list[int] = []
        self._reset()

    def decode(self) -> StripRows:
        """The rows, and what was wrong with them."""
        ended = True
        try:
            for stripe in self._segments:
                self._add(stripe)
                ended = stripe.end is not None
                if not ended or len(self._out) >= min(self._wanted, self._segments.height):
                    break
        except FormatError:
            self._lose(self._wanted - len(self._out))
        end_damaged = not self._segments.ends or not ended
        return StripRows(self._out, self._bad, end_damaged)

    def _reset(self) -> None:
        """As at the beginning, and after SDRST: nothing learnt, white paper above."""
        self._coder.reset()
        self._lines.extend([0] * (self._lines.maxlen or 0))
        self._row = bytes((self._header.width + 7) // 8)
        self._typical = False
        self._moved = (0, 0)
        self._sound = True

    def _add(self, stripe: Stripe) -> None:
        rows = min(self._header.stripe_rows, self._wanted - len(self._out), self._segments.height - len(self._out))
        if self._sound:
            decoded = self._decode(stripe, rows)
            self._sound = stripe.end is None or self._coder.exhausted
        if self._sound:
            self._out += decoded
        else:
            self._lose(rows)
        if stripe.end is Marker.SDRST:
            self._reset()

    def _decode(self, stripe: Stripe, rows: int) -> list[bytes]:
        """The rows of a stripe; of a stripe without end those that do not rest on what is missing."""
        decoded: list[bytes] = []
        self._coder.begin(stripe.data)
        for number in range(rows):
            self._moved = stripe.moves.get(number, self._moved)
            row = self._next_row()
            if stripe.end is None and self._coder.overdrawn:
                break
            decoded.append(row)
        return decoded

    def _lose(self, rows: int) -> None:
        row = self._out[-1] if self._out else self._above
        self._bad += range(len(self._out), len(self._out) + rows)
        self._out += [row] * rows

    def _next_row(self) -> bytes:
        """The next row, packed."""
        header = self._header
        if header.typical_prediction:
            self._typical ^= not self._coder.decide(_TYPICAL_CONTEXT[header.two_lines])
            if self._typical:
                self._lines.append(self._lines[-1])
                return self._row
        x, y = self._moved
        elements = bytearray(header.width + _MAX_X)
        self._coder.decode(self._surroundings(x, y), elements, moved=0 if y else x)
        del elements[header.width :]
        self._lines.append(int.from_bytes(elements, "little"))
        packed = int(elements.translate(_DIGITS), 2) << -header.width % 8
        self._row = packed.to_bytes(len(self._row), "big")
        return self._row

    def _surroundings(self, x: int, y: int) -> bytes:
        """For each element, the bits of its context from the rows above.

        From the left, of the row two above: one before to one behind; of the row above: two before to two behind, or
        three before if it is the only one. The last is the adaptive element, unless it has moved.
        """
        lines, width = self._lines, self._header.width
        one, two = lines[-1], lines[-2]
        bits = one << 20 | one << 11 | one << 2 | one >> 7
        bits |= one << 29 if self._header.two_lines else two << 15 | two << 6 | two >> 3
        if not (x or y):
            bits |= one >> 16
        elif y:
            bits |= lines[-y] << 8 * x if x > 0 else lines[-y] >> -8 * x
        return bits.to_bytes(width + _MAX_X + 1, "little")[:width]
