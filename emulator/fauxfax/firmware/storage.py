"""Where the cells of a flash are: in memory, shared between branches, or in one file that outlives the process.

The file is what the hardware would have kept, at any instant: each write goes to the shared mapping at once, so a
process that is killed loses nothing. Its first page is one readable line, `fauxfax flash 1 512x64k/32/ff`, then
zeros; the cells follow. A file of another version is refused, never converted by guess.
"""

from __future__ import annotations

import errno
import mmap
import os
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path

from fauxfax.errors import FormatError, Misuse
from fauxfax.firmware.flash import Geometry

FILE_VERSION = 1
PAGE = 4096
_TITLE = "fauxfax flash"


class MemoryStorage:
    """Cells in memory: one immutable string of octets a sector, so a branch copies references only."""

    def __init__(self, geometry: Geometry, sectors: Iterable[bytes] | None = None) -> None:
        self.geometry = geometry
        self.sectors = list(sectors) if sectors is not None else [geometry.blanks[size] for size in geometry.sizes]
        if tuple(map(len, self.sectors)) != geometry.sizes:
            raise Misuse(f"flash: the sectors given do not fit the geometry {geometry}")

    def branch(self) -> MemoryStorage:
        """A copy that shares each sector neither side has changed."""
        return MemoryStorage(self.geometry, self.sectors)

    def read(self, address: int, size: int) -> bytes:
        """The octets there, across sectors."""
        starts = self.geometry.starts
        index = bisect_right(starts, address) - 1  # what `Geometry.index` does: of all calls, most come from here
        offset = address - starts[index]
        first = self.sectors[index]
        if offset + size <= len(first):
            return first if size == len(first) else first[offset : offset + size]
        last = bisect_right(starts, address + size - 1) - 1
        return b"".join(self.sectors[index : last + 1])[offset : offset + size]

    def write(self, address: int, data: bytes) -> None:
        """Replace octets of one sector."""
        starts = self.geometry.starts
        index = bisect_right(starts, address) - 1
        sector = self.sectors[index]
        if len(data) == len(sector):
            self.sectors[index] = bytes(data)
            return
        offset = address - starts[index]
        self.sectors[index] = sector[:offset] + data + sector[offset + len(data) :]

    def close(self) -> None:
        """Nothing to hand back."""


class FileStorage:
    """Cells in a file, mapped. Close it when the machine is put away."""

    def __init__(self, path: Path, geometry: Geometry, mapping: mmap.mmap) -> None:
        self.path = path
        self.geometry = geometry
        self._mapping = mapping

    @classmethod
    def create(cls, path: Path, geometry: Geometry, sectors: Iterable[bytes]) -> FileStorage:
        """Write a new file, whole or not at all, and open it. Raises OSError that names it if the disk is full."""
        partial = path.with_name(path.name + ".new")
        try:
            with partial.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, PAGE + geometry.size)
                file.write(f"{_TITLE} {FILE_VERSION} {geometry}\n".encode().ljust(PAGE, b"\0"))
                file.writelines(sectors)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise OSError(error.errno or errno.EIO, f"flash file: {error.strerror}", str(path)) from error
        partial.replace(path)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> FileStorage:
        """Open a file. Raises FormatError if it is no flash file, is of another version, or is cut short."""
        with path.open("r+b") as file:
            geometry = _read_title(path, file.read(PAGE))
            size = os.fstat(file.fileno()).st_size
            if size != PAGE + geometry.size:
                raise FormatError(f"{size} octets, but {geometry} needs {PAGE + geometry.size}", f"flash file {path}")
            return cls(path, geometry, mmap.mmap(file.fileno(), size))

    def read(self, address: int, size: int) -> bytes:
        """The octets there."""
        return self._mapping[PAGE + address : PAGE + address + size]

    def write(self, address: int, data: bytes) -> None:
        """Replace the octets there; they are the kernel's to keep when this returns."""
        self._mapping[PAGE + address : PAGE + address + len(data)] = data

    def branch(self) -> MemoryStorage:
        """A copy in memory."""
        return MemoryStorage(self.geometry, map(self.read, self.geometry.starts, self.geometry.sizes))

    def close(self) -> None:
        """Hand the file back, written through to the disk."""
        if not self._mapping.closed:
            self._mapping.flush()
            self._mapping.close()


def _read_title(path: Path, page: bytes) -> Geometry:
    where = f"flash file {path}"
    line = page.split(b"\n", 1)[0].decode("ascii", "replace").split(" ")
    if len(line) != 4 or " ".join(line[:2]) != _TITLE:
        raise FormatError("this is no flash file of fauxfax; move it away to start with a factory flash", where)
    if line[2] != str(FILE_VERSION):
        raise FormatError(
            f"version {line[2]} of the format, this fauxfax reads version {FILE_VERSION}; "
            "use the fauxfax that wrote it, or move it away to start with a factory flash",
            where,
        )
    try:
        return Geometry.parse(line[3])
    except Misuse as error:
        raise FormatError(str(error), where) from None
