"""What comes out of the room: PNG, PDF, tray TIFF, profile S, text pages, scaled pictures."""

from __future__ import annotations

import dataclasses
import io
import re
import struct
from datetime import UTC, datetime

import pytest
from imaging_samples import FAX_CODINGS, flip_bits, noise_page, text_page
from PIL import Image

from fauxfax.errors import Misuse
from fauxfax.imaging import pdf, scale, t4, text, tiff
from fauxfax.imaging.page import Page
from fauxfax.imaging.raster import MAX_PREVIEW_PIXELS, Raster
from fauxfax.imaging.t4 import Coding
from fauxfax.imaging.tiffwriter import REVERSED_BITS


def coded(raster: Raster, coding: Coding, *, damage: bool = False) -> Page:
    strip = t4.encode(raster, coding)
    return Page(
        number=1,
        width=raster.width,
        height=raster.height,
        x_dpi=raster.x_dpi,
        y_dpi=raster.y_dpi,
        coding=coding,
        strips=(flip_bits(strip, 5) if damage else strip,),
        rows_per_strip=raster.height,
    )


# Raster and PNG


@pytest.mark.parametrize(("width", "height", "rows"), [(0, 1, b""), (9, 1, b"\0"), (8, 2, b"\0")])
def test_a_raster_that_does_not_fit_its_rows_is_a_mistake(width, height, rows):
    with pytest.raises(Misuse):
        Raster(width, height, rows)


def test_a_raster_goes_to_an_image_and_back():
    raster = noise_page()
    assert Raster.from_image(raster.to_image()) == raster
    with pytest.raises(Misuse, match="bilevel"):
        Raster.from_image(Image.new("L", (8, 8)))


@pytest.mark.parametrize(("x_dpi", "y_dpi"), [(204, 98), (204, 196), (204, 391), (200, 100), (300, 300), (408, 391)])
def test_a_preview_has_the_shape_of_the_paper(x_dpi, y_dpi):
    raster = Raster.blank(round(8 * x_dpi), round(11 * y_dpi), x_dpi=x_dpi, y_dpi=y_dpi)
    with Image.open(io.BytesIO(raster.to_png())) as image:
        assert image.width / image.height == pytest.approx(8 / 11, rel=0.002)
        assert image.width >= raster.width
        assert image.height >= raster.height


def test_a_page_of_standard_resolution_repeats_its_rows_in_a_preview():
    raster = Raster(8, 2, b"\xff\x00", x_dpi=204, y_dpi=102)
    with Image.open(io.BytesIO(raster.to_png())) as image:
        assert [image.getpixel((0, y)) for y in range(4)] == [0, 0, 255, 255]


def test_a_preview_of_an_absurd_resolution_stays_small():
    raster = Raster.blank(100_000, 390, x_dpi=1300, y_dpi=50)
    with Image.open(io.BytesIO(raster.to_png())) as image:
        assert image.width * image.height <= 1.01 * MAX_PREVIEW_PIXELS
        assert image.width / image.height == pytest.approx(100_000 / 1300 / (390 / 50), rel=0.01)


@pytest.mark.parametrize("strip", [b"", b"\x00" * 9, b"\x3f"], ids=["empty", "zeros", "no-code-word"])
def test_a_page_of_which_nothing_came_is_still_a_sheet(strip):
    page = dataclasses.replace(coded(noise_page(), Coding.MMR), strips=(strip,))
    assert page.is_error
    assert page.raster.to_png()
    assert b"/Height 0" not in pdf.write([page])
    assert tiff.read(tiff.write([page]))[0].raster == page.raster


# TIFF for the tray


@pytest.mark.parametrize("coding", [Coding.UNCOMPRESSED, *FAX_CODINGS], ids=lambda coding: coding.name)
def test_a_written_file_is_what_a_library_reads(coding):
    pages = [noise_page(seed=1), noise_page(seed=2), noise_page(seed=3)]
    with Image.open(io.BytesIO(tiff.write(pages, coding))) as file:
        assert file.n_frames == 3
        for number, page in enumerate(pages):
            file.seek(number)
            assert file.convert("1").tobytes("raw", "1;I") == page.rows
            assert file.info["dpi"] == (204, 196)


