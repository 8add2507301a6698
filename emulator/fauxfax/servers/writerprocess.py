"""The machine's end of `filewriter`: records go into memory that both processes share, and are handed over later.

That is in a pause: while something comes, the writer would take a processor from who sends it. At the latest it is
after a second, or when half of the memory is used. The writer outlives a killed machine for as long as it takes to
write what the machine had put down.
"""

from __future__ import annotations

import asyncio
import errno
import mmap
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

from fauxfax.capture.pcapng import BLOCKS, Octets
from fauxfax.servers.filewriter import (
    ANSWER,
    FIRST_NUMBER,
    HEAD,
    KINDS,
    MAX_NUMBER,
    MEMORY,
    MORE,
    NONE,
    ORDER,
    SEGMENT,
    SEGMENTS,
    Progress,
)

LOOK_SECONDS = 0.02
"""Real seconds without a new record that make a pause. A project value."""
MAX_LOOKS = 50
"""So many times as long records wait for one. A project value."""


class WriterProcess:
    """Writes to a file.

    Args:
        file, octets: the file's descriptor, and what it has already.
        left: octets it may still get.
        hear: told how far the file is.
        refuse: called for a record that is more than is left.
    """

    def __init__(
        self, file: int, octets: int, left: int, hear: Callable[[Progress], object], refuse: Callable[[], object]
    ) -> None:
        memory = _shared_memory()
        at_once = getattr(mmap, "MAP_POPULATE", 0)  # else each page would be fetched while a transfer is noted down
        self._memory = memoryview(mmap.mmap(memory, MEMORY, flags=mmap.MAP_SHARED | at_once))
        orders, self._orders = os.pipe()
        self._answers, answers = os.pipe()
        os.set_blocking(self._answers, False)
        descriptors = (file, memory, orders, answers)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fauxfax.servers.filewriter", *map(str, descriptors), str(octets)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=descriptors,
            start_new_session=True,  # a Ctrl-C at the terminal is for the machine
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        for descriptor in (memory, orders, answers):
            os.close(descriptor)
        self.left = left
        self._hear = hear
        self._refuse = refuse
        self._progress = Progress(octets)
        self._lost = False
        self._free = list(range(SEGMENTS - 1, 0, -1))  # the last is used next: it is the warmest
        self._segment = 0
        self._buffer = self._memory[:SEGMENT]
        self._filled = self._ordered = 0
        self._full: list[bytes] = []  # orders that wait for a pause
        self._seen = self._number = FIRST_NUMBER  # of the next record: at the last look, and now
        self._looks = 0  # since records were handed over
        self._awaited = 0  # answers
        self._timer: asyncio.TimerHandle | None = None

    def put(self, size: int, parts: Sequence[Octets], kind: int = BLOCKS) -> None:
        """Take a record; `size` is what it will be in the file, and at least what its parts are."""
        left = self.left - size
        if left < 0:
            self._refuse()
            return
        self.left = left
        start = self._filled
        if start + HEAD.size + size > SEGMENT:
            if HEAD.size + size > SEGMENT:
                self._put_large(parts, kind)
                return
            self._next()
            start = 0
        buffer = self._buffer
        begin = at = start + HEAD.size
        for part in parts:
            end = at + len(part)
            buffer[at:end] = part
            at = end
        HEAD.pack_into(buffer, start, at - begin, self._number * KINDS + kind)  # at last: what has one is whole
        self._number = (self._number + 1) % MAX_NUMBER
        self._filled = at
        if self._timer is None:
            self._flush_soon()

    def close(self) -> None:
        """Have the rest written, and wait for it."""
        if self._timer is not None:
            self._timer.cancel()
        self._flush()
        os.close(self._orders)
        os.set_blocking(self._answers, True)
        while not self._lost:
            self._listen()
        os.close(self._answers)
        self._process.wait()

    def _put_large(self, parts: Sequence[Octets], kind: int) -> None:
        """More than a segment holds, in pieces."""
        whole, most = b"".join(parts), SEGMENT - HEAD.size
        for at in range(0, len(whole), most):
            piece = whole[at : at + most]
            self.left += len(piece)  # it was counted with the whole
            self.put(len(piece), (piece,), MORE if at + most < len(whole) else kind)

    def _flush_soon(self) -> None:
        try:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._flush_now)
        except RuntimeError:  # there is no later
            self._flush()

    def _flush_now(self) -> None:
        """Hand over what there is, if no more has come since the last look or it has waited long enough."""
        self._timer = None
        seen, self._seen = self._seen, self._number
        self._looks += 1
        if seen == self._number or self._looks == MAX_LOOKS or self._short:
            self._flush()
        if self._filled > self._ordered or self._full or self._awaited:
            self._flush_soon()

    def _flush(self) -> None:
        if self._filled > self._ordered:
            self._order(done=False)
        orders, self._full, self._looks = self._full, [], 0
        if orders and not self._lost:
            try:
                os.write(self._orders, b"".join(orders))  # fewer octets than a pipe takes at once
            except BrokenPipeError:
                self._lose()
        self._listen()

    def _next(self) -> None:
        """The segment is full: take another, and wait for one if there is none."""
        self._order(done=True)
        if self._short:
            self._flush()
        while not self._free and not self._lost:
            answers = select.poll()
            answers.register(self._answers, select.POLLIN)
            answers.poll()
            self._listen()
        self._segment = self._free.pop() if self._free else self._segment
        self._buffer = self._memory[self._segment * SEGMENT : (self._segment + 1) * SEGMENT]
        self._filled = self._ordered = 0

    def _order(self, *, done: bool) -> None:
        self._ordered = self._filled
        self._full.append(ORDER.pack(self._segment, self._filled, done))
        self._awaited += 1

    @property
    def _short(self) -> bool:
        """Whether half of the memory is used."""
        return len(self._free) < SEGMENTS // 2

    def _listen(self) -> None:
        """Hear what the writer has done since."""
        try:
            answers = os.read(self._answers, 256 * ANSWER.size)
        except BlockingIOError:
            return
        if not answers:
            self._lose()
            return
        for segment, *progress in ANSWER.iter_unpack(answers):
            self._awaited -= 1
            self._progress = Progress(*progress)
            if segment != NONE:
                self._free.append(segment)
        self._hear(self._progress)

    def _lose(self) -> None:
        """The writer has ended: as it should, or else the file has."""
        self._lost = True
        if self._awaited:
            self._awaited = 0
            self._hear(self._progress._replace(error=errno.EPIPE))


def _shared_memory() -> int:
    """A descriptor of memory that a child process can have, too."""
    if sys.platform == "linux":
        memory = os.memfd_create("fauxfax")
    else:
        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    os.ftruncate(memory, MEMORY)
    return memory
