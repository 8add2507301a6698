"""libtiff's, jbigkit's, poppler's programs and the imaging room: what they write we read, what we write they read."""

from __future__ import annotations

import itertools
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fauxfax.imaging import pdf, t4, text, tiff
from fauxfax.imaging.page import Page
from fauxfax.imaging.raster import Raster, inverted
from fauxfax.imaging.t4 import Coding

pytestmark = pytest.mark.real

sys.path.append(str(Path(__file__).parents[1] / "imaging"))
import jbig_samples  # noqa: E402
from imaging_samples import noise_page  # noqa: E402

PROFILE_J = tiff.Limits(jbig=True)

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


# JBIG

JBIG_WIDTHS = (1, 7, 8, 203, 1001)
PBMTOJBG = {
    "fax profile": "-f",
    "moves in the next stripe": "-f -c",
    "no prediction": "-q -p 0",
    "two lines": "-q -p 64 -m 127 -s 60",
    "two lines, prediction": "-q -p 72 -s 11 -m 30",
    "all options of layers": "-q -p 28 -o 3",
    "no moves": "-q -m 0 -p 8",
    "two rows a stripe": "-q -s 2 -p 8",
    "one stripe": "-q -s 1000",
    "resets": "-q -r -s 16 -m 16",
    "resets, two lines": "-q -r -s 7 -p 72 -m 127",
    "height told later": "-f -Y 4000",
    "comment": "-f -C hello",
    **{f"order {order}": f"-q -o {order}" for order in (0, 2, 3, 4, 5, 6)},
}
PBMTOJBG85 = {
    "default": "",
    "moves": "-m 127 -s 50",
    "two lines": "-p 64 -m 127",
    "two lines, prediction": "-p 72 -s 9",
    "no prediction": "-p 0 -s 1",
    "height unknown": "-Y 4294967295 20",
    "height and stripes unknown": "-s 4294967295 -Y 4294967295 20",
}
JBIG_PROGRAMS = [("pbmtojbg", options) for options in PBMTOJBG.values()]
JBIG_PROGRAMS += [("pbmtojbg85", options) for options in PBMTOJBG85.values()]


def halftone(width: int = 203, height: int = 150) -> Raster:
    """A grey that a clustered dot draws every 8 elements, which makes an encoder move its adaptive element."""
    dots = [(x - 3.5) ** 2 + (y - 3.5) ** 2 for y in range(8) for x in range(8)]
    limits = [sorted(dots).index(dot) / 64 for dot in dots]
    image = Image.new("1", (width, height), 1)
    for y, x in itertools.product(range(height), range(width)):
        image.putpixel((x, y), limits[y % 8 * 8 + x % 8] > (x + y) / (width + height))
    return Raster.from_image(image)


def write_pbm(raster: Raster, path: Path) -> Path:
    path.write_bytes(b"P4\n%d %d\n" % (raster.width, raster.height) + raster.rows)
    return path


def jbig_coded(raster: Raster, program: str, options: str, folder: Path) -> bytes:
    run(program, *options.split(), write_pbm(raster, folder / "page.pbm"), folder / "page.jbg")
    return (folder / "page.jbg").read_bytes()


@pytest.mark.parametrize("picture", [halftone, noise_page, drawn_page], ids=["halftone", "noise", "text"])
@pytest.mark.parametrize(("program", "options"), JBIG_PROGRAMS, ids=lambda value: value.replace(" ", ""))
def test_what_jbigkit_writes_is_read_pixel_by_pixel(picture, program, options, tmp_path):
    page = picture()
    decoded = t4.decode(jbig_coded(page, program, options, tmp_path), page.width, page.height, Coding.JBIG)
    assert decoded.rows == page.rows
    assert not decoded.damaged


@pytest.mark.parametrize("width", JBIG_WIDTHS)
@pytest.mark.parametrize("options", ["-f", "-q -p 72 -m 127", "-q -p 0"], ids=lambda value: value.replace(" ", ""))
def test_what_jbigkit_writes_of_any_width_is_read(width, options, tmp_path):
    page = halftone(width, 90)
    decoded = t4.decode(jbig_coded(page, "pbmtojbg", options, tmp_path), width, 90, Coding.JBIG)
    assert (decoded.rows, decoded.damaged) == (page.rows, False)


def test_the_adaptive_element_did_move_in_what_jbigkit_wrote(tmp_path):
    for program, options in (("pbmtojbg", "-f"), ("pbmtojbg", "-q -p 64 -m 127 -s 60"), ("pbmtojbg85", "-m 127 -s 50")):
        assert b"\xff\x06" in jbig_coded(halftone(), program, options, tmp_path)


@pytest.mark.parametrize("options", [0, 8, 0x40, 0x48])
@pytest.mark.parametrize("program", ["jbgtopbm", "jbgtopbm85"])
def test_jbigkit_reads_what_the_encoder_of_our_tests_writes(program, options, tmp_path):
    page = halftone(203, 60)
    coded_page, back = tmp_path / "ours.jbg", tmp_path / "back.pbm"
    moves = {4: (9, 0), 35: (127, 0)}
    coded_page.write_bytes(jbig_samples.bie(page, options=options, stripe_rows=30, moves=moves))
    run(program, coded_page, back)
    assert back.read_bytes().endswith(page.rows)


@pytest.mark.parametrize("resolution", RESOLUTIONS, ids=lambda pair: f"{pair[0]}x{pair[1]}")
@pytest.mark.parametrize("fill_order", ["msb2lsb", "lsb2msb"])
@pytest.mark.parametrize("byte_order", ["-L", "-B"])
@pytest.mark.parametrize("black_is_zero", [False, True])
def test_the_jbig_that_tiffcp_writes_is_read_pixel_by_pixel(
    resolution, fill_order, byte_order, black_is_zero, tmp_path
):  # fmt: skip
    """It writes one strip a page and no others ("Multistrip images not supported in encoder")."""
    page = drawn_page(*resolution)
    source, file = tmp_path / "source.tif", tmp_path / "coded.tif"
    data = bytearray(tiff.write([page, page], Coding.UNCOMPRESSED))
    if black_is_zero:
        place = data.index(struct.pack("<HHIH", 262, 3, 1, 0)) + 8
        data[place] = 1
    source.write_bytes(data)
    run("tiffcp", "-c", "jbig", "-f", fill_order, byte_order, "-r", 400, source, file)
    first, second = tiff.read(file.read_bytes(), PROFILE_J)
    assert first.raster.rows == (inverted(page.rows, page.width) if black_is_zero else page.rows)
    assert second.raster == page
    assert (first.coding, first.raster.y_dpi, first.damaged) == (Coding.JBIG, resolution[1], False)
