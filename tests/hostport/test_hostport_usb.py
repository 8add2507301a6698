from __future__ import annotations

from collections.abc import Callable

import pytest
from hostport_memory import DEVICE_ID, IDENTITY, MemoryPort, plugged
from hypothesis import example, given
from hypothesis import strategies as st

from fauxfax.hostport.port import PortStatus
from fauxfax.hostport.usb import Outcome, PrinterFunction, Setup, Transfer
from fauxfax.hostport.usbdescriptors import BULK_IN, BULK_OUT, Kind, Speed, build


def out(data: bytes) -> Transfer:
    return Transfer(BULK_OUT, data, len(data), lambda _: None)


def into(length: int) -> Transfer:
    return Transfer(BULK_IN, b"", length, lambda _: None)


@pytest.mark.parametrize(
    ("setup", "reply"),
    [
        (Setup(0x80, 6, 0x0100, 0, 8), bytes.fromhex("1201000200000040")),
        (Setup(0x80, 6, 0x0300, 0, 255), b"\x04\x03\x09\x04"),
        (Setup(0x80, 6, 0x0302, 0x0409, 255), b"\x10\x03" + "UF-8000".encode("utf-16-le")),
        (Setup(0x80, 6, 0x0304, 0x0409, 255), None),
        (Setup(0x80, 6, 0x0F00, 0, 5), None),
        (Setup(0x80, 0, 0, 0, 2), b"\x01\x00"),
        (Setup(0x82, 0, 0, 0x82, 2), b"\0\0"),
        (Setup(0x82, 0, 0, 0x83, 2), None),
        (Setup(0x80, 8, 0, 0, 1), b"\0"),
        (Setup(0x00, 9, 1, 0, 0), b""),
        (Setup(0x00, 9, 2, 0, 0), None),
        (Setup(0x01, 11, 0, 0, 0), b""),
        (Setup(0x01, 11, 1, 0, 0), None),
        (Setup(0xA1, 0, 0, 0, 6), (len(DEVICE_ID) + 2).to_bytes(2, "big") + b"MFG:"),
        (Setup(0xA1, 0, 0, 0x0100, 6), None),
        (Setup(0xA1, 0, 1, 0, 6), None),
        (Setup(0xA1, 1, 0, 0, 1), b"\x18"),
        (Setup(0x21, 2, 0, 0, 0), b""),
        (Setup(0x23, 2, 0, 0, 0), b""),
        (Setup(0xC0, 1, 2, 3, 4), None),
    ],
    ids=str,
)
def test_what_control_requests_are_answered(setup: Setup, reply: bytes | None) -> None:
    assert plugged(MemoryPort()).control(setup) == reply


def test_the_port_status_comes_from_the_machine() -> None:
    port = MemoryPort()
    port.status = PortStatus(paper_empty=True, selected=False, error=True)
    assert plugged(port).control(Setup(0xA1, 1, 0, 0, 1)) == b"\x20"


def test_only_a_high_speed_device_has_a_qualifier_and_packets_fit_the_speed() -> None:
    high, full = build(IDENTITY, Speed.HIGH), build(IDENTITY, Speed.FULL)
    assert high[Kind.QUALIFIER, 0] == bytes.fromhex("0a060002000000400100")
    assert (Kind.QUALIFIER, 0) not in full
    assert high[Kind.CONFIGURATION, 0][22:24] == b"\x00\x02"
    assert high[Kind.OTHER_SPEED, 0][22:24] == full[Kind.CONFIGURATION, 0][22:24] == b"\x40\x00"
    assert len(full[Kind.CONFIGURATION, 0]) == full[Kind.CONFIGURATION, 0][2] == 32


def test_a_busy_machine_answers_nak_and_goes_on_where_it_stopped() -> None:
    port = MemoryPort(space=3)
    function, first, second = plugged(port), out(b"hello "), out(b"world")
    function.submit(first)
    function.submit(second)
    assert (first.outcome, first.actual) == (None, 3)
    port.change(space=4)
    assert (first.outcome, second.outcome, bytes(port.heard)) == (Outcome.DONE, None, b"hello w")
    port.change(space=99)
    assert (second.outcome, bytes(port.heard)) == (Outcome.DONE, b"hello world")


