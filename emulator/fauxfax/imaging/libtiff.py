"""libtiff's T.4 and T.6 codecs, reached through Pillow: quick, but silent about damage.

A strip is wrapped in the smallest TIFF that holds it, so nothing of the file it came from (byte order, odd offsets,
missing tags) reaches the library. In these wrappers 1 is black, as in :class:`~fauxfax.imaging.raster.Raster`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

COMPRESSION_NAMES = {2: "tiff_ccitt", 3: "group3", 4: "group4"}
"""Pillow's names of the TIFF compressions."""

T4_TWO_DIMENSIONAL = 1
T4_ALIGNED_EOL = 4

MAX_PIXELS = 80_000_000
"""Project value: larger pictures are not handed to the library, which would warn of a decompression bomb."""

K_STANDARD = 2
K_FINE = 4
_DPI_OF_K = {K_STANDARD: 98.0, K_FINE: 196.0}


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a picture is coded into strips.

    Attributes:
        compression: 2, 3 or 4, as in TIFF.
        t4_options: bit 0 two-dimensional, bit 2 end-of-line codes end on an octet boundary; compression 3 only.
        rows_per_strip: rows of each strip but the last.
        k: MR only, one row in `k` is coded by itself; the library knows 2 and 4.
    """

    compression: int
    t4_options: int
    rows_per_strip: int
    k: int = K_FINE


def decode(strips: Sequence[bytes], width: int, height: int, scheme: Scheme) -> bytes | None:
    """The packed rows of a whole picture, or None if the library reports an error. No word about damage otherwise."""
    if width * height > MAX_PIXELS or not all(strips):
        return None
    try:
        with Image.open(io.BytesIO(_wrap(strips, width, height, scheme)), formats=("TIFF",)) as image:
            return image.tobytes()
    except (OSError, SyntaxError, ValueError):
        return None


def encode(rows: bytes, width: int, height: int, scheme: Scheme) -> list[bytes]:
    """The strips of packed rows. MH and MR begin with an end-of-line code and have no return to control."""
    image = Image.frombytes("1", (width, height), rows)
    tags: dict[int, int | float] = {262: 1, 278: scheme.rows_per_strip, 282: 204.0, 283: _DPI_OF_K[scheme.k], 296: 2}
    if scheme.compression == 3:
        tags[292] = scheme.t4_options
    file = io.BytesIO()
    image.save(file, "TIFF", compression=COMPRESSION_NAMES[scheme.compression], tiffinfo=tags)
    data = file.getvalue()
    with Image.open(io.BytesIO(data), formats=("TIFF",)) as written:
        layout: dict[int, tuple[int, ...]] = dict(getattr(written, "tag_v2"))  # noqa: B009 - of the TIFF plug-in alone
        return [data[at : at + size] for at, size in zip(layout[273], layout[279], strict=True)]


def _wrap(strips: Sequence[bytes], width: int, height: int, scheme: Scheme) -> bytes:
    """A little-endian TIFF of one page around the strips: header, IFD, strip tables, strips."""
    count = len(strips)
    entries = [
        (256, 1, width),
        (257, 1, height),
        (258, 1, 1),
        (259, 1, scheme.compression),
        (262, 1, 1),
        (273, count, 0),
        (277, 1, 1),
        (278, 1, scheme.rows_per_strip),
        (279, count, 0),
    ]
    if scheme.compression == 3:
        entries.append((292, 1, scheme.t4_options))
    tables = 8 + 2 + 12 * len(entries) + 4
    offsets, at = [], tables + 8 * count
    for strip in strips:
        offsets.append(at)
        at += len(strip)
    sizes = [len(strip) for strip in strips]
    values = {273: (tables, offsets), 279: (tables + 4 * count, sizes)}
    parts = [struct.pack("<2sHIH", b"II", 42, 8, len(entries))]
    for tag, number, value in entries:
        if tag in values:
            place, numbers = values[tag]
            value = numbers[0] if count == 1 else place
        parts.append(struct.pack("<HHII", tag, 4, number, value))
    parts.append(struct.pack(f"<I{count}I{count}I", 0, *offsets, *sizes))
    return b"".join([*parts, *strips])
