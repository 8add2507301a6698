"""The commit record: what runs, what is on its way, and how the last attempt ended.

Two sectors hold it in turn. A record is written last, after everything it speaks of has been read back, and the
one before it stays until the next; the higher sequence number that is *sealed* counts. In flash a record is the magic
`UFRC`, the CRC-32 of what follows, the length and the sequence number, then JSON, then its seals.

Power lost within a program leaves cells that now read right and now do not: a checksum that was right at one start may
be wrong at the next, after the loader has acted on it. So a seal is programmed only when the record has been read
back: where there is a seal the record is certain. But the seal itself may be such a cell, so at a start `settle()` adds
another before anything is done on the record's word, and wipes what might still turn out to be a newer record: voided
first, because an erase may be cut as well and leave all of it half readable.
"""

from __future__ import annotations

import functools
import json
import struct
import zlib
from enum import Enum

import attrs
import cattrs

from fauxfax.firmware import driver
from fauxfax.firmware.codefile import Component, Requirement
from fauxfax.firmware.flash import Flash, FlashFailure
from fauxfax.firmware.layout import Area
from fauxfax.models import Timing

MAGIC = b"UFRC"
REASON_LIMIT = 200
SEALS = 4  # project value: one more than the cuts in a row, each within a seal, that are survived
_HEAD = struct.Struct("<4sIII")
_SEAL = b"SEAL"
_VOID = b"VOID"


class Phase(Enum):
    """What boot has to go on with."""

    IDLE = "idle"
    RECEIVING = "receiving"
    INSTALLING = "installing"


@attrs.frozen(kw_only=True)
class Entry:
    """A component that is installed: its version, which slot, and what its content must be."""

    version: str
    slot: int
    size: int
    sha256: str
    requires: tuple[Requirement, ...] = ()


@attrs.frozen(kw_only=True)
class Attempt:
    """The last update: how far it came, and why no further. `reason` is empty if it was installed."""

    component: str
    version: str
    stage: str
    reason: str
    offset: int
    forced: bool = False


@attrs.frozen(kw_only=True)
class Record:
    """All that the loader knows after a power-off.

    `staged` is the SHA-256 of the header that is being received or installed. `previous` is not empty while an
    image of the dual layout is on trial: the entries to go back to; `starts` counts its starts so far. `hangs` counts
    how often the watchdog had to restart what runs, since it was last seen to stay up.
    """

    layout: str
    entries: dict[Component, Entry]
    sequence: int = 0
    phase: Phase = Phase.IDLE
    staged: str = ""
    attempt: Attempt | None = None
    previous: dict[Component, Entry] = attrs.field(factory=dict)
    starts: int = 0
    hangs: int = 0


_CONVERTER = cattrs.Converter(detailed_validation=False)


@attrs.frozen
class _Copy:
    """A record found in a sector: how many seals it has since it was last voided, and where the next goes."""

    record: Record
    seals: int
    next_seal: int


class Records:
    """The two sectors of a flash that hold the record in turn."""

    def __init__(self, flash: Flash, areas: tuple[Area, Area], timing: Timing) -> None:
        self._flash = flash
        self._areas = areas
        self._timing = timing
        self._current = 1
        self._copies: list[_Copy | None] = [None, None]
        self.latest: Record | None = None

    def load(self) -> Record | None:
        """Read both and keep the newer sealed one; None if there is none."""
        self.latest = None
        self._copies = [self._read(area) for area in self._areas]
        for index, found in enumerate(self._copies):
            if found is None or not found.seals:
                continue
            if self.latest is None or found.record.sequence > self.latest.sequence:
                self.latest, self._current = found.record, index
        return self.latest

    def settle(self) -> driver.Steps:
        """After `load()`: leave no doubt which record counts, at this start and at the next."""
        found, doubtful = self._copies[self._current], self._copies[1 - self._current]
        if self.latest is None or found is None:
            return
        if found.seals < SEALS:
            yield from self._add(found, self._areas[self._current], _SEAL)
        other = self._areas[1 - self._current]
        if doubtful is not None:
            if doubtful.seals and doubtful.record.sequence < found.record.sequence:
                return
            yield from self._add(doubtful, other, _VOID)
        elif driver.is_blank(self._flash, other.address, other.size):
            return
        yield from driver.erase(self._flash, other.address, self._timing)

    def _add(self, copy: _Copy, area: Area, word: bytes) -> driver.Steps:
        """Put a word behind those a record has, if there is room and the cells take it."""
        if copy.next_seal + len(self._flash.geometry.pad(word)) <= area.address + area.size:
            yield from driver.hint(self._flash, copy.next_seal, word, self._timing)

    def write(self, record: Record) -> driver.Steps:
        """Put a record into the sector that does not hold the latest. On WornOut the latest still counts."""
        record = attrs.evolve(record, sequence=self.latest.sequence + 1 if self.latest else 1)
        target = 1 - self._current
        body = encode(record)
        address = self._areas[target].address
        yield from driver.write(self._flash, address, body, self._timing)
        first_seal = address + len(self._flash.geometry.pad(body))
        yield from driver.append(self._flash, first_seal, _SEAL, self._timing)
        self.latest, self._current = record, target

    def _read(self, area: Area) -> _Copy | None:
        """The record of a sector, sealed or not, if it holds one."""
        try:
            sector = self._flash.read(area.address, area.size)
            record = decode(sector)
            if record is None:
                return None
            step = len(self._flash.geometry.pad(_SEAL))
            body = len(self._flash.geometry.pad(sector[: body_size(sector)]))
            used = driver.used(self._flash, area.address + body, area.size - body, step)
        except FlashFailure:
            return None
        words = [sector[at : at + len(_SEAL)] for at in range(body, body + used, step)]
        last_void = max((number for number, word in enumerate(words) if word == _VOID), default=-1)
        seals = words[last_void + 1 :].count(_SEAL)
        return _Copy(record, seals, area.address + body + used)


def write_first(flash: Flash, area: Area, record: Record) -> None:
    """The factory's record, in a flash that is blank."""
    pad = flash.geometry.pad
    flash.program(area.address, pad(encode(record)) + pad(_SEAL) * SEALS)


def body_size(sector: bytes) -> int:
    """The octets of the record at the beginning of a sector, without its seals."""
    return _HEAD.size + int(_HEAD.unpack_from(sector)[2])


def encode(record: Record) -> bytes:
    """A record as it stands in flash."""
    text = json.dumps(_CONVERTER.unstructure(record), separators=(",", ":")).encode()
    tail = struct.pack("<II", len(text), record.sequence) + text
    return MAGIC + struct.pack("<I", zlib.crc32(tail)) + tail


def decode(sector: bytes) -> Record | None:
    """The record a sector holds; None if it holds none that is right."""
    magic, crc, length, _ = _HEAD.unpack_from(sector)
    if magic != MAGIC or length > len(sector) - _HEAD.size:
        return None
    if zlib.crc32(sector[8 : _HEAD.size + length]) != crc:
        return None
    return _parse(sector[_HEAD.size : _HEAD.size + length])


@functools.lru_cache(maxsize=64)  # a start reads both records again, and a sweep starts thousands of times
def _parse(text: bytes) -> Record | None:
    try:
        return _CONVERTER.structure(json.loads(text), Record)
    except (ValueError, KeyError, TypeError):
        return None
