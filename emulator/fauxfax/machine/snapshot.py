"""The machine's lasting state as parts of a ZIP archive: which machine, flash, and non-volatile memory."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path

from fauxfax.errors import FormatError, Misuse
from fauxfax.machine.machine import Machine

VERSION = 1
MAX_UNPACKED = 1 << 30
"""Octets of everything in a snapshot: a project value."""
CARD, FLASH, MEMORY = "machine.json", "flash.bin", "memory.sqlite"


def save(machine: Machine, archive: zipfile.ZipFile) -> None:
    """Write the parts; what an update has written so far is saved as it stands."""
    card = {"snapshot": VERSION, "model": machine.model.name, "layout": machine.settings.update_layout}
    archive.writestr(CARD, json.dumps(card))
    flash = machine.updates.loader.flash
    archive.writestr(FLASH, flash.storage.read(0, flash.geometry.size))
    with tempfile.TemporaryDirectory(prefix="fauxfax-") as folder:
        copy = Path(folder) / MEMORY
        machine.database.copy_to(copy)
        archive.write(copy, MEMORY)


def restore(machine: Machine, archive: zipfile.ZipFile) -> None:
    """Become the machine of the archive: it loses power, and the caller switches it on again.

    Raises FormatError if a part is missing, and Misuse if the snapshot is of another machine; then nothing has changed.
    """
    card = _card(archive)
    here = {"snapshot": VERSION, "model": machine.model.name, "layout": machine.settings.update_layout}
    for key, value in here.items():
        if card.get(key) != value:
            raise Misuse(f"snapshot: its {key} is {card.get(key)!r}, this machine's is {value!r}")
    image, memory = archive.read(FLASH), archive.read(MEMORY)
    geometry, storage = machine.updates.loader.flash.geometry, machine.updates.loader.flash.storage
    if len(image) != geometry.size:
        raise FormatError(f"{len(image)} octets are no flash of this machine", FLASH)
    machine.power_off(cut=True)
    for start, size in zip(geometry.starts, geometry.sizes, strict=True):
        storage.write(start, image[start : start + size])
    with tempfile.TemporaryDirectory(prefix="fauxfax-") as folder:
        copy = Path(folder) / MEMORY
        copy.write_bytes(memory)
        machine.database.copy_from(copy)
    machine.memory.recount()


def _card(archive: zipfile.ZipFile) -> dict[str, object]:
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
