"""The process that writes the file of `boundedfile`: records in shared memory in, octets in a file out.

    machine   fills segments of the memory with records, and puts an order into a pipe: segment, end of its records
    writer    makes octets of them, writes them, and answers: the segment if it is free now, and how far the file is

When the pipe ends, the machine has ended, however it did. What it had put down without an order is written as well:
records have numbers, and go on as long as the numbers do. So a killed machine's file has all it had to say.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fauxfax.capture import tcp, urb
from fauxfax.capture.pcapng import CONVERSATION, TRANSFER, Octets

SEGMENT = 256 * 1024
"""Octets of a segment. A project value."""
SEGMENTS = 256
"""So many may wait for the disk; then the machine waits, too. A project value."""
MEMORY = SEGMENTS * SEGMENT
ORDER = struct.Struct("<III")
"""Segment, where its records end now, and whether it is full."""
ANSWER = struct.Struct("<IQi")
"""The segment if it is free now, else NONE; and the Progress."""
NONE = 0xFFFFFFFF
HEAD = struct.Struct("<II")
"""Before each record: its octets, and its number times KINDS with its kind."""
MORE, KINDS = 3, 4
"""A kind of record besides those of `pcapng`: the beginning of the next one."""
FIRST_NUMBER, MAX_NUMBER = 1, 1 << 30
MAX_PARTS = 1000
"""Parts of one write; systems take 1,024."""


class Expander:
    """Makes octets of the file of the records that a sink took, in their order: conversations go on."""

    def __init__(self) -> None:
        self._segments = tcp.Segments()

    def octets(self, record: bytes | memoryview, kind: int) -> bytes | memoryview:
        """What a record of a kind of `pcapng` is in the file: whole blocks."""
        if kind == TRANSFER:
            return b"".join(urb.expand(record))
        return b"".join(self._segments.expand(record)) if kind == CONVERSATION else record


class Progress(NamedTuple):
    """How far the file is: octets, and the error that ended it, or 0."""

    octets: int
    error: int = 0


def write(file: int, parts: Sequence[Octets], before: Progress) -> Progress:
    """Write octets behind those that are there: all of them, or none."""
    if before.error or not parts:
        return before
    size = sum(map(len, parts))
    error = errno.ENOSPC  # a disk that takes less than all is full
    try:
        if os.writev(file, parts) == size:
            return Progress(before.octets + size)
    except OSError as failure:
        error = failure.errno or error
    with contextlib.suppress(OSError):  # a pipe has no end to cut off
        os.ftruncate(file, before.octets)
    return Progress(before.octets, error)


class Reader:
    """Takes records out of the memory, in the order of their numbers."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._segment = self._at = 0
        self._number = FIRST_NUMBER
        self._begun: list[bytes] = []
        self._expander = Expander()

    def take(self, segment: int, end: int) -> list[Octets]:
        """The octets of each record in a segment, from where it was read last up to `end`."""
        self._at = self._at if segment == self._segment else 0
        self._segment = segment
        parts: list[Octets] = []
        while (record := self._record(end)) is not None:
            octets, kind = record
            if kind == MORE:
                self._begun.append(bytes(octets))
                continue
            whole = b"".join((*self._begun, octets)) if self._begun else octets
            self._begun.clear()
            parts.append(self._expander.octets(whole, kind))
        return parts

    def done(self) -> None:
        """If there is more in this segment, then from its beginning."""
        self._at = 0

    def rest(self) -> Iterator[list[Octets]]:
        """The same for what has come without an order, wherever it is."""
        before = 0
        while before != self._number:
            before = self._number
            for segment in (self._segment, *range(SEGMENTS)):
                yield self.take(segment, SEGMENT)

    def _record(self, end: int) -> tuple[memoryview, int] | None:
        """The next record and its kind, if it is there."""
        begin = self._at + HEAD.size
        if begin > end:
            return None
        start = self._segment * SEGMENT
        size, mark = HEAD.unpack_from(self._memory, start + self._at)
        number, kind = divmod(mark, KINDS)
        if number != self._number or begin + size > end:
            return None
        self._number = (number + 1) % MAX_NUMBER
        self._at = begin + size
        return self._memory[start + begin : start + begin + size], kind


def main(file: int, memory: int, orders: int, answers: int, octets: int) -> None:
    """Write until the orders end, and then what was not ordered any more."""
    reader, progress = Reader(memoryview(mmap.mmap(memory, MEMORY))), Progress(octets)
    while order := os.read(orders, ORDER.size):
        segment, end, done = ORDER.unpack(order)
        progress = _write(file, reader.take(segment, end), progress)
        if done:
            reader.done()
        with contextlib.suppress(BrokenPipeError):
            os.write(answers, ANSWER.pack(segment if done else NONE, *progress))
    for parts in reader.rest():
        progress = _write(file, parts, progress)


def _write(file: int, parts: Sequence[Octets], progress: Progress) -> Progress:
    for at in range(0, len(parts), MAX_PARTS):
        progress = write(file, parts[at : at + MAX_PARTS], progress)
    return progress


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
