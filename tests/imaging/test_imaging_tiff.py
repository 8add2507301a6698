"""TIFF-F as real senders write it: read whatever the layout, refused when it contradicts itself."""

from __future__ import annotations

import itertools
import random
import re
import struct

import pytest
from imaging_samples import FAX_CODINGS, LONG, SHORT, TiffFile, encode_strips, flip_bits, noise_page, text_page

from fauxfax.errors import FormatError
from fauxfax.imaging import pdf, tiff
from fauxfax.imaging.raster import Raster
from fauxfax.imaging.t4 import Coding
from fauxfax.imaging.tiffwriter import REVERSED_BITS

RESOLUTIONS = ((204, 98), (204, 196), (204, 391), (200, 100), (200, 200), (300, 300), (408, 391))


def one_page(raster=None, coding=Coding.MMR, *, order="<", gap=0, rows_per_strip=None, number=LONG, **changes):
    """A file of one page. A change `t292=...` replaces a tag, None removes it."""
    raster = raster or noise_page()
    file = TiffFile(order, gap=gap)
    rows = rows_per_strip or raster.height
    tags = file.page_tags(raster, coding, encode_strips(raster, coding, rows), rows, number=number)
    for name, value in changes.items():
        tags.pop(int(name[1:]), None)
        if value is not None:
            tags[int(name[1:])] = value(file) if callable(value) else value
    file.add_directory(tags)
    return bytes(file.data)


def short(value):
    return lambda file: file.numbers(SHORT, value)


def long(*values):
    return lambda file: file.numbers(LONG, *values)


@pytest.mark.parametrize("order", ["<", ">"], ids=["II", "MM"])
@pytest.mark.parametrize("fill_order", [1, 2])
@pytest.mark.parametrize("coding", [Coding.UNCOMPRESSED, *FAX_CODINGS], ids=lambda coding: coding.name)
@pytest.mark.parametrize("rows_per_strip", [40, 7], ids=["one-strip", "strips"])
def test_every_byte_order_fill_order_and_coding_is_read(order, fill_order, coding, rows_per_strip):
    raster = noise_page()
    file = TiffFile(order)
    strips = encode_strips(raster, coding, rows_per_strip)
    if fill_order == 2:
        strips = [strip.translate(REVERSED_BITS) for strip in strips]
    tags = file.page_tags(raster, coding, strips, rows_per_strip)
    tags[266] = file.numbers(SHORT, fill_order)
    file.add_directory(tags)
    (page,) = tiff.read(bytes(file.data))
    assert page.raster == raster
    assert not page.damaged


ODDITIES = {
    "short-for-long": one_page(number=SHORT),
    "odd-offsets": one_page(gap=1),
    "odd-offsets-big-endian": one_page(gap=3, order=">"),
    "no-rows-per-strip": one_page(t278=None),
    "endless-rows-per-strip": one_page(t278=long(0xFFFFFFFF)),
    "no-bits-per-sample": one_page(t258=None, t277=None),
    "no-strip-byte-counts": one_page(t279=None),
    "no-strip-byte-counts-of-many": one_page(coding=Coding.MH, rows_per_strip=9, t279=None),
    "no-photometric": one_page(t262=None),
    "no-options": one_page(coding=Coding.MH, t292=None),
}


@pytest.mark.parametrize("data", ODDITIES.values(), ids=ODDITIES)
def test_what_careless_senders_leave_out_is_supplied(data):
    (page,) = tiff.read(data)
    assert page.raster == noise_page()
    assert not page.damaged


def test_unsorted_tags_are_read():
    raster, file = noise_page(), TiffFile()
    tags = file.page_tags(raster, Coding.MR, encode_strips(raster, Coding.MR, 40), 40)

    def shuffled(entries):
        random.Random(3).shuffle(entries)
        return entries

    file.add_directory(tags, arrange=shuffled)
    assert tiff.read(bytes(file.data))[0].raster == raster


