"""The commit record: what runs, what is on its way, and how the last attempt ended.

Two sectors hold it in turn. A record is written last, after everything it speaks of has been read back, and the
one before it stays until the next; the higher sequence number with a right CRC-32 counts. In flash it is the magic
`UFRC`, the CRC-32 of what follows, the length and the sequence number, then JSON.
"""

from __future__ import annotations

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
_HEAD = struct.Struct("<4sIII")


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
    image of the dual layout is on trial: the entries to go back to; `starts` counts its starts so far.
    """

    layout: str
    entries: dict[Component, Entry]
    sequence: int = 0
    phase: Phase = Phase.IDLE
    staged: str = ""
    attempt: Attempt | None = None
    previous: dict[Component, Entry] = attrs.field(factory=dict)
    starts: int = 0


_CONVERTER = cattrs.Converter(detailed_validation=False)


class Records:
    """The two sectors of a flash that hold the record in turn."""

    def __init__(self, flash: Flash, areas: tuple[Area, Area], timing: Timing) -> None:
        self._flash = flash
        self._areas = areas
        self._timing = timing
        self._current = 1
        self.latest: Record | None = None

    def load(self) -> Record | None:
        """Read both and keep the newer right one; None if there is none."""
        self.latest = None
        for index, area in enumerate(self._areas):
            found = self._read(area)
            if found is not None and (self.latest is None or found.sequence > self.latest.sequence):
                self.latest, self._current = found, index
        return self.latest

    def write(self, record: Record) -> driver.Steps:
        """Put a record into the sector that does not hold the latest. On WornOut the latest still counts."""
        record = attrs.evolve(record, sequence=self.latest.sequence + 1 if self.latest else 1)
        target = 1 - self._current
        yield from driver.write(self._flash, self._areas[target].address, encode(record), self._timing)
        self.latest, self._current = record, target

    def _read(self, area: Area) -> Record | None:
        try:
            return decode(self._flash.read(area.address, area.size))
        except FlashFailure:
            return None


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
    try:
        return _CONVERTER.structure(json.loads(sector[_HEAD.size : _HEAD.size + length]), Record)
    except (ValueError, KeyError, TypeError):
        return None
