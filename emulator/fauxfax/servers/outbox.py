"""The way out for mail: takes one mail after the other out of the outbox and hands it to the mail server.

It works while the firmware runs. The time between two tries is patience with the mail server, which a fast clock
does not jump over. At a new start every mail is due at once.
"""

from __future__ import annotations

import asyncio
import logging

from fauxfax.errors import FauxfaxError
from fauxfax.events import DocumentFailed, DocumentPrinted, FirmwareStarted, PoweredOff, Record
from fauxfax.ifax.receipt import RETURNED
from fauxfax.machine.machine import Machine
from fauxfax.machine.memory import Stored
from fauxfax.machine.outbox import Posting
from fauxfax.machine.post import Account, PostRoom
from fauxfax.servers.smtpclient import Refused, Relay, TryAgain, Wishes, send
from fauxfax.servers.tray import Tray
from fauxfax.servers.worker import Worker

log = logging.getLogger(__name__)

NOBODY = Wishes(notify=("NEVER",))
"""What a receipt wants to hear of itself: nothing (RFC 3461 6)."""


class Postman(Worker):
    """Watches the machine's events, has the post room write receipts, and carries the outbox to the mail server."""

    name = "outbox"

    def __init__(self, machine: Machine, post: PostRoom, tray: Tray, relay: Relay) -> None:
        super().__init__()
        self._machine = machine
        self._post = post
        self._tray = tray
        self._relay = relay
        self._later: set[int] = set()
        self._wake = asyncio.Event()
        post.changed = self._wake.set
        self._unsubscribe = machine.events.subscribe(self._notice)

    async def stop(self) -> None:
        """See Worker; a mail in the air goes out again at the next start."""
        self._unsubscribe()
        await super().stop()

    def _notice(self, record: Record) -> None:
        match record.event:
            case FirmwareStarted():
                self._later.clear()
                self._wake.set()
            case DocumentPrinted() | DocumentFailed():
                self._wake.set()
            case PoweredOff():
                self.interrupt()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._do(self._go_round())
            except Exception:
                log.exception("the outbox rests until something happens")

    async def _go_round(self) -> None:
        """Write what receipts are owed, then send what is due."""
        for number in self._machine.memory.without_receipt():
            message = self._machine.memory.get(number)
            if message is not None and self._machine.running:
                self._post.settle(message, self._account(message))
                await asyncio.sleep(0)
        while self._machine.running and (posting := self._post.outbox.next(frozenset(self._later))) is not None:
            await self._carry(posting)

    async def _carry(self, posting: Posting) -> None:
        try:
            passed_on = await send(self._relay, self._post.station.domain, posting.mail, self._wishes(posting))
        except Refused as error:
            self._post.refused(posting, str(error))
        except TryAgain as error:
            if (wait := self._post.deferred(posting, str(error))) is not None:
                self._later.add(posting.number)
                self._machine.clock.deadline(wait, lambda: self._due(posting.number))
        else:
            self._post.sent(posting, passed_on=passed_on)

    def _due(self, number: int) -> None:
        self._later.discard(number)
        self._wake.set()

    def _wishes(self, posting: Posting) -> Wishes:
        found = self._post.recipient(posting)
        if found is None:
            return NOBODY
        envelope, one = found
        return Wishes(notify=one.notify, original=one.original, ret=envelope.ret, envid=envelope.envid)

    def _account(self, message: Stored) -> Account | None:
        """What the tray tells of a document; None if it is not there (any more)."""
        try:
            document = self._tray.document(message.number)
            with self._tray.file(message.number, "message.eml").open("rb") as file:
                beginning = file.read(RETURNED + 1)
        except (FauxfaxError, OSError):
            return None
        return Account(beginning, document["headers"], document["reason"], bool(document.get("notification")))
