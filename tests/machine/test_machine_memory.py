from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from fauxfax.errors import FauxfaxError
from fauxfax.ifax.host import Envelope, MemoryFullError, MessageReceived, Recipient
from fauxfax.machine.database import FIRST, Database
from fauxfax.machine.memory import DISK_RESERVE, Memory


def message(size: int = 100, sender: str = "me@example.org") -> MessageReceived:
    recipient = Recipient(address="fax@uf-8000.local", mailbox="fax", notify=("FAILURE",))
    envelope = Envelope(session=1, peer="127.0.0.1", helo="me", sender=sender, recipients=(recipient,), received_at=1.5)
    return MessageReceived(envelope, (b"x" * size,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.sqlite"


def opened(path: Path, capacity: int = 1000) -> Memory:
    return Memory(Database(path), capacity)


def test_what_was_stored_is_there_after_the_next_start(path: Path) -> None:
    numbers = opened(path).store([message(10), message(20)])
    memory = opened(path)
    assert [one.number for one in memory.waiting()] == numbers == memory.waiting_numbers() == [1, 2]
    assert memory.get(2).envelope == message().envelope
    assert memory.body(2) == b"x" * 20
    assert (memory.documents, memory.free_bytes) == (2, 970)


@pytest.mark.parametrize(("state", "result"), [("printed", "R-OK"), ("failed", "870")])
def test_a_finished_message_gives_its_place_back_and_its_number_is_not_given_again(
    path: Path, state: str, result: str
) -> None:
    memory = opened(path)
    (number,) = memory.store([message(600)])
    assert memory.take(number) == b"x" * 600
    assert memory.get(number).state == "decoding"
    memory.printing(number, 3)
    memory.page_out(number, 2)
    assert (memory.get(number).pages, memory.get(number).printed) == (3, 2)
    memory.finished(number, state, result)
    memory.finished(number, state, result)
    assert (memory.documents, memory.free_bytes) == (0, 1000)
    with pytest.raises(FauxfaxError, match="no longer stored"):
        memory.body(number)
    with pytest.raises(FauxfaxError, match="no longer stored"):
        memory.take(number)
    assert opened(path).store([message()]) == [2]


def test_a_body_is_the_same_in_however_many_pieces_it_came(path: Path) -> None:
    envelope = message().envelope
    bodies = [(b"one",), (b"t", b"w" * 100_000, b"o"), (b"three",), (b"fo", b"ur")]
    memory = opened(path, 10**6)
    numbers = memory.store([MessageReceived(envelope, pieces) for pieces in bodies])
    assert [memory.body(number) for number in numbers] == [b"".join(pieces) for pieces in bodies]


def test_what_does_not_fit_is_refused_whole(path: Path) -> None:
    memory = opened(path)
    memory.store([message(500)])
    with pytest.raises(MemoryFullError, match="500 are free"):
        memory.store([message(400), message(200)])
    assert memory.documents == 1
    memory.store([message(500)])
    assert memory.free_bytes == 0


def test_a_disk_that_takes_nothing_is_a_full_memory_and_reception_goes_on_when_it_takes_again(path: Path) -> None:
    database = Database(path)
    memory = Memory(database, 10**6)
    pages = database.writer.execute("PRAGMA page_count").fetchone()[0]
    database.writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(MemoryFullError, match="took nothing"):
        memory.store([message(100_000)])
    assert (memory.documents, memory.free_bytes) == (0, 10**6)
    database.writer.execute("PRAGMA max_page_count = 1000000")
    assert memory.store([message(100_000)])


def test_a_nearly_full_disk_takes_no_message_so_that_those_it_has_can_be_printed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(path)
    memory, room = Memory(database, 10**6), [DISK_RESERVE + 99]
    monkeypatch.setattr(database, "disk_room", lambda: room[0])
    with pytest.raises(MemoryFullError, match="the disk has"):
        memory.store([message(100)])
    room[0] += 1
    (number,) = memory.store([message(100)])
    memory.finished(number, "printed", "R-OK")
    assert memory.free_bytes == 10**6


def test_a_memory_of_the_first_version_owes_no_receipts_for_what_it_printed(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(f"{FIRST} PRAGMA user_version = 1;")
        states = ("received", "printed", "failed", "receipted")
        connection.executemany(
            "INSERT INTO messages (state, envelope, received_at, octets) VALUES (?, ?, 0, 1)",
            [(state, json.dumps(message(1).envelope.as_dict())) for state in states],
        )
    connection.close()
    memory = Memory(Database(path), 10**6)
    assert [memory.get(number).state for number in (1, 2, 3, 4)] == ["received"] + ["receipted"] * 3
    assert memory.without_receipt() == []


def test_a_memory_of_another_version_is_refused_with_a_text(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(FauxfaxError, match="version 99"):
        Database(path)


def test_dropped_messages_give_their_places_back_in_one_go(path: Path) -> None:
    memory = opened(path)
    numbers = memory.store([message(100), message(200), message(300)])
    memory.drop(numbers[:2])
    memory.drop(numbers[:2])
    assert (memory.documents, memory.free_bytes, memory.waiting_numbers()) == (1, 700, [3])
    with pytest.raises(FauxfaxError, match="no longer stored"):
        memory.body(1)
    again = opened(path)
    assert (again.documents, again.free_bytes) == (1, 700)


def test_a_sink_holds_a_message_on_the_disk_until_the_next_one_and_counts_none(path: Path) -> None:
    memory = opened(path)
    kept = memory.store([message(100)])
    memory.sink([message(200), message(300)])
    assert (memory.documents, memory.free_bytes) == (1, 900)
    assert memory.waiting_numbers() == [*kept, 2, 3], "acknowledged is on the disk first"
    memory.sink([message(400)])
    assert memory.waiting_numbers() == [*kept, 4]
    memory.settle()
    memory.settle()
    assert (memory.waiting_numbers(), memory.documents, memory.free_bytes) == (kept, 1, 900)
    assert opened(path).free_bytes == 900


def test_what_a_sink_cannot_hold_is_refused_and_what_it_held_is_dropped_later(path: Path) -> None:
    memory = opened(path)
    memory.sink([message(10)])
    with pytest.raises(MemoryFullError):
        memory.sink([message(2000)])
    memory.settle()
    assert memory.waiting_numbers() == []


def test_a_memory_that_was_replaced_keeps_what_the_sink_of_the_old_one_would_have_dropped(path: Path) -> None:
    memory = opened(path)
    memory.sink([message(10)])
    memory.recount()
    memory.settle()
    assert memory.waiting_numbers() == [1]
