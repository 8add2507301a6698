"""A task that works as long as its owner is started: begun, watched and ended in one way."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any


class Worker(ABC):
    """One task on the running loop, whose pieces of work can be cut short. `name` is what a debugger shows."""

    name: str

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._piece: asyncio.Task[None] | None = None

    @abstractmethod
    async def _run(self) -> None:
        """Work until cancelled."""

    def start(self) -> None:
        """Begin to work on the running loop."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    @property
    def task(self) -> asyncio.Task[None]:
        """It ends only with an error nobody foresaw."""
        assert self._task is not None, "started"
        return self._task

    def interrupt(self) -> None:
        """Cut the piece of work under way short, if there is one; the worker goes on with the next."""
        if self._piece is not None:
            self._piece.cancel()

    async def at_rest(self) -> None:
        """Wait until no piece of work is under way."""
        if self._piece is not None:
            await asyncio.wait([self._piece])

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do a piece of work. Raises what it raises; returns if it was interrupted."""
        self._piece = asyncio.create_task(work, name=f"{self.name}: a piece")
        try:
            await asyncio.wait([self._piece])
        except asyncio.CancelledError:
            self._piece.cancel()
            await asyncio.wait([self._piece])
            raise
        if not self._piece.cancelled():
            self._piece.result()

    async def stop(self) -> None:
        """Stop working. Raises what ended the work early."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if not self._task.cancelled() and (error := self._task.exception()) is not None:
                raise error
