from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ifax_session import Session

from fauxfax.errors import Misuse
from fauxfax.ifax.host import Limits, Reservations, Verdict
from fauxfax.ifax.smtp import Delay, Receiver
from fauxfax.ifax.standalone import StandaloneHost
from fauxfax.ifax.states import TRANSITIONS, State, Step

Connect = Callable[..., Session]
TRANSACTION = b"MAIL FROM:<jane@example.org>\r\nRCPT TO:<fax>\r\nDATA\r\n"
SMUGGLED = b"MAIL FROM:<smuggler@example.org>\r\nRCPT TO:<fax>\r\nDATA\r\nsmuggled\r\n.\r\n"
FALSE_ENDS = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r",
    "CR.LF": b"\r.\n",
    "LF.CR": b"\n.\r",
    "NUL before the dot": b"\r\n\0.\r\n",
    "NUL behind the dot": b"\r\n.\0\r\n",
    "NUL within CRLF": b"\r\0\n.\r\n",
    "CRCRLF.CRCRLF": b"\r\r\n.\r\r\n",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
}


@pytest.mark.parametrize("end", FALSE_ENDS.values(), ids=FALSE_ENDS)
def test_nothing_but_crlf_dot_crlf_ends_a_message(connect: Connect, end: bytes) -> None:
    session = connect()
    session.say(b"HELO x\r\n" + TRANSACTION)
    assert session.say(b"text" + end + SMUGGLED[:-3]) == b""
    assert session.codes(b".\r\n") == [554]
    assert session.messages == []


@pytest.mark.parametrize("end", FALSE_ENDS.values(), ids=FALSE_ENDS)
def test_what_was_smuggled_is_never_a_message_of_its_own_even_if_repaired(connect: Connect, end: bytes) -> None:
    session = connect(Limits(repair_line_ends=True))
    session.say(b"HELO x\r\n" + TRANSACTION + b"text" + end + SMUGGLED)
    assert all(message.envelope.sender == "jane@example.org" for message in session.messages)
    for message in session.messages:
        assert b"\n" not in message.data.replace(b"\r\n", b"")
        assert b"\r" not in message.data.replace(b"\r\n", b"")


def test_bare_line_ends_are_repaired_if_configured(connect: Connect) -> None:
    session = connect(Limits(repair_line_ends=True))
    assert session.codes(b"HELO x\r\n" + TRANSACTION + b"a\nb\rc\r\n.\r\n")[-1] == 250
    assert session.messages[0].data == b"a\r\nb\r\nc\r\n"


@pytest.mark.parametrize("command", [b"NOOP\n", b"NOOP\nNOOP", b"NO\0OP", b"N\xc3\xb6OP", b"NOOP\x07", b"NO\rOP"])
def test_a_command_with_controls_or_octets_of_eight_bits_is_500(connect: Connect, command: bytes) -> None:
    assert connect().codes(command + b"\r\n") == [500]


def test_a_line_too_long_is_answered_once_and_the_next_command_is_understood(connect: Connect) -> None:
    session = connect()
    assert session.say(b"NOOP " + b"x" * 100_000) == b""
    assert session.say(b"x" * 100_000) == b""
    assert session.codes(b"\r\nNOOP\r\n") == [500, 250]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"NOOP " + b"x" * 505, 250),
        (b"NOOP " + b"x" * 506, 500),
        (b"MAIL FROM:<a@b> ENVID=" + b"x" * 490, 501),
        (b"MAIL FROM:<a@b>" + b" " * 2031, 250),
        (b"MAIL FROM:<a@b>" + b" " * 2032, 500),
    ],
    ids=["512 octets", "513", "extended, read and refused", "2048 extended", "2049 extended"],
)
def test_the_limit_of_a_command_line(connect: Connect, line: bytes, code: int) -> None:
    session = connect()
    session.say(b"EHLO\r\n")
    assert session.codes(line + b"\r\n") == [code]


def test_a_text_line_over_the_limit_is_500_at_the_dot(connect: Connect) -> None:
    session = connect()
    session.say(b"HELO x\r\n" + TRANSACTION)
    assert session.codes(b"y" * 998 + b"\r\n.\r\n") == [250]
    session.say(TRANSACTION)
    assert session.codes(b"y" * 999 + b"\r\n.\r\n") == [500]
    assert session.codes(b"NOOP\r\n") == [250]


