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


class _Known:
    """The states whose futures have the same needs."""

    def __init__(self, needs: int, device: Device) -> None:
        self.states: dict[int, State] = {}
        self._needed: list[list[int]] = []  # the sectors of each part
        for flash in device.parts:
            count = len(flash.geometry.sizes)
            self._needed.append([index for index in range(count) if needs >> index & 1])
            needs >>= count

    def key(self, device: Device, told: tuple[int, bool, bool]) -> int:
        """A hash of all that such a future looks at."""
        seen: list[object] = [told]
        for flash, needed in zip(device.parts, self._needed, strict=True):
            assert isinstance(flash.storage, MemoryStorage)
            sectors = flash.storage.sectors
            seen += [sectors[index] for index in needed]
            seen += [cells for cells in flash.unstable if flash.geometry.index(cells[0]) in needed]
        return hash(tuple(seen))


@dataclass
class Graph:
    """The states of a sweep. `variants` says which cuts are taken first, second, and so on."""

    sweep: Sweep
    variants: tuple[Variants, ...]
    states: int = 0
    violations: list[Violation] = field(default_factory=list)
    _known: list[dict[int, _Known]] = field(default_factory=list)

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
        told = (journey.acknowledged, journey.announced, journey.success)
        for known in self._known[cuts].values():
            if (state := known.states.get(known.key(device, told))) is not None:
                return state
        state = self._follow(device, journey, cuts)
        if state.needs not in self._known[cuts]:
            self._known[cuts][state.needs] = _Known(state.needs, device)
        known = self._known[cuts][state.needs]
        known.states[known.key(device, told)] = state
        return state


def _note(flash: Flash) -> NotingStorage:
    """Put noting cells under a flash, with the content it has."""
    assert isinstance(flash.storage, MemoryStorage)
    flash.storage = cells = NotingStorage(flash.geometry, flash.storage.sectors)
    return cells
