"""Print data on the host port: pictures are stored for the print engine, the rest is dropped aloud."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from fauxfax.clock import ManualClock
from fauxfax.errors import FormatError
from fauxfax.events import DataDropped
from fauxfax.ifax.host import BINARY
from fauxfax.imaging import prints
from fauxfax.inprocess import InProcessMachine
from fauxfax.machine.channel import AHEAD
from fauxfax.machine.picture import BLOCK, LARGE, Picture

UEL = b"\x1b%-12345X"


def picture(width: int = 1728, height: int = 40) -> Image.Image:
    image = Image.new("1", (width, height), 1)
    ImageDraw.Draw(image).rectangle((10, 10, width // 2, height - 10), fill=0)
    return image


def pnm(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PPM")
    return out.getvalue()


def tiff(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "TIFF", compression="group4", dpi=(204, 196))
    return out.getvalue()


def pwg(image: Image.Image, bits: int, space: int, *, packed: bool = True, dpi: int = 200) -> bytes:
    """A page as a PC's filter makes it: every line literal, or repeated if it is the one before."""
    raw = image.tobytes("raw", "1;I") if (bits, space) == (1, 3) else image.tobytes()
    stride = (image.width * bits + 7) // 8
    header = bytearray(1796)
    header[:10] = b"PwgRaster\0"
    struct.pack_into(">2I", header, 276, dpi, dpi)
    struct.pack_into(">2I", header, 372, image.width, image.height)
    struct.pack_into(">5I", header, 384, bits, bits, stride, 0, space)
    unit, body = max(1, bits // 8), b""
    for at in range(0, len(raw), stride):
        line = raw[at : at + stride]
        body += (
            line
            if not packed
            else b"\0"
            + b"".join(
                bytes([257 - len(run) // unit]) + run if len(run) > unit else b"\0" + run
                for run in (line[i : i + 128 * unit] for i in range(0, stride, 128 * unit))
            )
        )
    return bytes(header) + body


@pytest.fixture
def host() -> Iterator[InProcessMachine]:
    with InProcessMachine(clock=ManualClock()) as host:
        yield host


def dropped(host: InProcessMachine) -> list[DataDropped]:
    return [record.event for record in host.machine.events.since(0) if isinstance(record.event, DataDropped)]


@pytest.mark.parametrize("end", ["UEL", "cable out", "silence"])
@pytest.mark.parametrize(
    "data", [tiff(picture()), pnm(picture()), b"RaS2" + pwg(picture(), 1, 3)], ids=["TIFF", "PBM", "PWG"]
)
def test_a_picture_waits_in_the_image_memory_with_the_way_in_as_its_peer(
    host: InProcessMachine, data: bytes, end: str
) -> None:
    port = host.machine.open_port("usb")
    for at in range(0, len(data), 700):
        port.write(data[at : at + 700])
    assert not host.machine.memory.waiting()
    if end == "UEL":
        port.write(UEL)
    elif end == "cable out":
        port.end()
    else:
        host.clock.advance(host.machine.model.timing.job_timeout + 0.1)
    [stored] = host.machine.memory.waiting()
    assert (stored.envelope.peer, stored.envelope.body) == ("usb", BINARY)
    assert host.machine.memory.body(stored.number) == data
    assert not dropped(host)


def test_two_cables_print_at_a_time_and_neither_ends_the_others_job(host: InProcessMachine) -> None:
    first, second = host.machine.open_port("usb"), host.machine.open_port("usb")
    data = pnm(picture())
    first.write(data[:500])
    second.write(data)
    second.end()
    assert [host.machine.memory.body(one.number) for one in host.machine.memory.waiting()] == [data]
    first.write(data[500:] + UEL)
    assert len(host.machine.memory.waiting()) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0\n/Helvetica findfont\nshowpage\n",
        b"\x1bE\x1b&l0O page \x0c\n\x1bE\n",
        b"just a text\r\nof two lines\r\n",
    ],
    ids=["PostScript", "PCL", "text"],
)
def test_what_it_cannot_print_is_accepted_and_dropped_with_an_event(host: InProcessMachine, data: bytes) -> None:
    port = host.machine.open_port("raw")
    port.write(UEL + data + UEL)
    [event] = dropped(host)
    assert event.way == "raw"
    assert 0 < event.octets <= len(data)
    assert not host.machine.memory.waiting()


def test_a_picture_larger_than_the_image_memory_is_dropped_and_the_next_is_printed(host: InProcessMachine) -> None:
    port, room = host.machine.open_port("raw"), host.machine.memory.free_bytes
    chunk = bytes(port.room)
    port.write(b"II*\0")
    for _ in range(room // len(chunk) + 1):
        port.write(chunk)
    port.write(UEL + tiff(picture()) + UEL)
    assert [event.octets > room for event in dropped(host)] == [True]
    assert len(host.machine.memory.waiting()) == 1


@pytest.mark.parametrize(
    "data",
    [
        pnm(picture()),
        pnm(picture()) * 2,
        pnm(picture().convert("L")),
        pnm(picture().convert("RGB")),
        b"RaS2" + pwg(picture(), 1, 3),
        b"RaS2" + pwg(picture().convert("L"), 8, 18),
        b"RaS2" + pwg(picture().convert("RGB"), 24, 19) * 2,
        b"RaS3" + pwg(picture(), 1, 3, packed=False),
    ],
    ids=["PBM", "two PBM", "PGM", "PPM", "PWG black", "PWG grey", "PWG colour, two pages", "raw raster"],
)
def test_every_kind_of_picture_is_read_element_by_element(data: bytes) -> None:
    pages = prints.read(data)
    assert len(pages) == 1 + (data.count(b"P4\n") == 2 or data.count(b"PwgRaster") == 2)
    for page in pages:
        assert page.raster.to_image().tobytes() == picture().tobytes()


def test_runs_of_equal_units_repeated_lines_and_a_cleared_rest_unpack(host: InProcessMachine) -> None:
    header = pwg(picture(32, 40), 1, 3)[:1796]
    header = header[:376] + struct.pack(">I", 3) + header[380:]
    [page] = prints.read(b"RaS2" + header + b"\x01" + b"\x01\xff" + b"\x80" + b"\x00" + b"\xfd\x01\x02\x03\x04")
    assert page.raster.rows == b"\xff\xff\0\0" * 2 + b"\x01\x02\x03\x04"


@given(st.sampled_from([b"P4", b"P5\n", b"RaS2", b"RaS3", b"II*\0"]), st.binary(max_size=3000))
def test_whatever_else_comes_is_a_format_error_at_most(magic: bytes, data: bytes) -> None:
    try:
        prints.read(magic + data)
    except FormatError:
        pass


@given(st.integers(0, 1799), st.binary(min_size=1, max_size=4))
def test_a_damaged_raster_header_is_a_format_error_at_most(at: int, octets: bytes) -> None:
    data = b"RaS2" + pwg(picture(32, 20), 1, 3)
    try:
        prints.read(data[:at] + octets + data[at + len(octets) :])
    except FormatError:
        pass


@given(st.lists(st.one_of(st.integers(0, 2 * LARGE), st.integers(0, 2 * BLOCK)), max_size=40))
@settings(deadline=None, max_examples=25)
def test_a_picture_in_blocks_is_what_was_added(sizes: list[int]) -> None:
    kept, pieces = Picture(), [bytes((number + 1,)) * size for number, size in enumerate(sizes)]
    for piece in pieces:
        kept.add(piece)
    assert len(kept) == sum(sizes)
    assert kept.take() == b"".join(pieces)
    assert (len(kept), kept.take()) == (0, b"")


def test_answers_come_in_the_order_of_the_questions(host: InProcessMachine) -> None:
    port = host.machine.open_port("usb")
    port.write(b"@PJL INFO ID\r\n@PJL ECHO that was all\r\n@PJL INFO ID\r\n")
    named = b'@PJL INFO ID\r\n"UF-8000"'
    said = port.read(1000).split(b"\x0c")
    assert [one.startswith(named) for one in said] == [True, False, True, False]
    assert said[1] == b"@PJL ECHO that was all\r\n"


def test_only_octets_of_a_picture_are_acknowledged_ahead_and_kept_as_a_whole(host: InProcessMachine) -> None:
    port = host.machine.open_port("usb")
    assert (port.ahead, port.keep(b"II*\0")) == (0, False), "no picture yet"
    port.write(data := tiff(picture()))
    assert (port.ahead, port.keep(bytes(100_000))) == (AHEAD, True)
    assert not port.keep(bytes(100) + UEL + bytes(100))
    assert not port.keep(bytes(100) + UEL[:3]), "it may be the beginning of an end"
    port.write(UEL)
    assert port.ahead == 0
    assert [host.machine.memory.body(one.number) for one in host.machine.memory.waiting()] == [data + bytes(100_000)]


def test_a_picture_beyond_the_image_memory_is_counted_and_gives_its_memory_back(host: InProcessMachine) -> None:
    port, room = host.machine.open_port("usb"), host.machine.prints.room
    port.write(b"II*\0" + bytes(60))
    for _ in range(room // 65536 + 2):
        port.write(bytes(65536))
    port.write(UEL)
    assert [event.octets for event in dropped(host)] == [64 + 65536 * (room // 65536 + 2)]
    port.write(data := pnm(picture()))
    port.write(UEL)
    assert [host.machine.memory.body(one.number) for one in host.machine.memory.waiting()] == [data]
