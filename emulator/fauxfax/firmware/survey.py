"""What of the flash is intact: the content of each slot against the commit record. Asked at every start."""

from __future__ import annotations

import hashlib

from fauxfax.errors import FormatError
from fauxfax.firmware.codefile import Component
from fauxfax.firmware.flash import Flash, FlashFailure
from fauxfax.firmware.layout import Layout
from fauxfax.firmware.profiles import LIMIT, Profile
from fauxfax.firmware.records import Entry, Record


def intact(flash: Flash, layout: Layout, record: Record | None) -> dict[Component, Entry]:
    """The installed components whose content is what the record says it is."""
    if record is None:
        return {}
    return {component: entry for component, entry in record.entries.items() if _holds(flash, layout, component, entry)}


def profile(flash: Flash, layout: Layout, entry: Entry) -> Profile | None:
    """The profile of an installed SC; None if it cannot be read."""
    area = layout.slots[Component.SC][entry.slot]
    try:
        return Profile.from_payload(flash.read(area.address, min(entry.size, LIMIT)))
    except (FormatError, FlashFailure):
        return None


def _holds(flash: Flash, layout: Layout, component: Component, entry: Entry) -> bool:
    slots = layout.slots.get(component, ())
    if not 0 <= entry.slot < len(slots) or not 0 < entry.size <= slots[entry.slot].size:
        return False
    digest = hashlib.sha256()
    try:
        for address, size in flash.pieces(slots[entry.slot].address, entry.size):
            digest.update(flash.read(address, size))
    except FlashFailure:
        return False
    return digest.hexdigest() == entry.sha256
