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

    `store` may run in one thread, everything else in another: each count has one thread that changes it.
    """

    def __init__(self, database: Database, capacity: int) -> None:
        self._database = database
        self._capacity = capacity
        self._added = self._freed = self._stored = self._finished = 0
        self.recount()

    def recount(self) -> None:
        """Add up what is stored, after the memory was opened or replaced."""
        row = self._database.quick.execute(
            f"SELECT COALESCE(SUM(octets), 0), COUNT(*) FROM messages WHERE {_WAITING}"
        ).fetchone()
        self._added, self._stored = row
        self._freed = self._finished = 0

    @property
    def free_bytes(self) -> int:
        """Octets of image memory that are free."""
        return max(0, self._capacity - self._added + self._freed)

    def store(self, messages: Sequence[MessageReceived]) -> list[int]:
        """Store all of the messages in one commit and return their numbers, in order.

        When this returns, they are on the disk (or only safe from a kill of the process, if the memory was opened
        so). Raises MemoryFullError if they do not fit, or if the disk is full; then none of them is stored.
        """
        octets = sum(message.octets for message in messages)
        if octets > self.free_bytes:
            raise MemoryFullError(f"image memory: {octets} octets do not fit, {self.free_bytes} are free")
        if octets + DISK_RESERVE > (room := self._database.disk_room()):
            raise MemoryFullError(f"image memory: {octets} octets do not fit, the disk has {room} octets of room")
        self._added += octets
        connection = self._database.writer
        try:
            numbers = self._insert(connection, messages)
        except sqlite3.Error as error:
            self._added -= octets
            if connection.in_transaction:
                connection.rollback()
            raise MemoryFullError(f"image memory: the disk took nothing: {error}") from error
        self._stored += len(numbers)
        return numbers

    def keep(self, message: MessageReceived) -> int:
        """Store a document of the machine's own, in the machine's thread: safe from a kill. Raises MemoryFullError."""
        if message.octets > self.free_bytes:
            raise MemoryFullError(f"image memory: {message.octets} octets do not fit, {self.free_bytes} are free")
        connection = self._database.quick
        try:
            number = self._insert(connection, [message])[0]
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.rollback()
            raise MemoryFullError(f"image memory: the disk took nothing: {error}") from error
        self._freed -= message.octets  # counts of this thread, see the class
        self._finished -= 1
        return number

    @staticmethod
    def _insert(connection: sqlite3.Connection, messages: Sequence[MessageReceived]) -> list[int]:
        numbers = []
        connection.execute("BEGIN IMMEDIATE")
        for message in messages:
            data, envelope = message.data, message.envelope
            cursor = connection.execute(
                "INSERT INTO messages (state, envelope, received_at, octets) VALUES ('received', ?, ?, ?)",
                (json.dumps(envelope.as_dict()), envelope.received_at, len(data)),
            )
            assert cursor.lastrowid is not None
            numbers.append(cursor.lastrowid)
            connection.execute("INSERT INTO bodies VALUES (?, ?)", (cursor.lastrowid, data))
        connection.execute("COMMIT")
        return numbers

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
        found = self._database.quick.execute("SELECT data FROM bodies WHERE message = ?", (number,))
        return self._octets(found, number)

    def beginning(self, number: int, octets: int) -> bytes:
        """As `body`, but not more than so many octets of it."""
        query = "SELECT substr(data, 1, ?) FROM bodies WHERE message = ?"
        return self._octets(self._database.quick.execute(query, (octets, number)), number)

    @staticmethod
    def _octets(found: sqlite3.Cursor, number: int) -> bytes:
        row = found.fetchone()
        if row is None:
            raise FauxfaxError(f"image memory: message {number} is no longer stored")
        return bytes(row[0])

    def decoding(self, number: int) -> None:
        """The message is being made into a document."""
        self._set(number, "decoding")

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
        quick, places = self._database.quick, ", ".join("?" * len(numbers))
        with self._database.together():
            octets, count = quick.execute(
                f"SELECT COALESCE(SUM(octets), 0), COUNT(*) FROM messages WHERE id IN ({places}) AND {_WAITING}",
                numbers,
            ).fetchone()
            quick.execute(f"UPDATE messages SET state = 'receipted' WHERE id IN ({places})", numbers)
            quick.execute(f"DELETE FROM bodies WHERE message IN ({places})", numbers)
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
