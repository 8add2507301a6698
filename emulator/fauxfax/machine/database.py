"""The machine's non-volatile memory: one SQLite file in write-ahead mode.

Two connections, because two things are promised, and because two threads use them. `writer` stores messages and commits
with a sync to the disk, since they are acknowledged to a sender. `quick` commits to the operating system, for the
machine's own notes: they survive a kill of the process in order, and losing the last of them with the whole computer
repeats work but loses no fax.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from fauxfax.errors import FauxfaxError

VERSION = 1
SCHEMA = """
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


class Database:
    """Opens the file, makes its tables once, and refuses a file of another version with a text.

    With `durable` false the writer commits to the operating system only, as `quick` does.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self.quick = self._connect("NORMAL")
        version = self.quick.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self.quick.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        elif version != VERSION:
            self.quick.close()
            raise FauxfaxError(
                f"{path}: this memory is of version {version}, this program reads version {VERSION}; "
                "use the program that wrote it, or start with another --state folder"
            )
        self.writer = self._connect("FULL" if durable else "NORMAL")

    def _connect(self, synchronous: str) -> sqlite3.Connection:
        # Each connection is used by one thread at a time; the writer's thread is not the one that opened it.
        connection = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def count(self, name: str, by: int = 1) -> None:
        """Add to one of the machine's counters."""
        self.quick.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, by),
        )

    def counters(self) -> dict[str, int]:
        """All counters by name."""
        return dict(self.quick.execute("SELECT name, value FROM counters ORDER BY name").fetchall())

    def copy_to(self, path: Path) -> None:
        """A consistent copy of the whole memory, for a snapshot."""
        target = sqlite3.connect(path)
        try:
            self.quick.backup(target)
        finally:
            target.close()

    def copy_from(self, path: Path) -> None:
        """Become the memory of that copy. Raises FauxfaxError if it is no memory of this version."""
        source = sqlite3.connect(path)
        try:
            version = source.execute("PRAGMA user_version").fetchone()[0]
            if version != VERSION:
                raise FauxfaxError(f"snapshot: its memory is of version {version}, this program reads {VERSION}")
            source.backup(self.quick)
        except sqlite3.DatabaseError as error:
            raise FauxfaxError(f"snapshot: its memory cannot be read: {error}") from None
        finally:
            source.close()

    def close(self) -> None:
        """Close both connections."""
        self.writer.close()
        self.quick.close()