def test_a_sound_strip_is_kept_and_a_damaged_page_is_coded_again():
    sound, damaged = coded(text_page(), Coding.MMR), coded(text_page(), Coding.MMR, damage=True)
    assert sound.strips[0] in tiff.write([sound])
    again = tiff.write([damaged])
    assert damaged.strips[0] not in again
    (page,) = tiff.read(again)
    assert page.raster == damaged.raster
    assert not page.damaged


def test_a_file_of_no_page_is_a_mistake():
    with pytest.raises(Misuse, match="at least one page"):
        tiff.write([])


# Profile S


def fields(data: bytes, offset: int) -> tuple[dict[int, tuple[int, int, int]], int]:
    (count,) = struct.unpack_from("<H", data, offset)
    found = {}
    for at in range(offset + 2, offset + 2 + count * 12, 12):
        tag, kind, number, value = struct.unpack_from("<HHII", data, at)
        found[tag] = (kind, number, value)
    assert list(found) == sorted(found), "ascending order"
    return found, struct.unpack_from("<I", data, offset + 2 + count * 12)[0]


@pytest.mark.parametrize(("x_dpi", "y_dpi"), [(204, 98), (204, 196), (200, 100), (200, 200)])
def test_a_profile_s_file_is_legal_field_by_field(x_dpi, y_dpi):
    pages = [text_page(x_dpi=x_dpi, y_dpi=y_dpi), text_page(height=77, x_dpi=x_dpi, y_dpi=y_dpi)]
    data = tiff.write_profile_s(pages)
    assert data[:8] == b"II\x2a\x00\x08\x00\x00\x00", "little-endian, first directory at offset 8"
    offset, end = 8, 8
    for number, page in enumerate(pages):
        assert offset == end, "each directory right after the data of the page before"
        found, following = fields(data, offset)
        strip, size = found[273][2], found[279][2]
        assert strip > offset, "the directory before its data"
        for tag, place in ((282, x_dpi), (283, y_dpi)):
            kind, count, at = found.pop(tag)
            assert (kind, count, struct.unpack_from("<II", data, at)) == (5, 1, (place, 1))
            assert offset < at < strip
        assert found == {
            254: (4, 1, 2),
            256: (4, 1, 1728),
            257: (4, 1, page.height),
            258: (3, 1, 1),
            259: (3, 1, 3),
            262: (3, 1, 0),
            266: (3, 1, 2),
            273: (4, 1, strip),
            277: (3, 1, 1),
            278: (4, 1, page.height),
            279: (4, 1, size),
            292: (4, 1, 0),
            296: (3, 1, 2),
            297: (3, 2, number | 2 << 16),
        }
        coded_strip = data[strip : strip + size].translate(REVERSED_BITS)
        bits = "".join(f"{octet:08b}" for octet in coded_strip)
        assert bits.startswith("000000000001"), "begins with an end-of-line code"
        assert t4.decode(coded_strip, 1728, None, Coding.MH).rows == page.rows
        assert "000000000001" * 2 not in bits, "no return to control"
        offset, end = following, strip + size + size % 2
    assert offset == 0
    assert end == len(data)


@pytest.mark.parametrize(
    "raster", [noise_page(), Raster.blank(1728, 5, x_dpi=300, y_dpi=300)], ids=["narrow", "300-dpi"]
)
def test_profile_s_refuses_what_it_cannot_say(raster):
    with pytest.raises(Misuse, match="page 2"):
        tiff.write_profile_s([text_page(), raster])


# PDF


@pytest.mark.parametrize("coding", FAX_CODINGS, ids=lambda coding: coding.name)
def test_a_sound_strip_goes_into_the_pdf_as_it_came(coding):
    page = coded(text_page(), coding)
    document = pdf.write([page])
    assert page.strips[0] in document
    assert f"/K {pdf._K[coding]}/Columns 1728/Rows 300".encode() in document


def test_a_damaged_page_goes_into_the_pdf_repaired():
    page = coded(text_page(), Coding.MH, damage=True)
    document = pdf.write([page])
    assert page.strips[0] not in document
    assert t4.encode(page.raster, Coding.MMR) in document


