"""JBIG: the Recommendation's own test sequence, every option of a header, damage, and hostile octets."""

from __future__ import annotations

import random
import struct
import sys

import jbig_samples
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imaging_samples import SHORT, TiffFile, flip_bits, noise_page, text_page
from jbig_samples import ABORT, SDNORM, SDRST, bie, header, stripes

from fauxfax.errors import FormatError
from fauxfax.imaging import jbig, pdf, t4, tiff
from fauxfax.imaging.jbigcoder import ArithmeticDecoder
from fauxfax.imaging.page import Page
from fauxfax.imaging.raster import Raster, inverted
from fauxfax.imaging.t4 import Coding
from fauxfax.imaging.tiffwriter import REVERSED_BITS

ALLOWED = tiff.Limits(jbig=True)
TEXT = text_page(width=203, height=60)
STRIPE = 16
"""Rows of a stripe in the tests of damage: three whole stripes of TEXT, and one of 12 rows."""

# ITU-T T.82, 7.1: 256 decisions, their contexts, and what they are coded as.
T82_ELEMENTS = "05e000008b0001c4170000347fff1a3f951b05d81d17e7700000000006560e6a"
T82_CONTEXTS = "0fe000000f0000f0ff00" + "0000" * 11
T82_CODE = "6989995c32eafaa0d5ff00527fff00ff00ff00c00000003fff002d208291"


def bits(digits: str) -> list[int]:
    octets = bytes.fromhex(digits)
    return [octet >> 7 - place & 1 for octet in octets for place in range(8)]


def decoded(strip: bytes, raster: Raster = TEXT) -> t4.Decoded:
    return t4.decode(strip, raster.width, raster.height, Coding.JBIG)


def rows(raster: Raster, first: int, last: int) -> bytes:
    return raster.rows[first * raster.stride : last * raster.stride]


def document(strips: list[bytes], raster: Raster = TEXT, rows_per_strip: int | None = None, **tags: int) -> bytes:
    file = TiffFile()
    entries = file.page_tags(raster, Coding.JBIG, strips, rows_per_strip or raster.height)
    entries |= {int(tag[1:]): file.numbers(SHORT, value) for tag, value in tags.items()}
    file.add_directory(entries)
    return bytes(file.data)


# The coder


def test_the_test_sequence_of_the_recommendation_is_decoded():
    coder = ArithmeticDecoder(2)
    coder.begin(bytes.fromhex(T82_CODE).replace(b"\xff\0", b"\xff"))
    assert [coder.decide(context) for context in bits(T82_CONTEXTS)] == bits(T82_ELEMENTS)
    assert coder.exhausted


def test_the_test_sequence_of_the_recommendation_is_what_the_encoder_of_these_tests_writes():
    coder = jbig_samples.ArithmeticEncoder([[0, 0] for _ in range(2)])
    for context, element in zip(bits(T82_CONTEXTS), bits(T82_ELEMENTS), strict=True):
        coder.encode(context, element)
    assert coder.finish().hex() == T82_CODE


# Pictures


@pytest.mark.parametrize("options", [0, 8, 0x40, 0x48], ids=["three", "three-typical", "two", "two-typical"])
@pytest.mark.parametrize("stripe_rows", [1, 7, 60, 1000])
@pytest.mark.parametrize("reset", [False, True], ids=["SDNORM", "SDRST"])
def test_every_template_stripe_and_end_gives_the_picture_back(options, stripe_rows, reset):
    picture = decoded(bie(TEXT, options=options, stripe_rows=stripe_rows, reset=reset))
    assert picture.rows == TEXT.rows
    assert not picture.damaged


@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 203])
@pytest.mark.parametrize("options", [0, 8, 0x40, 0x48])
def test_any_width_and_any_colour_gives_the_picture_back(width, options):
    blank, noise = Raster.blank(width, 12), noise_page(width, 12)
    for packed in (blank.rows, noise.rows, inverted(blank.rows, width), inverted(noise.rows, width)):
        raster = Raster(width, 12, packed)
        assert decoded(bie(raster, options=options), raster).rows == packed


