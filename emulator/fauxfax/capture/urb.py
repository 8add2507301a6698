"""USB request blocks as Linux' usbmon shows them, submission and completion, for Wireshark's USB dissectors.

Source: Linux, Documentation/usb/usbmon.rst (the binary format of 64 octets); link type 220.
"""

from __future__ import annotations

import itertools
import struct

from fauxfax.capture.pcapng import PACKET, Octets, Writer

_HEADER = "QBBBBHBBqiiII8siiII"
_BLOCK = struct.Struct(f"<IIIIIII{_HEADER}")
"""The beginning of a pcapng packet, and this protocol's header: in one go, because there are two for each transfer."""
_ENDS = tuple(struct.Struct(f"<{-size % 4}xI") for size in range(4))
"""The end of such a packet, by its octets modulo 4: padding, and the length again."""
_ENDS_AND_NEXT = tuple(struct.Struct(f"<{-size % 4}xIIIIIIII{_HEADER}I") for size in range(4))
"""The same, and another packet without data behind it: most transfers are such a pair."""
SUBMIT, COMPLETE = ord("S"), ord("C")
CONTROL, BULK = 2, 3
IN_PROGRESS = -115
"""The status of a submission: -EINPROGRESS."""
_PRESENT, _ABSENT, _OUTWARD, _INWARD = 0, ord("-"), ord(">"), ord("<")
DIRECTION_IN = 0x80

HEADER_SIZE = struct.calcsize(f"<{_HEADER}")
_OVERHEAD = _BLOCK.size + 4


class Recorder:
    """The blocks of one device on one bus. Times, `at`, are in nanoseconds since 1970.

    Args:
        writer, interface: where the blocks go.
        bus, device: the numbers the device has there.
        snap: octets of a transfer that are kept.
        ids: numbers of blocks, never twice the same in one capture.
    """

    __slots__ = ("_bus", "_device", "_ids", "_interface", "_snap", "_writer")

    def __init__(
        self, writer: Writer, interface: int, bus: int, device: int, ids: itertools.count[int], snap: int
    ) -> None:
        self._writer = writer
        self._interface = interface
        self._snap = snap
        self._bus = bus
        self._device = device
        self._ids = ids

    def control(self, setup: bytes, reply: bytes | None, status: int, at: int) -> None:
        """A control transfer without data for the device, and its end; `reply` is what went to the host."""
        number, endpoint = next(self._ids), setup[0] & DIRECTION_IN
        length = int.from_bytes(setup[6:8], "little")
        data = reply if reply is not None and endpoint else b""
        begin = self._block(number, SUBMIT, CONTROL, endpoint, IN_PROGRESS, length, b"", at, setup)
        self._writer.sink(
            *_joined(begin, self._block(number, COMPLETE, CONTROL, endpoint, status, len(data), data, at))
        )

    def submit(self, endpoint: int, length: int, data: Octets, at: int) -> int:
        """A bulk transfer begins; `data` is what goes out, or its beginning. Returns the number of the block."""
        number = next(self._ids)
        self._writer.sink(*self._block(number, SUBMIT, BULK, endpoint, IN_PROGRESS, length, data, at))
        return number

    def complete(self, number: int, endpoint: int, status: int, length: int, data: Octets, at: int) -> None:
        """It ended: how (0 or a negative errno), octets moved, and what came in."""
        self._writer.sink(*self._block(number, COMPLETE, BULK, endpoint, status, length, data, at))

    def sent(self, endpoint: int, length: int, data: Octets, began: int, status: int, moved: int, at: int) -> None:
        """A bulk transfer out that ended while it was submitted: both of its blocks."""
        number = next(self._ids)
        if self._writer.commented:
            begin = self._block(number, SUBMIT, BULK, endpoint, IN_PROGRESS, length, data, began)
            self._writer.sink(*_joined(begin, self._block(number, COMPLETE, BULK, endpoint, status, moved, b"", at)))
            return
        octets = data[: self._snap]
        kept = len(octets)
        size = _OVERHEAD + kept + (-kept & 3)
        head = _BLOCK.pack(*self._fields(size, number, SUBMIT, BULK, endpoint, IN_PROGRESS, length, kept, began))
        end = self._fields(_OVERHEAD, number, COMPLETE, BULK, endpoint, status, moved, 0, at)
        self._writer.sink(size + _OVERHEAD, (head, octets, _ENDS_AND_NEXT[kept & 3].pack(size, *end, _OVERHEAD)))

    def _block(
        self, number: int, event: int, kind: int, endpoint: int, status: int, length: int, data: Octets, at: int,
        setup: bytes = b"",
    ) -> tuple[int, tuple[Octets, ...]]:  # fmt: skip
        octets = data[: self._snap]
        kept = len(octets)
        padding = -kept & 3
        comments = self._writer.said() if self._writer.commented else b""
        size = _OVERHEAD + kept + padding + len(comments)
        head = _BLOCK.pack(*self._fields(size, number, event, kind, endpoint, status, length, kept, at, setup))
        if comments:
            return size, (head, octets, bytes(padding), comments, _ENDS[0].pack(size))
        return size, (head, octets, _ENDS[kept & 3].pack(size))

    def _fields(
        self, size: int, number: int, event: int, kind: int, endpoint: int, status: int, length: int, kept: int,
        at: int, setup: bytes = b"",
    ) -> tuple[int | bytes, ...]:  # fmt: skip
        """What _BLOCK packs."""
        return (
            PACKET, size, self._interface, at >> 32, at & 0xFFFFFFFF,
            HEADER_SIZE + kept, HEADER_SIZE + (length if kept else 0),
            number, event, kind, endpoint, self._device, self._bus, _PRESENT if setup else _ABSENT,
            _PRESENT if kept else _INWARD if endpoint & DIRECTION_IN else _OUTWARD,
            at // 1_000_000_000, at // 1000 % 1_000_000, status, length, kept, setup, 0, 0, 0, 0,
        )  # fmt: skip


def _joined(
    first: tuple[int, tuple[Octets, ...]], second: tuple[int, tuple[Octets, ...]]
) -> tuple[int, tuple[Octets, ...]]:
    return first[0] + second[0], first[1] + second[1]
