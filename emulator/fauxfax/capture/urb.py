"""USB request blocks as Linux' usbmon shows them, submission and completion, for Wireshark's USB dissectors.

Source: Linux, Documentation/usb/usbmon.rst (the binary format of 64 octets); link type 220.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable

_HEADER = struct.Struct("<QBBBBHBBqiiII8siiII")
SUBMIT, COMPLETE = ord("S"), ord("C")
CONTROL, BULK = 2, 3
IN_PROGRESS = -115
"""The status of a submission: -EINPROGRESS."""
_PRESENT, _ABSENT, _OUTWARD, _INWARD = 0, ord("-"), ord(">"), ord("<")
DIRECTION_IN = 0x80

Octets = bytes | bytearray | memoryview
PacketWriter = Callable[[bytes, bytes, int, int], object]
"""Takes a packet: the header of the block, its data, how many octets of it were left out, and the time."""
HEADER_SIZE = _HEADER.size


class Recorder:
    """The blocks of one device on one bus. Times, `at`, are in nanoseconds since 1970.

    Args:
        write: takes the packets.
        bus, device: the numbers the device has there.
        snap: octets of a transfer that are kept.
        ids: numbers of blocks, never twice the same in one capture.
    """

    __slots__ = ("_bus", "_device", "_ids", "_snap", "_write")

    def __init__(self, write: PacketWriter, bus: int, device: int, ids: itertools.count[int], snap: int) -> None:
        self._snap = snap
        self._write = write
        self._bus = bus
        self._device = device
        self._ids = ids

    def control(self, setup: bytes, reply: bytes | None, status: int, at: int) -> None:
        """A control transfer without data for the device, and its end; `reply` is what went to the host."""
        number, endpoint = next(self._ids), setup[0] & DIRECTION_IN
        length = int.from_bytes(setup[6:8], "little")
        self._block(number, SUBMIT, CONTROL, endpoint, IN_PROGRESS, length, b"", at, setup)
        data = reply if reply is not None and endpoint else b""
        self._block(number, COMPLETE, CONTROL, endpoint, status, len(data), data, at)

    def submit(self, endpoint: int, length: int, data: Octets, at: int) -> int:
        """A bulk transfer begins; `data` is what goes out, or its beginning. Returns the number of the block."""
        number = next(self._ids)
        self._block(number, SUBMIT, BULK, endpoint, IN_PROGRESS, length, data, at)
        return number

    def complete(self, number: int, endpoint: int, status: int, length: int, data: Octets, at: int) -> None:
        """It ended: how (0 or a negative errno), octets moved, and what came in."""
        self._block(number, COMPLETE, BULK, endpoint, status, length, data, at)

    def _block(
        self, number: int, event: int, kind: int, endpoint: int, status: int, length: int, data: Octets, at: int,
        setup: bytes = b"",
    ) -> None:  # fmt: skip
        octets = bytes(data[: self._snap])
        kept = len(octets)
        absent = _PRESENT if kept else _INWARD if endpoint & DIRECTION_IN else _OUTWARD
        header = _HEADER.pack(
            number, event, kind, endpoint, self._device, self._bus, _PRESENT if setup else _ABSENT, absent,
            at // 1_000_000_000, at // 1000 % 1_000_000, status, length, kept, setup, 0, 0, 0, 0,
        )  # fmt: skip
        self._write(header, octets, length - kept if kept else 0, at)
