"""Reads a capture as any reader of pcapng does, and checks what it rests on."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Packet(NamedTuple):
    time: int
    data: bytes
    original: int
    comments: list[str]


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """Takes a file apart as a reader does, both lengths checked."""
    found = []
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, length - 4) == (length,)
        found.append((kind, data[8 : length - 4]))
        data = data[length:]
    return found


def options(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        code, length = struct.unpack_from("<HH", data)
        found.append((code, data[4 : 4 + length]))
        data = data[4 + (length + 3 & ~3) :]
    assert not found or found[-1] == (0, b"")
    return found[:-1]


def packets(data: bytes) -> list[Packet]:
    found = []
    for kind, body in blocks(data):
        if kind == 6:
            _, high, low, kept, original = struct.unpack_from("<IIIII", body)
            said = [value.decode() for code, value in options(body[20 + (kept + 3 & ~3) :]) if code == 1]
            found.append(Packet(high << 32 | low, body[20 : 20 + kept], original, said))
    return found
