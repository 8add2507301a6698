"""The factory flash of a machine: built from the recipes, in memory or in the file a machine keeps."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from fauxfax.errors import FormatError
from fauxfax.events import Event
from fauxfax.firmware.codefile import Component, Source
from fauxfax.firmware.flash import Flash
from fauxfax.firmware.layout import Layout, LayoutKind, model_geometry
from fauxfax.firmware.loader import Loader
from fauxfax.firmware.recipe import factory_sources
from fauxfax.firmware.records import Entry, Record, Records, write_first
from fauxfax.firmware.storage import FileStorage, MemoryStorage
from fauxfax.models import Model, Timing, find_model

LOADER_TEXT = b"fauxfax loader: decides what runs, takes a code file, is never rewritten itself\r\n"


def open_loader(
    model: Model,
    *,
    layout: str = "staged",
    path: Path | None = None,
    card: Flash | None = None,
    publish: Callable[[Event], object] | None = None,
) -> Loader:
    """The loader of a machine, on its flash file, or in memory without `path`; a factory flash if there is none yet.

    Raises FormatError if the file cannot be read or was made for the other layout, and OSError if it cannot be kept.
    """
    plan = Layout(model_geometry(model), LayoutKind(layout))
    if path is None:
        storage: FileStorage | MemoryStorage = MemoryStorage(plan.geometry, _factory_sectors(model.name, layout))
    elif path.exists():
        storage = FileStorage.open(path)
        _check_file(path, storage, plan)
    else:
        storage = FileStorage.create(path, plan.geometry, _factory_sectors(model.name, layout))
    return Loader(Flash(storage, protected=plan.loader.size), model, plan, card=card, publish=publish)


def fill(flash: Flash, layout: Layout, sources: Sequence[Source]) -> None:
    """Write the loader, the components and the first commit record into an erased flash."""
    geometry = flash.geometry
    flash.program(
        layout.loader.address, (LOADER_TEXT * (layout.loader.size // len(LOADER_TEXT) + 1))[: layout.loader.size]
    )
    entries: dict[Component, Entry] = {}
    for source in sources:
        area = layout.slots[source.component][0]
        for address, size in flash.pieces(area.address, len(source.payload)):
            offset = address - area.address
            flash.program(address, geometry.pad(source.payload[offset : offset + size]))
        entries[source.component] = Entry(
            version=source.version,
            slot=0,
            size=len(source.payload),
            sha256=hashlib.sha256(source.payload).hexdigest(),
            requires=source.requires,
        )
    record = Record(layout=layout.kind.value, entries=entries, sequence=1)
    write_first(flash, layout.records[0], record)


@functools.lru_cache(maxsize=8)
def _factory_sectors(model: str, layout: str) -> tuple[bytes, ...]:
    plan = Layout(model_geometry(find_model(model)), LayoutKind(layout))
    storage = MemoryStorage(plan.geometry)
    fill(Flash(storage), plan, factory_sources(model))
    return tuple(storage.sectors)


def _check_file(path: Path, storage: FileStorage, plan: Layout) -> None:
    where = f"flash file {path}"
    if storage.geometry != plan.geometry:
        raise FormatError(f"its geometry is {storage.geometry}, this model has {plan.geometry}", where)
    record = Records(Flash(storage), plan.records, Timing()).load()
    if record is not None and record.layout != plan.kind.value:
        raise FormatError(
            f"it was made for the layout {record.layout}, not {plan.kind.value}; set update.layout to {record.layout}, "
            "or move the file away to start with a factory flash",
            where,
        )
