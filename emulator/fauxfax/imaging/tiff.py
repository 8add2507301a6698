"""TIFF-F, profiles S, F and, where it is allowed, J: what a fax document looks like in a file.

`read` gives the pages, `write` and `write_profile_s` make files. Everything that can be refused is refused before a
picture element is decoded. Sources: RFC 3949 (profiles S, F and J), TIFF 6.0.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from fauxfax.errors import FormatError
from fauxfax.imaging import jbig
from fauxfax.imaging.ifd import Directory, read_directories
from fauxfax.imaging.page import Page
from fauxfax.imaging.raster import MILLIMETRES_PER_INCH
from fauxfax.imaging.t4 import Coding
from fauxfax.imaging.tiffwriter import REVERSED_BITS, Tag, write, write_profile_s

__all__ = ["Limits", "Page", "Tag", "read", "write", "write_profile_s"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a document may ask for before anything of it is decoded."""

    pixels: int = 40_000_000
    """Picture elements of a page."""
    length_mm: float = 2000.0
    """Width and height of a page on paper."""
    pages: int = 500
    decoded: int = 1 << 30
    """Octets of all pages together, decoded."""
    coded: int = 1 << 28
    """Octets of all strips together, coded; strips that overlap could ask for more than the file holds."""
    jbig: bool = False
    """Whether profile J is read; the family's machines say that they do not."""


DEFAULT_LIMITS = Limits()

DEFAULT_DPI: dict[int, tuple[float, float]] = {
    **dict.fromkeys((1728, 2048, 2432), (204.0, 196.0)),
    **dict.fromkeys((2592, 3072, 3648), (300.0, 300.0)),
    **dict.fromkeys((3456, 4096, 4864), (408.0, 391.0)),
}
"""Resolution of a page that does not tell, by the widths of fax paper (RFC 3949); the first for any other width."""

KNOWN_DPI = ((204, 98), (204, 196), (204, 391), (200, 100), (200, 200), (300, 300), (400, 400), (408, 391))
"""Resolutions believed even where the file names no unit."""

PLAUSIBLE_DPI = (50.0, 1300.0)
"""Project value: a resolution outside is a writer's filler (1 x 1), not a measure."""

_COMPRESSIONS = {
    1: Coding.UNCOMPRESSED,
    2: Coding.ALIGNED_MH,
    3: Coding.MH,
    4: Coding.MMR,
    9: Coding.JBIG,
    34661: Coding.JBIG,  # libtiff's own number, older than RFC 2301
}
_T4_TWO_DIMENSIONAL = 1
_T4_ALIGNED_EOL = 4
_UNIT_INCH, _UNIT_CENTIMETRE = 2, 3
_CENTIMETRES_PER_INCH = 2.54
_MAX_STRIPS = 65_536


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Page]:
    """The pages of a TIFF-F file, in the order of its directories; none is decoded yet.

    Raises FormatError, whose `where` names the directory and the tag, for what is no TIFF, what is no fax page, what
    contradicts itself, and what exceeds a limit. Damage within a strip is not refused: the page counts it.
    """
    pages: list[Page] = []
    decoded = coded = 0
    for directory in read_directories(data, limits.pages):
        page = _read_page(data, directory, limits, limits.coded - coded)
        decoded += (page.width + 7) // 8 * page.height
        coded += sum(map(len, page.strips))
        if decoded > limits.decoded:
            raise FormatError(f"the document exceeds {limits.decoded} octets decoded", directory.where())
        pages.append(page)
    return pages


def _read_page(data: bytes, directory: Directory, limits: Limits, allowance: int) -> Page:
    _refuse_colour(directory)
    coding, aligned_eol = _coding(directory, limits)
    width, height = directory.integer(Tag.IMAGE_WIDTH), directory.integer(Tag.IMAGE_LENGTH)
    x_dpi, y_dpi = _resolution(directory, width)
    _check_size(directory, width, height, x_dpi, y_dpi, limits)
    fill_order = directory.integer(Tag.FILL_ORDER, 1)
    if fill_order not in (1, 2):
        raise FormatError(f"FillOrder is {fill_order}, not 1 or 2", directory.where(Tag.FILL_ORDER))
    offsets = directory.integers(Tag.STRIP_OFFSETS, _MAX_STRIPS)
    rows_per_strip = _rows_per_strip(directory, height, len(offsets))
    strips = _strips(data, directory, offsets, _strip_sizes(data, directory, offsets), allowance)
    if fill_order == 2:
        strips = [strip.translate(REVERSED_BITS) for strip in strips]
    if coding is Coding.JBIG:
        strips = _jbig_strips(directory, strips, width, height, rows_per_strip)
    return Page(
        number=directory.number,
        width=width,
        height=height,
        x_dpi=x_dpi,
        y_dpi=y_dpi,
        coding=coding,
        strips=tuple(strips),
        rows_per_strip=rows_per_strip,
        aligned_eol=aligned_eol,
        black_is_zero=directory.integer(Tag.PHOTOMETRIC, 0) == 1,
    )


def _refuse_colour(directory: Directory) -> None:
    wanted = {
        Tag.BITS_PER_SAMPLE: (1, (1,)),
        Tag.SAMPLES_PER_PIXEL: (1, (1,)),
        Tag.PHOTOMETRIC: (0, (0, 1)),
    }
    for tag, (default, allowed) in wanted.items():
        values = directory.integers(tag, 8) or (default,)
        if len(values) != 1 or values[0] not in allowed:
            raise FormatError(f"{tag.title} is {values}: a fax page is black and white", directory.where(tag))
    if Tag.TILE_WIDTH in directory:
        raise FormatError("a fax page is made of strips, not of tiles", directory.where(Tag.TILE_WIDTH))


