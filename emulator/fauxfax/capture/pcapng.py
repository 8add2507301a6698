"""A pcapng writer: one section, an interface for each way in, packets with comments.

    writer = Writer(file, time.time_ns, "fauxfax")
    usb = writer.interface(LINK_USB, "usb", "the machine's USB plug")
    writer.comment("fault: rcpt -> reply 451")       # said with the next packet
    writer.packet(usb, header, data)

Every call hands whole blocks to the file's sink, so a file that ends after any of them can be read.
Source: draft-ietf-opsawg-pcapng, chapters 3 and 4; link types of the tcpdump group.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Protocol

LINK_RAW_IP, LINK_USB, LINK_USER0, LINK_USER1 = 101, 220, 147, 148
MAX_SNAP = 262_144
"""Octets of a packet that Wireshark accepts."""
PACKET = 6
"""The type of an enhanced packet block."""
_SECTION, _INTERFACE = 0x0A0D0D0A, 1
_BYTE_ORDER, _UNKNOWN_LENGTH = 0x1A2B3C4D, -1
_END, _COMMENT, _NAME, _DESCRIPTION, _RESOLUTION, _APPLICATION = 0, 1, 2, 3, 9, 4
_NANOSECONDS = b"\x09"
MAX_COMMENT = 1024
"""Octets of a comment; the rest is left out. A project value."""

_BLOCK = struct.Struct("<II")
_PACKET_HEAD = struct.Struct("<IIIIIII")  # type, length, interface, time (high, low), captured, original length
_LENGTH = struct.Struct("<I")
_OPTION = struct.Struct("<HH")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")

Octets = bytes | bytearray | memoryview
BLOCKS, TRANSFER, CONVERSATION = range(3)
"""What a sink takes: octets of the file as they are, or a note of which `urb.expand` or `tcp.Segments` makes them."""


class Sink(Protocol):
    """Where a capture goes."""

    def __call__(self, size: int, parts: Sequence[Octets], kind: int = BLOCKS, /) -> object:
        """Take what is, or will be, `size` octets of the file; its parts may change afterwards."""
        ...


class File(Protocol):
    """Has a sink, and another one when its state changes: so `write` is asked for each time."""

    write: Sink


class Writer:
    """Writes the section's header at once, and a block with each call.

    Args:
        file: takes the blocks.
        now: the time in nanoseconds since 1970.
        application: who writes, for the section's header.
    """

    def __init__(self, file: File, now: Callable[[], int], application: str) -> None:
        self.file = file
        self.now = now
        self._interfaces = 0
        self.comments: list[str] = []  # for the next packet
        body = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH)
        self._block(_SECTION, body, _option(_APPLICATION, application.encode()))

    def interface(self, link_type: int, name: str, description: str) -> int:
        """Describe an interface. Returns its number, for `packet()`."""
        options = _option(_NAME, name.encode()) + _option(_DESCRIPTION, description.encode())
        self._block(
            _INTERFACE, struct.pack("<HHI", link_type, 0, MAX_SNAP), options + _option(_RESOLUTION, _NANOSECONDS)
        )
        self._interfaces += 1
        return self._interfaces - 1

    def packet(self, interface: int, head: bytes, data: Octets = b"", left_out: int = 0, at: int | None = None) -> None:
        """Write a packet: a protocol's header, and the data it carries, but for so many octets of it.

        `at` is when it was there, in nanoseconds since 1970; now, if nothing is said.
        """
        options = self.said() if self.comments else b""
        block = packet(interface, head, data, self.now() if at is None else at, options, left_out)
        self.file.write(sum(map(len, block)), block)

    def comment(self, text: str) -> None:
        """Say this with the next packet."""
        self.comments.append(text)

    def said(self) -> bytes:
        """The comments that wait, as the options of a packet that takes them along."""
        options = b"".join(_option(_COMMENT, _cut(text)) for text in self.comments)
        self.comments.clear()
        return options + _OPTION.pack(_END, 0)

    def _block(self, kind: int, body: bytes, options: bytes) -> None:
        options += _OPTION.pack(_END, 0)
        length = 12 + len(body) + len(options)
        self.file.write(length, (_BLOCK.pack(kind, length), body, options, _LENGTH.pack(length)))


def packet(
    interface: int, head: bytes, data: Octets, at: int, options: bytes = b"", left_out: int = 0
) -> tuple[Octets, ...]:
    """A packet's block, see `Writer.packet`; `options` are what `Writer.said` gave."""
    kept = len(head) + len(data)
    length = packet_size(kept) + len(options)
    start = _PACKET_HEAD.pack(PACKET, length, interface, at >> 32, at & 0xFFFFFFFF, kept, kept + left_out)
    return start + head, data, _PADDING[kept & 3] + options + _LENGTH.pack(length)


def packet_size(kept: int) -> int:
    """Octets of the block of a packet that has so many, without options."""
    return _PACKET_HEAD.size + _LENGTH.size + (kept + 3 & ~3)


def _cut(text: str) -> bytes:
    """At most MAX_COMMENT octets of it, whole characters all."""
    return text.encode("utf-8", "replace")[:MAX_COMMENT].decode("utf-8", "ignore").encode()


def _option(code: int, value: bytes) -> bytes:
    return _OPTION.pack(code, len(value)) + value + _PADDING[len(value) & 3]
