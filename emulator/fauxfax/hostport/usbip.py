"""USB/IP, protocol version 1.1.1: the packets of both ends, and parsers that take a stream in any pieces.

A connection begins with *operations* (list the devices, import one). After a successful import it carries USB request
blocks only: SUBMIT and UNLINK from the client, RET_SUBMIT and RET_UNLINK from the server; all integers big-endian.

    server   ServerParser.received() -> DevlistRequest | ImportRequest, after `imported()` Submit | More | Unlink
    client   parse_import_reply(), then ReplyParser.feed() -> SubmitReply | UnlinkReply

Source: the Linux kernel's documentation, usb/usbip_protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fauxfax.errors import FormatError

PORT = 3240
VERSION = 0x0111
REQ_DEVLIST, REP_DEVLIST, REQ_IMPORT, REP_IMPORT = 0x8005, 0x0005, 0x8003, 0x0003
CMD_SUBMIT, CMD_UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
OUT, IN = 0, 1
SPEED_FULL, SPEED_HIGH = 2, 3
STATUS_OK, STATUS_BUSY, STATUS_NO_DEVICE = 0, 2, 4
EPIPE, ECONNRESET, ESHUTDOWN = -32, -104, -108
MAX_TRANSFER = 16 * 1024 * 1024
"""Octets of one transfer; usbfs of Linux allows as many in all. A project value."""
PIECE = 64 * 1024
"""An OUT transfer of more octets is large, and handed over in pieces while it still comes. A project value."""
POOL = 128 * 1024
"""Octets of a connection's buffer. A project value."""
MAX_CONTROL = 0xFFFF
"""Octets of a control transfer's data (USB 2.0, 9.3.5)."""
OPERATION_POOL = 256
"""Octets of it before a device is imported: whoever only connects costs no more. A project value."""
NO_ISO = 0xFFFFFFFF

OPERATION = struct.Struct(">HHI")  # version, code, status
BUSID = struct.Struct(">32s")
DEVICE = struct.Struct(">256s32sIIIHHHBBBBBB")
INTERFACE = struct.Struct(">BBBx")
HEADER = struct.Struct(">IIIII")  # command, seqnum, devid, direction, endpoint
SUBMIT = struct.Struct(">IIIIIIIIII8s")  # header, transfer flags, length, start frame, iso packets, interval, setup
SUBMIT_REPLY = struct.Struct(">IIIIIiIIII8x")  # header, status, actual length, start frame, iso packets, errors
UNLINK = struct.Struct(">IIIIII24x")  # header, seqnum of the victim
UNLINK_REPLY = struct.Struct(">IIIIIi24x")  # header, status
URB_SIZE = 48
IMPORT_REPLY_SIZE = OPERATION.size + DEVICE.size


class Export(NamedTuple):
    """One device as the server lists it. `devid` is busnum << 16 | devnum."""

    path: str
    busid: str
    busnum: int
    devnum: int
    speed: int
    vendor: int
    product: int
    release: int
    device_class: int
    subclass: int
    protocol: int
    configuration: int
    configurations: int
    interfaces: int

    @property
    def devid(self) -> int:
        """How a request block names the device."""
        return self.busnum << 16 | self.devnum


@dataclass(frozen=True, slots=True)
class DevlistRequest:
    """Which devices are there?"""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """Attach this one."""

    busid: str


class Submit(NamedTuple):
    """A transfer to begin; `data` is what goes OUT, or the beginning of it: the rest comes as `More`."""

    seqnum: int
    direction: int
    endpoint: int
    length: int
    setup: bytes
    data: bytes | memoryview


class More(NamedTuple):
    """The next octets of the transfer submitted last."""

    data: bytes | memoryview
    last: bool


class Unlink(NamedTuple):
    """A transfer to take back."""

    seqnum: int
    victim: int


class SubmitReply(NamedTuple):
    """How a transfer ended: 0 or a negative errno, octets moved, and what came IN."""

    seqnum: int
    status: int
    actual: int
    data: bytes


class UnlinkReply(NamedTuple):
    """-104 if the transfer was taken back, 0 if it had ended before."""

    seqnum: int
    status: int


Request = DevlistRequest | ImportRequest | Submit | More | Unlink
Reply = SubmitReply | UnlinkReply


# Packets ----------------------------------------------------------------------------------------------------------


def pack_devlist_request() -> bytes:
    """OP_REQ_DEVLIST."""
    return OPERATION.pack(VERSION, REQ_DEVLIST, 0)


def pack_import_request(busid: str) -> bytes:
    """OP_REQ_IMPORT for `1-1`, `1-2`, …"""
    return OPERATION.pack(VERSION, REQ_IMPORT, 0) + BUSID.pack(busid.encode("ascii"))


