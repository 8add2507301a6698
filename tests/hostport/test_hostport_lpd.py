from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.hostport.lpd import (
    MAX_CONTROL,
    MAX_LINE,
    UNSUPPORTED,
    ControlFile,
    Data,
    DataEnded,
    DataOffered,
    Event,
    JobOffered,
    Session,
    StateWanted,
)

CONTROL = b"Hhost\nPme\nldfA001host\n"
JOB = (
    b"\2fax\n"
    + b"\2%d cfA001host\n" % len(CONTROL)
    + CONTROL
    + b"\0"
    + b"\3%d dfA001host\n" % 11
    + b"hello world"
    + b"\0"
)
JOB_EVENTS = [
    JobOffered("fax"),
    ControlFile("cfA001host", CONTROL),
    DataOffered("dfA001host", 11),
    Data(b"hello world"),
    DataEnded(complete=True),
]


def played(data: bytes, *cuts: int, limit: int = 1000, end: bool = True) -> tuple[list[Event], bytes]:
    """Everything a session makes of a stream cut at these places when every offer is acknowledged."""
    session, events = Session(), []
    places = [0, *sorted(cuts), len(data)]

    def drain() -> None:
        while (event := session.next_event(limit)) is not None:
            if isinstance(event, Data):
                assert 0 < len(event.octets) <= limit
                if events and isinstance(events[-1], Data):
                    event = Data(events.pop().octets + event.octets)
            elif isinstance(event, StateWanted):
                session.tell("idle\n")
            else:
                session.acknowledge()
            events.append(event)

    for start, stop in itertools.pairwise(places):
        session.receive(data[start:stop])
        drain()
    if end:
        session.receive_end()
        drain()
        assert session.over
    return events, session.data_to_send()


def test_a_job_is_acknowledged_step_by_step() -> None:
    assert played(JOB) == (JOB_EVENTS, b"\0" * 5)


@given(st.lists(st.integers(0, len(JOB)), max_size=8), st.integers(1, 20))
def test_where_a_stream_is_cut_does_not_matter(cuts: list[int], limit: int) -> None:
    assert played(JOB, *cuts, limit=limit) == (JOB_EVENTS, b"\0" * 5)


@pytest.mark.parametrize(
    ("data", "events", "answer"),
    [
        (b"\3fax\n", [StateWanted("fax", long=False)], b"idle\n"),
        (b"\4fax me 17\n", [StateWanted("fax", long=True)], b"idle\n"),
        (b"\1fax\n", [], b"\0"),
        (b"\5fax root 3\n", [], b"\0"),
        (b"X", [], UNSUPPORTED),
        (b"\6fax\n", [], UNSUPPORTED),
        (b"GET / HTTP/1.0\r\n\r\n", [], UNSUPPORTED),
        (b"\2fax\nX", [JobOffered("fax")], b"\0" + UNSUPPORTED),
        (b"\2fax\n\1\n", [JobOffered("fax")], b"\0"),
        (b"\2fax\n\2many cfA\n", [JobOffered("fax")], b"\0\1"),
        (b"\2fax\n\2%d cfA\n" % (MAX_CONTROL + 1), [JobOffered("fax")], b"\0\1"),
        (b"\2fax\n\3-1 dfA\n", [JobOffered("fax")], b"\0\1"),
        (b"\2" + b"f" * (MAX_LINE + 1), [], b""),
        (b"", [], b""),
    ],
    ids=[
        "short state", "long state", "print waiting jobs", "remove jobs", "unknown octet", "unknown command",
        "a browser", "unknown subcommand", "abort", "count no number", "control file too long", "negative count",
        "endless line", "nothing",
    ],
)  # fmt: skip
def test_what_else_a_client_may_say(data: bytes, events: list[Event], answer: bytes) -> None:
    assert played(data) == (events, answer)


@pytest.mark.parametrize("count", [b"0", b"4294967296", b"125899906843000"], ids=["zero", "4 GiB", "Windows"])
def test_a_data_file_of_unknown_size_ends_with_the_connection(count: bytes) -> None:
    events, answer = played(b"\2fax\n\3" + count + b" dfA\nsome data")
    assert events[1:] == [DataOffered("dfA", None), Data(b"some data"), DataEnded(complete=True)]
    assert answer == b"\0" * 3


def test_a_data_file_that_is_cut_short_is_not_complete() -> None:
    assert played(b"\2fax\n\x0310 dfA\nsome")[0][-1] == DataEnded(complete=False)


def test_a_client_that_closes_instead_of_the_last_zero_has_sent_all() -> None:
    assert played(b"\2fax\n\x034 dfA\nsome")[0][-1] == DataEnded(complete=True)


def test_nothing_is_read_while_an_answer_is_owed() -> None:
    session = Session()
    session.receive(b"\2fax\n\3")
    assert session.next_event(100) == JobOffered("fax")
    assert session.next_event(100) is None
    assert session.stalled
    session.refuse()
    assert session.data_to_send() == b"\1"


def test_half_a_control_file_waits_for_its_rest_and_holds_nothing_up() -> None:
    session = Session()
    session.receive(b"\2fax\n")
    session.next_event(0)
    session.acknowledge()
    session.receive(b"\0029 cfA\nHhost")
    assert session.next_event(0) is None
    assert not session.stalled


@given(st.binary(max_size=300), st.integers(1, 50))
def test_hostile_octets_never_raise(data: bytes, limit: int) -> None:
    for beginning in (b"", b"\2q\n", b"\2q\n\0025 c\n", b"\2q\n\x0320 d\n"):
        played(beginning + data, limit=limit)
