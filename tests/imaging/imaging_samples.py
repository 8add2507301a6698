"""Pictures and files that the imaging tests share: made here, so that nothing is taken on trust."""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageFont

from fauxfax.imaging import t4
from fauxfax.imaging.raster import Raster
from fauxfax.imaging.t4 import Coding

FAX_CODINGS = (Coding.MH, Coding.ALIGNED_MH, Coding.MR, Coding.MMR)
COMPRESSIONS = {
    Coding.UNCOMPRESSED: 1,
    Coding.ALIGNED_MH: 2,
    Coding.MH: 3,
    Coding.MR: 3,
    Coding.MMR: 4,
    Coding.JBIG: 9,
}
SHORT, LONG, RATIONAL = 3, 4, 5
Entry = tuple[int, int, int, bytes]


@functools.cache
def text_page(width: int = 1728, height: int = 300, x_dpi: float = 204.0, y_dpi: float = 196.0) -> Raster:
    """A page of text and a few lines, as a sender would scan it."""
    image = Image.new("1", (width, height), 1)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(26)
    for line, top in enumerate(range(12, height - 30, 34)):
        draw.text((60 + line % 3 * 20, top), f"{line:02d} The quick brown fox jumps over the lazy dog. " * 2, 0, font)
    draw.rectangle((20, 4, width - 20, height - 5), outline=0)
    draw.line((0, 0, width, height), fill=0)
    return Raster.from_image(image, x_dpi=x_dpi, y_dpi=y_dpi)


@functools.cache
def noise_page(width: int = 203, height: int = 40, seed: int = 1) -> Raster:
    """Random picture elements: every run is short and every mode occurs."""
    source = random.Random(seed)
    image = Image.frombytes("L", (width, height), source.randbytes(width * height))
    return Raster.from_image(image.point(lambda level: 255 if level > 90 else 0, "1"))


def flip_bits(data: bytes, seed: int, count: int = 20) -> bytes:
    """The octets with that many bits turned over, at places that the seed decides."""
    damaged = bytearray(data)
    for place in random.Random(seed).sample(range(len(data) * 8), count):
        damaged[place >> 3] ^= 0x80 >> (place & 7)
    return bytes(damaged)


def encode_strips(raster: Raster, coding: Coding, rows_per_strip: int, *, aligned_eol: bool = False) -> list[bytes]:
    """The picture in strips of that many rows."""
    strips = []
    for first in range(0, raster.height, rows_per_strip):
        rows = raster.rows[first * raster.stride : (first + rows_per_strip) * raster.stride]
        part = Raster(raster.width, len(rows) // raster.stride, rows, raster.x_dpi, raster.y_dpi)
        strips.append(t4.encode(part, coding, aligned_eol=aligned_eol))
    return strips


class TiffFile:
    """A TIFF built tag by tag, as odd as a test wants it: any byte order, any order of tags, any place of the parts."""

    def __init__(self, order: str = "<", *, gap: int = 0) -> None:
        self.order = order
        self.gap = gap
        self.data = bytearray(struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 0))
        self._link = 4

    def put(self, data: bytes) -> int:
        """Append octets after the gap, and tell where they are."""
        self.data += bytes(self.gap)
        self.data += data
        return len(self.data) - len(data)

    def numbers(self, kind: int, *values: int) -> tuple[int, int, bytes]:
        """Type, count and octets of some numbers."""
        return kind, len(values), struct.pack(f"{self.order}{len(values)}{'H' if kind == SHORT else 'I'}", *values)

    def ratio(self, numerator: int, denominator: int) -> tuple[int, int, bytes]:
        return RATIONAL, 1, struct.pack(f"{self.order}2I", numerator, denominator)

    def add_directory(
        self,
        tags: dict[int, tuple[int, int, bytes]],
        *,
        arrange: Callable[[list[Entry]], Sequence[Entry]] = sorted,
        next_offset: int = 0,
    ) -> int:
        """Append a directory, link it to the chain, and tell where it is."""
        entries = arrange([(tag, *value) for tag, value in tags.items()])
        out = struct.pack(f"{self.order}H", len(entries))
        for tag, kind, count, value in entries:
            field = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(f"{self.order}I", self.put(value))
            out += struct.pack(f"{self.order}HHI", tag, kind, count) + field
        at = self.put(out + struct.pack(f"{self.order}I", next_offset))
        struct.pack_into(f"{self.order}I", self.data, self._link, at)
        self._link = at + len(out)
        return at

    def page_tags(
        self, raster: Raster, coding: Coding, strips: Sequence[bytes], rows_per_strip: int, *, number: int = LONG
    ) -> dict[int, tuple[int, int, bytes]]:
        """Put the strips, and give the tags of an ordinary page; `number` is the type of its sizes."""
        compression = COMPRESSIONS[coding]
        offsets = [self.put(strip) for strip in strips]
        return {
            256: self.numbers(number, raster.width),
            257: self.numbers(number, raster.height),
            258: self.numbers(SHORT, 1),
            259: self.numbers(SHORT, compression),
            262: self.numbers(SHORT, 0),
            273: self.numbers(LONG, *offsets),
            277: self.numbers(SHORT, 1),
            278: self.numbers(number, rows_per_strip),
            279: self.numbers(number, *map(len, strips)),
            282: self.ratio(round(raster.x_dpi * 100), 100),
            283: self.ratio(round(raster.y_dpi * 100), 100),
            292: self.numbers(LONG, 1 if coding is Coding.MR else 0),
            296: self.numbers(SHORT, 2),
        }
