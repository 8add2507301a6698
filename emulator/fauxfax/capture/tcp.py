"""A TCP conversation made up from what the two ends said, so that a dissector follows the stream.

What the sockets' users see is octets; packets, sequence numbers and acknowledgements here are what a network without
loss could have carried. Checksums are zero, as in captures on computers whose network card computes them.

A `Conversation` only notes down what happens, in the machine; `Segments` makes the packets of it, in the process that
writes the file.
Source: RFC 9293 (TCP), RFC 791 (IPv4), RFC 8200 (IPv6).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from ipaddress import ip_address
from typing import NamedTuple

from fauxfax.capture.pcapng import CONVERSATION, Octets, Writer, packet, packet_size

MAX_SEGMENT = 65_480
"""Octets of one segment: what fits an IPv4 packet, headers included."""
FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
_WINDOW = 0xFFFF
_OFFSET = 5 << 12
"""A TCP header without options: five words."""
_TCP_PROTOCOL, _HOPS = 6, 64
_IPV4_OCTETS = 4


class _Layout(NamedTuple):
    """Both headers, as far as they do not depend on a segment. `length` is what IP's field says without data.

    Between IP's length and the sequence number stand the `constant`, both IP addresses and both ports.
    """

    octets: struct.Struct
    begin: int
    length: int
    constant: bytes


_IPV4 = _Layout(struct.Struct(">HH20sIIHHI"), 0x4500, 40, struct.pack(">HHBBH", 0, 0x4000, _HOPS, _TCP_PROTOCOL, 0))
_IPV6 = _Layout(struct.Struct(">IH38sIIHHI"), 0x60000000, 20, struct.pack(">BB", _TCP_PROTOCOL, _HOPS))
_HANDSHAKE = ((0, SYN), (1, SYN | ACK), (0, ACK))
_MODULUS = 1 << 32

_OPENED, _SAID, _FINISHED, _RESET = range(4)
_FLAGS = {_SAID: PSH | ACK, _FINISHED: FIN | ACK, _RESET: RST | ACK}
_NOTE = struct.Struct("<QIBBxxI")
"""Time in nanoseconds since 1970, conversation, what happened, at which end, octets of options before the data."""
_ENDS = struct.Struct("<IHH")
"""The data of _OPENED: interface and both ports; the client's and the server's IP address come behind it."""


class End(IntEnum):
    """The two ends of a conversation; the client is who opened it."""

    CLIENT = 0
    SERVER = 1


class Address(NamedTuple):
    """Where an end is."""

    host: str
    port: int


class Conversation:
    """One connection, from its handshake on.

    Args:
        writer, interface: where it goes.
        number: that no other conversation of the capture has.
        client, server: both ends, of one family of addresses, or ValueError is raised.
    """

    __slots__ = ("_empty", "_number", "_over", "_writer")

    def __init__(self, writer: Writer, interface: int, number: int, client: Address, server: Address) -> None:
        sender, receiver = ip_address(client.host).packed, ip_address(server.host).packed
        if len(sender) != len(receiver):
            raise ValueError(f"{client.host} and {server.host} are not of one family")
        self._writer = writer
        self._number = number
        self._over = [False, False]
        self._empty = packet_size((_IPV4 if len(sender) == _IPV4_OCTETS else _IPV6).octets.size)
        ends = _ENDS.pack(interface, client.port, server.port) + sender + receiver
        self._note(_OPENED, End.CLIENT, ends, len(_HANDSHAKE) * self._empty)

    def said(self, end: End, data: Octets) -> None:
        """One end said this; after its end, or after a reset, nothing counts any more."""
        if self._over[end] or not data:
            return
        if len(data) <= MAX_SEGMENT:
            self._note(_SAID, end, data, self._empty + (len(data) + 3 & ~3))
            return
        whole = memoryview(data)
        for at in range(0, len(data), MAX_SEGMENT):
            self.said(end, whole[at : at + MAX_SEGMENT])

    def finished(self, end: End) -> None:
        """One end has said all."""
        if not self._over[end]:
            self._over[end] = True
            self._note(_FINISHED, end, b"", self._empty)

    def reset(self, end: End) -> None:
        """One end broke it off."""
        if not all(self._over):
            self._over = [True, True]
            self._note(_RESET, end, b"", self._empty)

    def _note(self, what: int, end: End, data: Octets, size: int) -> None:
        """Note down what will be `size` octets of the file, besides the comments that wait."""
        writer = self._writer
        options = writer.said() if writer.comments else b""
        head = _NOTE.pack(writer.now(), self._number, what, end, len(options)) + options
        writer.file.write(size + len(options), (head, data), CONVERSATION)


class Segments:
    """Makes the packets of all conversations of a file, from their notes in the order in which they were made."""

    def __init__(self) -> None:
        self._streams: dict[int, _Stream] = {}

    def expand(self, note: bytes | memoryview) -> Sequence[Octets]:
        """The blocks of one note, in pieces."""
        at, number, what, side, count = _NOTE.unpack_from(note)
        begin = _NOTE.size + count
        options, data = bytes(note[_NOTE.size : begin]), note[begin:]
        if what == _OPENED:
            stream = self._streams[number] = _Stream(bytes(data))
            first, *rest = _HANDSHAKE
            blocks = [stream.segment(*first, at, b"", options), *(stream.segment(*one, at) for one in rest)]
            return tuple(part for block in blocks for part in block)
        stream = self._streams[number]
        if what != _SAID:
            stream.open_ends -= 1
            if what == _RESET or not stream.open_ends:
                del self._streams[number]
        return stream.segment(side, _FLAGS[what], at, data, options)


class _Stream:
    """What is known of one conversation. Sequence numbers begin at 0."""

    def __init__(self, ends: bytes) -> None:
        self._interface, *ports = _ENDS.unpack_from(ends)
        size = (len(ends) - _ENDS.size) // 2
        self._layout, self._begin, self._length, constant = _IPV4 if size == _IPV4_OCTETS else _IPV6
        client, server = ends[_ENDS.size : -size], ends[-size:]
        self._fixed = (
            constant + client + server + struct.pack(">HH", *ports),
            constant + server + client + struct.pack(">HH", *reversed(ports)),
        )
        self._next = [0, 0]
        self.open_ends = len(End)

    def segment(self, side: int, flags: int, at: int, data: Octets = b"", options: bytes = b"") -> tuple[Octets, ...]:
        """One packet, as a block of the file."""
        count, sequence = len(data), self._next[side]
        acknowledged = self._next[1 - side] if flags & ACK else 0
        self._next[side] = (sequence + count + bool(flags & (SYN | FIN))) % _MODULUS
        head = self._layout.pack(
            self._begin, self._length + count, self._fixed[side], sequence, acknowledged, _OFFSET | flags, _WINDOW, 0
        )
        return packet(self._interface, head, data, at, options)
