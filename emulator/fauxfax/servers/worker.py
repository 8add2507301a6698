"""A task that works as long as its owner is started: begun, watched and ended in one way."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod


class Worker(ABC):
    """One task on the running loop. `name` is what a debugger shows."""

    name: str

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

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

    async def stop(self) -> None:
        """Stop working. Raises what ended the work early."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if not self._task.cancelled() and (error := self._task.exception()) is not None:
                raise error