def pack_devlist_reply(exports: Sequence[Export], interface: tuple[int, int, int]) -> bytes:
    """OP_REP_DEVLIST; every device has one interface of this class, subclass and protocol."""
    head = OPERATION.pack(VERSION, REP_DEVLIST, STATUS_OK) + struct.pack(">I", len(exports))
    return head + b"".join(_pack_export(export) + INTERFACE.pack(*interface) for export in exports)


def pack_import_reply(export: Export | None, status: int = STATUS_OK) -> bytes:
    """OP_REP_IMPORT: the device, or a status that says why not."""
    head = OPERATION.pack(VERSION, REP_IMPORT, status)
    return head if export is None else head + _pack_export(export)


def pack_submit(seqnum: int, devid: int, endpoint: int, direction: int, length: int, setup: bytes = bytes(8)) -> bytes:
    """CMD_SUBMIT without its data: for OUT, `length` octets follow. `endpoint` is the number without direction."""
    return SUBMIT.pack(CMD_SUBMIT, seqnum, devid, direction, endpoint, 0, length, 0, NO_ISO, 0, setup)


def pack_unlink(seqnum: int, devid: int, victim: int) -> bytes:
    """CMD_UNLINK of the transfer with seqnum `victim`."""
    return UNLINK.pack(CMD_UNLINK, seqnum, devid, 0, 0, victim)


def pack_submit_reply(seqnum: int, status: int, actual: int, data: bytes = b"") -> bytes:
    """RET_SUBMIT; `data` only for what came IN."""
    return SUBMIT_REPLY.pack(RET_SUBMIT, seqnum, 0, 0, 0, status, actual, 0, NO_ISO, 0) + data


def pack_unlink_reply(seqnum: int, status: int) -> bytes:
    """RET_UNLINK."""
    return UNLINK_REPLY.pack(RET_UNLINK, seqnum, 0, 0, 0, status)


def parse_devlist_reply(data: bytes) -> list[Export] | None:
    """The devices of an OP_REP_DEVLIST; None while octets are missing. Raises FormatError."""
    if not _operation(data, REP_DEVLIST) or len(data) < OPERATION.size + 4:
        return None
    (count,) = struct.unpack_from(">I", data, OPERATION.size)
    exports, at = [], OPERATION.size + 4
    for _ in range(count):
        if len(data) < at + DEVICE.size:
            return None
        exports.append(_unpack_export(data, at))
        at += DEVICE.size + INTERFACE.size * exports[-1].interfaces
    return exports if len(data) >= at else None


def parse_import_reply(data: bytes) -> Export | int | None:
    """The device imported, or the status of a refusal; None while octets are missing. Raises FormatError."""
    if not _operation(data, REP_IMPORT):
        return None
    _, _, status = OPERATION.unpack_from(data)
    if status != STATUS_OK:
        return int(status)
    return _unpack_export(data, OPERATION.size) if len(data) >= IMPORT_REPLY_SIZE else None


def _operation(data: bytes, expected: int) -> bool:
    if len(data) < OPERATION.size:
        return False
    version, code, _ = OPERATION.unpack_from(data)
    if code != expected:
        raise FormatError(f"USB/IP operation 0x{code:04x} of version 0x{version:04x}, not 0x{expected:04x}", "offset 0")
    return True


def _pack_export(export: Export) -> bytes:
    path, busid, *numbers = export
    return DEVICE.pack(path.encode("ascii"), busid.encode("ascii"), *numbers)


def _unpack_export(data: bytes, at: int) -> Export:
    path, busid, *numbers = DEVICE.unpack_from(data, at)
    return Export(_text(path), _text(busid), *numbers)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("ascii", "replace")


# Streams ----------------------------------------------------------------------------------------------------------


