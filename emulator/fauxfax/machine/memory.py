"""The image memory: received messages and how far each one is, in one table of states.

    received -> decoding -> printing -> printed -> receipted
                   |-> failed             (failed -> receipted when its report is out)

A message is `received` before its sender hears 250, and stays in the memory until its pages are out. Whatever state a
kill leaves it in, starting again carries on from there: decoding is repeated from the stored message, printing goes on
after the last page that came out, and what is printed is never printed again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from fauxfax.errors import FauxfaxError
from fauxfax.ifax.host import Envelope, MemoryFullError, MessageReceived
from fauxfax.machine.database import Database
from fauxfax.models import MIB

DISK_PATIENCE = 5.0
"""Seconds until what the disk did not take is tried again: a project value."""
DISK_RESERVE = 16 * MIB
"""Octets of the disk that no message may take, so that what is stored can be printed and noted: a project value."""
_WAITING = "state IN ('received', 'decoding', 'printing')"
"""States of a message that still occupies image memory, as SQL."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in the memory. `received_at` is seconds since 1970, `printed` the pages that are out."""

    number: int
    state: str
    envelope: Envelope
    received_at: float
    octets: int
    pages: int
    printed: int
    result: str

    @property
    def waiting(self) -> bool:
        """Whether pages are still to come out."""
        return self.state in ("received", "decoding", "printing")


class Memory:
    """Stores messages durably and keeps their states.

    `store`, `sink` and `settle` may run in one thread, everything else in another: each count has one thread that
    changes it. `take` may run in a third.
    """

    def __init__(self, database: Database, capacity: int) -> None:
        self._database = database
        self._capacity = capacity
        self._added = self._freed = self._stored = self._finished = 0
        self._sinking: list[int] = []
        self.recount()

    def recount(self) -> None:
        """Add up what is stored, after the memory was opened or replaced."""
        row = self._database.quick.execute(
            f"SELECT COALESCE(SUM(octets), 0), COUNT(*) FROM messages WHERE {_WAITING}"
        ).fetchone()
        self._added, self._stored = row
        self._freed = self._finished = 0
        self._sinking = []

    @property
    def free_bytes(self) -> int:
        """Octets of image memory that are free."""
        return max(0, self._capacity - self._added + self._freed)

    def store(self, messages: Sequence[MessageReceived]) -> list[int]:
        """Store all of the messages in one commit and return their numbers, in order.

        When this returns, they are on the disk (or only safe from a kill of the process, if the memory was opened
        so). Raises MemoryFullError if they do not fit, or if the disk is full; then none of them is stored.
        """
        octets = self._size_that_fits(messages)
        self._added += octets
        try:
            numbers = self._commit(messages)
        except MemoryFullError:
            self._added -= octets
            raise
        self._stored += len(numbers)
        return numbers

    def sink(self, messages: Sequence[MessageReceived]) -> None:
        """Store messages as `store` does, but only until they are acknowledged.

        The next call drops them in its own commit, which costs less than another one, and so does `settle()`. They are
        not counted: to everybody else they are gone already.
        """
        self._size_that_fits(messages)
        self._sinking = self._commit(messages, self._sinking)

    def settle(self) -> None:
        """Drop what was put into the sink last. Raises MemoryFullError if the disk is full; it may be tried again."""
        if self._sinking:
            self._sinking = self._commit((), self._sinking)

    def _size_that_fits(self, messages: Sequence[MessageReceived]) -> int:
        octets = sum(message.octets for message in messages)
        if octets > self.free_bytes:
            raise MemoryFullError(f"image memory: {octets} octets do not fit, {self.free_bytes} are free")
        if octets + DISK_RESERVE > (room := self._database.disk_room()):
            raise MemoryFullError(f"image memory: {octets} octets do not fit, the disk has {room} octets of room")
        return octets

    def _commit(self, messages: Sequence[MessageReceived], done: Sequence[int] = ()) -> list[int]:
        """In the writer's thread: store messages, and drop what is done with."""
        connection = self._database.writer
        try:
            connection.execute("BEGIN IMMEDIATE")
            _drop(connection, done)
            numbers = _insert(connection, messages)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.rollback()
            raise MemoryFullError(f"image memory: the disk took nothing: {error}") from error
        return numbers

    def keep(self, message: MessageReceived) -> int:
        """Store a document of the machine's own, in the machine's thread: safe from a kill. Raises MemoryFullError."""
        if message.octets > self.free_bytes:
            raise MemoryFullError(f"image memory: {message.octets} octets do not fit, {self.free_bytes} are free")
        try:
            with self._database.together():
                number = _insert(self._database.quick, [message])[0]
        except sqlite3.Error as error:
            raise MemoryFullError(f"image memory: the disk took nothing: {error}") from error
        self._freed -= message.octets  # counts of this thread, see the class
        self._finished -= 1
        return number

    def get(self, number: int) -> Stored | None:
        """One message, or None."""
        rows = self._select("id = ?", (number,))
        return rows[0] if rows else None

    def waiting(self) -> list[Stored]:
        """The messages whose pages are not all out, oldest first."""
        return self._select(_WAITING, ())

    def waiting_numbers(self) -> list[int]:
        """The numbers of those messages, oldest first."""
        return [row[0] for row in self._database.quick.execute(f"SELECT id FROM messages WHERE {_WAITING} ORDER BY id")]

    @property
    def documents(self) -> int:
        """How many of them there are."""
        return self._stored - self._finished

    def body(self, number: int) -> bytes:
        """The mail of a waiting message, as it came."""
        return _body(self._database.quick, number, "data")

    def beginning(self, number: int, octets: int) -> bytes:
        """As `body`, but not more than so many octets of it."""
        return _body(self._database.quick, number, f"substr(data, 1, {octets:d})")

    def take(self, number: int) -> bytes:
        """The mail of a message that is now made into a document.

        In any thread: while a large message is being stored this waits until it is, which the event loop must not do.
        """
        with contextlib.closing(self._database.another()) as connection:
            body = _body(connection, number, "data")
            connection.execute("UPDATE messages SET state = 'decoding' WHERE id = ?", (number,))
        return body

    def printing(self, number: int, pages: int) -> None:
        """The document has so many pages and waits for the engine."""
        self._set(number, "printing", pages=pages)

    def page_out(self, number: int, printed: int) -> None:
        """So many pages are out. What a full disk does not take is forgotten: a kill then prints that page again."""
        with contextlib.suppress(sqlite3.Error):
            self._set(number, "printing", printed=printed)

    def finished(self, number: int, state: str, result: str) -> None:
        """`printed`, `failed`, or `receipted` if it owes nobody anything: its place is free, its mail in the tray."""
        row = self._database.quick.execute(
            f"SELECT octets FROM messages WHERE id = ? AND {_WAITING}", (number,)
        ).fetchone()
        with self._database.together():
            self._set(number, state, result=result)
            self._database.quick.execute("DELETE FROM bodies WHERE message = ?", (number,))
        if row is not None:
            self._freed += row[0]
            self._finished += 1

    def drop(self, numbers: Sequence[int]) -> None:
        """Forget messages that nobody prints, in one commit: a sink's work must not slow reception."""
        with self._database.together():
            octets, count = _drop(self._database.quick, numbers)
        self._freed += octets
        self._finished += count

    def without_receipt(self) -> list[int]:
        """The numbers of finished documents whose receipts are not all out, oldest first."""
        rows = self._database.quick.execute("SELECT id FROM messages WHERE state IN ('printed', 'failed') ORDER BY id")
        return [row[0] for row in rows]

    def number_above(self, number: int) -> None:
        """Number the next messages above `number`, so that none is taken for a document that is there already."""
        quick = self._database.quick
        cursor = quick.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'messages'", (number,))
        if cursor.rowcount == 0:
            quick.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('messages', ?)", (number,))

    def receipted(self, number: int) -> None:
        """Every receipt of a finished document is out, or never will be."""
        self._set(number, "receipted")

    def _set(self, number: int, state: str, **values: object) -> None:
        columns = {"state": state, **values}
        assignments = ", ".join(f"{name} = ?" for name in columns)
        self._database.quick.execute(f"UPDATE messages SET {assignments} WHERE id = ?", (*columns.values(), number))

    def _select(self, where: str, values: tuple[object, ...]) -> list[Stored]:
        rows = self._database.quick.execute(
            "SELECT id, state, envelope, received_at, octets, pages, printed, result "
            f"FROM messages WHERE {where} ORDER BY id",
            values,
        ).fetchall()
        return [Stored(row[0], row[1], Envelope.from_dict(json.loads(row[2])), *row[3:]) for row in rows]