def _coding(directory: Directory, limits: Limits) -> tuple[Coding, bool]:
    """The coding, and whether its end-of-line codes are aligned."""
    compression = directory.integer(Tag.COMPRESSION, 1)
    coding = _COMPRESSIONS.get(compression)
    if coding is None:
        raise FormatError(
            f"compression {compression} is not printed here: use 1, 2, 3 (MH, MR) or 4 (MMR)",
            directory.where(Tag.COMPRESSION),
        )
    if coding is Coding.JBIG and not limits.jbig:
        raise FormatError(
            f"compression {compression} (JBIG) is printed only with the setting machine.jbig",
            directory.where(Tag.COMPRESSION),
        )
    if coding is not Coding.MH:
        return coding, False
    options = directory.integer(Tag.T4_OPTIONS, 0)
    return (Coding.MR if options & _T4_TWO_DIMENSIONAL else Coding.MH), bool(options & _T4_ALIGNED_EOL)


def _resolution(directory: Directory, width: int) -> tuple[float, float]:
    """Elements and rows per inch; the fax default where the file does not tell, or tells nonsense."""
    default = DEFAULT_DPI.get(width, DEFAULT_DPI[1728])
    x, y = directory.ratio(Tag.X_RESOLUTION), directory.ratio(Tag.Y_RESOLUTION)
    unit = directory.integer(Tag.RESOLUTION_UNIT, _UNIT_INCH)
    if x is None or y is None:
        return default
    if unit == _UNIT_CENTIMETRE:
        x, y = x * _CENTIMETRES_PER_INCH, y * _CENTIMETRES_PER_INCH
    elif unit != _UNIT_INCH and (round(x), round(y)) not in KNOWN_DPI:
        return default
    low, high = PLAUSIBLE_DPI
    return (x, y) if low <= x <= high and low <= y <= high else default


def _check_size(directory: Directory, width: int, height: int, x_dpi: float, y_dpi: float, limits: Limits) -> None:
    if not width or not height:
        raise FormatError(f"a page of {width} x {height} is empty", directory.where())
    if width * height > limits.pixels:
        raise FormatError(f"a page of {width} x {height} exceeds {limits.pixels} picture elements", directory.where())
    longest = max(width / x_dpi, height / y_dpi) * MILLIMETRES_PER_INCH
    if longest > limits.length_mm:
        raise FormatError(f"a page of {math.ceil(longest)} mm exceeds {limits.length_mm:.0f} mm", directory.where())


def _rows_per_strip(directory: Directory, height: int, strips: int) -> int:
    if not strips:
        raise FormatError("a tag that every page needs is absent", directory.where(Tag.STRIP_OFFSETS))
    rows = directory.integer(Tag.ROWS_PER_STRIP, height)
    if strips == 1 or not rows:
        rows = height
    rows = min(rows, height)
    needed = -(-height // rows)
    if strips != needed:
        raise FormatError(
            f"{strips} strips where {needed} of {rows} rows are wanted", directory.where(Tag.STRIP_OFFSETS)
        )
    return rows


def _strip_sizes(data: bytes, directory: Directory, offsets: tuple[int, ...]) -> tuple[int, ...]:
    """Octets of each strip; without StripByteCounts each reaches to the next thing whose place is known."""
    sizes = directory.integers(Tag.STRIP_BYTE_COUNTS, _MAX_STRIPS)
    if not sizes:
        places = sorted({*offsets, *directory.places(), len(data)})
        following = dict(itertools.pairwise(places))
        return tuple(following.get(offset, offset) - offset for offset in offsets)
    if len(sizes) != len(offsets):
        raise FormatError(f"{len(sizes)} sizes for {len(offsets)} strips", directory.where(Tag.STRIP_BYTE_COUNTS))
    return sizes


def _strips(
    data: bytes, directory: Directory, offsets: tuple[int, ...], sizes: tuple[int, ...], allowance: int
) -> list[bytes]:
    """The strips; one that begins in the file and ends beyond it is what is left of it."""
    for offset in offsets:
        if not 8 <= offset < len(data):
            raise FormatError(f"a strip at offset {offset} lies outside the file", directory.where(Tag.STRIP_OFFSETS))
    ends = [min(offset + size, len(data)) for offset, size in zip(offsets, sizes, strict=True)]
    if sum(ends) - sum(offsets) > allowance:
        raise FormatError("the strips overlap and exceed what a document may hold", directory.where(Tag.STRIP_OFFSETS))
    return [data[offset:end] for offset, end in zip(offsets, ends, strict=True)]


def _jbig_strips(
    directory: Directory, strips: list[bytes], width: int, height: int, rows_per_strip: int
) -> list[bytes]:
    """The strips, most significant bit first whatever FillOrder says; what their headers say is checked.

    libtiff turns the bits of JBIG exactly where FillOrder says that they are not turned. The header of JBIG tells.
    """
    turned = [strip.translate(REVERSED_BITS) if jbig.is_reversed(strip) else strip for strip in strips]
    for number, strip in enumerate(turned):
        if len(strip) < jbig.HEADER_SIZE:
            continue  # cut: its rows are missing, which the page will say
        try:
            jbig.read_header(strip, width, min(rows_per_strip, height - number * rows_per_strip))
        except FormatError as error:
            raise FormatError(f"strip {number + 1}: {error.what}", directory.where(Tag.STRIP_OFFSETS)) from None
    return turned
