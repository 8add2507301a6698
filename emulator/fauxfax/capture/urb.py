"""USB request blocks as Linux' usbmon shows them, submission and completion, for Wireshark's USB dissectors.

Source: Linux, Documentation/usb/usbmon.rst (the binary format of 64 octets); link type 220.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from fauxfax.capture.pcapng import PACKET, TRANSFER, Octets, Writer

_HEADER = "QBBBBHBBqiiII8siiII"
_BLOCK = struct.Struct(f"<IIIIIII{_HEADER}")
"""The beginning of a pcapng packet, and this protocol's header: in one go, because there are two for each transfer."""
_ENDS = tuple(struct.Struct(f"<{padding}xI") for padding in range(4))
"""The end of such a packet: padding, and the length again."""
_KIND = struct.Struct("<IBBBxIIiI")
"""Interface, bus, device, endpoint, length, octets kept, status, octets moved: there are few kinds of transfers."""
_NOTE = struct.Struct(f"{_KIND.format}QQQ")
"""The same, number, and both times: see `Recorder.sent`."""
_FRESH = "12sII8sQ8sqi36s"
"""_BLOCK for who has all but times and number already."""
_BEGIN = struct.Struct(f"<{_FRESH}")
_END = tuple(struct.Struct(f"<{padding}xI{_FRESH}I") for padding in range(4))
"""The end of a packet, and another one without data."""
_TIMES = struct.Struct("<QQQ")
BEGINNING = 1024
"""Octets that are kept of a transfer that is not kept whole. A project value."""
MAX_KINDS = 64
"""Kinds of transfers whose constant octets are remembered. A project value."""
SUBMIT, COMPLETE = ord("S"), ord("C")
CONTROL, BULK = 2, 3
IN_PROGRESS = -115
"""The status of a submission: -EINPROGRESS."""
_PRESENT, _ABSENT, _OUTWARD, _INWARD = 0, ord("-"), ord(">"), ord("<")
DIRECTION_IN = 0x80

HEADER_SIZE = struct.calcsize(f"<{_HEADER}")
_OVERHEAD = _BLOCK.size + 4


class Moved(Protocol):
    """What is to be known of a transfer out: octets wanted, and moved."""

    endpoint: int
    length: int
    actual: int


class Recorder:
    """The blocks of one device on one bus. Times, `at`, are in nanoseconds since 1970.

    Args:
        writer, interface: where the blocks go.
        bus, device: the numbers the device has there.
        snap: octets of a transfer that is kept whole, see `kept()`.
        ids: numbers of blocks, never twice the same in one capture.
    """

    __slots__ = ("_beginning", "_bus", "_device", "_ids", "_interface", "_snap", "_writer")

    def __init__(
        self, writer: Writer, interface: int, bus: int, device: int, ids: itertools.count[int], snap: int
    ) -> None:
        self._writer = writer
        self._interface = interface
        self._snap = snap
        self._beginning = min(snap, BEGINNING)
        self._bus = bus
        self._device = device
        self._ids = ids

    def control(self, setup: bytes, reply: bytes | None, status: int, at: int) -> None:
        """A control transfer without data for the device, and its end; `reply` is what went to the host."""
        number, endpoint = next(self._ids), setup[0] & DIRECTION_IN
        length = int.from_bytes(setup[6:8], "little")
        data = reply if reply is not None and endpoint else b""
        begin = self._block(number, SUBMIT, CONTROL, endpoint, IN_PROGRESS, length, b"", at, setup)
        self._writer.file.write(
            *_joined(begin, self._block(number, COMPLETE, CONTROL, endpoint, status, len(data), data, at))
        )

    def submit(self, endpoint: int, length: int, data: Octets, at: int) -> int:
        """A bulk transfer begins; `data` is what goes out, or its beginning. Returns the number of the block."""
        number = next(self._ids)
        self._writer.file.write(*self._block(number, SUBMIT, BULK, endpoint, IN_PROGRESS, length, data, at))
        return number

    def complete(self, number: int, endpoint: int, status: int, length: int, data: Octets, at: int) -> None:
        """It ended: how (0 or a negative errno), octets moved, and what came in."""
        self._writer.file.write(*self._block(number, COMPLETE, BULK, endpoint, status, length, data, at))

    def sent(self, transfer: Moved, data: Octets, began: int, at: int) -> None:
        """A bulk transfer out from its beginning to its end, which was good: it is only noted down, see `expand`."""
        writer, endpoint, length = self._writer, transfer.endpoint, transfer.length
        if writer.comments:
            self.complete(self.submit(endpoint, length, data, began), endpoint, 0, transfer.actual, b"", at)
            return
        count = len(data)
        if length > self._snap and count > self._beginning:
            count = self._beginning
            data = data[:count]
        note = _NOTE.pack(
            self._interface, self._bus, self._device, endpoint, length, count, 0, transfer.actual, next(self._ids),
            began, at,
        )  # fmt: skip
        writer.file.write(2 * _OVERHEAD + (count + 3 & ~3), (note, data), TRANSFER)

    def _block(
        self, number: int, event: int, kind: int, endpoint: int, status: int, length: int, data: Octets, at: int,
        setup: bytes = b"",
    ) -> tuple[int, tuple[Octets, ...]]:  # fmt: skip
        comments = self._writer.said() if self._writer.comments else b""
        target = self._interface, self._bus, self._device, endpoint
        octets = data[: kept(length, self._snap)]
        return _block(target, number, event, kind, status, length, octets, at, setup, comments)


