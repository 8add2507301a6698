"""A bilevel picture as a fax machine holds it."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

from PIL import Image

from fauxfax.errors import Misuse

MILLIMETRES_PER_INCH = 25.4

MAX_PREVIEW_PIXELS = 80_000_000
"""Project value: a preview is at most so large, whatever resolution a page claims to have."""


@dataclass(frozen=True, slots=True)
class Raster:
    """One page of black and white picture elements.

    Attributes:
        width: picture elements in a row.
        height: rows.
        rows: packed, most significant bit first, 1 = black, `stride` octets a row; the bits beyond `width` are 0.
        x_dpi: elements per inch along a row.
        y_dpi: rows per inch. The two differ in most faxes (204 x 98, 204 x 196, 204 x 391).
    """

    width: int
    height: int
    rows: bytes
    x_dpi: float = 204.0
    y_dpi: float = 196.0

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 0 or not (self.x_dpi > 0 and self.y_dpi > 0):
            raise Misuse(f"raster: {self.width} x {self.height} at {self.x_dpi} x {self.y_dpi} dpi is no picture")
        if len(self.rows) != self.stride * self.height:
            raise Misuse(f"raster: {len(self.rows)} octets are not {self.height} rows of {self.stride} octets")

    @property
    def stride(self) -> int:
        """Octets of a row."""
        return (self.width + 7) // 8

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height on paper, in millimetres."""
        return self.width / self.x_dpi * MILLIMETRES_PER_INCH, self.height / self.y_dpi * MILLIMETRES_PER_INCH

    def row(self, number: int) -> bytes:
        """The packed row of that number, from 0."""
        return self.rows[number * self.stride : (number + 1) * self.stride]

    @classmethod
    def blank(cls, width: int, height: int, *, x_dpi: float = 204.0, y_dpi: float = 196.0) -> Raster:
        """White paper."""
        return cls(width, height, bytes((width + 7) // 8 * height), x_dpi, y_dpi)

    @classmethod
    def from_image(cls, image: Image.Image, *, x_dpi: float = 204.0, y_dpi: float = 196.0) -> Raster:
        """The raster of a Pillow image of mode `1` (where black is 0), element by element.

        Raises Misuse for another mode; `scale.to_fax` takes any image.
        """
        if image.mode != "1":
            raise Misuse(f"raster: image mode {image.mode!r} is not bilevel; use scale.to_fax()")
        return cls(image.width, image.height, image.tobytes("raw", "1;I"), x_dpi, y_dpi)

    def to_image(self) -> Image.Image:
        """The Pillow image of mode `1`, element by element: no correction of the aspect ratio."""
        return Image.frombytes("1", (self.width, self.height), self.rows, "raw", "1;I")

    def to_png(self) -> bytes:
        """A PNG preview with square picture elements, so that a page looks right at any resolution.

        The coarser direction is stretched by repeating rows or columns: nothing is blurred, and no row is dropped
        unless the preview would exceed MAX_PREVIEW_PIXELS.
        """
        dpi = max(self.x_dpi, self.y_dpi)
        area = self.width / self.x_dpi * self.height / self.y_dpi
        dpi = min(dpi, math.sqrt(MAX_PREVIEW_PIXELS / max(area, 1)))
        size = (max(1, round(self.width * dpi / self.x_dpi)), max(1, round(self.height * dpi / self.y_dpi)))
        image = self.to_image()
        if size != image.size:
            image = image.resize(size, Image.Resampling.NEAREST)
        png = io.BytesIO()
        image.save(png, "PNG", dpi=(dpi, dpi))
        return png.getvalue()


def inverted(rows: bytes, width: int) -> bytes:
    """Packed rows with black and white exchanged; the bits beyond the width are 0 whatever they were."""
    return Image.frombytes("1", (width, len(rows) // ((width + 7) // 8)), rows, "raw", "1;I").tobytes()


def without_padding(rows: bytes, width: int) -> bytes:
    """Packed rows whose bits beyond the width are 0."""
    if not rows or width % 8 == 0:
        return rows
    return Image.frombytes("1", (width, len(rows) // ((width + 7) // 8)), rows).tobytes()
