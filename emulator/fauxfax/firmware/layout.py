"""Where everything lies in the firmware flash, computed from its geometry. Project values throughout.

    loader | settings | record A | record B | marks | header | slots of the components | staging

The loader's area is never written, the settings belong to the machine. `staged` has one slot for each component and
stages into what is left behind them, or onto a memory card if that is too small; `dual` has two slots for each and
receives into the one that does not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from fauxfax.errors import Misuse
from fauxfax.firmware.codefile import Component, Header
from fauxfax.firmware.flash import Geometry
from fauxfax.models import KIB, MIB, Model

CAPACITIES: dict[Component, int] = {
    Component.SC: 8 * MIB,
    Component.PNL: 512 * KIB,
    Component.EC: 512 * KIB,
    Component.SCN: 256 * KIB,
    Component.FCB: 1 * MIB,
    Component.G3B: 512 * KIB,
}


class LayoutKind(Enum):
    """The two ways to survive a rewrite."""

    STAGED = "staged"
    DUAL = "dual"


@dataclass(frozen=True, slots=True)
class Area:
    """Whole sectors from `address` on, `size` octets of them; on the memory card if `card`."""

    address: int
    size: int
    card: bool = False


class _Allocator:
    """Hands out whole sectors of a geometry, from the bottom up."""

    def __init__(self, geometry: Geometry, first: int = 0, last: int | None = None, *, card: bool = False) -> None:
        self._geometry = geometry
        self._next = first
        self._last = len(geometry.sizes) if last is None else last
        self._card = card

    def take(self, size: int) -> Area | None:
        """The next sectors that hold `size` octets; None if there are not enough left."""
        first, held = self._next, 0
        while held < size:
            if self._next == self._last:
                self._next = first
                return None
            held += self._geometry.sizes[self._next]
            self._next += 1
        address = self._geometry.starts[first] if held else 0
        return Area(address, held, self._card)

    @property
    def left(self) -> int:
        """Octets not handed out yet."""
        return sum(self._geometry.sizes[self._next : self._last])


class Layout:
    """The areas of one machine. Raises Misuse if the components do not fit its flash."""

    def __init__(
        self,
        geometry: Geometry,
        kind: LayoutKind = LayoutKind.STAGED,
        capacities: Mapping[Component, int] | None = None,
        staging_size: int | None = None,
    ) -> None:
        self.geometry = geometry
        self.kind = kind
        self.capacities = dict(capacities or CAPACITIES)
        self._allocator = _Allocator(geometry)
        self.loader = self._require("the loader", 1)
        self.settings = self._require("the settings", 1)
        self.records = (self._require("record A", 1), self._require("record B", 1))
        self.marks = self._require("the marks", 1)
        self.header = self._require("the header", 1)
        banks = 1 if kind is LayoutKind.STAGED else 2
        self.slots = {
            component: tuple(self._require(f"slot {bank} of {component.value}", size) for bank in range(banks))
            for component, size in self.capacities.items()
        }
        self.staging = Area(0, 0)
        if kind is LayoutKind.STAGED:
            self.staging = self._require("staging", self._allocator.left if staging_size is None else staging_size)

    def place(self, header: Header, slots: Mapping[Component, int], card: Geometry | None) -> list[Area] | None:
        """Where the payloads of an image are received: None if they fit nowhere.

        `slots` says which slot of a component runs; the dual layout receives into the other one.
        """
        if self.kind is LayoutKind.DUAL:
            return [self.slots[part.component][1 - slots.get(part.component, 1)] for part in header.parts]
        first = self.geometry.index(self.staging.address)
        last = self.geometry.index(self.staging.address + self.staging.size - 1) + 1 if self.staging.size else first
        inside = _take_all(_Allocator(self.geometry, first, last), header)
        if inside is None and card is not None:
            return _take_all(_Allocator(card, card=True), header)
        return inside

    def room_for(self, card: Geometry | None) -> int:
        """The most octets a container can have."""
        if self.kind is LayoutKind.DUAL:
            payloads = sum(self.capacities.values())
        else:
            payloads = max(self.staging.size, card.size if card else 0)
        return self.header.size + payloads

    def _require(self, what: str, size: int) -> Area:
        area = self._allocator.take(size)
        if area is None:
            raise Misuse(f"flash layout {self.kind.value}: {what} does not fit {self.geometry}")
        return area


def _take_all(allocator: _Allocator, header: Header) -> list[Area] | None:
    areas = []
    for part in header.parts:
        area = allocator.take(part.payload_size)
        if area is None:
            return None
        areas.append(area)
    return areas


def model_geometry(model: Model) -> Geometry:
    """The flash of a model."""
    return Geometry(((model.flash_sectors, model.flash_sector_size),), model.flash_write_unit, 0xFF)
