"""The machine's lasting state as parts of a ZIP archive: which machine, flash, and non-volatile memory.

Each way has a short step in the machine's thread and a long one that any other thread may take:

    freeze() -> Frozen.write()      what is written is the machine of the instant it was frozen, however long that takes
    check()  -> Thawed              nothing has changed yet; then, with the machine dark, replace() and recount()
"""

from __future__ import annotations

import json
import sqlite3
import zipfile
from dataclasses import dataclass
from pathlib import Path

from fauxfax.errors import FormatError, Misuse
from fauxfax.machine.database import check_copy, copy
from fauxfax.machine.machine import Machine

VERSION = 1
MAX_UNPACKED = 1 << 30
"""Octets of everything in a snapshot: a project value."""
CARD, FLASH, MEMORY = "machine.json", "flash.bin", "memory.sqlite"


@dataclass(frozen=True, slots=True)
class Frozen:
    """A machine at one instant. `memory` is a connection that sees no later change; it is to be closed."""

    card: dict[str, object]
    flash: bytes
    memory: sqlite3.Connection

    def write(self, archive: zipfile.ZipFile, folder: Path) -> None:
        """Write the parts, by way of a file in `folder`."""
        archive.writestr(CARD, json.dumps(self.card))
        archive.writestr(FLASH, self.flash)
        copy(self.memory, folder / MEMORY)
        archive.write(folder / MEMORY, MEMORY)


@dataclass(frozen=True, slots=True)
class Thawed:
    """The parts of an archive that fits the machine."""

    flash: bytes
    memory: Path


def freeze(machine: Machine) -> Frozen:
    """The machine as it is now; what an update has written so far is kept as it stands."""
    flash = machine.updates.loader.flash
    return Frozen(_card(machine), flash.storage.read(0, flash.geometry.size), machine.database.view())


def check(machine: Machine, archive: zipfile.ZipFile, folder: Path) -> Thawed:
    """Unpack the parts into `folder`. Changes nothing, and reads nothing of the machine that ever changes.

    Raises FormatError if a part is missing or cannot be read, and Misuse if the snapshot is of another machine.
    """
    card = _read_card(archive)
    for key, value in _card(machine).items():
        if card.get(key) != value:
            raise Misuse(f"snapshot: its {key} is {card.get(key)!r}, this machine's is {value!r}")
    flash = archive.read(FLASH)
    if len(flash) != machine.updates.loader.flash.geometry.size:
        raise FormatError(f"{len(flash)} octets are no flash of this machine", FLASH)
    archive.extract(MEMORY, folder)
    check_copy(folder / MEMORY)
    return Thawed(flash, folder / MEMORY)


def replace(machine: Machine, parts: Thawed) -> None:
    """Become the machine of the archive: it must be dark, and nobody else may write into its memory."""
    machine.database.copy_from(parts.memory)
    geometry, storage = machine.updates.loader.flash.geometry, machine.updates.loader.flash.storage
    for start, size in zip(geometry.starts, geometry.sizes, strict=True):
        storage.write(start, parts.flash[start : start + size])


def _card(machine: Machine) -> dict[str, object]:
    return {"snapshot": VERSION, "model": machine.model.name, "layout": machine.settings.update_layout}


def _read_card(archive: zipfile.ZipFile) -> dict[str, object]:
    if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED:
        raise FormatError(f"it unpacks to more than {MAX_UNPACKED} octets", "snapshot")
    missing = {CARD, FLASH, MEMORY} - set(archive.namelist())
    if missing:
        raise FormatError(f"this is no snapshot: {', '.join(sorted(missing))} missing", "snapshot")
    try:
        card = json.loads(archive.read(CARD))
    except ValueError:
        raise FormatError("it is not JSON", CARD) from None
    if not isinstance(card, dict):
        raise FormatError("it is no object", CARD)
    return card
