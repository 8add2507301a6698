"""Hot-plug messages to programs under umockdev, in the form in which udev passes them on.

libudev listens on a netlink socket; umockdev's preload library makes that a datagram socket `$UMOCKDEV_DIR/eventN`,
one for each listener. libusb hears there of a machine that goes and comes again.
Source: systemd 252, sd-device/device-monitor.c (layout, and the hash its socket filter compares); umockdev 0.17.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

MAGIC = 0xFEEDCAFE
HEADER_SIZE = 40
_BEGIN = struct.Struct(">8sI")
"""Who wrote it, and the magic number."""
_LENGTHS = struct.Struct("=III")
"""Size of the header, where the properties begin, how many octets they are; in the host's order, unlike the others."""
_HASHES = struct.Struct(">II8x")
"""Of the subsystem, of the device's type; no tags."""
_FACTOR, _MASK = 0x5BD1E995, 0xFFFFFFFF


def send(folder: Path, properties: Mapping[str, str]) -> None:
    """Tell every listener below `folder`; one that has gone, or does not read, misses it as it would under Linux.

    `properties` hold at least ACTION, DEVPATH, SUBSYSTEM, DEVTYPE and SEQNUM.
    """
    message = pack(properties)
    for path in folder.glob("event*"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.setblocking(False)
            speaker.sendto(message, str(path))


def pack(properties: Mapping[str, str]) -> bytes:
    """One message: the header, then `KEY=value` and NUL for each property."""
    body = b"".join(f"{key}={value}\0".encode() for key, value in properties.items())
    lengths = _LENGTHS.pack(HEADER_SIZE, HEADER_SIZE, len(body))
    hashes = _HASHES.pack(string_hash(properties["SUBSYSTEM"]), string_hash(properties["DEVTYPE"]))
    return _BEGIN.pack(b"libudev", MAGIC) + lengths + hashes + body


def string_hash(text: str) -> int:
    """MurmurHash2 with seed 0, 32 bits."""
    data = text.encode()
    value = len(data)
    whole = len(data) // 4 * 4
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        word = word * _FACTOR & _MASK
        word = (word ^ word >> 24) * _FACTOR & _MASK
        value = value * _FACTOR & _MASK ^ word
    if data[whole:]:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _MASK
    value = (value ^ value >> 13) * _FACTOR & _MASK
    return value ^ value >> 15