def test_endless_lines_cost_no_memory(connect: Connect) -> None:
    session = connect()
    chunk = b"x" * 65536
    tracemalloc.start()
    for prologue in (b"", b"\r\nHELO x\r\n" + TRANSACTION):
        session.say(prologue)
        for _ in range(200):
            session.say(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * len(chunk)


def test_a_message_fed_octet_by_octet_costs_no_more_than_its_size(connect: Connect) -> None:
    session = connect()
    session.say(b"HELO x\r\n" + TRANSACTION)
    tracemalloc.start()
    for _ in range(2000):
        for octet in (b"a", b"b", b"c", b"d", b"\r", b"\n"):
            session.receiver.feed(octet)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000


def test_a_lost_connection_leaves_nothing(host: StandaloneHost) -> None:
    reservations = Reservations()
    receiver = Receiver(host, Limits(), "192.0.2.1", 1, reservations)
    receiver.start()
    receiver.feed(b"HELO x\r\n" + TRANSACTION + b"a" * 500 + b"\r\n")
    assert reservations.octets == 502
    receiver.lost()
    assert reservations.octets == 0
    assert receiver.next_event() is None


def test_messages_in_progress_take_the_free_memory_from_one_another(host: StandaloneHost) -> None:
    host.memory = 1500
    reservations = Reservations()
    first, second = (Receiver(host, Limits(), "192.0.2.1", number, reservations) for number in (1, 2))
    for receiver in (first, second):
        receiver.start()
        receiver.feed(b"HELO x\r\n" + TRANSACTION)
    first.feed((b"a" * 98 + b"\r\n") * 10)
    second.feed((b"a" * 98 + b"\r\n") * 10 + b".\r\n")
    assert second.data_to_send().endswith(b"452 Requested action not taken: insufficient system storage\r\n")
    first.feed(b".\r\n")
    assert first.next_event() is not None
    first.finish(Verdict.STORED)
    assert reservations.octets == 0


def test_input_is_kept_while_a_verdict_is_awaited(host: StandaloneHost) -> None:
    receiver = Receiver(host, Limits(), "192.0.2.1", 1)
    receiver.start()
    receiver.feed(b"HELO x\r\n" + TRANSACTION + b"text\r\n.\r\nNOOP\r\n")
    receiver.data_to_send()
    receiver.feed(b"QUIT\r\n")
    assert receiver.waiting
    assert receiver.data_to_send() == b""
    receiver.finish(Verdict.STORED)
    assert [line[:3] for line in receiver.data_to_send().splitlines()] == [b"250", b"250", b"221"]


def test_input_that_is_kept_has_a_limit(host: StandaloneHost) -> None:
    receiver = Receiver(host, Limits(pending=1000), "192.0.2.1", 1)
    receiver.start()
    receiver.feed(b"HELO x\r\n" + TRANSACTION + b"text\r\n.\r\n")
    receiver.feed(b"NOOP\r\n" * 200)
    assert receiver.data_to_send().splitlines()[-1].startswith(b"421")
    assert receiver.closing


def test_a_verdict_without_a_message_is_misuse(connect: Connect) -> None:
    with pytest.raises(Misuse, match="without a message"):
        connect().receiver.finish(Verdict.STORED)


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (Verdict.STORED, 250), (Verdict.LOCAL_ERROR, 451), (Verdict.MEMORY_FULL, 452), (Verdict.TOO_LARGE, 552),
        (Verdict.UNREADABLE, 554), (Verdict.REFUSED, 554),
    ],
)  # fmt: skip
def test_every_verdict_is_a_reply(connect: Connect, verdict: Verdict, code: int) -> None:
    session = connect(verdict=verdict)
    assert session.codes(b"HELO x\r\n" + TRANSACTION + b"text\r\n.\r\nNOOP\r\n")[-2:] == [code, 250]


def test_a_delay_holds_one_reply_back_and_the_rest_waits(host: StandaloneHost) -> None:
    host.faults.arm("rcpt -> delay 2.5")
    session = Session(host, Limits())
    session.replies()
    assert session.codes(b"HELO x\r\n" + TRANSACTION) == [250, 250]
    assert session.events == [Delay(2.5)]
    session.receiver.resume()
    assert session.receiver.data_to_send().startswith(b"250 OK\r\n354 ")


