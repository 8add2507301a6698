"""What can be told of an unknown protocol from one direction of a recording: frames, lengths, counters, checksums.

Nothing is guessed at that cannot be proven on the octets: a framing counts only if it leads from frame to frame through
the whole stream, and a checksum only if it is right in every frame.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

MIN_FRAMES = 4
"""Fewer would let chance agree."""
MAX_HEADER = 16
"""Octets of a frame within which a length field is looked for."""
MAX_EXTRA = 24
"""Octets of a frame that its length field may leave out, at most."""
MAX_LEAD = 512
"""Octets before the first frame."""
MAX_TAIL = 64
"""Octets after the last frame."""
CHECKED_FRAMES = 64
ORDERS = {"big endian": "big", "little endian": "little"}


def _crc16(polynomial: int, start: int, *, reflected: bool) -> Callable[[bytes], int]:
    table = []
    for octet in range(256):
        register = octet if reflected else octet << 8
        for _ in range(8):
            if reflected:
                register = register >> 1 ^ (polynomial if register & 1 else 0)
            else:
                register = (register << 1 ^ (polynomial if register & 0x8000 else 0)) & 0xFFFF
        table.append(register)

    def crc(data: bytes) -> int:
        register = start
        for octet in data:
            if reflected:
                register = register >> 8 ^ table[(register ^ octet) & 0xFF]
            else:
                register = (register << 8 & 0xFFFF) ^ table[register >> 8 ^ octet]
        return register

    return crc


def _xor(data: bytes) -> int:
    result = 0
    for octet in data:
        result ^= octet
    return result


CHECKSUMS: dict[str, tuple[int, Callable[[bytes], int]]] = {
    # name: octets, function
    "CRC-32": (4, zlib.crc32),
    "CRC-16/XMODEM": (2, lambda data: binascii.crc_hqx(data, 0)),
    "CRC-16/CCITT-FALSE": (2, lambda data: binascii.crc_hqx(data, 0xFFFF)),
    "CRC-16/ARC": (2, _crc16(0xA001, 0, reflected=True)),
    "CRC-16/MODBUS": (2, _crc16(0xA001, 0xFFFF, reflected=True)),
    "CRC-16/KERMIT": (2, _crc16(0x8408, 0, reflected=True)),
    "sum of 32 bits": (4, lambda data: sum(data) & 0xFFFFFFFF),
    "sum of 16 bits": (2, lambda data: sum(data) & 0xFFFF),
    "negative sum of 16 bits": (2, lambda data: -sum(data) & 0xFFFF),
    "sum of 8 bits": (1, lambda data: sum(data) & 0xFF),
    "negative sum of 8 bits": (1, lambda data: -sum(data) & 0xFF),
    "exclusive or of 8 bits": (1, _xor),
}


@dataclass(frozen=True, slots=True)
class Framing:
    """How a stream is cut: frames from `start` on, each as long as the number at `at` says, plus `extra`.

    A fixed size has `width` 0 and the size in `extra`. `ends` is where each frame ends; `tail` octets are left over.
    """

    start: int
    at: int
    width: int
    order: str
    extra: int
    marker: bytes
    ends: tuple[int, ...]
    tail: int

    def frames(self, data: bytes) -> list[bytes]:
        """The frames."""
        starts = (self.start, *self.ends[:-1])
        return [data[a:b] for a, b in zip(starts, self.ends, strict=True)]

    def __str__(self) -> str:
        where = f"{len(self.ends)} frames from offset {self.start}, each begins with {self.marker.hex(' ')}"
        if not self.width:
            return f"{where} and has {self.extra} octets"
        order = f" ({self.order})" if self.width > 1 else ""
        return f"{where}; its length is in {self.width} octet(s) at {self.at}{order}, plus {self.extra}"


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum that is right in every frame: over the octets from `first` up to itself, `back` before the end."""

    name: str
    first: int
    back: int
    order: str

    def __str__(self) -> str:
        order = f" ({self.order})" if CHECKSUMS[self.name][0] > 1 else ""
        return f"{self.name}{order} at -{self.back}, from {self.first}"


