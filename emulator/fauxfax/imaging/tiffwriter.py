"""Fax TIFF files, written field by field.

`write` makes what lies in the tray: every page one MMR strip. `write_profile_s` makes what the most modest receiver of
the world can read, to the letter of RFC 3949, 3.5, which no common library does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum

from fauxfax.errors import Misuse
from fauxfax.imaging import t4
from fauxfax.imaging.page import Page
from fauxfax.imaging.raster import Raster
from fauxfax.imaging.t4 import Coding

REVERSED_BITS = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))
"""Turns fill order 2 (least significant bit first) into 1, and back."""


class Tag(IntEnum):
    """The TIFF tags of a fax page; `title` is the name in the standard."""

    NEW_SUBFILE_TYPE = 254
    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    T4_OPTIONS = 292
    T6_OPTIONS = 293
    RESOLUTION_UNIT = 296
    PAGE_NUMBER = 297
    TILE_WIDTH = 322

    @property
    def title(self) -> str:
        """The name in the standard, as nearly as a reader needs it."""
        return self.name.replace("_", " ").title().replace(" ", "")


_SHORT, _LONG, _RATIONAL = 3, 4, 5
_HEADER_SIZE = 8
_COMPRESSION = {Coding.UNCOMPRESSED: 1, Coding.ALIGNED_MH: 2, Coding.MH: 3, Coding.MR: 3, Coding.MMR: 4}
_SINGLE_PAGE_OF_MANY = 2
_RATIO_DENOMINATOR = 1000

PROFILE_S_WIDTH = 1728
PROFILE_S_DPI = ((204, 98), (204, 196), (200, 100), (200, 200))
"""What profile S knows (RFC 3949, 3.5): one width, standard and fine."""


def write(pages: Iterable[Page | Raster], coding: Coding = Coding.MMR) -> bytes:
    """A TIFF-F file (profile F) of all pages, one strip each. A strip that is already so coded, and sound, is kept."""
    drawn = [page if isinstance(page, Page) else Page.of(page) for page in pages]
    strips = [page.strips[0] if _may_be_kept(page, coding) else t4.encode(page.raster, coding) for page in drawn]
    return _file([page.raster for page in drawn], strips, coding, fill_order=1)


def write_profile_s(rasters: Iterable[Raster]) -> bytes:
    """A TIFF file of profile S: little-endian, each directory before its data and the first at offset 8, one MH strip.

    Raises Misuse for a raster that is not 1728 wide, or not at a resolution of the profile.
    """
    drawn = list(rasters)
    for number, raster in enumerate(drawn, 1):
        if raster.width != PROFILE_S_WIDTH or (round(raster.x_dpi), round(raster.y_dpi)) not in PROFILE_S_DPI:
            raise Misuse(
                f"profile S: page {number} is {raster.width} wide at {raster.x_dpi:g} x {raster.y_dpi:g} dpi; "
                f"it must be {PROFILE_S_WIDTH} wide at one of {PROFILE_S_DPI}"
            )
    strips = [t4.encode(raster, Coding.MH).translate(REVERSED_BITS) for raster in drawn]
    return _file(drawn, strips, Coding.MH, fill_order=2)


def _may_be_kept(page: Page, coding: Coding) -> bool:
    return (
        page.coding is coding
        and len(page.strips) == 1
        and not page.aligned_eol
        and not page.black_is_zero
        and not page.damaged
    )


def _file(rasters: Sequence[Raster], strips: Sequence[bytes], coding: Coding, *, fill_order: int) -> bytes:
    """Header, then for each page its directory, the ratios it points to, and its strip; all on word boundaries."""
    if not rasters:
        raise Misuse("tiff: a file needs at least one page")
    parts = [struct.pack("<2sHI", b"II", 42, _HEADER_SIZE)]
    at = _HEADER_SIZE
    for number, (raster, strip) in enumerate(zip(rasters, strips, strict=True)):
        entries = _entries(raster, coding, fill_order, number, len(rasters), len(strip))
        ratios_at = at + 2 + 12 * len(entries) + 4
        strip_at = ratios_at + 16
        padding = bytes(len(strip) % 2)
        end = strip_at + len(strip) + len(padding)
        values = {
            Tag.X_RESOLUTION: ratios_at,
            Tag.Y_RESOLUTION: ratios_at + 8,
            Tag.STRIP_OFFSETS: strip_at,
        }
        parts.append(struct.pack("<H", len(entries)))
        for tag, kind, count, value in entries:
            parts.append(struct.pack("<HHII", tag, kind, count, values.get(tag, value)))
        parts.append(struct.pack("<I", 0 if number == len(rasters) - 1 else end))
        parts.append(struct.pack("<4I", *_ratio(raster.x_dpi), *_ratio(raster.y_dpi)))
        parts += [strip, padding]
        at = end
    return b"".join(parts)


def _entries(
    raster: Raster, coding: Coding, fill_order: int, number: int, pages: int, strip_size: int
) -> list[tuple[Tag, int, int, int]]:
    """Tag, type, count and value, ascending by tag; a SHORT stands in the low half of the value, little-endian."""
    entries = [
        (Tag.NEW_SUBFILE_TYPE, _LONG, 1, _SINGLE_PAGE_OF_MANY),
        (Tag.IMAGE_WIDTH, _LONG, 1, raster.width),
        (Tag.IMAGE_LENGTH, _LONG, 1, raster.height),
        (Tag.BITS_PER_SAMPLE, _SHORT, 1, 1),
        (Tag.COMPRESSION, _SHORT, 1, _COMPRESSION[coding]),
        (Tag.PHOTOMETRIC, _SHORT, 1, 0),
        (Tag.FILL_ORDER, _SHORT, 1, fill_order),
        (Tag.STRIP_OFFSETS, _LONG, 1, 0),
        (Tag.SAMPLES_PER_PIXEL, _SHORT, 1, 1),
        (Tag.ROWS_PER_STRIP, _LONG, 1, raster.height),
        (Tag.STRIP_BYTE_COUNTS, _LONG, 1, strip_size),
        (Tag.X_RESOLUTION, _RATIONAL, 1, 0),
        (Tag.Y_RESOLUTION, _RATIONAL, 1, 0),
        (Tag.RESOLUTION_UNIT, _SHORT, 1, 2),
        (Tag.PAGE_NUMBER, _SHORT, 2, number | pages << 16),
    ]
    if coding in (Coding.MH, Coding.MR):
        entries.append((Tag.T4_OPTIONS, _LONG, 1, 1 if coding is Coding.MR else 0))
    if coding is Coding.MMR:
        entries.append((Tag.T6_OPTIONS, _LONG, 1, 0))
    return sorted(entries)


def _ratio(dpi: float) -> tuple[int, int]:
    if dpi == round(dpi):
        return round(dpi), 1
    return round(dpi * _RATIO_DENOMINATOR), _RATIO_DENOMINATOR
