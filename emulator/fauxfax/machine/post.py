"""The post room: which mails a document owes to whom, and what became of each of them.

A document that was printed or failed is looked at once: its MDN or DSN goes into the outbox, or the journal says why
none can leave. Messages for somebody else go into the outbox when they have been accepted. A document is `receipted`
when none of its mails waits any more. Everything can be repeated after a kill: nothing is put in twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fauxfax.events import MessageRelayed, ReceiptSent
from fauxfax.ifax.host import Envelope, Recipient
from fauxfax.ifax.receipt import Action, Mail, Station, delivery_status, disposition_notification, trace_line
from fauxfax.machine.journal import RESULT_NOT_SENT, RESULT_OK, RESULT_SENT, Entry
from fauxfax.machine.machine import Machine
from fauxfax.machine.memory import Stored
from fauxfax.machine.outbox import CAPACITY, Due, Outbox, Posting

MAILBOX = "fax"
NO_HOST = "no mail could leave: outbox.host is not set"
FULL = "no mail could leave: the outbox is full"


@dataclass(frozen=True, slots=True)
class Account:
    """What the tray tells of a document: its message (of a long one the beginning), headers, and why it failed."""

    message: bytes
    headers: Mapping[str, str]
    reason: str = ""
    notification: bool = False


class PostRoom:
    """Fills the outbox of one machine and notes what the mail server says."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.outbox = Outbox(machine.database)
        self.changed: Callable[[], None] = lambda: None
        """Called when a mail was put in, or a document is finished that owes one."""

    @property
    def station(self) -> Station:
        """The machine as it signs its mails."""
        settings, model = self._machine.settings, self._machine.model
        return Station(settings.domain or model.default_domain, MAILBOX, model.name, jbig=settings.jbig)

    def relay(self, message: Stored, body: bytes) -> None:
        """Send an accepted message on to those of its recipients that are somebody else's; it may have no others."""
        data = trace_line(message.envelope, self.station, message.number) + body
        dues = [
            Due("RLY", Mail(one.mailbox, data, message.envelope.sender), one.mailbox)
            for one in message.envelope.recipients
            if one.forward
        ]
        self._put(message.number, dues)
        if len(dues) == len(message.envelope.recipients):
            self._machine.memory.finished(message.number, "printed", RESULT_OK)  # nothing comes out here
            self._machine.refresh()
            self._finish(message.number)

    def settle(self, message: Stored, account: Account | None) -> None:
        """Put in the receipts of a document that was printed or failed; without an `account` it owes none."""
        if account is not None:
            self._put(message.number, self._receipts(message, account))
        self._finish(message.number)

    def sent(self, posting: Posting, *, passed_on: bool) -> None:
        """The mail server took it; `passed_on` if it also took over the sender's wish for a report (RFC 3461 5.2.2)."""
        document, to = posting.document, posting.mail.recipient
        relayed = posting.kind == "RLY"
        if relayed and not passed_on:
            self._report_relay(posting, Action.RELAYED)
        self.outbox.done(posting, sent=True)
        self._note(document, posting.kind, to, RESULT_SENT)
        self._machine.events.publish(
            MessageRelayed(document, to) if relayed else ReceiptSent(document, posting.kind, to)
        )
        self._finish(posting.document)

    def deferred(self, posting: Posting, reason: str) -> float | None:
        """A try failed. Returns machine seconds until the next; None if it was the last and the mail was given up."""
        wait = self.outbox.deferred(posting)
        if wait is None:
            self.refused(posting, f"given up after {posting.attempts + 1} tries: {reason}")
        return wait

    def refused(self, posting: Posting, reason: str) -> None:
        """The mail server will never take it: the journal says so, and the sender of a relayed message is told."""
        self._report_relay(posting, Action.FAILED, reason)
        self.outbox.done(posting, sent=False)
        self._note(posting.document, posting.kind, posting.mail.recipient, RESULT_NOT_SENT, reason)
        self._finish(posting.document)

    def recipient(self, posting: Posting) -> tuple[Envelope, Recipient] | None:
        """The recipient that a relayed mail goes on to, with the DSN wishes it came with."""
        message = self._machine.memory.get(posting.document)
        if message is None or posting.kind != "RLY":
            return None
        found = next((one for one in message.envelope.recipients if one.forward and one.mailbox == posting.about), None)
        return (message.envelope, found) if found is not None else None

    def _receipts(self, message: Stored, account: Account) -> list[Due]:
        local = [one for one in message.envelope.recipients if not one.forward]
        if account.notification or not local:
            return []  # what is a receipt itself is never answered
        envelope, at = message.envelope, self._machine.clock.wall
        printed = message.result == RESULT_OK
        mdn = None
        if printed:
            mdn = disposition_notification(
                envelope._replace(recipients=tuple(local)), account.headers, self.station, message.number, at,
                notification=False,
            )  # fmt: skip
        action = Action.DELIVERED if printed else Action.FAILED
        dsn = delivery_status(
            envelope, account.message, self.station, message.number, at,
            action=action, reason=account.reason, recipients=local,
        )  # fmt: skip
        return [Due(kind, mail) for kind, mail in (("MDN", mdn), ("DSN", dsn)) if mail is not None]

    def _report_relay(self, posting: Posting, action: Action, reason: str = "") -> None:
        """Tell the sender of a relayed message what became of it, if it wants to know: before that is noted as done."""
        found = self.recipient(posting)
        if found is None:
            return
        envelope, recipient = found
        mail = delivery_status(
            envelope, posting.mail.data, self.station, posting.document, self._machine.clock.wall, action=action,
            status="5.0.0" if action is Action.FAILED else "", reason=reason, recipients=[recipient],
        )  # fmt: skip
        if mail is not None:
            self._put(posting.document, [Due("DSN", mail, posting.about)])

    def _put(self, document: int, dues: list[Due]) -> None:
        """Into the outbox; without a mail server, or without room, into the journal."""
        if not dues:
            return
        problem = NO_HOST if not self._machine.settings.outbox else FULL if self.outbox.waiting >= CAPACITY else ""
        if not problem:
            self.outbox.put(document, dues)
            self.changed()
        for due in dues if problem else ():
            self._note(document, due.kind, due.mail.recipient, RESULT_NOT_SENT, problem)

    def _finish(self, document: int) -> None:
        """`receipted` if the document is finished and none of its mails waits."""
        message = self._machine.memory.get(document)
        if message is not None and message.state in ("printed", "failed") and not self.outbox.pending(document):
            with self._machine.database.together():
                self.outbox.forget(document)
                self._machine.memory.receipted(document)

    def _note(self, document: int, kind: str, peer: str, result: str, note: str = "") -> None:
        at = self._machine.clock.wall
        self._machine.journal.write(Entry(at=at, kind=kind, peer=peer, document=document, result=result, note=note))
