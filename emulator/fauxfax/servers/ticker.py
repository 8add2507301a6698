"""Drives a machine's clock on an event loop: sleeps until the next timer is due, and runs it."""

from __future__ import annotations

import asyncio
import time

from fauxfax.clock import Clock
from fauxfax.servers.worker import Worker

SLICE = 0.005
"""Seconds of machine work done in one go before the sockets get their turn."""


class Ticker(Worker):
    """One task per clock. A manual clock is left alone but for what is due at this instant.

    An error that a timer's callback raises ends the task: machine time stands still then.
    """

    name = "ticker"

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._wake = asyncio.Event()

    def start(self) -> None:
        """See Worker."""
        self._clock.on_timer(self._wake.set)
        super().start()

    async def stop(self) -> None:
        """See Worker."""
        self._clock.on_timer(None)
        await super().stop()

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
