from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.hostport.jobstream import (
    MAX_LINE,
    UEL,
    Echo,
    Event,
    JobEnded,
    JobStream,
    PrintData,
    Query,
    StatusWanted,
    TextIgnored,
    UpgradeAborted,
    UpgradeData,
    UpgradeEnded,
    UpgradeOffered,
)

CODE_FILE = UEL + b"@PJL COMMENT a code file\r\n@PJL UPGRADE SIZE=11\r\nhello world" + UEL


def merged(events: list[Event]) -> list[Event]:
    """Neighbouring data put together: how a stream is cut must not matter."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, UpgradeData | PrintData) and type(last) is type(event):
            result[-1] = type(event)(last.data + event.data)
        elif isinstance(event, TextIgnored) and isinstance(last, TextIgnored):
            result[-1] = TextIgnored(last.octets + event.octets)
        else:
            result.append(event)
    return result


def fed(data: bytes, *cuts: int) -> list[Event]:
    stream, events = JobStream(), []
    places = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(places):
        events += stream.feed(data[start:end])
    return merged(events)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (CODE_FILE, [JobEnded(), UpgradeOffered(11), UpgradeData(b"hello world"), UpgradeEnded(True), JobEnded()]),
        (b"@PJL INFO UPGRADE\r\n", [Query("UPGRADE")]),
        (b"@pjl info id\n", [Query("ID")]),
        (b"\r\n\n@PJL INFO STATUS\n", [Query("STATUS")]),
        (b"@PJL USTATUS DEVICE = VERBOSE\r\n", [StatusWanted("VERBOSE")]),
        (b"@PJL USTATUS DEVICE=LOUD\r\n", []),
        (b"@PJL UPGRADE ABORT\n", [UpgradeAborted()]),
        (
            b'@PJL JOB PASSWORD="0815"\r\n@PJL UPGRADE SIZE=9 OFFSET=6 SHA256=ab FORCE=ON\r\nxyz',
            [UpgradeOffered(9, 6, "ab", True, "0815"), UpgradeData(b"xyz"), UpgradeEnded(True)],
        ),
        (b"@PJL UPGRADE SIZE=0\r\n", [UpgradeOffered(0), UpgradeEnded(True)]),
        (b"@PJL UPGRADE SIZE=3 OFFSET=5\r\n", [UpgradeOffered(3, 5), UpgradeEnded(True)]),
        (b"@PJL UPGRADE SIZE=-1\r\n@PJL UPGRADE\r\n@PJL UPGRADE SIZE=9999999999999\r\n", []),
        (b"@PJL SET COPIES=2\r\n@PJL\r\n@PJL ENTER LANGUAGE=PCL\r\n", []),
        (b"GET / HTTP/1.0\r\n\r\n", [TextIgnored(14)]),
        (b"noise\n\r@PJL INFO ID\n\r", [TextIgnored(5), Query("ID")]),
        (b"II*\0abc" + UEL, [PrintData(b"II*\0abc"), JobEnded()]),
        (b"P4 8 1\n\xff" + UEL, [PrintData(b"P4 8 1\n\xff"), JobEnded()]),
        (b"Hello" + UEL + b"@PJL INFO ID\n", [TextIgnored(5), JobEnded(), Query("ID")]),
        (
            b"@PJL JOB PASSWORD=1\n" + UEL + b"@PJL UPGRADE SIZE=0\n",
            [JobEnded(), UpgradeOffered(0), UpgradeEnded(True)],
        ),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_what_a_pc_asks_for(data: bytes, expected: list[Event]) -> None:
    assert fed(data) == expected
    assert fed(data, *range(1, len(data))) == expected, "an octet at a time"


@given(st.data())
def test_how_a_stream_is_cut_does_not_matter(data: st.DataObject) -> None:
    parts = [
        CODE_FILE,
        b"II*\0" + bytes(range(256)) + UEL,
        b"@PJL INFO UPGRADE\r\n",
        b"noise\n",
        b"\r",
        b"\f\v",
        UEL[:4],
        b"\x00\x1b",
    ]
    stream = b"".join(data.draw(st.lists(st.sampled_from(parts), max_size=6)))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    assert fed(stream, *cuts) == fed(stream)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_nothing_a_pc_sends_raises_or_is_kept_without_limit(chunks: list[bytes]) -> None:
    stream = JobStream()
    for chunk in chunks:
        stream.feed(chunk)
    stream.end()
    assert len(stream.data_to_send()) <= 2 * sum(map(len, chunks)) + 64


def test_an_endless_line_costs_no_memory_and_what_follows_is_heard() -> None:
    stream = JobStream()
    for _ in range(1000):
        stream.feed(b"x" * 1000)
        assert len(stream._buffer) <= 3 * MAX_LINE
    assert Query("ID") in stream.feed(b"\r\n@PJL INFO ID\r\n")
    assert stream.ignored >= 999_000


def test_an_upgrade_that_is_cut_off_ends_early() -> None:
    stream = JobStream()
    stream.feed(b"@PJL UPGRADE SIZE=100\r\nabc")
    assert stream.end() == [UpgradeEnded(complete=False), JobEnded()]


def test_an_echo_keeps_its_place_among_the_answers() -> None:
    stream = JobStream()
    assert stream.feed(b"@PJL INFO ID\r\n@PJL ECHO ping 1\r\n") == [Query("ID"), Echo("ping 1")]
    assert stream.data_to_send() == b"", "it would overtake the answer to the query"
    stream.reply_echo("ping 1")
    assert stream.data_to_send() == b"@PJL ECHO ping 1\r\n\x0c"
    assert stream.data_to_send() == b""


def test_replies_have_the_form_of_the_printer_job_language() -> None:
    stream = JobStream()
    stream.reply_info("ID", ['"UF-8000"'])
    stream.unsolicited_status(["STATE=RUNNING"])
    assert stream.data_to_send() == b'@PJL INFO ID\r\n"UF-8000"\r\n\x0c@PJL USTATUS DEVICE\r\nSTATE=RUNNING\r\n\x0c'


def test_the_bulk_of_a_code_file_passes_through_unbuffered() -> None:
    stream = JobStream()
    stream.feed(b"@PJL UPGRADE SIZE=1000000\r\n")
    chunk = bytes(65536)
    (event,) = stream.feed(chunk)
    assert event == UpgradeData(chunk)
    assert not stream._buffer


def test_megabytes_of_a_language_nobody_knows_are_passed_over_at_once() -> None:
    stream, text = JobStream(), b"0.5 0.5 0.5 setrgbcolor showpage\r\n" * 2000
    events = stream.feed(text * 30 + b"@PJL INFO ID\r\n")
    assert len(events) == 2, "one event for all of it, not one a line"
    assert events == [TextIgnored(30 * 2000 * 32), Query("ID")]