def test_a_directory_may_stand_before_its_data():
    pages = [noise_page(seed=seed) for seed in (1, 2, 3)]
    wide = [Raster(1728, 9, bytes(216 * 9)), text_page()]
    assert [page.raster for page in tiff.read(tiff.write(pages))] == pages
    assert [page.raster for page in tiff.read(tiff.write_profile_s(wide))] == wide


def test_black_is_zero_gives_the_negative():
    (page,) = tiff.read(one_page(t262=short(1)))
    raster = noise_page()
    assert all((a ^ b) == 255 for a, b in zip(page.raster.row(0)[:-1], raster.row(0)[:-1], strict=True))
    assert page.raster.row(0)[-1] & 0x1F == 0, "the bits beyond the width stay 0"


PAPERS = {
    "A4": (210, 297, (1728, 2592, 3456)),
    "B4": (257, 364, (2048, 3072, 4096)),
    "A3": (297, 420, (2432, 3648, 4864)),
    "letter": (215.9, 279.4, (1728, 2592, 3456)),
    "legal": (215.9, 355.6, (1728, 2592, 3456)),
}
"""Width and length in mm, and the picture elements of a row at 200, at 300 and at 400 dpi (RFC 3949)."""
SCANS = [(0, dpi) for dpi in ((204, 98), (204, 196), (204, 391), (200, 100), (200, 200))]
SCANS += [(1, (300, 300)), (2, (408, 391)), (2, (400, 400))]


@pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)
@pytest.mark.parametrize(("scale", "dpi"), SCANS, ids=[f"{x}x{y}" for _, (x, y) in SCANS])
def test_every_paper_at_every_resolution_is_read_and_keeps_its_length(paper, scale, dpi):
    _, length, widths = paper
    rows = round(length / 25.4 * dpi[1])
    stride = widths[scale] // 8
    raster = Raster(widths[scale], rows, (bytes(9) + b"\xf0" * (stride - 9)) * rows, *dpi)
    (page,) = tiff.read(tiff.write([raster], Coding.MMR))
    assert page.raster == raster
    assert not page.damaged
    box = re.search(rb"/MediaBox\[0 0 ([\d.]+) ([\d.]+)\]", pdf.write([page]))
    assert [float(side) / 72 * 25.4 for side in box.groups()] == pytest.approx(
        [widths[scale] / dpi[0] * 25.4, length], abs=0.3
    )


