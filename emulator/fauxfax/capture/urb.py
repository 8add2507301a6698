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

PacketWriter = Callable[[bytes, bytes | memoryview, int], object]
"""Takes a packet: the header of the block, its data, and how many octets of it were left out."""
HEADER_SIZE = _HEADER.size


class Recorder:
    """The blocks of one device on one bus.

    Args:
        write: takes the packets.
        now: the time in nanoseconds since 1970.
        bus, device: the numbers the device has there.
        snap: octets of a transfer that are kept.
        ids: numbers of blocks, never twice the same in one capture.
    """

    __slots__ = ("_bus", "_device", "_ids", "_now", "_snap", "_write")

    def __init__(
        self,
        write: PacketWriter,
        now: Callable[[], int],
        bus: int,
        device: int,
        ids: itertools.count[int],
        snap: int,
    ) -> None:
        self._snap = snap
        self._write = write
        self._now = now
        self._bus = bus
        self._device = device
        self._ids = ids

    def control(self, setup: bytes, reply: bytes | None, status: int) -> None:
        """A control transfer without data for the device, and its end; `reply` is what went to the host."""
        number, endpoint = next(self._ids), setup[0] & DIRECTION_IN
        length = int.from_bytes(setup[6:8], "little")
        self._block(number, SUBMIT, CONTROL, endpoint, IN_PROGRESS, length, b"", setup)
        data = reply if reply is not None and endpoint else b""
        self._block(number, COMPLETE, CONTROL, endpoint, status, len(data), data)

    def submit(self, endpoint: int, length: int, data: bytes | memoryview) -> int:
        """A bulk transfer begins; `data` is what goes out. Returns the number of the block."""
        number = next(self._ids)
        self._block(number, SUBMIT, BULK, endpoint, IN_PROGRESS, length, data)
        return number

    def complete(self, number: int, endpoint: int, status: int, length: int, data: bytes | memoryview) -> None:
        """It ended: how (0 or a negative errno), octets moved, and what came in."""
        self._block(number, COMPLETE, BULK, endpoint, status, length, data)

    def _block(
        self,
        number: int,
        event: int,
        kind: int,
        endpoint: int,
        status: int,
        length: int,
        data: bytes | memoryview,
        setup: bytes | None = None,
    ) -> None:
        left_out = len(data) - self._snap
        if left_out > 0:
            data = memoryview(data)[: self._snap]
        else:
            left_out = 0
        seconds, rest = divmod(self._now(), 1_000_000_000)
        absent = _INWARD if endpoint & DIRECTION_IN else _OUTWARD
        header = _HEADER.pack(
            number, event, kind, endpoint, self._device, self._bus,
            _ABSENT if setup is None else _PRESENT, _PRESENT if data else absent,
            seconds, rest // 1000, status, length, len(data), setup or bytes(8), 0, 0, 0, 0,
        )  # fmt: skip
        self._write(header, data, left_out)
