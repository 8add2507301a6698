"""What a PC prints as a picture: TIFF-F, PBM and its relatives, and PWG raster, as pages in black and white.

Grey and colour become a dither pattern. Netpbm's formats may hold several pictures one after another; they say no
resolution, so a picture as wide as fax paper is taken as it is, and any other is scaled to it. Sources: netpbm's
pbm(5), pgm(5), ppm(5); PWG 5102.4-2012 (PWG raster, whose page header is that of CUPS raster version 2).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from PIL import Image

from fauxfax.errors import FormatError, Misuse
from fauxfax.imaging import tiff
from fauxfax.imaging.page import Page
from fauxfax.imaging.raster import Raster, inverted, without_padding
from fauxfax.imaging.scale import to_fax
from fauxfax.imaging.tiff import DEFAULT_DPI, DEFAULT_LIMITS, Limits

_PNM = re.compile(rb"(P[456])(?:\s|#[^\n]*\n)+(\d{1,6})(?:\s|#[^\n]*\n)+(\d{1,6})((?:\s|#[^\n]*\n)+\d{1,5})?\s")
_PWG_HEADER = 1796
_PWG_FIELDS = struct.Struct(">2I")
_RESOLUTION, _WIDTH, _BITS, _LINE = 276, 372, 384, 392
_BLACK = 3
"""cupsColorSpace K, where 1 is black; 0 and 18 are W and sW, 1 and 19 RGB and sRGB."""
_MODES = {
    **{(1, space): "1" for space in (0, _BLACK, 18)},
    **{(8, space): "L" for space in (0, _BLACK, 18)},
    **{(24, space): "RGB" for space in (1, 19)},
}
_CLEAR = 128
"""A run code: the rest of the line is white."""


def read(data: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Page]:
    """The pages of a print job. Raises FormatError for what is no such picture or exceeds a limit."""
    if data.startswith((b"II*\0", b"MM\0*")):
        return tiff.read(data, limits)
    rasters = _pwg(data, limits) if data.startswith(b"RaS") else _pnm(data, limits)
    pages: list[Page] = []
    octets = 0
    for number, raster in enumerate(rasters, 1):
        octets += len(raster.rows)
        if number > limits.pages or octets > limits.decoded:
            raise FormatError("more than a print job may have", f"page {number}")
        pages.append(Page.of(raster, number))
    if not pages:
        raise FormatError("there is no picture in it")
    return pages


def _check(width: int, height: int, where: str, limits: Limits) -> None:
    if not (width and height) or width * height > limits.pixels:
        raise FormatError(f"a picture of {width} x {height} elements is not printed", where)


def _pnm(data: bytes, limits: Limits) -> Iterator[Raster]:
    at = 0
    while data[at:].strip():
        head = _PNM.match(data, at)
        if head is None or (head[1] == b"P4") is not (head[4] is None):
            raise FormatError("no header of a PBM, PGM or PPM", f"offset {at}")
        width, height = int(head[2]), int(head[3])
        _check(width, height, f"offset {at}", limits)
        if head[4] is not None and int(head[4].split()[-1]) != 255:
            raise FormatError("only pictures with 255 as the largest value are printed", f"offset {at}")
        stride = {b"P4": (width + 7) // 8, b"P5": width, b"P6": 3 * width}[head[1]]
        rows = data[head.end() : head.end() + stride * height]
        if len(rows) < stride * height:
            raise FormatError(f"{len(rows)} octets of {stride * height}", f"offset {head.end()}")
        at = head.end() + len(rows)
        yield _fax(head[1], width, height, rows)


def _fax(kind: bytes, width: int, height: int, rows: bytes) -> Raster:
    mode, raw = {b"P4": ("1", "1;I"), b"P5": ("L", "L"), b"P6": ("RGB", "RGB")}[kind]
    image = Image.frombytes(mode, (width, height), rows, "raw", raw)
    if width in DEFAULT_DPI:
        x_dpi, y_dpi = DEFAULT_DPI[width]
        return Raster.from_image(image.convert("1"), x_dpi=x_dpi, y_dpi=y_dpi)
    try:
        return to_fax(image)
    except Misuse as error:
        raise FormatError(str(error)) from None


def _pwg(data: bytes, limits: Limits) -> Iterator[Raster]:
    packed, at = data.startswith(b"RaS2"), 4
    while at < len(data):
        where = f"offset {at}"
        header = data[at : at + _PWG_HEADER]
        if len(header) < _PWG_HEADER:
            raise FormatError("a page header is cut short", where)
        x_dpi, y_dpi = _PWG_FIELDS.unpack_from(header, _RESOLUTION)
        width, height = _PWG_FIELDS.unpack_from(header, _WIDTH)
        bits, space = _PWG_FIELDS.unpack_from(header, _BITS)[1], _PWG_FIELDS.unpack_from(header, _LINE + 8)[0]
        stride = _PWG_FIELDS.unpack_from(header, _LINE)[0]
        _check(width, height, where, limits)
        if (bits, space) not in _MODES or stride != (width * bits + 7) // 8 or not (x_dpi and y_dpi):
            raise FormatError(f"{bits} bits in colour space {space}, {stride} octets a line, are not printed", where)
        at += _PWG_HEADER
        if packed:
            rows, at = _unpack(data, at, stride, height, max(1, bits // 8), blank=space != _BLACK)
        else:
            rows, at = data[at : at + stride * height], at + stride * height
        if len(rows) < stride * height:
            raise FormatError(f"the picture is cut short: {len(rows)} octets of {stride * height}", where)
        yield _bilevel(_MODES[bits, space], width, height, rows, (x_dpi, y_dpi), black_is_one=space == _BLACK)


def _bilevel(mode: str, width: int, height: int, rows: bytes, dpi: tuple[int, int], *, black_is_one: bool) -> Raster:
    if mode == "1":
        right = without_padding(rows, width) if black_is_one else inverted(rows, width)
        return Raster(width, height, right, float(dpi[0]), float(dpi[1]))
    image = Image.frombytes(mode, (width, height), rows, "raw", "L;I" if mode == "L" and black_is_one else mode)
    return Raster.from_image(image.convert("1"), x_dpi=float(dpi[0]), y_dpi=float(dpi[1]))


def _unpack(data: bytes, at: int, stride: int, height: int, unit: int, *, blank: bool) -> tuple[bytes, int]:
    """The rows of a page (PWG 5102.4, 4.4): each line has a repeat count, then runs of equal and of different units."""
    rows = bytearray()
    white = b"\xff" if blank else b"\0"
    while len(rows) < stride * height and at < len(data):
        repeat, line = data[at] + 1, bytearray()
        at += 1
        while len(line) < stride and at < len(data):
            code = data[at]
            at += 1
            if code < _CLEAR:
                line += data[at : at + unit] * (code + 1)
                at += unit
            elif code == _CLEAR:
                line += white * (stride - len(line))
            else:
                line += data[at : at + (257 - code) * unit]
                at += (257 - code) * unit
        if len(line) != stride:
            raise FormatError(f"a line of {len(line)} octets, {stride} are expected", f"offset {at}")
        rows += bytes(line) * min(repeat, height - len(rows) // stride)
    return bytes(rows), at
