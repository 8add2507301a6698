from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fauxfax.ifax.body import Body, Fault


def reference(stream: bytes) -> tuple[bytes, int] | None:
    """The message and the place behind its end, read the slow and obvious way."""
    place = (b"\r\n" + stream).find(b"\r\n.\r\n")
    if place < 0:
        return None
    text = (b"\r\n" + stream[:place]).replace(b"\r\n.", b"\r\n")[2:]
    return text, place + 3


def collect(chunks: list[bytes], body: Body) -> int:
    """Feeds until the end. Returns the place behind it in the whole stream, or -1."""
    before = 0
    for chunk in chunks:
        place = body.feed(chunk)
        if place >= 0:
            return before + place
        before += len(chunk)
    return -1


PIECES = st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"..", b"a", b"\r\n.", b"\r\n.\r", b"\r\n.\r\n", b"bc" * 20])


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=30), st.lists(st.integers(0, 200), max_size=12))
@example([b"\r\n.\r", b"\r\n", b"."], [1, 2, 3, 4, 5, 6])
def test_a_message_is_what_the_obvious_reading_says(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in itertools.pairwise(places) if b > a]
    body = Body(10_000, 100_000)
    end, expected = collect(chunks, body), reference(stream)
    if expected is None:
        assert end == -1
        return
    assert end == expected[1]
    text = expected[0]
    sound = not re.search(rb"\r(?!\n)|(?<!\r)\n", text)
    kept = b"".join(body.finish(100))
    assert (body.fault is None) == sound
    assert kept == (text if sound else b"")


@pytest.mark.parametrize("width", [10, 76, 78, 998])
@pytest.mark.parametrize("flaw", [b"\r", b"\n"])
@pytest.mark.parametrize("place", [0, 1, 700, 40_000, 99_999])
def test_one_bare_line_end_in_a_large_message_is_found(width: int, flaw: bytes, place: int) -> None:
    message = ((b"y" * width + b"\r\n") * (100_000 // width + 2))[:100_000]
    message = message[:place] + b"z" + flaw + b"z" + message[place:].rstrip(b"\r\n") + b"\r\n"
    chunks = [message[i : i + 7000] for i in range(0, len(message), 7000)] + [b".\r\n"]
    body = Body(1_000_000, 1100)
    assert collect(chunks, body) == len(message) + 3
    assert body.finish(100) == ()
    assert body.fault is Fault.BARE_LINE_END


@pytest.mark.parametrize("place", [0, 5_000, 65_000])
def test_a_long_line_is_found_wherever_it_stands(place: int) -> None:
    message = b"y" * 98 + b"\r\n"
    stream = message * (place // 100) + b"x" * 999 + b"\r\n" + message * 10 + b".\r\n"
    body = Body(1_000_000, 1000)
    assert collect([stream[i : i + 4096] for i in range(0, len(stream), 4096)], body) == len(stream)
    assert body.finish(100) == ()
    assert body.fault is Fault.LONG_LINE


def test_lines_of_the_limit_are_taken() -> None:
    stream = (b"x" * 998 + b"\r\n") * 50 + b".\r\n"
    for size in (1, 999, 1000, 1001, 65536):
        body = Body(1_000_000, 1000)
        assert collect([stream[i : i + size] for i in range(0, len(stream), size)], body) == len(stream)
        assert (body.fault, body.octets) == (None, 50_000)


def test_a_chunk_of_base64_is_kept_without_a_copy() -> None:
    chunk = (b"A" * 76 + b"\r\n") * 1000
    body = Body(1_000_000, 1000)
    assert body.feed(chunk) == -1
    assert body.feed(b".\r\n") == 3
    assert body.finish(100)[0] is chunk


def test_more_than_the_limit_is_counted_and_not_kept() -> None:
    body = Body(1000, 1000)
    assert collect([b"x" * 500 + b"\r\n"] * 10 + [b".\r\n"], body) == 5023
    assert (body.fault, body.octets, body.total) == (Fault.TOO_LARGE, 0, 5020)


@pytest.mark.parametrize(("hops", "fault"), [(3, None), (2, Fault.LOOP)])
def test_received_lines_are_counted_in_the_headers_only(hops: int, fault: Fault | None) -> None:
    body = Body(10_000, 1000)
    body.feed(b"Received: a\r\nRECEIVED: b\r\n folded\r\nreceived: c\r\n\r\nReceived: text\r\n.\r\n")
    body.finish(hops)
    assert body.fault is fault


@pytest.mark.parametrize("width", [5, 20, 76, 78])
def test_two_short_lines_as_long_as_one_are_no_bare_line_end(width: int) -> None:
    full = b"x" * (width - 2) + b"\r\n"
    for short in range(width - 3):
        tail = b"y" * short + b"\r\n" + b"z" * (width - 4 - short) + b"\r\n"
        message = b"first\r\n" + full * 1200 + tail + full * 3
        body = Body(10**6, 1000)
        assert body.feed(message + b".\r\n") > 0
        assert b"".join(body.finish(100)) == message
        assert body.fault is None


@pytest.mark.parametrize("octet", [b"\r", b"\n"], ids=["CR", "LF"])
@pytest.mark.parametrize("place", [0, 1, 77, 78, 79, 32767, 32768, 40_000, 77_998, 77_999])
def test_one_line_end_alone_is_found_wherever_it_is_in_base64(place: int, octet: bytes) -> None:
    message = bytearray((b"A" * 76 + b"\r\n") * 1000)
    message[place : place + 1] = octet if message[place : place + 1] != octet else b"A"
    body = Body(10**6, 1000)
    assert body.feed(bytes(message) + b"\r\n.\r\n") > 0
    body.finish(100)
    assert body.fault is Fault.BARE_LINE_END


@pytest.mark.parametrize(
    "text",
    [b"", b"x" * 20_000, b"\r\n" * 40_000, b"a.b" * 20_000, b"..\r\n" * 20_000, b"." * 5000 + b"\r\n.." * 5000],
    ids=["nothing", "no line end", "empty lines", "dots within lines", "dots at every line", "many dots first"],
)
def test_a_message_of_an_unusual_kind_is_read_to_its_end(text: bytes) -> None:
    stream = text + b"\r\n.\r\n"
    for size in (len(stream), 32 * 1024, 8191):
        body = Body(10**6, 10**6)
        assert collect([stream[i : i + size] for i in range(0, len(stream), size)], body) == len(stream)
        assert (b"".join(body.finish(100)), len(stream)) == reference(stream)
        assert body.fault is None
