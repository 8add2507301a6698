"""A TCP conversation made up from what the two ends said, so that a dissector follows the stream.

What the sockets' users see is octets; packets, sequence numbers and acknowledgements here are what a network without
loss could have carried. Checksums are zero, as in captures on computers whose network card computes them.
Source: RFC 9293 (TCP), RFC 791 (IPv4), RFC 8200 (IPv6).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from ipaddress import ip_address
from typing import NamedTuple

MAX_SEGMENT = 65_480
"""Octets of one segment: what fits an IPv4 packet, headers included."""
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
_WINDOW = 0xFFFF
_TCP_PROTOCOL, _TCP_HEADER = 6, 20
_IPV4 = struct.Struct(">BBHHHBBH4s4sHHIIBBHHH")
_IPV6 = struct.Struct(">IHBB16s16sHHIIBBHHH")
_MODULUS = 1 << 32

PacketWriter = Callable[[bytes, bytes | memoryview], object]
"""Takes a packet: its IP and TCP headers, and the data."""


class End(Enum):
    """The two ends of a conversation; the client is who opened it."""

    CLIENT = 0
    SERVER = 1


class Address(NamedTuple):
    """Where an end is."""

    host: str
    port: int


class Conversation:
    """One connection, from its handshake on. Sequence numbers begin at 0."""

    __slots__ = ("_finished", "_heads", "_next", "_write")

    def __init__(self, client: Address, server: Address, write: PacketWriter) -> None:
        self._write = write
        self._next = [0, 0]
        self._finished: set[End] = set()
        self._heads = (_header(client, server), _header(server, client))
        self._segment(0, SYN)
        self._next[0] = 1
        self._segment(1, SYN | ACK)
        self._next[1] = 1
        self._segment(0, ACK)

    def said(self, end: End, data: bytes | memoryview) -> None:
        """One end said this; after its end, or after a reset, nothing counts any more."""
        if end in self._finished:
            return
        side = end.value
        whole = memoryview(data) if len(data) > MAX_SEGMENT else data
        for at in range(0, len(data), MAX_SEGMENT):
            part = whole[at : at + MAX_SEGMENT]
            self._segment(side, PSH | ACK, part)
            self._next[side] = (self._next[side] + len(part)) % _MODULUS

    def finished(self, end: End) -> None:
        """One end has said all."""
        if end not in self._finished:
            self._finished.add(end)
            self._segment(end.value, FIN | ACK)
            self._next[end.value] = (self._next[end.value] + 1) % _MODULUS

    def reset(self, end: End) -> None:
        """One end broke it off."""
        if len(self._finished) < len(End):
            self._finished.update(End)
            self._segment(end.value, RST | ACK)

    def _segment(self, side: int, flags: int, data: bytes | memoryview = b"") -> None:
        acknowledged = self._next[1 - side] if flags & ACK else 0
        self._write(self._heads[side](len(data), self._next[side], acknowledged, flags), data)


def _header(source: Address, target: Address) -> Callable[[int, int, int, int], bytes]:
    """What makes the headers of one direction: of data length, sequence number, acknowledgement and flags."""
    sender, receiver = ip_address(source.host).packed, ip_address(target.host).packed
    ports, offset = (source.port, target.port), _TCP_HEADER // 4 << 4
    if len(sender) != len(receiver):
        raise ValueError(f"{source.host} and {target.host} are not of one family")

    def ipv4(length: int, sequence: int, acknowledged: int, flags: int) -> bytes:
        fixed = (0x45, 0, _IPV4.size + length, 0, 0x4000, 64, _TCP_PROTOCOL, 0, sender, receiver, *ports)
        return _IPV4.pack(*fixed, sequence, acknowledged, offset, flags, _WINDOW, 0, 0)

    def ipv6(length: int, sequence: int, acknowledged: int, flags: int) -> bytes:
        fixed = (0x60000000, _TCP_HEADER + length, _TCP_PROTOCOL, 64, sender, receiver, *ports)
        return _IPV6.pack(*fixed, sequence, acknowledged, offset, flags, _WINDOW, 0, 0)

    return ipv4 if len(sender) == 4 else ipv6
