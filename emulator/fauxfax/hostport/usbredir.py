"""usbredir: a USB device over a stream, the way QEMU's `usb-redir` takes it. Framing and packets of both ends.

Each end says hello first; what both can do decides how long headers are and which fields packets have. Then the
device's end describes it (interfaces, endpoints, connect), and answers the control and bulk packets of the other end
by their id. Integers are little-endian.

    Wire.hello()                    the first octets to send
    Wire.feed()   -> [Packet]       the other end's packets; the hello is one of them, and has been looked at
    Wire.pack()                     a packet of the agreed shape; `pack_bulk()`, `Wire.bulk()` and so on for its body

Source: usbredir protocol 0.7 (docs/usb-redirection-protocol.md of the usbredir project).
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from fauxfax.errors import FormatError
from fauxfax.hostport.usb import Setup
from fauxfax.hostport.usbdescriptors import (
    BIDIRECTIONAL,
    BULK_IN,
    BULK_OUT,
    PRINTER_CLASS,
    PRINTER_SUBCLASS,
    Identity,
    Speed,
)

PORT = 4000
MAX_PACKET = 16 * 1024 * 1024
"""Octets of one packet's data. A project value."""
ENDPOINTS = 32  # 16 OUT, then 16 IN
INTERFACES = 32
VERSION = b"fauxfax"


class Kind(IntEnum):
    """Types of packets; those of streams, isochronous and interrupt endpoints do not concern a printer."""

    HELLO = 0
    DEVICE_CONNECT = 1
    DEVICE_DISCONNECT = 2
    RESET = 3
    INTERFACE_INFO = 4
    ENDPOINT_INFO = 5
    SET_CONFIGURATION = 6
    GET_CONFIGURATION = 7
    CONFIGURATION_STATUS = 8
    SET_ALT_SETTING = 9
    GET_ALT_SETTING = 10
    ALT_SETTING_STATUS = 11
    CANCEL_DATA_PACKET = 21
    FILTER_REJECT = 22
    FILTER = 23
    DISCONNECT_ACK = 24
    CONTROL = 100
    BULK = 101


class Capability(IntEnum):
    """Bits of the hello."""

    CONNECT_DEVICE_VERSION = 1
    ENDPOINT_MAX_PACKET_SIZE = 4
    IDS_64_BITS = 5
    BULK_LENGTH_32_BITS = 6


class Status(IntEnum):
    """How a transfer ended."""

    SUCCESS = 0
    CANCELLED = 1
    INVALID = 2
    IO_ERROR = 3
    STALL = 4


OURS = frozenset(Capability)
"""What this end can do. xHCI of QEMU refuses a peer without the packet sizes and the long ids."""
KINDS = {kind.value: kind for kind in Kind}

_HEADER = Struct("<III")
_LONG_HEADER = Struct("<IIQ")
_VERSION = Struct("<64s")
_CAPABILITIES = Struct("<I")
_CONNECT = Struct("<BBBBHH")
_RELEASE = Struct("<H")
_INTERFACES = Struct(f"<I{INTERFACES}s{INTERFACES}s{INTERFACES}s{INTERFACES}s")
_ENDPOINTS = Struct(f"<{ENDPOINTS}s{ENDPOINTS}s{ENDPOINTS}s")
_PACKET_SIZES = Struct(f"<{ENDPOINTS}H")
_CONTROL = Struct("<BBBBHHH")
_BULK = Struct("<BBHI")
_LENGTH_HIGH = Struct("<H")
_SPEEDS = {Speed.FULL: 1, Speed.HIGH: 2}
_BULK_TYPE, _CONTROL_TYPE, _NO_ENDPOINT = 2, 0, 255


class Packet(NamedTuple):
    """One packet; `body` is its own header and its data."""

    kind: Kind
    id: int
    body: bytes


class Control(NamedTuple):
    """A control transfer, or its answer."""

    setup: Setup
    status: int
    data: bytes


class Bulk(NamedTuple):
    """A bulk transfer, or its answer: `length` octets wanted or moved, `data` where they travel with it."""

    endpoint: int
    status: int
    length: int
    data: bytes


