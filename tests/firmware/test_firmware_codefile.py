"""The container: built, read, refused; and the hand that finds the wrong octet."""

from __future__ import annotations

import random
import zlib

import pytest
from firmware_small import both, image, source
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.errors import FormatError, Misuse
from fauxfax.firmware import codefile
from fauxfax.firmware.codefile import UEL, Component, Requirement
from fauxfax.firmware.verify import verify, wrong_octets

CONTAINER = both()
JOB = codefile.wrap(CONTAINER, "a set")
HEADER = codefile.parse_header(CONTAINER)


def test_what_is_built_is_read_and_built_again_octet_for_octet() -> None:
    read = codefile.parse(JOB)
    assert read.comment == "a set"
    assert [part.component for part in read.header.parts] == [Component.PNL, Component.SC]
    assert codefile.rebuild(read) == CONTAINER
    assert codefile.parse(CONTAINER).payloads == read.payloads


def test_the_job_is_a_complete_print_job_whose_container_begins_with_a_sentence() -> None:
    assert JOB.startswith(UEL + b"@PJL COMMENT a set\r\n@PJL UPGRADE SIZE=%d\r\nThis is a" % len(CONTAINER))
    assert JOB.endswith(CONTAINER + UEL)
    assert CONTAINER.split(b"\r\n")[0].isascii()


def test_the_header_is_read_from_the_first_octets_alone() -> None:
    size = codefile.header_size(CONTAINER[: codefile.PREFIX_SIZE])
    assert codefile.parse_header(CONTAINER[:size]) == HEADER
    assert HEADER.total_size == len(CONTAINER)


def test_a_requirement_survives_the_round_trip() -> None:
    needy = codefile.Source(
        component=Component.PNL, version="V10300", payload=b"x", requires=(Requirement(Component.SC, "V10200"),)
    )
    assert codefile.parse(image(needy)).header.parts[0].requires == (Requirement(Component.SC, "V10200"),)


@pytest.mark.parametrize("size", [0, 1, 100, codefile.PREFIX_SIZE, HEADER.size - 1, HEADER.size, len(CONTAINER) - 1])
def test_a_file_cut_short_is_refused_and_verify_names_where_it_ends(size: int) -> None:
    with pytest.raises(FormatError):
        codefile.parse(CONTAINER[:size])
    assert verify(CONTAINER[:size])[0].offset == size


def test_a_longer_file_is_refused() -> None:
    with pytest.raises(FormatError, match="follow"):
        codefile.parse(CONTAINER + b"\0")
    assert verify(CONTAINER + b"\0")[0].offset == len(CONTAINER)


@pytest.mark.parametrize("seed", range(60))
def test_verify_names_the_wrong_octet_wherever_it_is(seed: int) -> None:
    place = random.Random(seed).randrange(len(CONTAINER))
    spoilt = bytearray(CONTAINER)
    spoilt[place] ^= 1 << seed % 8
    faults = verify(bytes(spoilt))
    crc_of_header = range(HEADER.size - 4, HEADER.size)
    assert [fault.offset for fault in faults] == [HEADER.size - 4 if place in crc_of_header else place]
    with pytest.raises(FormatError):
        codefile.parse(bytes(spoilt))


def test_every_octet_of_the_header_is_guarded() -> None:
    for place in range(HEADER.size):
        spoilt = bytearray(CONTAINER[: HEADER.size])
        spoilt[place] ^= 0x55
        with pytest.raises(FormatError):
            codefile.parse_header(bytes(spoilt))


def test_two_swapped_blocks_are_both_named() -> None:
    offset = HEADER.size + HEADER.parts[0].payload_size
    spoilt = bytearray(CONTAINER)
    spoilt[offset : offset + 4096], spoilt[offset + 4096 : offset + 8192] = (
        spoilt[offset + 4096 : offset + 8192],
        spoilt[offset : offset + 4096],
    )
    assert [fault.what.split(":")[0].split(" is")[0] for fault in verify(bytes(spoilt))] == ["SC block 1", "SC block 2"]


def test_a_right_file_has_no_fault() -> None:
    assert verify(JOB) == verify(CONTAINER) == []


def test_verify_names_a_damaged_job_around_a_right_container() -> None:
    assert verify(b"\x1b%-12345Y" + JOB[9:])[0].offset == 8
    assert verify(JOB[:-1])[0].offset == len(JOB) - 9
    assert verify(JOB.replace(b"UPGRADE", b"UPGRAED", 1))[0].offset == 9


@given(st.binary(min_size=1, max_size=300), st.data())
def test_the_wrong_octet_and_the_right_one_are_among_the_candidates(block: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(block) - 1))
    change = data.draw(st.integers(1, 255))
    spoilt = block[:place] + bytes([block[place] ^ change]) + block[place + 1 :]
    assert (place, block[place]) in list(wrong_octets(spoilt, zlib.crc32(block)))


@given(st.binary(max_size=400))
def test_no_octets_make_the_reader_do_anything_but_refuse(data: bytes) -> None:
    with pytest.raises(FormatError):
        codefile.parse(data)
    assert verify(data)


@given(st.lists(st.tuples(st.integers(0, HEADER.size - 5), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_header_with_lies_and_a_right_checksum_is_read_or_refused(lies: list[tuple[int, int]]) -> None:
    header = bytearray(CONTAINER[: HEADER.size])
    for place, octet in lies:
        header[place] = octet
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    try:
        read = codefile.parse_header(bytes(header))
    except FormatError:
        return
    assert all(0 < part.payload_size <= codefile.PAYLOAD_LIMIT for part in read.parts)
    assert verify(bytes(header) + CONTAINER[HEADER.size :]) is not None


@pytest.mark.parametrize(
    ("models", "sources"),
    [
        ((), (source(),)),
        (("UF-8000",), ()),
        (("UF-8000",), (source(), source())),
        (("UF-8000",), (source(version="2"),)),
    ],
    ids=["no model", "no component", "a component twice", "no version"],
)
def test_what_could_not_be_read_is_not_built(models: tuple[str, ...], sources: tuple[codefile.Source, ...]) -> None:
    with pytest.raises(Misuse):
        codefile.build(models, sources)


def test_the_file_name_follows_the_version_lines_of_the_family() -> None:
    assert codefile.file_name("UF-8K", "SC", "V10200") == "UF-8K_SC_AAV10200YC.pfc"