PLACES = [(3, 0), (5, 0), (127, 0), (0, 1), (127, 5), (-127, 5), (-1, 2), (4, 255)]


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("options", [8, 0x40], ids=["three", "two"])
def test_the_adaptive_element_moves_wherever_the_header_lets_it(place, options):
    if place == (3, 0) and options & 0x40:
        place = (5, 0)
    raster = noise_page(height=300) if place[1] == 255 else noise_page()
    strip = bie(raster, options=options, max_y=255, stripe_rows=30, moves={4: place, 33: (0, 0), 35: place})
    picture = decoded(strip, raster)
    assert picture.rows == raster.rows
    assert not picture.damaged


def test_moves_and_lengths_and_comments_between_stripes_are_understood():
    first, *others = stripes(TEXT, stripe_rows=STRIPE)
    comment = b"\xff\x07" + struct.pack(">I", 4) + b"\xff\x02\xff\x03"
    length = b"\xff\x05" + struct.pack(">I", 60)
    for unknown in (61, 4000, 0xFFFFFFFF):
        start = header(TEXT, height=unknown, stripe_rows=STRIPE, options=0x28)
        late = start + comment + first + comment + b"".join(others) + length + SDNORM
        early = start + length + first + b"".join(others) + bytes(3)
        for strip in (late, early):
            picture = decoded(strip)
            assert picture.rows == TEXT.rows
            assert not picture.damaged


def test_a_table_of_deterministic_prediction_is_passed_over():
    start = header(TEXT, options=8 | 6)
    assert decoded(start + bytes(1728) + b"".join(stripes(TEXT))).rows == TEXT.rows


# Damage


def test_octets_that_the_rows_do_not_use_up_make_the_stripe_and_those_after_it_bad():
    parts = stripes(TEXT, stripe_rows=STRIPE)
    parts[1] = parts[1][:-2] + b"and so on, and so on" + SDNORM
    picture = decoded(header(TEXT, stripe_rows=STRIPE) + b"".join(parts))
    assert picture.bad_rows == tuple(range(16, 60))
    assert picture.rows == rows(TEXT, 0, 16) + TEXT.row(15) * 44


def test_a_reset_ends_the_damage():
    parts = stripes(TEXT, stripe_rows=STRIPE, reset=True)
    parts[1] = parts[1][:-2] + b"and so on, and so on" + SDRST
    picture = decoded(header(TEXT, stripe_rows=STRIPE) + b"".join(parts))
    assert picture.bad_rows == tuple(range(16, 32))
    assert picture.rows == rows(TEXT, 0, 16) + TEXT.row(15) * 16 + rows(TEXT, 32, 60)


BROKEN = {
    "reserved": b"\xff\x09",
    "move beyond the header": b"\xff\x06" + struct.pack(">IbB", 0, 127, 1),
    "move onto a neighbour": b"\xff\x06" + struct.pack(">IbB", 0, 2, 0),
    "height that may not change": b"\xff\x05" + struct.pack(">I", 50),
    "too many moves": b"".join(b"\xff\x06" + struct.pack(">IbB", row, 9, 0) for row in range(65)),
}


@pytest.mark.parametrize("segment", BROKEN.values(), ids=BROKEN)
def test_a_marker_segment_that_may_not_be_loses_the_rows_after_it(segment):
    parts = stripes(TEXT, stripe_rows=STRIPE)
    parts.insert(2, segment)
    picture = decoded(header(TEXT, stripe_rows=STRIPE) + b"".join(parts))
    assert picture.bad_rows == tuple(range(32, 60))
    assert picture.rows == rows(TEXT, 0, 32) + TEXT.row(31) * 28


@pytest.mark.parametrize("end", [b"", ABORT, b"\xff"], ids=["cut", "ABORT", "cut in an escape"])
def test_a_strip_that_breaks_off_gives_the_rows_it_holds(end):
    whole = bie(TEXT, stripe_rows=STRIPE)
    held = []
    for size in range(jbig.HEADER_SIZE, len(whole) - 2):
        data = whole[:size].removesuffix(b"\xff")
        picture = decoded(data + end)
        assert picture.rows == rows(TEXT, 0, picture.height)
        assert picture.missing_rows == TEXT.height - picture.height
        assert picture.damaged
        assert not picture.bad_rows
        held.append(picture.height)
    assert held == sorted(held)
    assert held[0] == 0
    assert held[-1] > 55


