"""From stored message to printed document: hands each waiting message to the decoder process, then to the engine.

One message at a time, oldest first; receiving never waits for it. What a kill interrupted is taken up again from the
memory's states and the folders that are there, so nothing is printed twice and nothing is forgotten.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections import deque

from fauxfax.errors import FauxfaxError
from fauxfax.events import DocumentKept, FirmwareStarted, MessageAccepted, Record
from fauxfax.machine.machine import Machine
from fauxfax.machine.memory import DISK_PATIENCE, Stored
from fauxfax.machine.post import PostRoom
from fauxfax.servers.decoder import Decoder
from fauxfax.servers.tray import Tray
from fauxfax.servers.worker import Worker

MM_PER_INCH = 25.4

log = logging.getLogger(__name__)


class DocumentRoom(Worker):
    """Watches the machine's events and keeps its decoder busy, with what waited when the firmware started at first."""

    name = "documents"

    def __init__(self, machine: Machine, post: PostRoom, tray: Tray, decoder: Decoder) -> None:
        super().__init__()
        self._machine = machine
        self._post = post
        self._tray = tray
        self._decoder = decoder
        self._wake = asyncio.Event()
        self._queue: deque[int] = deque()
        self._given: set[int] = set()  # decoded or being decoded since the firmware started: each goes to paper once
        self._working: set[int] = set()
        self._unsubscribe = machine.events.subscribe(self._notice)

    async def stop(self) -> None:
        """See Worker; a message in the decoder is decoded again at the next start."""
        self._unsubscribe()
        await super().stop()

    def _notice(self, record: Record) -> None:
        match record.event:
            case MessageAccepted(message=number):
                self._queue.append(number)
            case DocumentKept(document=number, reason=reason):
                self._try_again(number, reason)
            case FirmwareStarted():  # the engine lost its jobs with the power: all that waits is given again
                self._queue = deque(self._machine.memory.waiting_numbers())
                self._given = set(self._working)
            case _:
                return
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue and self._machine.running:
                number = self._queue.popleft()
                message = self._machine.memory.get(number)
                if message is not None and message.waiting and number not in self._given:
                    self._given.add(number)
                    self._working = {number}
                    try:
                        await self._do(self._work(message))
                    except (FauxfaxError, OSError, sqlite3.Error) as error:
                        self._try_again(number, error)
                    self._working = set()

    def _try_again(self, number: int, error: object) -> None:
        """The disk did not take it: the message is safe where it is, and is worked on again when there may be room."""
        log.error("document %d waits %g s: %s", number, DISK_PATIENCE, error)
        self._given.discard(number)
        self._machine.clock.deadline(DISK_PATIENCE, lambda: self._again(number))

    def _again(self, number: int) -> None:
        self._queue.append(number)
        self._wake.set()

    async def _work(self, message: Stored) -> None:
        number, folder = message.number, self._tray.prepared(message.number)
        if any(one.forward for one in message.envelope.recipients):
            self._post.relay(message, self._machine.memory.body(number))
            if all(one.forward for one in message.envelope.recipients):
                return
        if self._tray.holds(number):
            self._out_before(number, self._tray.document(number))
            return
        if not folder.exists():
            body = await asyncio.to_thread(self._machine.memory.take, number)
            await self._decoder.decode(number, body, message.envelope, folder)
        document = json.loads((folder / "document.json").read_text(encoding="utf-8"))
        if document["result"] != "R-OK":
            self._machine.undecodable(number, document["reason"], document["result"])
        elif self._machine.running:  # else power went while it was decoded, and the next start prints it
            self._machine.decoded(number, [_length(page) for page in document["pages"]])

    def _out_before(self, number: int, document: dict[str, object]) -> None:
        """The document lies in the tray although the memory does not know: a kill came in between."""
        if document["result"] == "R-OK":
            self._machine.printed_before(number)
        else:
            self._machine.undecodable(number, str(document["reason"]), str(document["result"]))


def _length(page: dict[str, object]) -> float:
    """A page's length in mm, from its rows and their resolution."""
    height, dpi = page["height"], page["dpi"]
    assert isinstance(height, int)
    assert isinstance(dpi, list)
    return float(height / dpi[1] * MM_PER_INCH)