class ServerParser:
    """What a client sends. `received()` raises FormatError on what is no USB/IP: drop the connection then.

    Octets are read where they stay: into `space()`, of which `received()` is told how many came. What a Submit or More
    carries lies there too, and is good until the next `space()`.
    """

    def __init__(self) -> None:
        self._pool = memoryview(bytearray(OPERATION_POOL))
        self._start = self._end = 0
        self._need = URB_SIZE  # octets of the request at the start, as far as it is known
        self.left = 0  # octets of the transfer at the start that are still to come
        self.broken = False
        self._large = False
        self._take: Callable[[], Request | None] = self._take_operation

    def imported(self) -> None:
        """The import was granted: request blocks follow."""
        self._take = self._take_block
        pool, have = memoryview(bytearray(POOL)), self._end - self._start
        pool[:have] = self._pool[self._start : self._end]
        self._pool, self._start, self._end = pool, 0, have

    def space(self) -> memoryview:
        """Where the next octets go. A big request is not read beyond, so that nothing behind it must be moved.

        Behind a large transfer there mostly is another: its octets are left for whoever has a better place for them.
        """
        have = self._end - self._start
        if not have:
            self._start, self._end, self._need = 0, 0, URB_SIZE
        need = self.left or self._need
        if self._start + need > len(self._pool):
            self._pool[:have] = self._pool[self._start : self._end]
            self._start, self._end = 0, have
        return self._pool[self._end : self._start + need if need > URB_SIZE or self._large else None]

    def received(self, count: int) -> list[Request]:
        """So many octets came; returns the whole requests. After an import request it waits for `imported()`.

        Raises FormatError for nonsense, but not before it has given what stands before that: then it is `broken`.
        """
        self._end += count
        requests: list[Request] = []
        take = self._take
        try:
            while self._start < self._end and (request := take()) is not None:
                requests.append(request)
                if isinstance(request, ImportRequest):
                    break
        except FormatError:
            if not requests:
                raise
            self.broken = True  # the next call raises it again
        return requests

    def piece(self, data: bytes) -> More:
        """Octets that were read past `space()`: the next of the transfer at the start, of which `left` are to come."""
        self.left -= len(data)
        return More(data, not self.left)

    def feed(self, data: bytes) -> list[Request]:
        """The same with octets from elsewhere; what requests carry is copied."""
        requests: list[Request] = []
        rest = memoryview(data)
        while True:
            space = self.space()
            count = min(len(space), len(rest))
            space[:count] = rest[:count]
            came = self.received(count)
            requests += [one._replace(data=bytes(one.data)) if isinstance(one, Submit | More) else one for one in came]
            rest = rest[count:]
            if not rest:
                return requests

    def _take_operation(self) -> Request | None:
        have = self._end - self._start
        if have < OPERATION.size:
            return None
        version, code, _ = OPERATION.unpack_from(self._pool, self._start)
        if code == REQ_DEVLIST:
            self._start += OPERATION.size
            return DevlistRequest()
        if code != REQ_IMPORT:
            raise FormatError(f"0x{code:04x} of version 0x{version:04x} is no USB/IP operation", "offset 0")
        if have < OPERATION.size + BUSID.size:
            return None
        (busid,) = BUSID.unpack_from(self._pool, self._start + OPERATION.size)
        self._start += OPERATION.size + BUSID.size
        return ImportRequest(_text(busid))

    def _take_block(self) -> Request | None:
        start = self._start
        if self.left:
            return self._take_more(start)
        have = self._end - start - URB_SIZE
        if have < 0:
            self._need = URB_SIZE
            return None
        command, seqnum, _, direction, endpoint, flags_or_victim, length, _, iso, _, setup = SUBMIT.unpack_from(
            self._pool, start
        )
        if command == CMD_UNLINK:
            self._start = start + URB_SIZE
            return Unlink(seqnum, flags_or_victim)
        if command != CMD_SUBMIT or direction > IN or endpoint > 15:
            raise FormatError(f"USB/IP command {command}, direction {direction}, endpoint {endpoint} is none", "header")
        if length > (MAX_TRANSFER if endpoint else MAX_CONTROL) or iso not in (0, NO_ISO):
            raise FormatError(f"a transfer of {length} octets and {iso} packets is beyond what is served", "header")
        size = length if direction == OUT else 0
        self._large = size > PIECE
        if have < size:
            if not self._large:
                self._need = URB_SIZE + size
                return None
            size, self.left = have, size - have
        start += URB_SIZE
        self._start = start + size
        return Submit(seqnum, direction, endpoint, length, setup, self._pool[start : start + size])

    def _take_more(self, start: int) -> More | None:
        count = min(self.left, self._end - start)
        if not count:
            return None
        self._start = start + count
        self.left -= count
        return More(self._pool[start : start + count], not self.left)


class ReplyParser:
    """What a server sends after the import. A reply does not say whether data follow: each IN transfer is announced."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._reading: set[int] = set()

    def expect_data(self, seqnum: int) -> None:
        """The transfer with this seqnum is an IN transfer."""
        self._reading.add(seqnum)

    def feed(self, data: bytes) -> list[Reply]:
        """Take octets; returns the whole replies among them. Raises FormatError."""
        self._buffer += data
        replies: list[Reply] = []
        while (reply := self._take()) is not None:
            replies.append(reply)
        return replies

    def _take(self) -> Reply | None:
        if len(self._buffer) < URB_SIZE:
            return None
        command, seqnum, _, _, _, status, actual, *_ = SUBMIT_REPLY.unpack_from(self._buffer)
        if command == RET_UNLINK:
            del self._buffer[:URB_SIZE]
            return UnlinkReply(seqnum, status)
        if command != RET_SUBMIT or actual > MAX_TRANSFER:
            raise FormatError(f"USB/IP reply {command} of {actual} octets is none", "header")
        size = URB_SIZE + (actual if seqnum in self._reading else 0)
        if len(self._buffer) < size:
            return None
        self._reading.discard(seqnum)
        data = bytes(memoryview(self._buffer)[URB_SIZE:size])
        del self._buffer[:size]
        return SubmitReply(seqnum, status, actual, data)