class Wire:
    """One end of a connection, and what it can do. `agreed` is what both can do, nothing before the other's hello."""

    def __init__(self, capabilities: frozenset[Capability] = OURS) -> None:
        self.capabilities = capabilities
        self.greeted = False
        self.agreed: frozenset[Capability] = frozenset()
        self._buffer = bytearray()
        self._header = _HEADER
        self._long_lengths = False

    def hello(self) -> bytes:
        """The greeting: always with a short header."""
        bits = sum(1 << capability for capability in self.capabilities)
        body = _VERSION.pack(VERSION) + _CAPABILITIES.pack(bits)
        return _HEADER.pack(Kind.HELLO, len(body), 0) + body

    def feed(self, data: bytes | bytearray | memoryview) -> list[Packet]:
        """Take octets; returns the whole packets among them. Raises FormatError on what is no usbredir."""
        self._buffer += data
        packets = []
        while (packet := self._take()) is not None:
            packets.append(packet)
        return packets

    def pack(self, kind: Kind, packet_id: int, body: bytes = b"") -> bytes:
        """A packet of the agreed shape."""
        return self._header.pack(kind, len(body), packet_id) + body

    def pack_control(self, packet_id: int, setup: Setup, status: int = 0, data: bytes = b"") -> bytes:
        """A control transfer; its answer has the octets moved as the length of `setup`."""
        request_type, request, value, target, length = setup
        body = _CONTROL.pack(request_type & 0x80, request, request_type, status, value, target, length)
        return self.pack(Kind.CONTROL, packet_id, body + data)

    def pack_bulk(self, packet_id: int, endpoint: int, status: int, length: int, data: bytes = b"") -> bytes:
        """A bulk transfer or its answer; `data` only in the direction they travel."""
        body = _BULK.pack(endpoint, status, length & 0xFFFF, 0)
        if self._long_lengths:
            body += _LENGTH_HIGH.pack(length >> 16)
        return self._header.pack(Kind.BULK, len(body) + len(data), packet_id) + body + data

    def control(self, packet: Packet) -> Control:
        """The body of a CONTROL packet. Raises FormatError."""
        _need(packet, _CONTROL.size)
        _, request, request_type, status, value, target, length = _CONTROL.unpack_from(packet.body)
        return Control(Setup(request_type, request, value, target, length), status, packet.body[_CONTROL.size :])

    def bulk(self, packet: Packet) -> Bulk:
        """The body of a BULK packet. Raises FormatError."""
        body, size = packet.body, _BULK.size
        _need(packet, size + (_LENGTH_HIGH.size if self._long_lengths else 0))
        endpoint, status, length, _ = _BULK.unpack_from(body)
        if self._long_lengths:
            length |= _LENGTH_HIGH.unpack_from(body, size)[0] << 16
            size += _LENGTH_HIGH.size
        if length > MAX_PACKET:
            raise FormatError(f"a bulk transfer of {length} octets, at most {MAX_PACKET}", f"packet {packet.id}")
        return Bulk(endpoint, status, length, body[size:])

    def describe(self, speed: Speed) -> bytes:
        """INTERFACE_INFO and ENDPOINT_INFO of a printer; they come before it connects and before a configuration."""
        return self.pack(Kind.INTERFACE_INFO, 0, _interfaces()) + self.pack(
            Kind.ENDPOINT_INFO, 0, _endpoints(speed, sizes=Capability.ENDPOINT_MAX_PACKET_SIZE in self.agreed)
        )

    def connect(self, identity: Identity, speed: Speed) -> bytes:
        """DEVICE_CONNECT: the plug is in."""
        body = _CONNECT.pack(_SPEEDS[speed], 0, 0, 0, identity.vendor, identity.product)
        if Capability.CONNECT_DEVICE_VERSION in self.agreed:
            body += _RELEASE.pack(identity.release)
        return self.pack(Kind.DEVICE_CONNECT, 0, body)

    def _take(self) -> Packet | None:
        buffer, header = self._buffer, self._header if self.greeted else _HEADER
        if len(buffer) < header.size:
            return None
        number, length, packet_id = header.unpack_from(buffer)
        kind = KINDS.get(number)
        if kind is None or (kind is Kind.HELLO) is self.greeted:
            raise FormatError(f"packet type {number} {'after' if self.greeted else 'before'} the hello", "header")
        if length > MAX_PACKET:
            raise FormatError(f"a packet of {length} octets, at most {MAX_PACKET}", "header")
        end = header.size + length
        if len(buffer) < end:
            return None
        packet = Packet(kind, packet_id, bytes(buffer[header.size : end]))
        del buffer[:end]
        if kind is Kind.HELLO:
            self._agree(packet)
        return packet

    def _agree(self, hello: Packet) -> None:
        """Capabilities come in words of 32 bits, as many as the other end knows."""
        _need(hello, _VERSION.size)
        bits = int.from_bytes(hello.body[_VERSION.size : _VERSION.size + _CAPABILITIES.size], "little")
        self.agreed = frozenset(capability for capability in self.capabilities if bits >> capability & 1)
        self._long_lengths = Capability.BULK_LENGTH_32_BITS in self.agreed
        self._header = _LONG_HEADER if Capability.IDS_64_BITS in self.agreed else _HEADER
        self.greeted = True


def octets(packet: Packet, count: int) -> bytes:
    """The body of a packet that has exactly `count` octets. Raises FormatError."""
    if len(packet.body) != count:
        raise FormatError(f"{packet.kind.name} has {len(packet.body)} octets, not {count}", f"packet {packet.id}")
    return packet.body


def _need(packet: Packet, count: int) -> None:
    if len(packet.body) < count:
        raise FormatError(f"{packet.kind.name} has {len(packet.body)} octets, not {count}", f"packet {packet.id}")


def _interfaces() -> bytes:
    columns = (bytes((octet,)).ljust(INTERFACES, b"\0") for octet in (PRINTER_CLASS, PRINTER_SUBCLASS, BIDIRECTIONAL))
    return _INTERFACES.pack(1, bytes(INTERFACES), *columns)


def _endpoints(speed: Speed, *, sizes: bool) -> bytes:
    """Three columns, and the packet sizes if the other end knows them; IN endpoints follow the 16 OUT ones."""
    kinds, packets = bytearray((_NO_ENDPOINT,)) * ENDPOINTS, [0] * ENDPOINTS
    for endpoint in (0x00, 0x80):
        kinds[_row(endpoint)], packets[_row(endpoint)] = _CONTROL_TYPE, 64
    for endpoint in (BULK_OUT, BULK_IN):
        kinds[_row(endpoint)], packets[_row(endpoint)] = _BULK_TYPE, speed.value
    body = _ENDPOINTS.pack(bytes(kinds), bytes(ENDPOINTS), bytes(ENDPOINTS))
    return body + _PACKET_SIZES.pack(*packets) if sizes else body


def _row(endpoint: int) -> int:
    return (endpoint & 0x80) >> 3 | endpoint & 0x0F
