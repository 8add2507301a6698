"""PDF of fax pages: a strip goes in as it came, because PDF knows the fax codings (CCITTFaxDecode).

Only what PDF cannot take is coded again: pages of several strips, uncompressed ones, and damaged ones, whose repaired
picture is what should be seen. The same pages give the same octets. Source: ISO 32000-1, 7.4.6 and 8.9.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from fauxfax.imaging import t4
from fauxfax.imaging.page import Page
from fauxfax.imaging.raster import Raster
from fauxfax.imaging.t4 import Coding

POINTS_PER_INCH = 72

_HEADER = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
_CATALOGUE, _PAGE_TREE, _INFO, _FIRST_PAGE = 1, 2, 3, 4
_OBJECTS_PER_PAGE = 3
_K = {Coding.MMR: -1, Coding.MH: 0, Coding.ALIGNED_MH: 0, Coding.MR: 4}
"""The filter's K: negative for T.6, 0 for T.4 one-dimensional, positive for T.4 two-dimensional."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One strip and what the filter must be told to decode it."""

    page: Page
    height: int
    coding: Coding
    strip: bytes
    black_is_zero: bool

    @property
    def parameters(self) -> str:
        """The DecodeParms. The filter's `BlackIs1` false means that a black run gives zeros, which PDF shows black."""
        return (
            f"<</K {_K[self.coding]}/Columns {self.page.width}/Rows {self.height}"
            f"/EndOfLine {_boolean(self.coding in (Coding.MH, Coding.MR))}"
            f"/EncodedByteAlign {_boolean(self.coding is Coding.ALIGNED_MH)}"
            f"/EndOfBlock false/BlackIs1 {_boolean(self.black_is_zero)}>>"
        )


def write(pages: Iterable[Page | Raster], *, created: datetime | None = None) -> bytes:
    """A PDF of all pages, each as large as its two resolutions say.

    `created` is written into the file if given; otherwise the file carries no date.
    """
    pictures = [_picture(page if isinstance(page, Page) else Page.of(page)) for page in pages]
    kids = " ".join(f"{_FIRST_PAGE + number * _OBJECTS_PER_PAGE} 0 R" for number in range(len(pictures)))
    bodies = [
        f"<</Type/Catalog/Pages {_PAGE_TREE} 0 R>>".encode(),
        f"<</Type/Pages/Count {len(pictures)}/Kids[{kids}]>>".encode(),
        f"<</Producer(fauxfax){_date(created)}>>".encode(),
    ]
    for number, picture in enumerate(pictures):
        bodies += _page_objects(picture, _FIRST_PAGE + number * _OBJECTS_PER_PAGE)
    return _assemble(bodies)


def _picture(page: Page) -> Picture:
    if page.coding in _K and len(page.strips) == 1 and not page.damaged:
        return Picture(page, page.height, page.coding, page.strips[0], page.black_is_zero)
    raster = page.raster
    return Picture(page, raster.height, Coding.MMR, t4.encode(raster, Coding.MMR), black_is_zero=False)


def _page_objects(picture: Picture, number: int) -> list[bytes]:
    """The page, its content stream and its image: objects `number` to `number + 2`."""
    page = picture.page
    width = _points(page.width, page.x_dpi)
    height = _points(max(1, picture.height), page.y_dpi)
    content = f"q {width} 0 0 {height} 0 0 cm /I Do Q".encode()
    return [
        (
            f"<</Type/Page/Parent {_PAGE_TREE} 0 R/MediaBox[0 0 {width} {height}]"
            f"/Contents {number + 1} 0 R/Resources<</XObject<</I {number + 2} 0 R>>>>>>"
        ).encode(),
        _stream("", content),
        _stream(
            f"/Type/XObject/Subtype/Image/Width {page.width}/Height {picture.height}/BitsPerComponent 1"
            f"/ColorSpace/DeviceGray/Filter/CCITTFaxDecode/DecodeParms{picture.parameters}",
            picture.strip,
        ),
    ]


def _points(elements: int, dpi: float) -> str:
    """A length in points, rounded down: rounded up it would make a renderer at that resolution begin one pixel more."""
    return f"{math.floor(elements / dpi * POINTS_PER_INCH * 10_000) / 10_000:.4f}"


def _stream(entries: str, data: bytes) -> bytes:
    return f"<<{entries}/Length {len(data)}>>\nstream\n".encode() + data + b"\nendstream"


def _assemble(bodies: list[bytes]) -> bytes:
    """Header, objects numbered from 1, cross-reference table, trailer."""
    parts, offsets, at = [_HEADER], [], len(_HEADER)
    for number, body in enumerate(bodies, 1):
        offsets.append(at)
        parts.append(b"%d 0 obj\n%b\nendobj\n" % (number, body))
        at += len(parts[-1])
    size = len(bodies) + 1
    parts.append(b"xref\n0 %d\n0000000000 65535 f \n" % size)
    parts += [b"%010d 00000 n \n" % offset for offset in offsets]
    parts.append(
        b"trailer\n<</Size %d/Root %d 0 R/Info %d 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (size, _CATALOGUE, _INFO, at)
    )
    return b"".join(parts)


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _date(created: datetime | None) -> str:
    return f"/CreationDate(D:{created.astimezone(UTC):%Y%m%d%H%M%S}Z)" if created else ""
