"""T.4 and T.6: pictures survive the round trip, damage is counted, nothing raises."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imaging_samples import FAX_CODINGS, encode_strips, flip_bits, noise_page, text_page
from PIL import Image

from fauxfax.errors import Misuse
from fauxfax.imaging import t4
from fauxfax.imaging.raster import Raster
from fauxfax.imaging.t4 import Coding
from fauxfax.imaging.t4bits import BitStream
from fauxfax.imaging.t4codes import BLACK_RUNS, MODES, WHITE_RUNS

CODING = pytest.mark.parametrize("coding", FAX_CODINGS, ids=lambda coding: coding.name)
ALIGNED = pytest.mark.parametrize("aligned_eol", [False, True], ids=["free", "aligned"])


@CODING
@ALIGNED
@pytest.mark.parametrize("quick", [True, False], ids=["libtiff", "ours"])
@pytest.mark.parametrize("rows_per_strip", [300, 128, 1], ids=["one-strip", "three-strips", "a-strip-a-row"])
def test_both_decoders_give_the_picture_back(coding, aligned_eol, quick, rows_per_strip):
    page = text_page()
    strips = encode_strips(page, coding, rows_per_strip, aligned_eol=aligned_eol)
    decoded = t4.decode_strips(
        strips, page.width, page.height, rows_per_strip, coding, aligned_eol=aligned_eol, quick=quick
    )
    assert decoded.rows == page.rows
    assert not decoded.damaged
    assert decoded.proven == quick


@st.composite
def pictures(draw):
    width = draw(st.integers(1, 70))
    height = draw(st.integers(1, 12))
    stride = (width + 7) // 8
    keep = (0xFF00 >> (width % 8 or 8)) & 0xFF
    rows = [bytearray(draw(st.binary(min_size=stride, max_size=stride))) for _ in range(height)]
    for row in rows:
        row[-1] &= keep
    return Raster(width, height, b"".join(map(bytes, rows)), y_dpi=draw(st.sampled_from([98.0, 196.0])))


@settings(max_examples=60, deadline=None)
@given(picture=pictures(), coding=st.sampled_from(FAX_CODINGS), aligned_eol=st.booleans())
def test_any_picture_survives_any_coding(picture, coding, aligned_eol):
    strip = t4.encode(picture, coding, aligned_eol=aligned_eol)
    for quick in (True, False):
        decoded = t4.decode_strips(
            [strip], picture.width, picture.height, picture.height, coding, aligned_eol=aligned_eol, quick=quick
        )
        assert (decoded.rows, decoded.damaged) == (picture.rows, False)


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=300), coding=st.sampled_from([Coding.UNCOMPRESSED, *FAX_CODINGS]), height=st.integers(1, 40)
)
def test_no_octets_raise_or_give_more_than_was_announced(data, coding, height):
    for quick in (True, False):
        decoded = t4.decode_strips([data], 64, height, height, coding, quick=quick)
        assert decoded.height + decoded.missing_rows == height
        assert len(decoded.rows) == decoded.height * 8
        assert all(number < decoded.height for number in decoded.bad_rows)


@CODING
def test_every_run_length_is_decoded_as_libtiff_coded_it(coding):
    width = 5400
    rows = []
    for run in [*range(130), *range(130, 2700, 31), 2559, 2560, 2561, 2623, 2624, 5120, 5399, 5400]:
        row = ((1 << run) - 1) << (width - run)
        rows += [row.to_bytes(width // 8, "big"), (row ^ ((1 << width) - 1)).to_bytes(width // 8, "big")]
    picture = Raster(width, len(rows), b"".join(rows))
    decoded = t4.decode_strips([t4.encode(picture, coding)], width, picture.height, picture.height, coding, quick=False)
    assert decoded.rows == picture.rows
    assert not decoded.damaged


@pytest.mark.parametrize("codes", [WHITE_RUNS, BLACK_RUNS, MODES], ids=["white", "black", "modes"])
def test_no_code_word_begins_another(codes):
    words = sorted(codes)
    assert not any(longer.startswith(word) for word, longer in itertools.pairwise(words))


@pytest.mark.parametrize("width", [8, 13])
def test_the_bits_beyond_the_width_are_dropped(width):
    decoded = t4.decode(b"\xff" * 6, width, 3, Coding.UNCOMPRESSED)
    assert Raster(width, decoded.height, decoded.rows) == Raster.from_image(Image.new("1", (width, decoded.height), 0))


@given(
    octets=st.lists(st.sampled_from([0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 0x0F, 0xF0, 0xFF]), min_size=1, max_size=14),
    start=st.integers(0, 111),
)
def test_the_next_end_of_line_code_is_found_wherever_it_lies(octets, start):
    bits = "".join(f"{octet:08b}" for octet in octets)
    found = re.compile("0{11,}1").search(bits, start)
    assert BitStream(bytes(octets)).next_eol(start) == (found.end() if found else -1)


@CODING
def test_a_strip_without_height_is_decoded_to_its_end(coding):
    page = noise_page()
    decoded = t4.decode(t4.encode(page, coding), page.width, None, coding)
    assert (decoded.rows, decoded.damaged) == (page.rows, False)


@CODING
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9], ids=["a-tenth", "half", "nine-tenths"])
def test_a_truncated_strip_gives_the_rows_it_holds(coding, share):
    page = text_page()
    strip = t4.encode(page, coding)
    decoded = t4.decode(strip[: int(len(strip) * share)], page.width, page.height, coding)
    assert 0 < decoded.height < page.height
    assert decoded.rows == page.rows[: len(decoded.rows)]
    assert decoded.missing_rows == page.height - decoded.height
    assert decoded.bad_rows == ()


@CODING
@ALIGNED
def test_wherever_a_strip_is_cut_the_whole_rows_are_kept_and_none_is_bad(coding, aligned_eol):
    page = noise_page(width=100, height=12)
    strip = t4.encode(page, coding, aligned_eol=aligned_eol)
    heights = set()
    for size in range(len(strip)):
        decoded = t4.decode_strips([strip[:size]], 100, 12, 12, coding, aligned_eol=aligned_eol, quick=False)
        assert decoded.rows == page.rows[: len(decoded.rows)]
        assert decoded.bad_rows == (), f"{size} of {len(strip)} octets"
        heights.add(decoded.height)
    assert heights >= set(range(12)), "every number of rows occurs"


@CODING
def test_damage_ends_with_its_strip(coding):
    page = text_page()
    strips = encode_strips(page, coding, 100)
    strips[1] = flip_bits(strips[1], seed=4)
    decoded = t4.decode_strips(strips, page.width, page.height, 100, coding)
    assert decoded.bad_rows
    assert all(100 <= number < 200 for number in decoded.bad_rows)
    assert decoded.rows[: 100 * page.stride] == page.rows[: 100 * page.stride]
    assert decoded.rows[200 * page.stride :] == page.rows[200 * page.stride :]


@CODING
def test_a_bad_row_repeats_the_row_above(coding):
    page = text_page()
    decoded = t4.decode(flip_bits(t4.encode(page, coding), seed=9), page.width, page.height, coding)
    rows = [decoded.rows[at : at + page.stride] for at in range(0, len(decoded.rows), page.stride)]
    assert decoded.bad_rows
    assert all(rows[number] == (rows[number - 1] if number else bytes(page.stride)) for number in decoded.bad_rows)


def test_what_jbig_cannot_be_asked_is_a_mistake_of_the_caller():
    with pytest.raises(Misuse, match="JBIG"):
        t4.decode(b"", 1, None, Coding.JBIG)
    with pytest.raises(Misuse, match="JBIG"):
        t4.encode(noise_page(), Coding.JBIG)