def test_bulk_in_waits_for_the_machine_and_ends_with_a_short_packet() -> None:
    port, transfer = MemoryPort(), into(1024)
    function = plugged(port)
    function.submit(transfer)
    assert transfer.outcome is None
    port.change(say=b"reply")
    assert (transfer.outcome, transfer.data) == (Outcome.DONE, b"reply")
    port.change(say=bytes(1500))
    lengths = []
    for _ in range(2):
        function.submit(transfer := into(1024))
        lengths.append(transfer.actual)
    assert lengths == [1024, 476]


def test_an_empty_transfer_completes_and_writes_nothing() -> None:
    port, transfer = MemoryPort(), out(b"")
    plugged(port).submit(transfer)
    assert (transfer.outcome, transfer.actual, bytes(port.heard)) == (Outcome.DONE, 0, b"")


def test_a_halted_endpoint_stalls_until_it_is_cleared() -> None:
    port = MemoryPort(space=0)
    function, waiting, refused, taken = plugged(port), out(b"a"), out(b"b"), out(b"c")
    function.submit(waiting)
    assert function.control(Setup(0x02, 3, 0, BULK_OUT, 0)) == b""
    function.submit(refused)
    assert function.control(Setup(0x82, 0, 0, BULK_OUT, 2)) == b"\x01\x00"
    assert (waiting.outcome, refused.outcome) == (Outcome.STALLED, Outcome.STALLED)
    assert function.control(Setup(0x02, 1, 0, BULK_OUT, 0)) == b""
    function.submit(taken)
    port.change(space=9)
    assert (taken.outcome, bytes(port.heard)) == (Outcome.DONE, b"c")


def test_a_transfer_is_cancelled_once_and_not_after_its_end() -> None:
    port, ends = MemoryPort(space=2), []
    function = plugged(port)
    transfer = Transfer(BULK_OUT, b"four", 4, lambda ended: ends.append(ended.outcome))
    function.submit(transfer)
    assert function.cancel(transfer)
    assert not function.cancel(transfer)
    port.change(space=9)
    assert ends == [Outcome.CANCELLED]
    assert (transfer.actual, bytes(port.heard)) == (2, b"fo")


def test_a_restart_is_a_disconnect_and_a_new_enumeration() -> None:
    port, seen = MemoryPort(), []
    function, waiting = plugged(port), into(64)
    function.on_attachment(lambda: seen.append(function.attached))
    function.control(Setup(0x00, 9, 1, 0, 0))
    function.submit(waiting)
    port.change(online=False)
    function.submit(late := out(b"late"))
    assert (waiting.outcome, late.outcome) == (Outcome.GONE, Outcome.GONE)
    assert function.control(Setup(0xA1, 1, 0, 0, 1)) is None
    port.change(online=True)
    assert seen == [False, True]
    assert function.configuration == 0


def test_what_the_machine_took_is_done_even_if_it_goes_away_on_account_of_it() -> None:
    class Leaving(MemoryPort):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            self.change(online=False)

    ends: list[Outcome | None] = []
    plugged(Leaving()).submit(Transfer(BULK_OUT, b"last", 4, lambda ended: ends.append(ended.outcome)))
    assert ends == [Outcome.DONE]


@pytest.mark.parametrize("request_type", [0x21, 0x23], ids=["libusb programs", "usblp of Linux"])
def test_a_soft_reset_drops_the_job_and_clears_a_halt(request_type: int) -> None:
    port = MemoryPort()
    function = plugged(port)
    function.control(Setup(0x02, 3, 0, BULK_IN, 0))
    port.said += b"stale"
    assert function.control(Setup(request_type, 2, 0, 0, 0)) == b""
    assert function.control(Setup(0x82, 0, 0, BULK_IN, 2)) == b"\0\0"
    assert (port.happened, port.pending) == (["reset"], 0)


def test_a_bus_reset_takes_back_what_waits() -> None:
    port = MemoryPort(space=0)
    function, waiting = plugged(port), out(b"x")
    function.reset()
    assert port.happened == [], "no job can be in flight before the device is configured"
    function.control(Setup(0x00, 9, 1, 0, 0))
    function.submit(waiting)
    function.reset()
    assert (waiting.outcome, function.configuration, port.happened) == (Outcome.CANCELLED, 0, ["reset"])


def test_pulling_the_cable_ends_the_job() -> None:
    port = MemoryPort(space=0)
    function, waiting = plugged(port), out(b"x")
    function.submit(waiting)
    function.unplug()
    assert (waiting.outcome, port.happened) == (Outcome.GONE, ["end"])


