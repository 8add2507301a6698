"""Drives a machine's clock on an event loop: sleeps until the next timer is due, and runs it."""

from __future__ import annotations

import asyncio
import time

from fauxfax.clock import Clock

SLICE = 0.005
"""Seconds of machine work done in one go before the sockets get their turn."""


class Ticker:
    """One task per clock. A manual clock is left alone but for what is due at this instant."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to drive the clock on the running loop."""
        self._clock.on_timer(self._wake.set)
        self._task = asyncio.create_task(self._run(), name="ticker")

    @property
    def task(self) -> asyncio.Task[None]:
        """It ends only with the error that a timer's callback raised: machine time stands still then."""
        assert self._task is not None, "started"
        return self._task

    async def stop(self) -> None:
        """Stop driving. An error that ended the task is raised here."""
        self._clock.on_timer(None)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if not self._task.cancelled() and (error := self._task.exception()) is not None:
                raise error

    async def _run(self) -> None:
        while True:
            wait = self._clock.wait()
            if wait == 0.0:
                self._work()
                await asyncio.sleep(0)
                continue
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except TimeoutError:
                pass

    def _work(self) -> None:
        end = time.perf_counter() + SLICE
        while self._clock.wait() == 0.0 and time.perf_counter() < end:
            self._clock.run_due()
