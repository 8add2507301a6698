"""A tool whose protocol nobody here knows: it was written for a test, and only this file says how it speaks.

    python unknown_tool.py HOST PORT FILE

A greeting line, then frames: A5, kind, counter, length (16 bits, big endian), octets, CRC-16 of all before it; at the
end a frame of kind 7F. It waits a moment after the greeting and before the end, as if for an answer, and goes on
without one.
"""

from __future__ import annotations

import binascii
import socket
import struct
import sys
import time
from pathlib import Path

BLOCK = 500


def frame(kind: int, counter: int, data: bytes) -> bytes:
    body = struct.pack(">BBBH", 0xA5, kind, counter & 0xFF, len(data)) + data
    return body + struct.pack(">H", binascii.crc_hqx(body, 0xFFFF))


def main(host: str, port: int, path: Path) -> None:
    data = path.read_bytes()
    with socket.create_connection((host, port), timeout=10) as peer:
        peer.sendall(b"LFUT 3.00 HELLO\r\n")
        time.sleep(0.1)
        blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
        for counter, block in enumerate(blocks):
            peer.sendall(frame(0x01, counter, block))
        time.sleep(0.05)
        peer.sendall(frame(0x7F, len(blocks), b""))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
