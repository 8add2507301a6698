"""A file that grows as a machine runs and ends at a limit: written by a process of its own, see `writerprocess`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fauxfax.capture.pcapng import BLOCKS, Octets, Sink
from fauxfax.errors import Misuse
from fauxfax.servers.filewriter import Expander, Progress, write
from fauxfax.servers.writerprocess import WriterProcess

log = logging.getLogger(__name__)


class BoundedFile:
    """A file that is written from its beginning; what fails is said once, and nothing raises.

    `write` takes a record, `size` octets of the file: all of them get there, or none. Its parts may change then. Who
    takes it changes with the file, so that a record goes straight to the process that writes once there is one.
    Without a running event loop, and on Windows, each record is written at once, by whoever brings it.

    Args:
        path: made anew.
        limit: octets.
        key: the setting that has the limit, for whoever reads the log.
        on_end: told at the next write after the file ended before its time, or at its close: octets, and why.
    """

    def __init__(
        self, path: Path, limit: int, key: str, on_end: Callable[[int, str], object] = lambda *_: None
    ) -> None:
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Misuse(f"capture {path}: {error.strerror}; name another file") from None
        self.path = path
        self.ended = False
        self.write: Sink = self._write_first
        self._limit = limit
        self._key = key
        self._taken = 0
        self._progress = Progress(0)
        self._writer: WriterProcess | None = None
        self._expander = Expander()  # for what is written without it
        self._on_end = on_end
        self._untold: tuple[int, str] | None = None

    def close(self) -> None:
        """Write the rest, and let go of the file."""
        if self._writer is not None:
            self._writer.close()
        self.ended = True
        self.write = self._refuse
        os.close(self._file)
        self._tell()

    def _write_first(self, size: int, parts: Sequence[Octets], kind: int = BLOCKS) -> None:
        """Write it here, or start the process that does."""
        if self._taken + size > self._limit:
            self._refuse()
        elif self._start():
            self.write(size, parts, kind)
        else:
            self._taken += size
            self._hear(write(self._file, (self._expander.octets(b"".join(parts), kind),), self._progress))

    def _start(self) -> bool:
        """Have another process write from now on, if there is a loop that can see to it now and then."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        if sys.platform == "win32":
            return False
        left = self._limit - self._taken
        self._writer = WriterProcess(self._file, self._progress.octets, left, self._hear, self._refuse)
        self.write = self._writer.put
        return True

    def _hear(self, progress: Progress) -> None:
        self._progress = progress
        if progress.error and not self.ended:
            self._end(progress.octets, os.strerror(progress.error))

    def _refuse(self, *_: object) -> None:
        if not self.ended:
            taken = self._taken if self._writer is None else self._limit - self._writer.left
            self._end(taken, f"{self._key} allows no more")
        self._tell()

    def _end(self, octets: int, reason: str) -> None:
        """No more is taken."""
        log.warning("capture: %s ends at %d octets: %s", self.path, octets, reason)
        self._untold = octets, reason
        self.ended = True
        self.write = self._refuse

    def _tell(self) -> None:
        if self._untold is not None:
            told, self._untold = self._untold, None
            self._on_end(*told)