def test_rows_that_a_new_length_takes_away_are_missing():
    strip = header(TEXT, stripe_rows=STRIPE, options=0x28) + b"".join(stripes(TEXT, stripe_rows=STRIPE)[:3])
    picture = decoded(strip + b"\xff\x05" + struct.pack(">I", 48) + SDNORM)
    assert (picture.rows, picture.missing_rows, picture.end_damaged) == (rows(TEXT, 0, 48), 12, False)


@pytest.mark.parametrize(
    "more", [SDNORM, b"x", ABORT, b"\xff\x05\0\0\0\1"], ids=["stripe", "octets", "ABORT", "NEWLEN"]
)
def test_what_follows_the_last_stripe_is_noticed(more):
    picture = decoded(bie(TEXT) + more)
    assert (picture.rows, picture.end_damaged) == (TEXT.rows, True)
    assert not decoded(bie(TEXT) + bytes(3)).damaged, "padding"


def test_damage_in_one_strip_of_a_page_stays_in_it():
    strips = [bie(Raster(203, 20, rows(TEXT, top, top + 20))) for top in (0, 20, 40)]
    strips[1] = strips[1][:-40]
    (page,) = tiff.read(document(strips, rows_per_strip=20), ALLOWED)
    assert page.raster.height == 60
    assert page.bad_rows == tuple(range(page.bad_rows[0], 40))
    assert page.bad_rows[0] >= 20
    assert page.raster.rows[40 * page.raster.stride :] == rows(TEXT, 40, 60)


def test_of_small_pictures_with_twenty_flipped_bits_most_are_reported():
    """Not all: any octets are the code of some picture. The more stripes a page has, the fewer stay silent."""
    sent = text_page(width=864, height=200)
    start, body = header(sent, stripe_rows=16), b"".join(stripes(sent, stripe_rows=16))
    reported = sum(decoded(start + flip_bits(body, seed), sent).damaged for seed in range(40))
    assert 25 <= reported < 40


# TIFF


@pytest.mark.parametrize("compression", [9, 34661])
@pytest.mark.parametrize("fill_order", [1, 2])
@pytest.mark.parametrize("turned", [False, True], ids=["as FillOrder says", "as libtiff does it"])
def test_a_page_is_read_whichever_way_its_bits_are_turned(compression, fill_order, turned):
    strips = [bie(Raster(203, 20, rows(TEXT, top, top + 20))) for top in (0, 20, 40)]
    if (fill_order == 2) != turned:
        strips = [strip.translate(REVERSED_BITS) for strip in strips]
    data = document(strips, rows_per_strip=20, t259=compression, t266=fill_order)
    (page,) = tiff.read(data, ALLOWED)
    assert (page.raster, page.coding, page.damaged) == (TEXT, Coding.JBIG, False)


def test_a_negative_is_turned():
    sent = noise_page(width=64)
    (page,) = tiff.read(document([bie(sent)], sent, t262=1), ALLOWED)
    assert page.raster.rows == bytes(octet ^ 255 for octet in sent.rows)


def test_a_page_goes_out_as_mmr():
    pages = tiff.read(document([bie(TEXT)]), ALLOWED)
    (again,) = tiff.read(tiff.write(pages))
    assert (again.raster, again.coding) == (TEXT, Coding.MMR)
    assert b"/K -1" in pdf.write(pages)


@pytest.mark.parametrize("compression", [9, 34661])
def test_without_the_setting_the_refusal_names_coding_place_and_setting(compression):
    with pytest.raises(FormatError) as refusal:
        tiff.read(document([bie(TEXT)], t259=compression))
    assert "JBIG" in refusal.value.what
    assert "machine.jbig" in refusal.value.what
    assert refusal.value.where == "IFD 1, tag 259"


def changed(**octets: int) -> bytes:
    return header(TEXT, **octets) + b"".join(stripes(TEXT))