@pytest.mark.parametrize("width", [1728, 2048, 2432, 2592, 3072, 3648, 3456, 4096, 4864])
def test_resolution_is_told_or_the_default_of_the_width(width):
    told = Raster(width, 4, bytes((width + 7) // 8 * 4), 204, 98)
    (page,) = tiff.read(one_page(told))
    assert (page.x_dpi, page.y_dpi) == (204, 98)
    (page,) = tiff.read(one_page(told, t282=None))
    assert (page.x_dpi, page.y_dpi) == tiff.DEFAULT_DPI[width]


@pytest.mark.parametrize(("x", "y"), RESOLUTIONS)
@pytest.mark.parametrize("unit", ["inch", "cm", "none"])
def test_units_of_resolution_are_understood(x, y, unit):
    scale = 2.54 if unit == "cm" else 1
    raster = Raster(1728, 4, bytes(864), x / scale, y / scale)
    (page,) = tiff.read(one_page(raster, t296=short({"none": 1, "inch": 2, "cm": 3}[unit])))
    assert (page.x_dpi, page.y_dpi) == pytest.approx((x, y), rel=0.001)


@pytest.mark.parametrize(("x", "y", "unit"), [(1, 1, 1), (72, 72, 1), (1, 1, 2), (0.5, 0.5, 3)])
def test_a_resolution_that_says_nothing_is_the_fax_default(x, y, unit):
    raster = Raster(1728, 4, bytes(864), x, y)
    (page,) = tiff.read(one_page(raster, t296=short(unit)))
    assert (page.x_dpi, page.y_dpi) == (204, 196)


@pytest.mark.parametrize(
    "resolution",
    [(5, 1, struct.pack("<2I", 204, 0)), (11, 1, struct.pack("<f", 204.0)), (2, 4, b"204\0")],
    ids=["divides-by-zero", "float", "text"],
)
def test_a_resolution_of_no_known_kind_is_the_fax_default(resolution):
    (page,) = tiff.read(one_page(t282=resolution))
    assert (page.x_dpi, page.y_dpi) == (204, 196)


def test_a_resolution_may_be_a_whole_number():
    (page,) = tiff.read(one_page(t282=short(200), t283=long(100)))
    assert (page.x_dpi, page.y_dpi) == (200, 100)


def cyclic() -> bytes:
    file = TiffFile()
    tags = file.page_tags(noise_page(), Coding.MMR, encode_strips(noise_page(), Coding.MMR, 40), 40)
    first = file.add_directory(tags)
    file.add_directory(tags, next_offset=first)
    return bytes(file.data)


def with_a_tag_twice() -> bytes:
    file = TiffFile()
    tags = file.page_tags(noise_page(), Coding.MMR, encode_strips(noise_page(), Coding.MMR, 40), 40)
    file.add_directory(tags, arrange=lambda entries: [*entries, entries[0]])
    return bytes(file.data)


def many_pages(count: int) -> bytes:
    file = TiffFile()
    tags = file.page_tags(noise_page(), Coding.MMR, encode_strips(noise_page(), Coding.MMR, 40), 40)
    for _ in range(count):
        file.add_directory(tags)
    return bytes(file.data)


REFUSED = {
    "empty": (b"", "no TIFF", "offset 0"),
    "text": (b"From: a@b\r\n\r\n", "no TIFF", "offset 0"),
    "magic": (b"II\x2b\x01" + bytes(20), "magic number is 299", "offset 2"),
    "big-tiff": (b"II\x2b\x00" + bytes(20), "BigTIFF", "offset 2"),
    "no-page": (b"II\x2a\x00" + bytes(20), "no page", "offset 4"),
    "directory-outside": (b"II\x2a\x00" + struct.pack("<I", 99999), "outside the file", "IFD 1, offset 99999"),
    "directory-in-header": (b"II\x2a\x00\x02\x00\x00\x00" + bytes(20), "outside the file", "IFD 1, offset 2"),
    "directory-cut": (one_page()[:-30], "beyond the end", "IFD 1"),
    "cycle": (cyclic(), "comes back", "IFD 2"),
    "tag-twice": (with_a_tag_twice(), "twice", "IFD 1, tag 256"),
    "too-many-pages": (many_pages(501), "more than 500 pages", "IFD 500"),
    "strip-outside": (one_page(t273=long(1 << 30)), "outside the file", "IFD 1, tag 273"),
    "strip-in-header": (one_page(t273=long(0)), "outside the file", "IFD 1, tag 273"),
    "strips-missing": (one_page(rows_per_strip=5, t273=long(8, 9, 10)), "3 strips", "IFD 1, tag 273"),
    "strip-sizes-missing": (one_page(rows_per_strip=20, t279=long(8)), "1 sizes for 2", "IFD 1, tag 279"),
    "no-strips": (one_page(t273=None), "absent", "IFD 1, tag 273"),
    "no-width": (one_page(t256=None), "absent", "IFD 1, tag 256"),
    "no-height": (one_page(t257=None), "absent", "IFD 1, tag 257"),
    "nothing-high": (one_page(t257=long(0)), "empty", "IFD 1"),
    "too-many-pixels": (one_page(t256=long(9000), t257=long(9000)), "40000000 picture elements", "IFD 1"),
    "too-long": (one_page(t257=long(16_000)), "exceeds 2000 mm", "IFD 1"),
    "too-wide": (one_page(t256=long(17_000)), "exceeds 2000 mm", "IFD 1"),
    "colour": (one_page(t262=short(2)), "black and white", "IFD 1, tag 262"),
    "grey": (one_page(t258=short(8)), "black and white", "IFD 1, tag 258"),
    "three-samples": (one_page(t277=short(3)), "black and white", "IFD 1, tag 277"),
    "jpeg": (one_page(t259=short(7)), "compression 7", "IFD 1, tag 259"),
    "jbig": (one_page(t259=short(9)), "compression 9", "IFD 1, tag 259"),
    "tiles": (one_page(t322=short(16)), "tiles", "IFD 1, tag 322"),
    "fill-order-3": (one_page(t266=short(3)), "FillOrder is 3", "IFD 1, tag 266"),
    "text-for-number": (one_page(t256=(2, 4, b"1728")), "type 2", "IFD 1, tag 256"),
    "two-widths": (one_page(t256=long(1, 2)), "2 values", "IFD 1, tag 256"),
    "values-outside": (one_page(t273=(LONG, 50_000, b"\xff\xff\xff\x00")), "outside the file", "IFD 1, tag 273"),
}


@pytest.mark.parametrize(("data", "what", "where"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_is_no_fax_is_refused_with_the_place(data, what, where):
    with pytest.raises(FormatError) as refusal:
        tiff.read(data)
    assert what in refusal.value.what
    assert refusal.value.where.startswith(where)


def test_all_pages_together_are_limited():
    data = many_pages(3)
    size = len(noise_page().rows)
    assert len(tiff.read(data, tiff.Limits(decoded=3 * size))) == 3
    with pytest.raises(FormatError, match="octets decoded"):
        tiff.read(data, tiff.Limits(decoded=3 * size - 1))


def test_strips_that_overlap_cannot_ask_for_more_than_a_document_may_hold():
    raster = Raster(8, 60_000, bytes(60_000), 204, 1000)
    count = raster.height
    data = one_page(raster, Coding.UNCOMPRESSED, t278=long(1), t273=long(*[8] * count), t279=long(*[500_000] * count))
    with pytest.raises(FormatError, match="overlap"):
        tiff.read(data)


@pytest.mark.parametrize("coding", FAX_CODINGS, ids=lambda coding: coding.name)
def test_a_strip_cut_by_the_end_of_the_file_gives_the_rows_it_holds(coding):
    raster, file = text_page(), TiffFile()
    strip = encode_strips(raster, coding, raster.height)[0]
    tags = file.page_tags(raster, coding, [b""], raster.height)
    tags[273] = file.numbers(LONG, 0)
    tags[279] = file.numbers(LONG, len(strip))
    at = file.add_directory(tags)
    data = bytearray(file.data)
    place = data.index(struct.pack("<HHI", 273, LONG, 1), at) + 8
    struct.pack_into("<I", data, place, len(data))
    (page,) = tiff.read(bytes(data + strip[: len(strip) // 2]))
    assert page.raster.rows == raster.rows[: len(page.raster.rows)]
    assert page.missing_rows == raster.height - page.raster.height > 0
    assert page.is_error


@pytest.mark.parametrize(("bad", "error"), [(30, False), (31, True)], ids=["a-tenth", "more"])
def test_a_page_with_more_than_a_tenth_bad_is_an_error_page(bad, error):
    raster = text_page()
    strips = encode_strips(raster, Coding.MH, 1)
    for number in range(100, 100 + bad):
        strips[number] = b"\x00\x1f\xff\xff"
    file = TiffFile()
    file.add_directory(file.page_tags(raster, Coding.MH, strips, 1))
    (page,) = tiff.read(bytes(file.data))
    assert page.bad_rows == tuple(range(100, 100 + bad))
    assert page.is_error == error


def test_hostile_files_raise_nothing_but_format_errors():
    good = [one_page(), one_page(coding=Coding.MR, rows_per_strip=9, order=">"), tiff.write([noise_page()] * 3)]
    outcomes = {"read": 0, "refused": 0}
    for seed, data in itertools.product(range(150), good):
        damaged = flip_bits(data[-400:] if seed % 2 else data[:400], seed, count=6)
        damaged = data[:-400] + damaged if seed % 2 else damaged + data[400:]
        try:
            pages = tiff.read(damaged, tiff.Limits(pixels=1_000_000))
        except FormatError:
            outcomes["refused"] += 1
            continue
        assert all(page.raster.height + page.missing_rows == page.height for page in pages)
        outcomes["read"] += 1
    assert min(outcomes.values()) > 50, "the sweep must reach both ends"
