"""Every sequence of cuts, and each state that they lead to followed once.

A second cut falls into what follows the first, and most of what it leaves behind has been left behind before. So the
sequences of two and three cuts, hundreds of thousands, are a graph of some thousand states, and it is walked whole.

Two states are one if they agree in all that their future looks at: the journey so far (what the tool was told), and
those sectors that are read before they are written as a whole, with the cells in them that are unstable. Which these
are is not assumed but seen, by cells that note it, for a state and all states it leads to. What unstable cells read as
is drawn once for each state, from the id it was first met with.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from firmware_sweep import Device, Journey, Sweep, Variants, Violation

from fauxfax.firmware.flash import Flash, Operation
from fauxfax.firmware.storage import MemoryStorage


class NotingStorage(MemoryStorage):
    """Cells that note, as bits, which sectors were `needed`: read before they were written as a whole (`fresh`)."""

    needed = 0
    fresh = 0

    def read(self, address: int, size: int) -> bytes:
        """The octets there, across sectors."""
        geometry = self.geometry
        index = geometry.index(address)
        while True:
            if not self.fresh >> index & 1:
                self.needed |= 1 << index
            index += 1
            if index == len(geometry.starts) or geometry.starts[index] >= address + size:
                return super().read(address, size)

    def write(self, address: int, data: bytes) -> None:
        """Replace octets of one sector."""
        index = self.geometry.index(address)
        if len(data) == self.geometry.sizes[index]:
            self.fresh |= 1 << index
        super().write(address, data)


@dataclass(slots=True)
class State:
    """What is known of a state: the sectors its future needs, the `sequences` of further cuts, and those `broken`.

    `needs` has a bit for each sector of the flash, then one for each of the card. `broken` counts the state itself too.
    """

    needs: int = 0
    sequences: int = 0
    broken: int = 0


@dataclass
class Graph:
    """The states of a sweep. `variants` says which cuts are taken first, second, and so on."""

    sweep: Sweep
    variants: tuple[Variants, ...]
    states: int = 0
    violations: list[Violation] = field(default_factory=list)
    _known: list[dict[int, dict[int, State]]] = field(default_factory=list)

    def walk(self) -> State:
        """All of it. Returns the state of the machine before the update: how many sequences of cuts there are."""
        self._known = [{} for _ in self.variants] + [{}]
        return self._follow(self.sweep.device, Journey(), 0)

    def _follow(self, device: Device, journey: Journey, cuts: int) -> State:
        """Power on after so many cuts, and go on to the end, with each further cut."""
        self.states += 1
        found, path = State(), journey.path
        branch = device.branch(" ".join((str(self.sweep.seed), *path)))
        cells = [_note(flash) for flash in branch.parts]
        first_of_card = len(cells[0].sectors)

        def noted(what: str) -> int:
            bits = [getattr(each, what) for each in cells]
            return bits[0] | (bits[1] << first_of_card if len(bits) > 1 else 0)

        def befall(now: Device, part: int, operation: Operation) -> None:
            if cuts == len(self.variants):
                return
            for cut in self.variants[cuts](operation):
                left = journey.copy()
                left.path = (*path, f"op={operation.number} cut={cut}")
                after = self._state(now.cut(part, operation, cut), left, cuts + 1)
                found.needs |= after.needs & ~noted("fresh")
                found.sequences += 1 + after.sequences
                found.broken += after.broken

        _, violation = self.sweep.go_on(branch, path, journey, befall)
        if violation is not None:
            self.violations.append(violation)
            found.broken += 1
        found.needs |= noted("needed")
        return found

    def _state(self, device: Device, journey: Journey, cuts: int) -> State:
        """The state after so many cuts, followed if it is new."""
        known = self._known[cuts]
        for needs, states in known.items():
            if (state := states.get(_key(device, journey, needs))) is not None:
                return state
        told = journey.copy()
        state = self._follow(device, journey, cuts)
        known.setdefault(state.needs, {})[_key(device, told, state.needs)] = state
        return state


def _note(flash: Flash) -> NotingStorage:
    """Put noting cells under a flash, with the content it has."""
    assert isinstance(flash.storage, MemoryStorage)
    flash.storage = cells = NotingStorage(flash.geometry, flash.storage.sectors)
    return cells


def _key(device: Device, journey: Journey, needs: int) -> int:
    """A hash of all that a future with these needs looks at."""
    seen: list[object] = [journey.acknowledged, journey.announced, journey.success]
    for flash in device.parts:
        assert isinstance(flash.storage, MemoryStorage)
        seen += [sector for index, sector in enumerate(flash.storage.sectors) if needs >> index & 1]
        seen += [cells for cells in flash.unstable if needs >> flash.geometry.index(cells[0]) & 1]
        needs >>= len(flash.storage.sectors)
    return hash(tuple(seen))