def kept(length: int, snap: int) -> int:
    """Octets that are kept of a transfer of some length: all of it, or of a longer one than `snap` its beginning."""
    return length if length <= snap else min(snap, BEGINNING)


def expand(note: bytes | memoryview) -> tuple[Octets, ...]:
    """Both blocks of a transfer that was noted down: whoever writes the file has more time than the machine."""
    padding, size, (a, b, c, d), (e, f, g, h) = _kind(bytes(note[: _KIND.size]))
    number, began, at = _TIMES.unpack_from(note, _KIND.size)
    second, rest = divmod(began, 1_000_000_000)
    head = _BEGIN.pack(a, began >> 32, began & 0xFFFFFFFF, b, number, c, second, rest // 1000, d)
    second, rest = divmod(at, 1_000_000_000)
    times = at >> 32, at & 0xFFFFFFFF, f, number, g, second, rest // 1000, h
    return head, note[_NOTE.size :], _END[padding].pack(size, e, *times, _OVERHEAD)


@lru_cache(MAX_KINDS)
def _kind(octets: bytes) -> tuple[int, int, tuple[bytes, ...], tuple[bytes, ...]]:
    """Padding and size of the first block of such transfers, and what is the same in each first and second one."""
    *target, length, kept, status, moved = _KIND.unpack(octets)
    size, (begin, *_) = _block(target, 0, SUBMIT, BULK, IN_PROGRESS, length, bytes(kept), 0)
    _, (end, *_) = _block(target, 0, COMPLETE, BULK, status, moved, b"", 0)
    return -kept & 3, size, _constant(begin), _constant(end)


def _constant(begin: Octets) -> tuple[bytes, ...]:
    a, _, _, b, _, c, _, _, d = _BEGIN.unpack(begin)
    return a, b, c, d


def _block(
    target: Sequence[int], number: int, event: int, kind: int, status: int, length: int, octets: Octets,
    at: int, setup: bytes = b"", comments: bytes = b"",
) -> tuple[int, tuple[Octets, ...]]:  # fmt: skip
    """Octets and parts of one block, of an interface, bus, device and endpoint."""
    interface, bus, device, endpoint = target
    kept = len(octets)
    padding = -kept & 3
    size = _OVERHEAD + kept + padding + len(comments)
    head = _BLOCK.pack(
        PACKET, size, interface, at >> 32, at & 0xFFFFFFFF,
        HEADER_SIZE + kept, HEADER_SIZE + (length if kept else 0),
        number, event, kind, endpoint, device, bus, _PRESENT if setup else _ABSENT,
        _PRESENT if kept else _INWARD if endpoint & DIRECTION_IN else _OUTWARD,
        at // 1_000_000_000, at // 1000 % 1_000_000, status, length, kept, setup, 0, 0, 0, 0,
    )  # fmt: skip
    if comments:
        return size, (head, octets, bytes(padding), comments, _ENDS[0].pack(size))
    return size, (head, octets, _ENDS[padding].pack(size))


def _joined(
    first: tuple[int, tuple[Octets, ...]], second: tuple[int, tuple[Octets, ...]]
) -> tuple[int, tuple[Octets, ...]]:
    return first[0] + second[0], first[1] + second[1]
