"""Checks a code file and names the first wrong octet, not just that something is wrong.

A CRC-32 tells more than yes or no: if a single octet of a block is wrong, the difference between the two checksums
leads back to its place and to what it should be. The SHA-256 of the payload then proves the finding.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from fauxfax.errors import FormatError
from fauxfax.firmware.codefile import (
    LINE,
    MAGIC,
    PREFIX_SIZE,
    UEL,
    Part,
    container_at,
    header_size,
    parse_header,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at an `offset` of the file."""

    offset: int
    what: str

    def __str__(self) -> str:
        return f"offset {self.offset}: {self.what}"


def verify(data: bytes) -> list[Fault]:
    """Everything that is wrong with a code file, in order of place; empty if it is right."""
    start, declared, _ = container_at(data)
    if start == 0 and data.find(MAGIC, 0, 8192) > len(LINE):
        return [_job_fault(data)]
    container = data[start : start + declared]
    try:
        header = parse_header(container)
    except FormatError as error:
        return [_header_fault(start, container, error)]
    faults = []
    if start and declared != header.total_size:
        faults.append(Fault(start, f"{declared} octets are declared, the header describes {header.total_size}"))
    for part, offset in header.payload_offsets():
        faults += _payload_faults(part, container[offset : offset + part.payload_size], start + offset)
    if len(container) < header.total_size:
        missing = header.total_size - len(container)
        faults.append(Fault(start + len(container), f"the file ends {missing} octets early"))
    elif start and data[start + header.total_size :] != UEL:
        faults.append(Fault(start + header.total_size, "the job does not end with ESC%-12345X after the container"))
    elif not start and len(data) > header.total_size:
        faults.append(Fault(header.total_size, f"{len(data) - header.total_size} octets follow the container"))
    return sorted(faults, key=lambda fault: fault.offset)


def _job_fault(data: bytes) -> Fault:
    """The container is there, but the print job before it cannot be read."""
    for place, (found, right) in enumerate(zip(data, UEL, strict=False)):
        if found != right:
            return Fault(place, f"{found:02x}, where the beginning of a job has {right:02x}")
    return Fault(len(UEL), "the @PJL lines before the container cannot be read")


def _header_fault(start: int, container: bytes, error: FormatError) -> Fault:
    expected = LINE + MAGIC
    for place, (found, right) in enumerate(zip(container, expected, strict=False)):
        if found != right:
            return Fault(start + place, f"{found:02x}, where the beginning of a code file has {right:02x}")
    if len(container) < PREFIX_SIZE:
        return Fault(start + len(container), "the file ends within the header")
    try:
        size = header_size(container)
    except FormatError as damage:
        return Fault(start + int(damage.where.split()[-1]), damage.what)
    if len(container) < size:
        return Fault(start + len(container), error.what)
    body, expected_crc = container[: size - 4], int.from_bytes(container[size - 4 : size], "little")
    for place, right in wrong_octets(body, expected_crc):
        if _is_right(body[:place] + bytes([right]) + body[place + 1 :] + container[size - 4 : size]):
            return Fault(start + place, f"{body[place]:02x}, the header's CRC-32 wants {right:02x} there")
    return Fault(start + size - 4, error.what)


def _is_right(header: bytes) -> bool:
    try:
        parse_header(header)
    except FormatError:
        return False
    return True


def _payload_faults(part: Part, payload: bytes, start: int) -> Iterator[Fault]:
    name, size = part.component.value, part.block_size
    damaged = [
        number
        for number, crc in enumerate(part.block_crcs)
        if len(payload) >= min((number + 1) * size, part.payload_size)
        and zlib.crc32(payload[number * size : (number + 1) * size]) != crc
    ]
    for number in damaged:
        block = payload[number * size : (number + 1) * size]
        candidates = wrong_octets(block, part.block_crcs[number]) if number == damaged[0] else ()  # it takes its time
        for place, right in candidates:
            at = number * size + place
            mended = payload[:at] + bytes([right]) + payload[at + 1 :]
            if len(damaged) > 1 or hashlib.sha256(mended).digest() == part.sha256:
                yield Fault(start + at, f"{name} block {number + 1}: {block[place]:02x}, its CRC-32 wants {right:02x}")
                break
        else:
            end = start + number * size + len(block) - 1
            yield Fault(start + number * size, f"{name} block {number + 1} is damaged, up to offset {end}")
    if not damaged and len(payload) == part.payload_size and hashlib.sha256(payload).digest() != part.sha256:
        yield Fault(start, f"{name}: every block is right, but not the SHA-256 of the whole")


def wrong_octets(data: bytes, crc: int) -> Iterator[tuple[int, int]]:
    """Each (place, right octet) that alone would explain why `data` does not have this CRC-32.

    The difference of two checksums depends on the difference of the data only. From the end it is stepped back
    octet by octet; where it becomes what a single octet leaves behind, that octet is a candidate.
    """
    difference = zlib.crc32(data) ^ crc
    for place in range(len(data) - 1, -1, -1):
        if (change := _LEFT_BY.get(difference)) is not None:
            yield place, data[place] ^ change
        index = _BY_TOP[difference >> 24]
        difference = ((difference ^ _TABLE[index]) << 8 | index) & 0xFFFFFFFF


def _table() -> list[int]:
    """The CRC-32 of each octet alone, without the inversions at both ends."""
    return [zlib.crc32(bytes([octet]), 0xFFFFFFFF) ^ 0xFFFFFFFF for octet in range(256)]


_TABLE = _table()
_BY_TOP = {entry >> 24: octet for octet, entry in enumerate(_TABLE)}
_LEFT_BY = {entry: octet for octet, entry in enumerate(_TABLE) if octet}
