"""Any picture as a fax page, for whoever sends one."""

from __future__ import annotations

from PIL import Image, ImageOps

from fauxfax.errors import Misuse
from fauxfax.imaging.raster import Raster

PAGE_WIDTH = 1728
"""Picture elements of a row of A4 at 204 dpi (ITU-T T.4, 2)."""
X_DPI = 204.0
Y_DPI = (98.0, 196.0, 391.0)
"""Standard, fine and superfine."""

MAX_HEIGHT = 20_000
"""Project value: rows of a page, a good two metres at 196 rows per inch."""

_HALF = 128


def to_fax(image: Image.Image, *, y_dpi: float = 196.0, shape: float = 1.0) -> Raster:
    """The picture in black and white, as wide as the paper, its aspect ratio kept; grey becomes a dither pattern.

    `shape` is the height of a picture element over its width: 2 for 200 x 100 dpi. Transparency becomes white paper and
    an orientation mark is obeyed. Raises Misuse for a picture that would be longer than MAX_HEIGHT rows.
    """
    upright = ImageOps.exif_transpose(image)
    height = max(1, round(upright.height * shape * PAGE_WIDTH / upright.width * y_dpi / X_DPI))
    if height > MAX_HEIGHT:
        raise Misuse(
            f"fax page: {upright.width} x {upright.height} would give {height} rows; cut it to {MAX_HEIGHT} or fewer"
        )
    drawn = upright.mode == "1"
    grey = _flatten(upright).resize((PAGE_WIDTH, height), Image.Resampling.LANCZOS)
    bilevel = grey.point(lambda level: 255 if level >= _HALF else 0, "1") if drawn else grey.convert("1")
    return Raster.from_image(bilevel, x_dpi=X_DPI, y_dpi=y_dpi)


def _flatten(image: Image.Image) -> Image.Image:
    """Shades of grey on white paper."""
    if not image.has_transparency_data:
        return image.convert("L")
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image.convert("RGBA")).convert("L")
