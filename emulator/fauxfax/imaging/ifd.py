"""The directories of a TIFF file: header, chain of IFDs, tags. Nothing of what they mean.

Tolerant where real fax senders are careless (directories anywhere, odd offsets, unsorted tags, SHORT for LONG), strict
where a file contradicts itself (cycles, duplicate tags, places outside the file). Source: TIFF 6.0, section 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fauxfax.errors import FormatError

MAX_ENTRIES = 512
"""Project value: entries of one directory; fax pages have about twenty."""

_BIG_TIFF = 43
_TIFF = 42
_ENTRY_SIZE = 12
_INLINE = 4
_INTEGER_TYPES = {1: "B", 3: "H", 4: "I", 13: "I"}
"""BYTE, SHORT, LONG and IFD: any may stand where an unsigned number is wanted."""
_RATIONAL = 5
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag: its type, how many values, and where they begin in the file."""

    type: int
    count: int
    offset: int


class Directory:
    """One IFD of a file. Values are read, and checked, when they are asked for."""

    def __init__(self, data: bytes, order: str, number: int, offset: int) -> None:
        self._data = data
        self._order = order
        self.number = number
        self.offset = offset
        self.next_offset = 0
        self._entries: dict[int, Entry] = {}
        self._read_entries()

    def where(self, tag: int | None = None) -> str:
        """The place, for the person who reads an error."""
        return f"IFD {self.number}" + (f", tag {tag}" if tag is not None else f", offset {self.offset}")

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def integers(self, tag: int, max_count: int) -> tuple[int, ...]:
        """All values of a tag of unsigned numbers; empty if the tag is absent. Raises FormatError."""
        entry = self._entries.get(tag)
        if entry is None:
            return ()
        code = _INTEGER_TYPES.get(entry.type)
        if code is None:
            raise FormatError(f"type {entry.type} where a number is wanted", self.where(tag))
        if not 1 <= entry.count <= max_count:
            raise FormatError(f"{entry.count} values where 1 to {max_count} are wanted", self.where(tag))
        return self._unpack(tag, entry, f"{self._order}{entry.count}{code}")

    def integer(self, tag: int, default: int | None = None) -> int:
        """The value of a tag of one unsigned number. Raises FormatError; without a default, for absence too."""
        values = self.integers(tag, max_count=1)
        if values:
            return values[0]
        if default is None:
            raise FormatError("a tag that every page needs is absent", self.where(tag))
        return default

    def ratio(self, tag: int) -> float | None:
        """The value of a tag of one ratio or number; None for absence, other types and division by zero.

        Raises FormatError for values that are not one, or not in the file.
        """
        entry = self._entries.get(tag)
        if entry is None or entry.type not in (_RATIONAL, *_INTEGER_TYPES):
            return None
        if entry.type != _RATIONAL:
            return float(self.integer(tag))
        if entry.count != 1:
            raise FormatError(f"{entry.count} values where 1 is wanted", self.where(tag))
        numerator, denominator = self._unpack(tag, entry, f"{self._order}2I")
        return numerator / denominator if denominator else None

    def places(self) -> set[int]:
        """Where the directory, the next one, and the values that stand outside it begin."""
        found = {self.offset, self.next_offset}
        for entry in self._entries.values():
            if entry.count * _TYPE_SIZES.get(entry.type, 1) > _INLINE:
                found.add(self._pointer(entry))
        return found

    def _pointer(self, entry: Entry) -> int:
        pointer: int = struct.unpack_from(f"{self._order}I", self._data, entry.offset)[0]
        return pointer

    def _unpack(self, tag: int, entry: Entry, layout: str) -> tuple[int, ...]:
        size = struct.calcsize(layout)
        start = self._pointer(entry) if size > _INLINE else entry.offset
        if start + size > len(self._data):
            raise FormatError(f"values at offset {start} lie outside the file", self.where(tag))
        return struct.unpack_from(layout, self._data, start)

    def _read_entries(self) -> None:
        data, at = self._data, self.offset
        if at < _TIFF_HEADER.size or at + 2 > len(data):
            raise FormatError("the directory lies outside the file", self.where())
        (count,) = struct.unpack_from(f"{self._order}H", data, at)
        end = at + 2 + count * _ENTRY_SIZE
        if not 1 <= count <= MAX_ENTRIES:
            raise FormatError(f"{count} entries where 1 to {MAX_ENTRIES} are wanted", self.where())
        if end > len(data):
            raise FormatError(f"{count} entries reach beyond the end of the file", self.where())
        for place in range(at + 2, end, _ENTRY_SIZE):
            tag, kind, number = struct.unpack_from(f"{self._order}HHI", data, place)
            if tag in self._entries:
                raise FormatError("the tag stands twice in the directory", self.where(tag))
            self._entries[tag] = Entry(kind, number, place + 8)
        if end + 4 <= len(data):
            (self.next_offset,) = struct.unpack_from(f"{self._order}I", data, end)


_TIFF_HEADER = struct.Struct("<2sHI")


def read_directories(data: bytes, max_directories: int) -> list[Directory]:
    """The chain of directories, in its order. Raises FormatError for what is no TIFF, and for cycles."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < _TIFF_HEADER.size:
        raise FormatError("the file is no TIFF: it must begin with II or MM", "offset 0")
    magic, offset = struct.unpack_from(f"{order}HI", data, 2)
    if magic != _TIFF:
        what = "a BigTIFF is no fax format" if magic == _BIG_TIFF else f"the magic number is {magic}, not 42"
        raise FormatError(what, "offset 2")
    directories: list[Directory] = []
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise FormatError(f"the chain of directories comes back to offset {offset}", directories[-1].where())
        if len(directories) == max_directories:
            raise FormatError(f"more than {max_directories} pages", directories[-1].where())
        seen.add(offset)
        directories.append(Directory(data, order, len(directories) + 1, offset))
        offset = directories[-1].next_offset
    if not directories:
        raise FormatError("the file holds no page", "offset 4")
    return directories