def test_a_host_that_only_looked_ends_no_job() -> None:
    port = MemoryPort()
    function = plugged(port)
    function.control(Setup(0x80, 6, 0x0100, 0, 18))
    function.unplug()
    assert port.happened == [], "another cable's job goes on"


def test_a_transfer_in_pieces_is_moved_as_they_come_and_ends_with_the_last() -> None:
    port, ends = MemoryPort(), []
    function = plugged(port)
    transfer = Transfer(BULK_OUT, b"one ", 12, lambda ended: ends.append(ended.outcome))
    function.submit(transfer)
    function.extend(transfer, b"two ")
    assert (bytes(port.heard), transfer.actual, ends) == (b"one two ", 8, [])
    function.submit(after := out(b"next"))
    assert bytes(port.heard) == b"one two "
    function.extend(transfer, memoryview(b"last"))
    assert (bytes(port.heard), ends, after.outcome) == (b"one two lastnext", [Outcome.DONE], Outcome.DONE)


def test_pieces_wait_for_a_busy_machine_in_order() -> None:
    port = MemoryPort(space=3)
    function = plugged(port)
    transfer = out(b"")
    transfer.length, transfer.data = 10, bytearray(b"0123")
    function.submit(transfer)
    transfer.data = bytearray(transfer.data)
    function.extend(transfer, b"456789")
    assert (bytes(port.heard), transfer.outcome) == (b"012", None)
    port.change(space=5)
    assert (bytes(port.heard), transfer.outcome) == (b"01234567", None)
    port.change(space=5)
    assert (bytes(port.heard), transfer.outcome) == (b"0123456789", Outcome.DONE)


def test_pieces_of_a_transfer_that_has_ended_change_nothing() -> None:
    port = MemoryPort(space=0)
    function = plugged(port)
    transfer = out(b"begin")
    transfer.length = 10
    function.submit(transfer)
    assert function.cancel(transfer)
    function.extend(transfer, b"more!")
    port.change(space=100)
    assert (bytes(port.heard), transfer.outcome) == (b"", Outcome.CANCELLED)


def begun(function: PrinterFunction, done: Callable[[Transfer], None]) -> Transfer:
    """A transfer of ten octets, of which the first two are there."""
    transfer = Transfer(BULK_OUT, b"01", 10, done)
    function.submit(transfer)
    return transfer


@pytest.mark.parametrize("ahead", [0, 7, 8, 100])
def test_the_last_pieces_are_acknowledged_first_where_the_port_allows_it(ahead: int) -> None:
    port, heard = MemoryPort(space=4), []
    function = plugged(port)
    port.ahead = ahead
    transfer = begun(function, lambda _: heard.append(bytes(port.heard)))
    function.extend(transfer, b"2345", b"6789")
    assert heard == ([b"01"] if ahead >= 8 else []), "acknowledged before it was moved, or not yet"
    function.submit(after := out(b"next"))
    assert bytes(port.heard) == b"0123"
    port.change(space=100)
    assert (bytes(port.heard), after.outcome, len(heard)) == (b"0123456789next", Outcome.DONE, 1)


@pytest.mark.parametrize("keeps", [True, False])
def test_what_is_acknowledged_first_is_kept_as_a_whole_or_written_by_room(keeps: bool) -> None:
    port = MemoryPort(space=4)
    function = plugged(port)
    port.ahead, port.keeps = 100, keeps
    transfer = begun(function, lambda _: None)
    function.extend(transfer, b"2", b"3456789")
    assert (bytes(port.heard), transfer.outcome) == (b"0123456789" if keeps else b"0123", Outcome.DONE)
    port.change(space=4)
    port.change(space=4)
    assert bytes(port.heard) == b"0123456789"


def test_what_was_acknowledged_and_waits_is_a_copy() -> None:
    port = MemoryPort(space=4)
    function = plugged(port)
    port.ahead = 100
    pool = bytearray(b"23456789")
    function.extend(begun(function, lambda _: None), memoryview(pool))
    pool[:] = b"the next"
    port.change(space=100)
    assert bytes(port.heard) == b"0123456789"