def find_framing(data: bytes, starts: Sequence[int] = ()) -> Framing | None:
    """The framing with a length field that fits the whole stream; `starts` are offsets where a frame may begin."""
    found = [
        framing
        for start in _starts(data, starts)
        for framing in _with_length(data, start)
        if data[framing.ends[-1] :] == b"" or framing.tail <= MAX_TAIL
    ]
    # all of the stream rather than some, a wide field rather than its low octet, a long marker rather than a short one
    return max(found, key=lambda one: (-one.tail, one.width, len(one.marker), -one.start), default=None)


def _starts(data: bytes, given: Sequence[int]) -> list[int]:
    lines = [at + 1 for at in range(min(len(data), MAX_LEAD)) if data[at : at + 1] == b"\n"]
    return sorted({0, *lines, *(at for at in given if at <= MAX_LEAD)})


def _with_length(data: bytes, start: int) -> Iterator[Framing]:
    for at in range(MAX_HEADER):
        for width, order in ((4, "big"), (4, "little"), (2, "big"), (2, "little"), (1, "big")):
            value = int.from_bytes(data[start + at : start + at + width], order)  # type: ignore[arg-type]
            if value > len(data) - start:
                continue
            for extra in range(at + width + MAX_EXTRA):
                ends = _walk(data, start, at, width, order, extra)
                if len(ends) >= MIN_FRAMES:
                    yield _framing(data, start, at, width, order, extra, ends)


def _walk(data: bytes, start: int, at: int, width: int, order: str, extra: int) -> tuple[int, ...]:
    """The ends of the frames that this framing gives; none if it leads nowhere."""
    ends: list[int] = []
    here, first = start, data[start : start + 1]
    while here + at + width <= len(data) and data[here : here + 1] == first:
        size = int.from_bytes(data[here + at : here + at + width], order) + extra  # type: ignore[arg-type]
        if size < at + width or here + size > len(data):
            break
        here += size
        ends.append(here)
    return tuple(ends) if ends and len(data) - here <= MAX_TAIL else ()


def _framing(data: bytes, start: int, at: int, width: int, order: str, extra: int, ends: tuple[int, ...]) -> Framing:
    frames = [data[a : a + at] for a in (start, *ends[:-1])]
    common = 0
    while common < at and len({frame[common] for frame in frames}) == 1:
        common += 1
    marker = data[start : start + max(1, common)]
    name = next(name for name, value in ORDERS.items() if value == order)
    return Framing(start, at, width, name, extra, marker, ends, len(data) - ends[-1])


def find_fixed(data: bytes, sizes: Sequence[int], start: int = 0) -> Framing | None:
    """Frames of one size, if the writes of the tool have one and a column of them is constant."""
    usual = max(set(sizes), key=list(sizes).count, default=0)
    count = (len(data) - start) // usual if usual else 0
    if (
        count < MIN_FRAMES
        or list(sizes).count(usual) < MIN_FRAMES
        or len({data[start + i * usual] for i in range(count)}) > 1
    ):
        return None
    ends = tuple(start + (number + 1) * usual for number in range(count))
    return Framing(start, 0, 0, "", usual, data[start : start + 1], ends, len(data) - ends[-1])


def find_checksums(frames: Sequence[bytes]) -> list[Checksum]:
    """Every checksum that is right in all frames, the widest first."""
    some = frames[:CHECKED_FRAMES]
    shortest = min(map(len, some), default=0)
    found = []
    for name, (width, function) in CHECKSUMS.items():
        for back in range(width, min(width + 3, shortest)):
            for first in range(min(MAX_HEADER, shortest - back)):
                for title, order in ORDERS.items():
                    if (width > 1 or order == "big") and _is_right(some, width, function, back, first, order):
                        found.append(Checksum(name, first, back, title))
    return found


def _is_right(
    frames: Sequence[bytes], width: int, function: Callable[[bytes], int], back: int, first: int, order: str
) -> bool:
    values = set()
    for frame in frames:
        end = len(frame) - back
        stored = int.from_bytes(frame[end : end + width], order)  # type: ignore[arg-type]
        if function(frame[first:end]) != stored:
            return False
        values.add(stored)
    return len(values) > 1  # a constant proves nothing


def find_counters(frames: Sequence[bytes]) -> list[int]:
    """Columns of the header that count up by one from frame to frame, modulo 256."""
    shortest = min(map(len, frames), default=0)
    return [
        at for at in range(min(MAX_HEADER, shortest)) if all((b[at] - a[at]) % 256 == 1 for a, b in pairwise(frames))
    ]