REFUSED = {
    "progressive": (changed(o1=1), "not progressive"),
    "a higher layer": (changed(o0=1, o1=1), "not progressive"),
    "planes": (changed(o2=2), "2 planes"),
    "no planes": (changed(o2=0), "0 planes"),
    "fill": (changed(o3=1), "no header"),
    "order": (changed(o18=0x10), "no header"),
    "options": (changed(o19=0x80), "no header"),
    "no stripes": (header(TEXT, stripe_rows=0), "no header"),
    "move too far": (changed(o16=128), "no header"),
    "wider": (header(Raster.blank(204, 60)), "204 picture elements"),
    "as wide as can be": (changed(o4=255, o5=255, o6=255, o7=255), "4294967295 picture elements"),
    "higher": (header(TEXT, height=0xFFFFFFFF), "4294967295 rows"),
    "lower": (header(TEXT, height=59), "59 rows"),
    "lower, though it may change": (header(TEXT, height=59, options=0x28), "59 rows"),
}


@pytest.mark.parametrize(("strip", "what"), REFUSED.values(), ids=REFUSED)
def test_a_header_that_is_no_fax_is_refused_before_anything_is_decoded(strip, what, monkeypatch):
    monkeypatch.setattr(ArithmeticDecoder, "decode", lambda *_args, **_options: pytest.fail("it decoded"))
    with pytest.raises(FormatError) as refusal:
        tiff.read(document([strip]), ALLOWED)
    assert what in refusal.value.what
    assert refusal.value.where == "IFD 1, tag 273"
    assert decoded(strip).height == 0, "the decoder by itself has no rows for it"


def test_a_stripe_as_high_as_can_be_costs_nothing():
    strip = bytearray(bie(TEXT))
    strip[12:16] = b"\xff" * 4
    assert decoded(bytes(strip)).rows == TEXT.rows


def test_a_page_too_large_is_refused_whatever_its_strip_says():
    big = Raster.blank(8, 1)
    with pytest.raises(FormatError, match="picture elements"):
        tiff.read(document([header(big)], big, t256=60_000, t257=60_000), ALLOWED)


def test_a_header_that_is_cut_leaves_a_page_without_rows():
    (page,) = tiff.read(document([bie(TEXT)[:19]]), ALLOWED)
    assert (page.missing_rows, page.raster.height, page.is_error) == (60, 1, True)


# Hostile octets


def work(strip: bytes, raster: Raster) -> int:
    """Lines of the decoder that were run: what a page costs, measured without a clock."""
    lines = 0

    def trace(frame, event, _argument):
        nonlocal lines
        if not frame.f_code.co_filename.endswith(("jbig.py", "jbigcoder.py")):
            return None
        lines += event == "line"
        return trace

    sys.settrace(trace)
    try:
        decoded(strip, raster)
    finally:
        sys.settrace(None)
    return lines


@pytest.mark.parametrize("filler", [b"", b"\xff\x02", b"\xff\x07\0\0\0\0", b"\xff\0", b"\xff\x03"], ids=repr)
def test_the_work_is_bounded_by_picture_and_octets(filler):
    raster = Raster.blank(64, 40)
    noise = random.Random(3).randbytes(3000).replace(b"\xff", b"\xfe")
    for stripe_rows, options in ((1, 0), (40, 8), (40, 0x68)):
        strip = header(raster, stripe_rows=stripe_rows, options=options) + filler * 1000 + noise
        assert work(strip, raster) < 40 * (64 * 40 + len(strip))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from([SDNORM, SDRST, ABORT, b"\xff\0", b"\xff\x06\0\0\0\0\5\0", b"\xff\x05\0\0\0\5", b"\xff"]),
        ),
        max_size=30,
    ),
    st.integers(0, 127),
    st.integers(1, 50),
    st.integers(0, 60),
)
def test_no_octets_raise_anything_and_every_row_is_accounted_for(parts, options, stripe_rows, height):
    raster = Raster.blank(37, 20)
    variable = options & 0x20
    start = header(raster, height=20 + height if variable else 20, stripe_rows=stripe_rows, options=options)
    picture = decoded(start + b"".join(parts), raster)
    assert picture.height + picture.missing_rows == 20
    assert len(picture.rows) == picture.height * raster.stride
    assert all(number < picture.height for number in picture.bad_rows)
    assert not any(row & 7 for row in picture.rows[4::5]), "what is beyond the width stays white"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_no_strip_makes_a_file_raise_anything_but_a_format_error(strip):
    try:
        (page,) = tiff.read(document([strip or b"\0"]), ALLOWED)
    except FormatError:
        return
    assert isinstance(page, Page)
    assert page.raster.height + page.missing_rows in (60, 61)
