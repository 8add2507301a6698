"""The communication journal: one line for each thing that came or went, as the family prints it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from fauxfax.machine.database import Database

RESULT_OK = "R-OK"
"""Received and printed (the family's communication journal)."""
RESULT_UNREADABLE = "870"
"""Nothing printable could be read: a project value, the 8xx codes of the network are not public."""
RESULT_SENT = "OK"
"""A mail of the machine was taken by the mail server: a project value."""
RESULT_NOT_SENT = "872"
"""A mail of the machine could not leave: a project value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line. `at` is seconds since 1970; `kind` is `RCV`, `UPD`, `MDN`, `DSN`, `RLY`; `result` `R-OK` or a code."""

    number: int = 0
    at: float
    kind: str
    peer: str
    document: int | None = None
    pages: int = 0
    result: str = RESULT_OK
    note: str = ""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


class Journal:
    """Appends lines to non-volatile memory and reads them back, newest last."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, entry: Entry) -> None:
        """Append a line; its number is given here."""
        self._database.quick.execute(
            "INSERT INTO journal (at, kind, document, peer, pages, result, note) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (entry.at, entry.kind, entry.document, entry.peer, entry.pages, entry.result, entry.note),
        )

    def read(self, limit: int = 200) -> Sequence[Entry]:
        """The last `limit` lines, oldest first."""
        return self._entries("ORDER BY number DESC LIMIT ?", limit)[::-1]

    def last(self, kind: str) -> Entry | None:
        """The newest line of a kind; None if there is none."""
        found = self._entries("WHERE kind = ? ORDER BY number DESC LIMIT 1", kind)
        return found[0] if found else None

    def _entries(self, which: str, value: object) -> list[Entry]:
        names = ("number", "at", "kind", "document", "peer", "pages", "result", "note")
        rows = self._database.quick.execute(f"SELECT {', '.join(names)} FROM journal {which}", (value,))
        return [Entry(**dict(zip(names, row, strict=True))) for row in rows]
