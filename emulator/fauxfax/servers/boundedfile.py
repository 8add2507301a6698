"""A file that grows as a machine runs: written by a thread of its own, so that the machine does not wait for the disk.

What is written is gathered for FLUSH_SECONDS, or until a buffer is full. A batch is whatever was taken whole, so a
killed process leaves a file that ends between two blocks, without those that the thread had not written yet. Buffers
are used again and again: fresh memory for each block took longer than all else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Queue

from fauxfax.capture.pcapng import Octets
from fauxfax.errors import Misuse

FLUSH_SECONDS = 0.02
"""Real seconds for which blocks are gathered before they are written. A project value."""
LARGE = 32 * 1024
"""A block of so many octets is a batch of its own, which spares a copy. A project value."""
BUFFER = 256 * 1024
"""Octets of a buffer, which smaller blocks share. A project value."""
MAX_BATCHES = 64
"""Batches that may wait for the disk; then the machine waits, too. A project value."""
Batch = Sequence[Octets]
log = logging.getLogger(__name__)


class BoundedFile:
    """A file that is written from its beginning and ends at a limit; what fails is said once, and nothing raises.

    Without a running event loop each block is written at once, by whoever brings it.

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
        self._limit = limit
        self._key = key
        self._taken = 0
        self._buffer = memoryview(bytearray(BUFFER))
        self._filled = 0
        self._free: deque[memoryview] = deque()
        self._flushing = False
        self._batches: Queue[tuple[Batch, memoryview | None] | None] = Queue(MAX_BATCHES)
        self._thread: threading.Thread | None = None
        self._written = 0  # this and the next belong to the thread, if there is one
        self._failed = False
        self._on_end = on_end
        self._untold: tuple[int, str] | None = None

    def write(self, size: int, parts: Batch) -> None:
        """Take so many octets that belong together: all of them get into the file, or none. They may change then."""
        if not self.ended and self._taken + size > self._limit:
            self.flush()
            self._end(self._taken, f"{self._key} allows no more")
        if self.ended:
            self._tell()
            return
        self._taken += size
        if size >= LARGE:
            self.flush()
            self._hand_over([part if memoryview(part).readonly else bytes(part) for part in parts])
            return
        if self._filled + size > BUFFER:
            self.flush()
        at, buffer = self._filled, self._buffer
        for part in parts:
            end = at + len(part)
            buffer[at:end] = part
            at = end
        self._filled = at
        if not self._flushing:
            self._flush_soon()

    def flush(self) -> None:
        """Let what was gathered be written."""
        if self._filled:
            buffer, filled, self._filled = self._buffer, self._filled, 0
            self._buffer = self._free.popleft() if self._free else memoryview(bytearray(BUFFER))
            self._hand_over((buffer[:filled],), buffer)

    def close(self) -> None:
        """Write the rest, and let go of the file."""
        self.flush()
        self.ended = True
        if self._thread is not None:
            self._batches.put(None)
            self._thread.join()
        os.close(self._file)
        self._tell()

    def _end(self, octets: int, reason: str) -> None:
        """In either thread: no more is taken."""
        log.warning("capture: %s ends at %d octets: %s", self.path, octets, reason)
        self._untold = octets, reason
        self.ended = True

    def _tell(self) -> None:
        if self._untold is not None:
            told, self._untold = self._untold, None
            self._on_end(*told)

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a machine without an event loop: there is no later
            self.flush()
        else:
            self._flushing = True
            loop.call_later(FLUSH_SECONDS, self._flush_now)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_batches, name="capture", daemon=True)
                self._thread.start()

    def _flush_now(self) -> None:
        self._flushing = False
        self.flush()

    def _hand_over(self, batch: Batch, buffer: memoryview | None = None) -> None:
        """Have it written; the buffer it lies in, if it lies in one, is free then."""
        if self._thread is not None:
            self._batches.put((batch, buffer))
        else:
            self._put(batch, buffer)

    def _write_batches(self) -> None:
        while (order := self._batches.get()) is not None:
            self._put(*order)

    def _put(self, batch: Batch, buffer: memoryview | None) -> None:
        if not self._failed:
            self._write(batch)
        if buffer is not None:
            self._free.append(buffer)

    def _write(self, batch: Batch) -> None:
        size = sum(map(len, batch))
        try:
            complete = os.writev(self._file, batch) == size
            reason = "no room"
        except OSError as error:
            complete, reason = False, error.strerror or "it cannot be written"
        if complete:
            self._written += size
            return
        self._failed = True
        with contextlib.suppress(OSError):  # a pipe has no end to cut off
            os.ftruncate(self._file, self._written)
        self._end(self._written, reason)