@pytest.mark.parametrize("how", ["reset", "soft reset", "restart", "unplug"])
def test_what_was_acknowledged_and_not_moved_is_forgotten_with_the_rest(how: str) -> None:
    port = MemoryPort(space=4)
    function = plugged(port)
    port.ahead = 100
    function.extend(begun(function, lambda _: None), b"23456789")
    match how:
        case "reset":
            function.reset()
        case "soft reset":
            function.control(Setup(0x21, 2, 0, 0, 0))
        case "restart":
            port.change(online=False)
            port.change(online=True)
        case "unplug":
            function.unplug()
    port.change(space=100)
    assert bytes(port.heard) == b"0123"


def test_the_host_has_its_acknowledgement_before_the_machine_looks_into_the_data() -> None:
    seen: list[bytes] = []

    class Looking(MemoryPort):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            assert transfer.outcome is Outcome.DONE
            seen.append(bytes(data))

    transfer = out(b"data")
    plugged(Looking()).submit(transfer)
    assert seen == [b"data"]


def test_what_is_gathered_is_acknowledged_at_once_and_written_in_one_go() -> None:
    seen: list[bytes] = []

    class Looking(MemoryPort):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            seen.append(bytes(data))

    port = Looking()
    port.ahead = 11
    function = plugged(port)
    pool = bytearray(b"one")
    function.gather()
    transfers = [out(data) for data in (memoryview(pool), b"two", b"three")]
    for transfer in transfers:
        function.submit(transfer)
    assert [transfer.outcome for transfer in transfers] == [Outcome.DONE] * 3
    assert seen == []
    function.release()
    pool[:] = b"new"
    assert seen == [b"onetwothree"]
    function.submit(out(b"four"))
    assert seen[1:] == [b"four"], "what comes later is not gathered"


Wanted = list[tuple[int, int]]
"""Endpoints and lengths of transfers."""


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from((BULK_OUT, BULK_OUT, BULK_IN, 7)), st.integers(0, 9)), max_size=6),
            st.integers(0, 30),
        ),
        max_size=5,
    ),
    st.integers(0, 40),
    st.integers(0, 30),
    st.booleans(),
)
@example([([(BULK_OUT, 5)], 0), ([(BULK_OUT, 3)], 9)], 4, 2, False).via("more than may be gathered waits, less comes")
@example([([(BULK_OUT, 5)], 0), ([(BULK_OUT, 3), (BULK_OUT, 3)], 9)], 40, 2, False).via("octets wait when others come")
@example([([(BULK_OUT, 5), (BULK_OUT, 0), (BULK_OUT, 2)], 9)], 40, 30, False).via("an empty one comes in between")
@example([([(BULK_OUT, 5), (BULK_OUT, 5), (BULK_OUT, 2)], 9)], 7, 30, False).via("more than may be gathered")
@example([([(BULK_OUT, 5), (BULK_OUT, 2)], 9)], 40, 30, True).via("an end brings one more")
def test_gathered_or_not_octets_are_moved_in_order_and_no_more_are_ahead_than_may_be(
    rounds: list[tuple[Wanted, int]], ahead: int, space: int, more: bool
) -> None:
    port, transfers, sent = MemoryPort(space), list[Transfer](), bytearray()
    port.ahead, port.said = ahead, bytearray(range(20))
    function = plugged(port)

    def submit(endpoint: int, length: int, done: Callable[[Transfer], None] = lambda _: None) -> None:
        data = bytes((len(transfers),)) * (length if endpoint == BULK_OUT else 0)
        sent.extend(data)
        transfers.append(Transfer(endpoint, data, length, done))
        function.submit(transfers[-1])

    for wanted, room in rounds:
        function.gather()
        for endpoint, length in wanted:
            submit(endpoint, length, lambda _: submit(BULK_OUT, 1) if more else None)
            done = sum(one.length for one in transfers if one.endpoint == BULK_OUT and one.outcome)
            assert done <= len(port.heard) + ahead
        function.release()
        port.change(space=port.space + room)
    for _ in range(3):
        port.change(space=1000)
    assert bytes(port.heard) == sent
    ends = [(one.outcome, one.actual) for one in transfers if one.endpoint == BULK_OUT]
    assert ends == [(Outcome.DONE, one.length) for one in transfers if one.endpoint == BULK_OUT]
    said = b"".join(bytes(one.data) for one in transfers if one.endpoint == BULK_IN and one.outcome)
    assert said == bytes(range(20))[: len(said)]
