"""libtiff's and poppler's own programs against the imaging room: what they write we read, what we write they read."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from fauxfax.imaging import pdf, t4, text, tiff
from fauxfax.imaging.page import Page
from fauxfax.imaging.raster import Raster
from fauxfax.imaging.t4 import Coding

pytestmark = pytest.mark.real

FAX_CODINGS = (Coding.MH, Coding.ALIGNED_MH, Coding.MR, Coding.MMR)
RESOLUTIONS = ((204, 98), (204, 196), (204, 391))
"""One for each K of MR."""
ALL_RESOLUTIONS = (*RESOLUTIONS, (200, 100), (200, 200), (300, 300), (400, 400), (408, 391))
TIFFCP_CODINGS = {
    "g3:1d": Coding.MH,
    "g3:1d:fill": Coding.MH,
    "g3:2d": Coding.MR,
    "g3:2d:fill": Coding.MR,
    "g4": Coding.MMR,
    "none": Coding.UNCOMPRESSED,
}
TIFFCP_FILES = list(itertools.product(TIFFCP_CODINGS, ALL_RESOLUTIONS, ("msb2lsb", "lsb2msb"), ("-L", "-B"), (400, 64)))
"""Coding, resolution, fill order, byte order, rows of a strip: 384 files."""


def run(program: str, *arguments: object) -> str:
    """Run a program of the system; its standard error, which these programs keep for complaints."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed; tests/real/install-packages installs it")
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, f"{program} {arguments}: {result.stderr}"
    return result.stderr


def drawn_page(x_dpi: float = 204, y_dpi: float = 196, height: int = 400) -> Raster:
    """Text, and below it some rows of noise."""
    (page,) = text.render("Sphinx of black quartz, judge my vow. 0123456789\n" * 9)
    noise = random.Random(7).randbytes(page.stride * 20)
    return Raster(page.width, height, page.rows[: page.stride * (height - 20)] + noise, x_dpi, y_dpi)


def coded(raster: Raster, coding: Coding, *, aligned_eol: bool = False, black_is_zero: bool = False) -> Page:
    return Page(
        number=1,
        width=raster.width,
        height=raster.height,
        x_dpi=raster.x_dpi,
        y_dpi=raster.y_dpi,
        coding=coding,
        strips=(t4.encode(raster, coding, aligned_eol=aligned_eol),),
        rows_per_strip=raster.height,
        aligned_eol=aligned_eol,
        black_is_zero=black_is_zero,
    )


@pytest.mark.parametrize(
    ("coding", "resolution", "fill_order", "byte_order", "rows"),
    TIFFCP_FILES,
    ids=lambda value: str(value).replace(" ", ""),
)
def test_what_tiffcp_writes_is_read_pixel_by_pixel(coding, resolution, fill_order, byte_order, rows, tmp_path):
    page = drawn_page(*resolution)
    source, file = tmp_path / "source.tif", tmp_path / "coded.tif"
    source.write_bytes(tiff.write([page, page], Coding.UNCOMPRESSED))
    run("tiffcp", "-c", coding, "-f", fill_order, byte_order, "-r", rows, source, file)
    pages = tiff.read(file.read_bytes())
    assert [read.raster for read in pages] == [page, page]
    assert [read.coding for read in pages] == [TIFFCP_CODINGS[coding]] * 2
    assert not any(read.damaged for read in pages)
    assert all(read.decoded.proven for read in pages if read.coding is not Coding.UNCOMPRESSED)


@pytest.mark.parametrize("option", ["-7", "-8"], ids=["G3", "G4"])
@pytest.mark.parametrize(("coding", "given"), [(Coding.MH, "-1"), (Coding.MR, "-2")], ids=["MH", "MR"])
def test_what_fax2tiff_makes_of_our_raw_fax_is_read(coding, given, option, tmp_path):
    page = drawn_page()
    raw, file = tmp_path / "page.g3", tmp_path / "page.tif"
    raw.write_bytes(t4.encode(page, coding))
    assert run("fax2tiff", "-M", given, option, "-R", 196, "-o", file, raw) == ""
    (read,) = tiff.read(file.read_bytes())
    assert read.raster.rows == page.rows
    assert not read.damaged


def files_of_ours() -> dict[str, bytes]:
    pages = [drawn_page(), drawn_page(height=99)]
    written = {coding.name: tiff.write(pages, coding) for coding in FAX_CODINGS}
    return {**written, "profile-S": tiff.write_profile_s(pages)}


@pytest.mark.parametrize("name", ["MH", "ALIGNED_MH", "MR", "MMR", "profile-S"])
def test_libtiff_reads_what_we_write_without_a_complaint(name, tmp_path):
    ours, copy = tmp_path / "ours.tif", tmp_path / "copy.tif"
    ours.write_bytes(files_of_ours()[name])
    assert run("tiffinfo", "-D", ours) == ""
    assert run("tiffcp", "-c", "none", ours, copy) == ""
    assert [page.raster for page in tiff.read(copy.read_bytes())] == [drawn_page(), drawn_page(height=99)]


def rendered(document: bytes, raster: Raster, folder: Path) -> bytes:
    """The packed rows that poppler draws at the page's own resolution."""
    (folder / "page.pdf").write_bytes(document)
    complaint = run(
        "pdftoppm",
        "-mono",
        "-rx",
        raster.x_dpi,
        "-ry",
        raster.y_dpi,
        "-singlefile",
        folder / "page.pdf",
        folder / "page",
    )
    assert complaint == ""
    picture = (folder / "page.pbm").read_bytes()
    header = b"P4\n%d %d\n" % (raster.width, raster.height)
    assert picture.startswith(header)
    return picture[len(header) :]


@pytest.mark.parametrize("coding", FAX_CODINGS, ids=lambda coding: coding.name)
@pytest.mark.parametrize("resolution", RESOLUTIONS, ids=lambda pair: f"{pair[0]}x{pair[1]}")
@pytest.mark.parametrize("aligned_eol", [False, True], ids=["free", "aligned"])
def test_poppler_draws_our_pdf_pixel_by_pixel(coding, resolution, aligned_eol, tmp_path):
    page = drawn_page(*resolution)
    document = pdf.write([coded(page, coding, aligned_eol=aligned_eol)])
    assert rendered(document, page, tmp_path) == page.rows


def test_poppler_draws_the_negative_of_a_page_where_black_is_zero(tmp_path):
    page = coded(drawn_page(), Coding.MMR, black_is_zero=True)
    assert rendered(pdf.write([page]), page.raster, tmp_path) == page.raster.rows
    assert page.raster.rows == bytes(octet ^ 0xFF for octet in drawn_page().rows)


def test_poppler_draws_a_damaged_page_as_it_was_repaired(tmp_path):
    whole = coded(drawn_page(), Coding.MH)
    strip = bytearray(whole.strips[0])
    strip[len(strip) // 2] ^= 0x10
    page = Page(**{**vars(whole), "strips": (bytes(strip),)})
    assert page.damaged
    assert rendered(pdf.write([page]), page.raster, tmp_path) == page.raster.rows
