"""Group commit: messages that are ready together are stored in one go, by one thread, and answered when it is done."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from fauxfax.ifax.host import MemoryFullError, MessageReceived, Verdict

BATCH_MESSAGES = 256
"""Messages in one commit at most: a project value."""
BATCH_OCTETS = 32 * 1024 * 1024
"""Octets in one commit at most: a project value."""

PATIENCE = 0.001
"""Real seconds a batch waits for as many messages as the one before had: senders that were answered together come back
together, and one sync for all of them costs less than two. A lone sender is never waited for. A project value."""

REST = 0.05
"""Real seconds without a message, after which a store does what it has put off: a project value."""

log = logging.getLogger(__name__)


class MessageStore(Protocol):
    """Keeps messages. It is called in one thread, never twice at a time."""

    def store(self, messages: Sequence[MessageReceived]) -> Sequence[int]:
        """Keep all of them or none, and return only when they are as safe as they are to be: their numbers.

        Raises MemoryFullError if there is no room for all of them together.
        """
        ...

    def settle(self) -> None:
        """No message came for a while, or none will come any more: do what was put off until now."""
        ...


_Order = tuple[MessageReceived, Callable[[Verdict], None]]
"""A message, and who is told what became of it."""


class Writer:
    """Hands messages to a store in batches. `stored` hears the numbers of each batch, in the loop's thread.

    With a `linger` (seconds) it gathers for so long before each batch: for messages nobody waits for.
    """

    def __init__(
        self, store: MessageStore, stored: Callable[[Sequence[int]], None] | None = None, *, linger: float = 0.0
    ) -> None:
        self._store = store
        self._stored = stored
        self._linger = linger
        self._orders: deque[_Order] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._busy = False
        self._gathering: asyncio.TimerHandle | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._enough = BATCH_MESSAGES
        self._idle = asyncio.Event()
        self._idle.set()
        self.waiting_octets = 0

    def put(self, message: MessageReceived, done: Callable[[Verdict], None]) -> None:
        """Store a message soon; `done` is called in the loop's thread with what became of it."""
        self._orders.append((message, done))
        self.waiting_octets += message.octets
        if not self._busy:
            self._busy = True
            self._idle.clear()
            if self._resting is not None:
                self._resting.cancel()
            # Whoever else has a message ready in this round of the loop joins the batch.
            asyncio.get_running_loop().call_later(self._linger, self._next_batch)
        elif self._gathering is not None and len(self._orders) >= self._enough:
            self._gathering.cancel()
            self._next_batch()

    async def drain(self) -> None:
        """Wait until everything put has been answered."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Finish what was put, and end the thread."""
        await self.drain()
        if self._resting is not None:
            self._resting.cancel()
        self._settle()
        self._thread.shutdown()

    def _gather(self, before: int) -> None:
        """Wait for the next batch to be worth its sync; the one before had so many messages."""
        self._enough = BATCH_MESSAGES if self._linger else before
        if len(self._orders) >= self._enough or (before == 1 and not self._linger):
            self._next_batch()
        else:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(self._linger or PATIENCE, self._next_batch)

    def _next_batch(self) -> None:
        self._gathering = None
        batch: list[_Order] = []
        octets = 0
        while self._orders and len(batch) < BATCH_MESSAGES and (not batch or octets < BATCH_OCTETS):
            batch.append(self._orders.popleft())
            octets += batch[-1][0].octets
        if not batch:
            self._busy = False
            self._idle.set()
            self._resting = asyncio.get_running_loop().call_later(REST, self._settle)
            return
        loop = asyncio.get_running_loop()
        commit = loop.run_in_executor(self._thread, self._commit, [message for message, _ in batch])
        commit.add_done_callback(lambda future: self._answer(batch, octets, *future.result()))

    def _answer(self, batch: Sequence[_Order], octets: int, verdicts: Sequence[Verdict], ids: Sequence[int]) -> None:
        self.waiting_octets -= octets
        for (_, done), verdict in zip(batch, verdicts, strict=True):
            done(verdict)
        if ids and self._stored is not None:
            self._stored(ids)
        self._gather(len(batch))

    def _settle(self) -> None:
        self._thread.submit(self._put_right)

    def _put_right(self) -> None:
        """In the thread."""
        try:
            self._store.settle()
        except Exception:
            log.exception("what was put off could not be done; it is tried again after the next message")

    def _commit(self, messages: Sequence[MessageReceived]) -> tuple[list[Verdict], list[int]]:
        """In the thread: all at once; one by one if there is no room for all."""
        try:
            return [Verdict.STORED] * len(messages), list(self._store.store(messages))
        except MemoryFullError:
            if len(messages) == 1:
                return [Verdict.MEMORY_FULL], []
        except Exception:
            log.exception("%d messages could not be stored", len(messages))
            return [Verdict.LOCAL_ERROR] * len(messages), []
        parts = [self._commit([message]) for message in messages]
        return [part[0][0] for part in parts], [number for part in parts for number in part[1]]
