"""One page of a received document, as its sender coded it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fauxfax.imaging import t4
from fauxfax.imaging.raster import Raster, inverted
from fauxfax.imaging.t4 import Coding, Decoded

ERROR_PAGE_DIVISOR = 10
"""A page is an error page when more than one row in ten was bad."""


@dataclass(frozen=True)
class Page:
    """A page that is decoded when its picture or its damage is first asked for, and then keeps the answer.

    Attributes:
        number: from 1, in the order of the document.
        width: picture elements in a row.
        height: rows announced; `raster.height` is less if the last strip ends early.
        x_dpi: elements per inch.
        y_dpi: rows per inch.
        coding: of the strips.
        strips: as they were received, but most significant bit first whatever the fill order was.
        rows_per_strip: rows of each strip but the last.
        aligned_eol: end-of-line codes end on an octet boundary.
        black_is_zero: the picture is the negative of what the coding says (PhotometricInterpretation 1).
    """

    number: int
    width: int
    height: int
    x_dpi: float
    y_dpi: float
    coding: Coding
    strips: tuple[bytes, ...]
    rows_per_strip: int
    aligned_eol: bool = False
    black_is_zero: bool = False

    @classmethod
    def of(cls, raster: Raster, number: int = 1) -> Page:
        """The page of a raster of our own."""
        return cls(
            number=number,
            width=raster.width,
            height=raster.height,
            x_dpi=raster.x_dpi,
            y_dpi=raster.y_dpi,
            coding=Coding.UNCOMPRESSED,
            strips=(raster.rows,),
            rows_per_strip=max(1, raster.height),
        )

    @cached_property
    def decoded(self) -> Decoded:
        """The rows and their damage, before the negative is turned."""
        return t4.decode_strips(
            self.strips, self.width, self.height, self.rows_per_strip, self.coding, aligned_eol=self.aligned_eol
        )

    @cached_property
    def raster(self) -> Raster:
        """The picture, 1 = black; one white row if not a single row came, so that there is a sheet to put out."""
        decoded = self.decoded
        if not decoded.height:
            return Raster.blank(self.width, 1, x_dpi=self.x_dpi, y_dpi=self.y_dpi)
        rows = inverted(decoded.rows, self.width) if self.black_is_zero else decoded.rows
        return Raster(self.width, decoded.height, rows, self.x_dpi, self.y_dpi)

    @property
    def bad_rows(self) -> tuple[int, ...]:
        """Numbers of the rows that could not be decoded and repeat the row above."""
        return self.decoded.bad_rows

    @property
    def missing_rows(self) -> int:
        """Rows that were announced and did not come."""
        return self.decoded.missing_rows

    @property
    def damaged(self) -> bool:
        """Whether the page is not what its sender coded."""
        return self.decoded.damaged

    @property
    def is_error(self) -> bool:
        """Whether more than a tenth of the announced rows are bad or missing."""
        return (len(self.bad_rows) + self.missing_rows) * ERROR_PAGE_DIVISOR > self.height
