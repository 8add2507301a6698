"""Fuzzes the TIFF reader and the decoder behind it: pages whose rows can be counted, or a FormatError."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["fauxfax.imaging"]):
    from fauxfax.errors import FormatError
    from fauxfax.imaging import tiff

LIMITS = tiff.Limits(pixels=200_000, pages=4, decoded=200_000, jbig=True)


def test_one_input(data: bytes) -> None:
    try:
        pages = tiff.read(data, LIMITS)
    except FormatError:
        return
    for page in pages:
        assert len(page.raster.rows) == (page.width + 7) // 8 * page.raster.height
        assert len(page.bad_rows) <= page.raster.height


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
