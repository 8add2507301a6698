"""The outbox: mails that the machine owes somebody, kept in its memory until a mail server has them.

    waiting -> sent
       |----> given-up      (refused for good, or tried too often)

A mail is named by its document, its kind and whom it is about, and is put in once whatever a kill repeats; its row
stays until the document has no mail waiting. What was in the air when the process was killed goes out again: a mail
server may get a mail twice, never not at all. No socket here: a shell takes the next mail and says what became of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fauxfax.ifax.receipt import Mail
from fauxfax.machine.database import Database

BACK_OFF = (60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0)
"""Machine seconds from one try to the next; after the last the mail is given up: project values."""
CAPACITY = 10_000
"""Mails that wait at most: a project value."""


class Due(NamedTuple):
    """A mail the machine owes: `kind` is `MDN`, `DSN` or `RLY`, `about` tells those of one kind apart."""

    kind: str
    mail: Mail
    about: str = ""


@dataclass(frozen=True, slots=True)
class Posting:
    """A mail in the outbox; `attempts` have failed so far."""

    number: int
    document: int
    kind: str
    about: str
    mail: Mail
    attempts: int


class Outbox:
    """Keeps mails and their states. Everything here is one commit, safe from a kill of the process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._quick = database.quick

    @property
    def waiting(self) -> int:
        """How many mails wait to be sent."""
        return int(self._quick.execute("SELECT COUNT(*) FROM outbox WHERE state = 'waiting'").fetchone()[0])

    def put(self, document: int, dues: Iterable[Due]) -> None:
        """Keep the mails of a document, those that are not there already, all or none."""
        with self._database.together():
            self._quick.executemany(
                "INSERT OR IGNORE INTO outbox (document, kind, about, sender, recipient, data) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [(document, due.kind, due.about, due.mail.sender, due.mail.recipient, due.mail.data) for due in dues],
            )

    def next(self, passed_over: frozenset[int] = frozenset()) -> Posting | None:
        """The oldest mail that waits, but for those that are not due yet."""
        numbers = self._quick.execute("SELECT id FROM outbox WHERE state = 'waiting' ORDER BY id")
        number = next((row[0] for row in numbers if row[0] not in passed_over), None)
        return self._posting(number) if number is not None else None

    def deferred(self, posting: Posting) -> float | None:
        """A try failed. Returns machine seconds until the next, or None if there is none: then give it up."""
        self._quick.execute("UPDATE outbox SET attempts = attempts + 1 WHERE id = ?", (posting.number,))
        return BACK_OFF[posting.attempts] if posting.attempts < len(BACK_OFF) else None

    def done(self, posting: Posting, *, sent: bool) -> None:
        """A mail has left, or never will."""
        state = "sent" if sent else "given-up"
        self._quick.execute("UPDATE outbox SET state = ?, data = x'' WHERE id = ?", (state, posting.number))

    def pending(self, document: int) -> bool:
        """Whether a mail of that document still waits."""
        query = "SELECT 1 FROM outbox WHERE document = ? AND state = 'waiting' LIMIT 1"
        return self._quick.execute(query, (document,)).fetchone() is not None

    def forget(self, document: int) -> None:
        """Remove the rows of a document that owes nothing any more."""
        self._quick.execute("DELETE FROM outbox WHERE document = ?", (document,))

    def _posting(self, number: int) -> Posting:
        number, document, kind, about, attempts, *mail = self._quick.execute(
            "SELECT id, document, kind, about, attempts, recipient, data, sender FROM outbox WHERE id = ?", (number,)
        ).fetchone()
        return Posting(number, document, kind, about, Mail(*mail), attempts)
