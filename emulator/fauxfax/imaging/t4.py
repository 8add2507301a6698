"""Fax pictures, T.4, T.6 and JBIG: decoded with a count of the damage, and encoded.

Two decoders share the work. libtiff is quick and keeps silent about damage, so its picture is believed only when it is
*proven*: encoded again in the same coding it must give the very bits that came in, up to the padding and the end of
the page. Every strip that is not proven goes to our own decoder, which knows the good rows from the bad
(:mod:`~fauxfax.imaging.t4decoder`). A strip of another legal encoder is not proven, only slower. JBIG has no quick way
(:mod:`~fauxfax.imaging.jbig`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from fauxfax.errors import Misuse
from fauxfax.imaging import jbig, libtiff
from fauxfax.imaging.raster import Raster, without_padding
from fauxfax.imaging.t4bits import BitStream, significant_bits, starts_with
from fauxfax.imaging.t4decoder import StripDecoder, StripRows

MAX_ROWS = 100_000
"""Project value: rows of a strip that does not say how many it holds."""

FINE_DPI = 150
"""Rows per inch from which MR codes one row in four by itself, not one in two (T.4, 4.2)."""

_EOFB_BITS = 24
_BEGINNING = 4096
"""Octets in which the third row of a strip is looked for."""


class Coding(Enum):
    """How picture elements became octets; the value is its name in the field."""

    UNCOMPRESSED = "uncompressed"
    MH = "MH"
    """T.4 one-dimensional, with end-of-line codes: TIFF compression 3."""
    ALIGNED_MH = "MH without EOL"
    """T.4 one-dimensional, no end-of-line codes, every row on an octet boundary: TIFF compression 2."""
    MR = "MR"
    """T.4 two-dimensional: TIFF compression 3 with bit 0 of T4Options."""
    MMR = "MMR"
    """T.6: TIFF compression 4."""
    JBIG = "JBIG"
    """T.82 in the profile of T.85: TIFF compression 9, or 34661 where libtiff wrote it. It is only read."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded picture and what was wrong with it.

    Attributes:
        width: picture elements in a row.
        height: rows that there are.
        rows: packed, as in :class:`Raster`.
        bad_rows: numbers of the rows that could not be decoded and repeat the row above, ascending.
        missing_rows: rows that were announced and are not there, because the strip ended.
        end_damaged: after the last row stands something that is no end of a picture: a damaged end-of-page code, or
            more rows than announced. Every row is good, yet the octets are not what an encoder wrote.
        proven: the whole picture came by the quick way.
    """

    width: int
    height: int
    rows: bytes
    bad_rows: tuple[int, ...] = ()
    missing_rows: int = 0
    end_damaged: bool = False
    proven: bool = False

    @property
    def damaged(self) -> bool:
        """Whether anything was wrong at all."""
        return bool(self.bad_rows or self.missing_rows or self.end_damaged)


def decode(data: bytes, width: int, height: int | None, coding: Coding, *, aligned_eol: bool = False) -> Decoded:
    """Decode one strip, most significant bit first. Damage is in the answer, never an exception.

    Args:
        data: the strip.
        width: picture elements in a row.
        height: rows it should hold; None if only its end tells, and then at most MAX_ROWS; JBIG must be told.
        coding: of the strip.
        aligned_eol: end-of-line codes end on an octet boundary. Only speed depends on it.
    """
    if height is None:
        if coding is Coding.JBIG:
            raise Misuse("t4: a JBIG strip says how many rows it has; read its header and tell")
        return _assemble([_decode_slowly(data, width, None, coding, bytes((width + 7) // 8))], width, None)
    return decode_strips([data], width, height, max(1, height), coding, aligned_eol=aligned_eol)


def decode_strips(
    strips: Sequence[bytes],
    width: int,
    height: int,
    rows_per_strip: int,
    coding: Coding,
    *,
    aligned_eol: bool = False,
    quick: bool = True,
) -> Decoded:
    """Decode the strips of one picture, most significant bit first; a strip's damage ends with the strip.

    `quick=False` leaves everything to our own decoder.
    """
    proven: list[bytes | None] = [None] * len(strips)
    if quick and height and strips and coding not in (Coding.UNCOMPRESSED, Coding.JBIG):
        k = _k_of(strips[0]) if coding is Coding.MR else libtiff.K_FINE
        proven = _prove(strips, width, height, _scheme(coding, rows_per_strip, aligned_eol, k))
    parts: list[StripRows] = []
    above = bytes((width + 7) // 8)
    for number, (strip, rows) in enumerate(zip(strips, proven, strict=True)):
        wanted = min(rows_per_strip, height - number * rows_per_strip)
        if rows is not None:
            part = StripRows([rows], [], end_damaged=False)
        else:
            part = _decode_slowly(strip, width, wanted, coding, above)
            if number < len(strips) - 1:
                _fill(part, wanted, above)
        parts.append(part)
        above = part.rows[-1][-len(above) :] if part.rows else above
    return _assemble(parts, width, height, proven=None not in proven)


def encode(raster: Raster, coding: Coding, *, aligned_eol: bool = False) -> bytes:
    """One strip, most significant bit first.

    MH and MR begin with an end-of-line code and have no return to control, as TIFF wants them (RFC 3949); MMR
    ends with its end-of-facsimile-block.
    """
    if coding is Coding.JBIG:
        raise Misuse("t4: JBIG cannot be encoded; choose MH, MR or MMR")
    if coding is Coding.UNCOMPRESSED or not raster.height:
        return raster.rows
    k = libtiff.K_FINE if raster.y_dpi >= FINE_DPI else libtiff.K_STANDARD
    scheme = _scheme(coding, raster.height, aligned_eol, k)
    return libtiff.encode(raster.rows, raster.width, raster.height, scheme)[0]


def _scheme(coding: Coding, rows_per_strip: int, aligned_eol: bool, k: int) -> libtiff.Scheme:
    compression = {Coding.ALIGNED_MH: 2, Coding.MH: 3, Coding.MR: 3, Coding.MMR: 4}[coding]
    options = libtiff.T4_TWO_DIMENSIONAL if coding is Coding.MR else 0
    if aligned_eol:
        options |= libtiff.T4_ALIGNED_EOL
    return libtiff.Scheme(compression, options, rows_per_strip, k)


def _k_of(strip: bytes) -> int:
    """The K an MR strip was coded with, as far as the tag bit of its third row tells."""
    stream = BitStream(strip[:_BEGINNING])
    position = 0
    for _ in range(3):
        position = stream.next_eol(max(0, position))
    return libtiff.K_STANDARD if position > 0 and stream.bit(position) else libtiff.K_FINE


def _prove(strips: Sequence[bytes], width: int, height: int, scheme: libtiff.Scheme) -> list[bytes | None]:
    """The rows of each strip that the library decodes to what encodes to the same bits; None for the others."""
    rows = libtiff.decode(strips, width, height, scheme)
    if rows is None:
        return [None] * len(strips)
    encoded = libtiff.encode(rows, width, height, scheme)
    size = (width + 7) // 8 * scheme.rows_per_strip
    return [
        rows[number * size : (number + 1) * size] if _same_picture(strip, again, scheme) else None
        for number, (strip, again) in enumerate(zip(strips, encoded, strict=True))
    ]


def _same_picture(strip: bytes, encoded: bytes, scheme: libtiff.Scheme) -> bool:
    """Whether a strip holds the bits of the encoded one, and after them nothing but an end."""
    if strip == encoded:
        return True
    bits = significant_bits(encoded) - (_EOFB_BITS if scheme.compression == 4 else 0)
    tagged = bool(scheme.t4_options & libtiff.T4_TWO_DIMENSIONAL)
    return starts_with(strip, encoded, bits) and BitStream(strip).ends(bits, tagged=tagged)


def _decode_slowly(strip: bytes, width: int, height: int | None, coding: Coding, above: bytes) -> StripRows:
    if coding is Coding.JBIG and height is not None:
        return jbig.decode(strip, width, height, above)
    if coding is Coding.UNCOMPRESSED:
        stride = len(above)
        whole = len(strip) // stride
        size = stride * (whole if height is None else min(whole, height))
        rows = without_padding(strip[:size], width)
        return StripRows([rows[at : at + stride] for at in range(0, size, stride)], [], end_damaged=False)
    decoder = StripDecoder(strip, width, MAX_ROWS if height is None else height, height=height, above=above)
    if coding is Coding.MMR:
        return decoder.decode_mmr()
    if coding is Coding.ALIGNED_MH:
        return decoder.decode_aligned()
    return decoder.decode_with_eol(two_dimensional=coding is Coding.MR)


def _fill(part: StripRows, wanted: int, above: bytes) -> None:
    """Give a strip that ended early the rows that the strips after it count on."""
    last = part.rows[-1] if part.rows else above
    while len(part.rows) < wanted:
        part.bad_rows.append(len(part.rows))
        part.rows.append(last)


def _assemble(parts: list[StripRows], width: int, height: int | None, *, proven: bool = False) -> Decoded:
    stride = (width + 7) // 8
    rows = b"".join(row for part in parts for row in part.rows)
    bad: list[int] = []
    first = 0
    for part in parts:
        bad.extend(first + number for number in part.bad_rows)
        first += sum(map(len, part.rows)) // stride
    return Decoded(
        width,
        first,
        rows,
        tuple(bad),
        0 if height is None else height - first,
        any(part.end_damaged for part in parts),
        proven,
    )