@pytest.mark.parametrize(("x_dpi", "y_dpi"), [(204, 98), (204, 196), (204, 391), (408, 391)])
def test_a_pdf_page_is_as_large_as_its_resolutions_say(x_dpi, y_dpi):
    raster = Raster.blank(1728, 1145, x_dpi=x_dpi, y_dpi=y_dpi)
    box = re.search(rb"/MediaBox\[0 0 ([\d.]+) ([\d.]+)\]", pdf.write([raster]))
    assert box
    assert [float(side) for side in box.groups()] == pytest.approx([1728 / x_dpi * 72, 1145 / y_dpi * 72], abs=0.001)


def test_the_cross_reference_table_of_a_pdf_points_at_its_objects():
    document = pdf.write([text_page(), noise_page()])
    start = int(re.findall(rb"startxref\n(\d+)\n", document)[-1])
    assert document[start:].startswith(b"xref\n0 10\n")
    for number, offset in enumerate(re.findall(rb"(\d{10}) 00000 n \n", document), 1):
        assert document[int(offset) :].startswith(b"%d 0 obj\n" % number)


def test_the_same_pages_give_the_same_pdf_and_a_date_only_if_asked():
    assert pdf.write([noise_page()]) == pdf.write([noise_page()])
    assert b"CreationDate" not in pdf.write([noise_page()])
    dated = pdf.write([noise_page()], created=datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC))
    assert b"/CreationDate(D:20261124010203Z)" in dated


# Text and pictures


def ink(raster: Raster) -> int:
    return int.from_bytes(raster.rows, "big").bit_count()


@pytest.mark.parametrize(
    ("content", "pages"),
    [("", 1), ("one line", 1), ("\n" * 55, 1), ("\n" * 56, 2), ("a\fb\fc", 3), ("word " * 2000, 2), ("x" * 9000, 2)],
    ids=["nothing", "a-line", "full-page", "a-line-more", "form-feeds", "wrapped-words", "one-long-word"],
)
def test_text_fills_as_many_pages_as_it_needs(content, pages):
    assert len(text.render(content)) == pages


def test_text_pages_are_a4_and_keep_their_margins():
    (page,) = text.render("W" * 500 + "\r\n" + "a b " * 200, heading="A heading longer than the paper is wide " * 9)
    assert (page.width, page.height, page.x_dpi, page.y_dpi) == (1728, 2292, 204, 196)
    left, top, right, bottom = page.to_image().convert("L").point(lambda level: 255 - level).getbbox()
    assert left >= text.MARGIN - 4
    assert top >= text.MARGIN
    assert right <= text.PAGE_WIDTH - text.MARGIN + 8
    assert bottom <= text.PAGE_HEIGHT - text.MARGIN


def test_a_text_without_end_is_cut_with_a_notice():
    pages = text.render("line\n" * 100_000, max_pages=2)
    assert len(pages) == 2
    assert ink(pages[1]) > ink(pages[0])


@pytest.mark.parametrize(
    ("written", "printed"), [("Grüße", "Grusse"), ("“a” – b", '"a" - b'), ("5 €", "5 EUR"), ("語\x07", "?")]
)
def test_what_the_font_lacks_is_written_in_ascii(written, printed):
    assert text.render(written) == text.render(printed)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "LA", "CMYK"])
def test_any_picture_becomes_a_fax_page_of_its_shape(mode):
    page = scale.to_fax(Image.new("RGB", (400, 200), "white").convert(mode))
    assert (page.width, page.height) == (1728, round(864 * 196 / 204))
    assert ink(page) == 0


def test_grey_is_dithered_and_transparency_is_white():
    grey = scale.to_fax(Image.new("L", (100, 10), 128))
    assert ink(grey) == pytest.approx(grey.width * grey.height / 2, rel=0.02)
    assert ink(scale.to_fax(Image.new("RGBA", (100, 10), (0, 0, 0, 0)))) == 0


def test_a_picture_that_would_be_too_long_is_a_mistake():
    with pytest.raises(Misuse, match="20000 or fewer"):
        scale.to_fax(Image.new("1", (1, 100)))