def test_what_comes_before_the_banner_is_counted_and_answered_after_it(host: StandaloneHost) -> None:
    host.faults.arm("connect -> delay 1")
    receiver = Receiver(host, Limits(), "192.0.2.1", 1)
    receiver.start()
    receiver.feed(b"NOOP\r\n")
    assert receiver.data_to_send() == b""
    assert receiver.early == 6
    receiver.resume()
    assert receiver.data_to_send() == b"220 UF-8000\r\n250 OK\r\n"


def test_a_timeout_says_goodbye_and_forgets_the_message(connect: Connect) -> None:
    session = connect()
    session.say(b"HELO x\r\n" + TRANSACTION + b"half")
    assert session.receiver.deadline == Limits().block_timeout
    session.receiver.timed_out()
    assert session.replies().startswith(b"421 ")
    assert session.say(b"\r\n.\r\n") == b""
    assert session.messages == []


def test_each_state_has_its_deadline(connect: Connect) -> None:
    session, limits = connect(), Limits()
    assert session.receiver.deadline == limits.greeting_timeout
    session.say(b"HELO x\r\n")
    assert session.receiver.deadline == limits.command_timeout
    session.say(TRANSACTION)
    assert session.receiver.deadline == limits.data_timeout
    session.say(b"text\r\n")
    assert session.receiver.deadline == limits.block_timeout
    session.receiver.feed(b".\r\n")
    assert session.receiver.deadline == limits.verdict_timeout


def test_the_table_has_every_state_and_leads_only_to_states_it_has() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {after for steps in TRANSITIONS.values() for after in steps.values()} <= set(State)
    assert all(Step.CLOSE in steps for steps in TRANSITIONS.values())


DIALOGUE = (
    b"EHLO x\r\nMAIL FROM:<a@b> SIZE=40\r\nRCPT TO:<fax>\r\nRCPT TO:<nobody>\r\nDATA\r\n"
    b"Subject: x\r\n\r\n..dot\r\n.dot\r\na.b\r\n.\r\n"
    b"bogus\r\n\r\nVRFY fax\r\nNOOP \x80\r\nMAIL FROM:<>\r\nRCPT TO:<fax>\r\nDATA\r\n.\r\n"
    b"MAIL FROM:<c@d>\r\nRCPT TO:<fax>\r\nDATA\r\nbare\nlf\r\n.\r\nHELO " + b"y" * 3000 + b"\r\nQUIT\r\nNOOP\r\n"
)


def _outcome(parts: Sequence[bytes]) -> tuple[bytes, list[bytes], bool]:
    session = Session(StandaloneHost(), Limits())
    replies = session.replies() + b"".join(session.say(part) for part in parts)
    return replies, [message.data for message in session.messages], session.receiver.closing


WHOLE = _outcome([DIALOGUE])


def test_the_dialogue_of_the_property_has_every_outcome() -> None:
    replies, messages, closing = WHOLE
    codes = [line[:3] for line in replies.splitlines() if line[3:4] == b" "]
    assert {b"250", b"354", b"550", b"500", b"554", b"221"} <= set(codes)
    assert messages == [b"Subject: x\r\n\r\n.dot\r\ndot\r\na.b\r\n", b""]
    assert closing


def test_one_octet_at_a_time_gives_the_same() -> None:
    assert _outcome([DIALOGUE[i : i + 1] for i in range(len(DIALOGUE))]) == WHOLE


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, len(DIALOGUE)), max_size=40))
def test_every_way_to_cut_the_stream_gives_the_same(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(DIALOGUE)]
    assert _outcome([DIALOGUE[a:b] for a, b in itertools.pairwise(places)]) == WHOLE


FRAGMENTS = st.sampled_from(
    [b"\r\n", b".", b"\r", b"\n", b"\0", b"HELO x\r\n", b"MAIL FROM:<a@b>", b"RCPT TO:<fax>", b"DATA\r\n", b"RSET\r\n",
     b"\r\n.\r\n", b"QUIT", b" SIZE=9", b"VRFY ", b"\xff", b"x" * 600, b"EXPN everyone", b"<", b">", b'"', b"\\", b"@"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(FRAGMENTS, st.binary(max_size=30)), max_size=60))
def test_whatever_comes_the_receiver_answers_and_never_raises(parts: list[bytes]) -> None:
    replies, _, closing = _outcome(parts)
    assert (replies, closing) == _outcome([b"".join(parts)])[::2]
    for line in replies.splitlines():
        assert line[:3].isdigit()
        assert line[3:4] in (b" ", b"-")
