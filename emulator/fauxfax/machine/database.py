"""The machine's non-volatile memory: one SQLite file in write-ahead mode.

Two connections, because two things are promised, and because two threads use them. `writer` stores messages and commits
with a sync to the disk, since they are acknowledged to a sender. `quick` commits to the operating system, for the
machine's own notes: they survive a kill of the process in order, and losing the last of them with the whole computer
repeats work but loses no fax.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from fauxfax.errors import FauxfaxError, FormatError

VERSION = 2
PAGE = 16 * 1024
"""Octets of a page. Bodies are large: a commit takes two thirds of what it takes with SQLite's usual 4 KiB."""
FIRST = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL CHECK (state IN ('received', 'decoding', 'printing', 'printed', 'receipted', 'failed')),
    envelope TEXT NOT NULL,
    received_at REAL NOT NULL,
    octets INTEGER NOT NULL,
    pages INTEGER NOT NULL DEFAULT 0,
    printed INTEGER NOT NULL DEFAULT 0,
    result TEXT NOT NULL DEFAULT ''
);
CREATE TABLE bodies (message INTEGER PRIMARY KEY REFERENCES messages (id), data BLOB NOT NULL);
CREATE INDEX messages_by_state ON messages (state) WHERE state IN ('received', 'decoding', 'printing');
CREATE TABLE journal (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    document INTEGER,
    peer TEXT NOT NULL,
    pages INTEGER NOT NULL,
    result TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE TABLE parameters (number INTEGER PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
OUTBOX = """
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES messages (id),
    kind TEXT NOT NULL CHECK (kind IN ('MDN', 'DSN', 'RLY', 'UPD')),
    about TEXT NOT NULL,
    sender TEXT NOT NULL,
    recipient TEXT NOT NULL,
    data BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'given-up')),
    attempts INTEGER NOT NULL DEFAULT 0,
    UNIQUE (document, kind, about)
);
CREATE INDEX outbox_waiting ON outbox (id) WHERE state = 'waiting';
UPDATE messages SET state = 'receipted' WHERE state IN ('printed', 'failed');
CREATE INDEX messages_without_receipt ON messages (id) WHERE state IN ('printed', 'failed');
"""
"""What was finished before there was an outbox owes nobody a receipt."""
STEPS = (FIRST, OUTBOX)
"""Step N makes version N + 1 of version N; a new file takes all of them."""
CACHE = 16 * 1024 * 1024
"""Octets of pages that the writer may hold while a large body is written: what does not fit is written twice."""


class Database:
    """Opens the file, brings its tables up to date, and refuses a file of a later version with a text.

    With `durable` false the writer commits to the operating system only, as `quick` does.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self.quick = self._connect("NORMAL")
        try:
            _bring_up_to_date(self.quick)
        except FauxfaxError as error:
            self.quick.close()
            raise FauxfaxError(
                f"{path}: {error}; use the program that wrote it, or start with another --state folder"
            ) from None
        self.writer = self._connect("FULL" if durable else "NORMAL")
        self.writer.execute(f"PRAGMA cache_size = -{CACHE // 1024}")

    def _connect(self, synchronous: str) -> sqlite3.Connection:
        # Each connection is used by one thread at a time; the writer's thread is not the one that opened it.
        connection = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA page_size = {PAGE}")  # of a new file only
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise FauxfaxError(
                f"{self.path}: this memory cannot be read ({error}); move it away to start anew"
            ) from None
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def another(self) -> sqlite3.Connection:
        """A connection like `quick`, for a thread that must not hold the others up. Close it."""
        return self._connect("NORMAL")

    def disk_room(self) -> int:
        """Octets that the file system still takes."""
        return shutil.disk_usage(self.path.parent).free

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """One commit of `quick` for what is done within, or none of it if that raises."""
        self.quick.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.quick.execute("COMMIT")
        except BaseException:
            if self.quick.in_transaction:
                self.quick.execute("ROLLBACK")
            raise

    def count(self, name: str, by: int = 1) -> None:
        """Add to one of the machine's counters."""
        self.quick.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, by),
        )

    def counters(self) -> dict[str, int]:
        """All counters by name."""
        return dict(self.quick.execute("SELECT name, value FROM counters ORDER BY name").fetchall())

    def view(self) -> sqlite3.Connection:
        """A connection that sees the memory as it is now, whatever is written later; for one thread, that closes it."""
        view = self.another()
        view.execute("BEGIN")
        view.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        return view

    def copy_from(self, path: Path) -> None:
        """Become the memory of a copy that was checked, all or nothing, in any thread; nobody else may write meanwhile.

        Raises FauxfaxError if the disk does not take it.
        """
        source, target = sqlite3.connect(path), self._connect("FULL")
        try:
            self._adapt_pages(source)
            source.backup(target)
        except sqlite3.Error as error:
            raise FauxfaxError(f"snapshot: its memory cannot be put back: {error}") from None
        finally:
            source.close()
            target.close()

    def _adapt_pages(self, copy: sqlite3.Connection) -> None:
        """Lay a copy out anew, if its pages are of another size than ours: SQLite does not copy it otherwise."""
        page = self.quick.execute("PRAGMA page_size").fetchone()
        if copy.execute("PRAGMA page_size").fetchone() != page:
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.execute(f"PRAGMA page_size = {page[0]}")
            copy.execute("VACUUM")

    def close(self) -> None:
        """Close both connections."""
        self.writer.close()
        self.quick.close()


def copy(source: sqlite3.Connection, path: Path) -> None:
    """A copy of a whole memory, in a file of its own."""
    target = sqlite3.connect(path)
    try:
        source.backup(target)
    finally:
        target.close()


def check_copy(path: Path) -> None:
    """Bring the copy of a memory up to date. Raises FormatError if it is no memory this program reads."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        _bring_up_to_date(connection, new=False)
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except FauxfaxError as error:
        raise FormatError(str(error), "snapshot") from None
    except sqlite3.DatabaseError as error:
        raise FormatError(f"its memory cannot be read: {error}", "snapshot") from None
    finally:
        connection.close()
    if found != "ok":
        raise FormatError(f"its memory is damaged: {found}", "snapshot")


def _bring_up_to_date(connection: sqlite3.Connection, *, new: bool = True) -> None:
    """Take the steps that are missing, each whole or not at all.

    Raises FauxfaxError for a later version, and for an empty file unless it may be `new`.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION or (not version and not new):
        raise FauxfaxError(f"this memory is of version {version}, this program reads version {VERSION}")
    for number, step in enumerate(STEPS[version:], version + 1):
        connection.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")
