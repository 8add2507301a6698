"""A NOR flash: sectors that erase as a whole, cells that are programmed once, and power that goes away in between.

What the driver above gets wrong is a :class:`~fauxfax.errors.Misuse` and raises at once: an address that is no
sector, a write that is not aligned, leaves the device or its sector, touches a cell that is not erased, or
touches the write-protected boot area. What the hardware gets wrong, because it was told to, is a
:class:`FlashFailure` (the status register says so), a silent no-op (it does not), or :class:`PowerLost`.

`hook` is asked before each erase and program and may answer with a :class:`Cut`. The content lives in a storage
(`storage.py`), which is always what the hardware would have kept.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import NamedTuple, Protocol

from fauxfax.errors import Defect, Misuse


class Kind(Enum):
    """What can be asked of the device."""

    ERASE = "erase"
    PROGRAM = "program"
    READ = "read"


class FlashFailure(Defect):
    """The device reports that it could not erase, program or read, at `address`."""

    def __init__(self, kind: Kind, address: int) -> None:
        super().__init__(f"flash: {kind.value} failed at {address:#x}")
        self.kind = kind
        self.address = address


class PowerLost(Defect):
    """The power went away before, within or after an operation; nothing more happens until the next boot."""


class Operation(NamedTuple):
    """One erase or program, the `number`-th since the device was opened (from 1); `data` is what is programmed."""

    number: int
    kind: Kind
    address: int
    size: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Cut:
    """Where in an operation the power goes: `octets` of it are done; all of them is *after*, None is *before*.

    A torn erase leaves its first `octets` blank and the rest old, or `unstable`. A torn program leaves its first
    `octets` written; if `unstable`, the write unit it was at. Unstable cells now read right and now do not.
    """

    octets: int | None = None
    unstable: bool = False

    def __str__(self) -> str:
        if self.octets is None:
            return "before"
        return f"torn@{self.octets}{'~' if self.unstable else ''}"


@dataclass(slots=True)
class CellDefect:
    """Cells from `start` to `end` that fail at `kind`, with `rate` (1 is always), `times` times at most.

    A silent defect does nothing and says nothing: only reading back finds it.
    """

    kind: Kind
    start: int
    end: int
    silent: bool = False
    rate: float = 1.0
    times: int | None = None
    randomness: random.Random = field(default_factory=lambda: random.Random(0), repr=False)

    def hits(self, kind: Kind, address: int, size: int) -> bool:
        """Whether this operation fails; counts down `times`."""
        if kind is not self.kind or address >= self.end or address + size <= self.start or self.times == 0:
            return False
        if self.rate < 1.0 and self.randomness.random() >= self.rate:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True)
class Geometry:
    """The shape of a device: runs of (count, octets) of equal sectors, the write unit, the erased octet.

    Its text, `64x4k/4/ff`, or `8x8k+63x64k/2/ff` for a bottom-boot device, is what replay ids and flash files carry.
    """

    runs: tuple[tuple[int, int], ...]
    write_unit: int
    erased: int

    def __post_init__(self) -> None:
        if self.erased not in (0x00, 0xFF) or self.write_unit < 1:
            raise Misuse(f"flash geometry {self}: the erased octet is 00 or ff and the write unit is at least 1")
        if not self.runs or any(count < 1 or size < 1 or size % self.write_unit for count, size in self.runs):
            raise Misuse(f"flash geometry {self}: each run needs sectors of a multiple of the write unit")

    def __str__(self) -> str:
        runs = "+".join(
            f"{count}x{size // 1024}k" if size % 1024 == 0 else f"{count}x{size}" for count, size in self.runs
        )
        return f"{runs}/{self.write_unit}/{self.erased:02x}"

    @classmethod
    def parse(cls, text: str) -> Geometry:
        """A geometry from its text. Raises Misuse that shows the form."""
        try:
            runs, unit, erased = text.split("/")
            pairs = [run.split("x") for run in runs.split("+")]
            sizes = tuple((int(n), int(s[:-1]) * 1024 if s.endswith("k") else int(s)) for n, s in pairs)
            return cls(sizes, int(unit), int(erased, 16))
        except ValueError as error:
            if isinstance(error, Misuse):
                raise
            raise Misuse(f"flash geometry {text!r}: expected COUNTxSIZE[+…]/UNIT/ERASED, as in 64x4k/4/ff") from None

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The address of each sector."""
        starts: list[int] = []
        address = 0
        for count, size in self.runs:
            starts.extend(range(address, address + count * size, size))
            address += count * size
        return tuple(starts)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The octets of each sector."""
        return tuple(size for count, size in self.runs for _ in range(count))

    @cached_property
    def size(self) -> int:
        """Octets of the device."""
        return sum(self.sizes)

    @cached_property
    def blanks(self) -> dict[int, bytes]:
        """An erased sector of each size there is."""
        return {size: bytes([self.erased]) * size for size in set(self.sizes)}

    def index(self, address: int) -> int:
        """The number of the sector that holds `address`, from 0."""
        return bisect_right(self.starts, address) - 1

    def pad(self, data: bytes) -> bytes:
        """`data` filled up with erased octets to whole write units."""
        return data + bytes([self.erased]) * (-len(data) % self.write_unit)


class Storage(Protocol):
    """Where the cells are. A write stays within one sector."""

    geometry: Geometry

    def read(self, address: int, size: int) -> bytes:
        """The octets there."""
        ...

    def write(self, address: int, data: bytes) -> None:
        """Replace the octets there: durable when it returns."""
        ...

    def branch(self) -> Storage:
        """A copy that shares what neither side has changed."""
        ...

    def close(self) -> None:
        """Hand back what the cells are kept in."""
        ...


Hook = Callable[[Operation], Cut | None]


class Flash:
    """A device on a storage. Addresses and sizes are octets."""

    def __init__(self, storage: Storage, *, protected: int = 0, randomness: random.Random | None = None) -> None:
        self.geometry = storage.geometry
        self.storage = storage
        self.protected = protected
        self.operations = 0
        self.hook: Hook | None = None
        self.defects: list[CellDefect] = []
        self._randomness = randomness or random.Random(0)
        self._unstable: list[tuple[int, int]] = []

    def branch(self, seed: int | str = 0) -> Flash:
        """The same device in another world: content and unstable cells shared until changed; no hook, no defects."""
        other = Flash(self.storage.branch(), protected=self.protected, randomness=random.Random(seed))
        other._unstable = list(self._unstable)
        return other

    @property
    def unstable(self) -> tuple[tuple[int, int], ...]:
        """The cells, from an address to before another, that now read right and now do not."""
        return tuple(self._unstable)

    def read(self, address: int, size: int) -> bytes:
        """The octets at `address`. Raises FlashFailure if a cell there cannot be read."""
        if not 0 <= address <= address + size <= self.geometry.size:
            raise Misuse(f"flash: cannot read {size} octets at {address:#x} of {self.geometry.size:#x}")
        if self.defects:
            self._suffers(Kind.READ, address, size)
        data = self.storage.read(address, size)
        return self._unsettled(address, data) if self._unstable else data

    def pieces(self, address: int, size: int) -> Iterator[tuple[int, int]]:
        """The (address, octets) that lie there in each sector, in order."""
        end = address + size
        while address < end:
            index = self.geometry.index(address)
            stop = min(end, self.geometry.starts[index] + self.geometry.sizes[index])
            yield address, stop - address
            address = stop

    def erase(self, address: int) -> None:
        """Blank the sector that begins at `address`. Raises FlashFailure, PowerLost, Misuse."""
        index = self.geometry.index(address)
        if not 0 <= address < self.geometry.size or self.geometry.starts[index] != address:
            raise Misuse(f"flash: cannot erase at {address:#x}, no sector begins there")
        size = self.geometry.sizes[index]
        cut = self._begin(Kind.ERASE, address, size)
        if self.defects and self._suffers(Kind.ERASE, address, size):
            return
        blank = self.geometry.blanks[size]
        if cut is None:
            self._settle(address, size)
            self.storage.write(address, blank)
            return
        if cut.octets is not None:
            self._settle(address, cut.octets)
            self.storage.write(
                address, blank[: cut.octets] + self.storage.read(address + cut.octets, size - cut.octets)
            )
            if cut.unstable and cut.octets < size:
                self._unstable.append((address + cut.octets, address + size))
        raise PowerLost(f"flash: power lost at {cut} of erase {self.operations} at {address:#x}")

    def program(self, address: int, data: bytes) -> None:
        """Write whole write units into erased cells of one sector. Raises FlashFailure, PowerLost, Misuse."""
        size = len(data)
        self._check_program(address, size)
        cut = self._begin(Kind.PROGRAM, address, size, data)
        if self.defects and self._suffers(Kind.PROGRAM, address, size):
            return
        if cut is None:
            self.storage.write(address, data)
            return
        if cut.octets:
            self.storage.write(address, data[: cut.octets])
            if cut.unstable:
                unit = self.geometry.write_unit
                last = (cut.octets - 1) // unit * unit
                self._unstable.append((address + last, address + last + unit))
        raise PowerLost(f"flash: power lost at {cut} of program {self.operations} at {address:#x}")

    def _check_program(self, address: int, size: int) -> None:
        geometry, unit = self.geometry, self.geometry.write_unit
        index = geometry.index(address)
        if (
            size == 0
            or not 0 <= address < geometry.size
            or address + size > geometry.starts[index] + geometry.sizes[index]
        ):
            raise Misuse(f"flash: cannot program {size} octets at {address:#x}, that is not within one sector")
        if address % unit or size % unit:
            raise Misuse(f"flash: cannot program {size} octets at {address:#x}, the write unit is {unit}")
        blank = geometry.blanks[geometry.sizes[index]]
        if self.storage.read(address, size) != (blank if size == len(blank) else blank[:size]):
            raise Misuse(f"flash: cannot program {size} octets at {address:#x}, not all of them are erased")

    def _begin(self, kind: Kind, address: int, size: int, data: bytes = b"") -> Cut | None:
        if address < self.protected:
            raise Misuse(
                f"flash: cannot {kind.value} at {address:#x}, the boot area below {self.protected:#x} is protected"
            )
        self.operations += 1
        if self.hook is None:
            return None
        return self.hook(Operation(self.operations, kind, address, size, data))

    def _suffers(self, kind: Kind, address: int, size: int) -> bool:
        """Whether a silent defect swallows the operation; one that is not silent raises."""
        for defect in self.defects:
            if defect.hits(kind, address, size):
                if defect.silent and kind is not Kind.READ:
                    return True
                raise FlashFailure(kind, max(address, defect.start))
        return False

    def _settle(self, address: int, size: int) -> None:
        """Erased cells are stable again."""
        if not self._unstable:
            return
        end = address + size
        left: list[tuple[int, int]] = []
        for start, stop in self._unstable:
            left += [(a, b) for a, b in ((start, min(stop, address)), (max(start, end), stop)) if a < b]
        self._unstable = left

    def _unsettled(self, address: int, data: bytes) -> bytes:
        """What a read of half-erased or half-programmed cells gives: now what is stored, now some as erased."""
        octets = bytearray(data)
        for start, stop in self._unstable:
            first, last = max(start, address) - address, min(stop, address + len(data)) - address
            if first >= last or self._randomness.getrandbits(1):
                continue
            count = last - first
            cells, noise = int.from_bytes(octets[first:last], "big"), self._randomness.getrandbits(8 * count)
            octets[first:last] = (cells | noise if self.geometry.erased else cells & noise).to_bytes(count, "big")
        return bytes(octets)