def _drop(connection: sqlite3.Connection, numbers: Sequence[int]) -> tuple[int, int]:
    """Within a transaction: what waited among these is done with. Returns its octets, and how many there were."""
    if not numbers:
        return 0, 0
    places = ", ".join("?" * len(numbers))
    octets, count = connection.execute(
        f"SELECT COALESCE(SUM(octets), 0), COUNT(*) FROM messages WHERE id IN ({places}) AND {_WAITING}", numbers
    ).fetchone()
    connection.execute(f"UPDATE messages SET state = 'receipted' WHERE id IN ({places})", numbers)
    connection.execute(f"DELETE FROM bodies WHERE message IN ({places})", numbers)
    return octets, count


def _insert(connection: sqlite3.Connection, messages: Sequence[MessageReceived]) -> list[int]:
    """Within a transaction. Many rows in one statement: each gives up the interpreter, and must wait for it."""
    if not messages:
        return []
    rows: list[object] = []
    for message in messages:
        rows += (json.dumps(message.envelope.as_dict()), message.envelope.received_at, message.octets)
    values = ", ".join(["('received', ?, ?, ?)"] * len(messages))
    last = connection.execute(
        f"INSERT INTO messages (state, envelope, received_at, octets) VALUES {values}", rows
    ).lastrowid
    assert last is not None
    numbers = list(range(last + 1 - len(messages), last + 1))  # AUTOINCREMENT: each one above the one before
    _insert_bodies(connection, [message.pieces for message in messages], numbers)
    return numbers


def _insert_bodies(connection: sqlite3.Connection, bodies: Sequence[tuple[bytes, ...]], numbers: Sequence[int]) -> None:
    """A body in pieces is written piece by piece.

    To join 20 MB and to hand them over whole would hold the interpreter, and with it the event loop, for 20 ms.
    """
    whole = [value for number, body in zip(numbers, bodies, strict=True) if len(body) == 1 for value in (number, *body)]
    if whole:
        connection.execute(f"INSERT INTO bodies VALUES {', '.join(['(?, ?)'] * (len(whole) // 2))}", whole)
    for number, body in zip(numbers, bodies, strict=True):
        if len(body) == 1:
            continue
        connection.execute("INSERT INTO bodies VALUES (?, zeroblob(?))", (number, sum(map(len, body))))
        with connection.blobopen("bodies", "data", number) as blob:
            for piece in body:
                blob.write(piece)


def _body(connection: sqlite3.Connection, number: int, columns: str) -> bytes:
    """A mail, or what `columns` says of it. Raises FauxfaxError if it is not stored."""
    row = connection.execute(f"SELECT {columns} FROM bodies WHERE message = ?", (number,)).fetchone()
    if row is None:
        raise FauxfaxError(f"image memory: message {number} is no longer stored")
    return bytes(row[0])
