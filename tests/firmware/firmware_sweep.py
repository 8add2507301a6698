"""The sweep: one clean update, a branch of the flash at each of its operations, and only what follows is run.

A case is a path of cuts. Its id, `geom=64x4k/4/ff layout=staged image=sc op=12 cut=torn@2048 seed=0`, replays it; a
second and a third cut, in what follows the first, are added as ` op=3 cut=before`. What follows a cut is: power on, the
loader does what it must, the tool goes on where the stored octets end (or from the beginning), power on again. At
each rest the oracle looks at the flash with its own eyes.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from firmware_small import MODEL, SETTINGS, SmallMachine, image, source

from fauxfax.errors import Misuse
from fauxfax.firmware.codefile import Component
from fauxfax.firmware.flash import Cut, Flash, Geometry, Kind, Operation, PowerLost
from fauxfax.firmware.loader import Boot, Loader, State

OLD, NEW = "V10100", "V10200"
STEP_LIMIT = 3000
IMAGES = {"sc": (Component.SC,), "set": (Component.PNL, Component.SC)}


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold in the case `replay`."""

    invariant: str
    replay: str
    what: str


@dataclass
class Result:
    """What a sweep found: `cuts` that happened, `operations` of the clean run, and what did not hold."""

    cuts: int = 0
    operations: int = 0
    violations: list[Violation] = field(default_factory=list)


Variants = Callable[[Operation], Iterable[Cut]]


@dataclass
class Device:
    """What a power cut leaves behind: the flash, and the memory card if one is in its slot."""

    flash: Flash
    card: Flash | None = None

    @property
    def parts(self) -> list[Flash]:
        """Both, or the flash alone."""
        return [self.flash] if self.card is None else [self.flash, self.card]

    def branch(self, seed: int | str = 0) -> Device:
        """The same in another world."""
        return Device(self.flash.branch(seed), self.card.branch(seed) if self.card else None)

    def cut(self, part: int, operation: Operation, cut: Cut) -> Device:
        """A branch on which the operation was done up to the cut; the power going away proves that it happened."""
        branch = self.branch()
        flash = branch.parts[part]
        flash.hook = lambda _: cut
        try:
            if operation.kind is Kind.ERASE:
                flash.erase(operation.address)
            else:
                flash.program(operation.address, operation.data)
        except PowerLost:
            flash.hook = None
            return branch
        raise AssertionError(f"the cut {cut} at {operation} did not happen")


def every_cut(operation: Operation) -> Iterator[Cut]:
    """Before, torn at each place that matters, and after."""
    size = operation.size
    torn = sorted({1, size // 2, size - 1})
    yield Cut()
    yield from (Cut(octets) for octets in torn)
    yield Cut(size)
    first = 0 if operation.kind is Kind.ERASE else 1
    yield from (Cut(octets, unstable=True) for octets in sorted({first, size // 2, size - 1}))
    if operation.kind is Kind.PROGRAM:
        yield Cut(size, unstable=True)


def main_cuts(operation: Operation) -> Iterator[Cut]:
    """The two that lie most: an operation that seems done and is not sure, and one that is done."""
    yield Cut(operation.size // 2 if operation.kind is Kind.ERASE else operation.size, unstable=True)
    yield Cut(operation.size)


class Sweep:
    """One geometry, layout and image. `loader_type` is the loader under test, which may be wrong on purpose."""

    def __init__(
        self,
        geometry: str,
        layout: str,
        content: str = "sc",
        loader_type: type[Loader] = Loader,
        *,
        seed: int = 0,
        unprotected: bool = False,
    ) -> None:
        self.name = f"geom={geometry} layout={layout} image={content}"
        self.seed = seed
        self.loader_type = loader_type
        self.parts = IMAGES[content]
        sector = Geometry.parse(geometry).sizes[-1]
        self.container = image(*(source(component, sector=sector) for component in self.parts))
        machine = SmallMachine(layout, geometry, unprotected=unprotected)
        spoilt = self.container[:-1] + bytes([self.container[-1] ^ 1])
        assert "damaged" in machine.send(spoilt)  # staging was in use before: no cell there is blank
        self.device, self.layout = Device(machine.flash, machine.card), machine.layout
        self.loader_area = machine.flash.read(self.layout.loader.address, self.layout.loader.size)
        self.payloads: dict[tuple[str, str], tuple[bytes, str]] = {}  # with their SHA-256
        for component, version in itertools.product((Component.SC, Component.PNL), (OLD, NEW)):
            payload = source(component, version, sector=sector).payload
            self.payloads[component.value, version] = payload, hashlib.sha256(payload).hexdigest()

    # Running ---------------------------------------------------------------------------------------------------

    def run(self, variants: Variants, later: Variants | None = None, depth: int = 1) -> Result:
        """Cut the clean run at each operation; with `depth` above 1, also what follows each cut."""
        result = Result()
        self._explore(self.device, (), [variants, *[later or variants] * (depth - 1)], result, Journey())
        return result

    def replay(self, case: str) -> list[Violation]:
        """One case again, by its id."""
        words = re.findall(r"op=(\d+) cut=(\S+)", case)
        device, journey, result = self.device, Journey(), Result()
        path: tuple[str, ...] = ()
        for number, word in words:
            wanted = int(number)
            found: list[tuple[Device, Journey]] = []

            def pick(
                operation: Operation, wanted: int = wanted, word: str = word, found: list = found
            ) -> Iterable[Cut]:
                return [cut for cut in every_cut(operation) if operation.number == wanted and str(cut) == word]

            self.follow(
                device, path, pick, Result(), journey, lambda branch, left, found=found: found.append((branch, left))
            )
            (device, journey), path = found[0], (*path, f"op={number} cut={word}")
        self.follow_uncut(device, path, result, journey)
        return result.violations

    def _explore(
        self, device: Device, path: tuple[str, ...], variants: list[Variants], result: Result, journey: Journey
    ) -> None:
        """Follow what comes after `path`, cutting it by the first of `variants`, and what follows that by the next."""
        if not variants:
            self.follow_uncut(device, path, result, journey)
            return
        cut_now, *cut_later = variants

        def go_on(branch: Device, left: Journey) -> None:
            self._explore(branch, left.path, cut_later, result, left)

        operations = self.follow(device, path, cut_now, result, journey, go_on)
        if not path:
            result.operations = operations

    def follow_uncut(self, device: Device, path: tuple[str, ...], result: Result, journey: Journey) -> None:
        """Power on and go on to the end, as most cases do that are run."""
        violation = self._complete(device.branch(" ".join((str(self.seed), *path))), path, journey.copy())
        if violation is not None:
            result.violations.append(violation)

    def follow(
        self,
        device: Device,
        path: tuple[str, ...],
        variants: Variants,
        result: Result,
        journey: Journey,
        cut_off: Callable[[Device, Journey], None],
    ) -> int:
        """Power on and go on to the end, handing a branch for each cut to `cut_off`. Returns the operations."""
        here = journey.copy()

        def befall(branch: Device, part: int, operation: Operation) -> None:
            for cut in variants(operation):
                left = here.copy()
                left.path = (*path, f"op={operation.number} cut={cut}")
                result.cuts += 1
                cut_off(branch.cut(part, operation, cut), left)

        count, violation = self.go_on(device.branch(" ".join((str(self.seed), *path))), path, here, befall)
        if violation is not None:
            result.violations.append(violation)
        return count

    def go_on(
        self, device: Device, path: tuple[str, ...], journey: Journey, befall: Callable[[Device, int, Operation], None]
    ) -> tuple[int, Violation | None]:
        """Power on and go on to the end; each operation on either part, numbered from 1, is shown to `befall` first."""
        count = itertools.count(1)
        for part, flash in enumerate(device.parts):

            def hook(operation: Operation, part: int = part) -> None:
                number = next(count)
                befall(device, part, operation if operation.number == number else operation._replace(number=number))

            flash.hook = hook
        violation = self._complete(device, path, journey)
        return next(count) - 1, violation

    def _complete(self, device: Device, path: tuple[str, ...], journey: Journey) -> Violation | None:
        try:
            self.complete(device, journey)
        except Held as broken:
            return Violation(broken.invariant, self._id(path), broken.what)
        except Misuse as misuse:
            return Violation("I7", self._id(path), str(misuse))
        return None

    def _id(self, path: tuple[str, ...]) -> str:
        return " ".join((self.name, *path, f"seed={self.seed}"))

    # What follows ----------------------------------------------------------------------------------------------

    def complete(self, device: Device, journey: Journey, *, may_need_recovery: bool = False) -> None:
        """Power on, let the loader finish, send what is missing, and look at every rest.

        Cuts alone never lead to RECOVERY; only with `may_need_recovery`, after a defect, the first rest may be there.
        """
        loader, boot = self.settle(device)
        if not may_need_recovery or loader.state is not State.RECOVERY:
            self._look(loader, boot, journey)
        self.finish(device, loader, boot, journey)

    def finish(self, device: Device, loader: Loader, boot: Boot, journey: Journey) -> None:
        """From the first rest on: send what is missing, and look at every rest. Raises Held."""
        if not self._runs(boot, NEW):
            self._send(loader, journey)
            loader, boot = self.settle(device)
            self._look(loader, boot, journey)
            if not self._runs(boot, NEW):
                last = loader.status().last
                raise Held("I5", f"a clean retry did not complete: {last and last.reason}")
        loader.confirm()
        journey.success = True
        loader, boot = self.settle(device)
        self._look(loader, boot, journey)

    def settle(self, device: Device) -> tuple[Loader, Boot]:
        """Power on until the loader rests: it may have a rewriting to finish and restart by itself."""
        for _ in range(4):
            loader = self.loader_type(device.flash, MODEL, self.layout, card=device.card)
            boot = loader.boot()
            self._work(loader)
            if loader.state is not State.RESTARTING:
                return loader, boot
        raise Held("I9", "the loader restarts again and again")

    @staticmethod
    def _work(loader: Loader) -> None:
        for _ in range(STEP_LIMIT):
            if loader.step() is None:
                return
        raise Held("I9", f"{loader.state.value} does not end")

    def _send(self, loader: Loader, journey: Journey) -> None:
        """The tool: goes on where the stored octets end if they are of its file, else begins anew."""
        status = loader.status()
        offset = status.next_offset
        if hashlib.sha256(self.container[:offset]).hexdigest() != status.sha256:
            offset = 0
        refusal = loader.begin(len(self.container), offset, status.sha256 if offset else None)
        if refusal is not None:
            raise Held("I5", f"a clean retry was refused: {refusal.reason}")
        journey.acknowledged = offset
        position = offset
        while loader.state is State.RECEIVING:
            room = loader.room
            loader.feed(self.container[position : position + room])
            position = min(position + room, len(self.container))
            if loader.step() is None and position == len(self.container) and loader.state is State.RECEIVING:
                raise Held("I9", "the loader waits for octets that do not exist")
            journey.note(loader)
        while loader.step() is not None:
            journey.note(loader)
        journey.note(loader)

    # The oracle ------------------------------------------------------------------------------------------------

    def _look(self, loader: Loader, boot: Boot, journey: Journey) -> None:
        flash, layout = loader.flash, self.layout
        if flash.read(layout.loader.address, layout.loader.size) != self.loader_area:
            raise Held("I1", "the loader is not what it was")
        if not flash.read(layout.settings.address, layout.settings.size).startswith(SETTINGS):
            raise Held("I8", "the settings were touched")
        if loader.state is not State.RUNNING:
            raise Held("I1", f"power cuts alone led to {loader.state.value}")
        if not self._runs(boot, OLD) and not self._runs(boot, NEW):
            raise Held("I1", f"neither the old nor the new firmware runs: {dict(boot.versions)}")
        self.look_at_content(loader, boot)
        if journey.announced and not self._runs(boot, NEW) and not self._was_given_up(loader, journey):
            raise Held("I3", "success was announced, but the old firmware runs")
        if not self._runs(boot, NEW) and not journey.announced:
            self._look_at_stored(loader, journey)

    @staticmethod
    def _was_given_up(loader: Loader, journey: Journey) -> bool:
        """Cut before each of its confirmations: the tool has not seen success, and the machine says why."""
        last = loader.status().last
        return not journey.success and last is not None and "not confirmed in 3 starts" in last.reason

    def look_at_content(self, loader: Loader, boot: Boot) -> None:
        """The version that is reported is the one whose content lies where it runs. Raises Held."""
        for name, version in boot.versions.items():
            payload, digest = self.payloads[name, version]
            contents = (loader.flash.read(slot.address, len(payload)) for slot in self.layout.slots[Component(name)])
            if boot.hashes[name] != digest or payload not in contents:
                raise Held("I2", f"{name} reports {version}, but its content is another")
        if loader.state is State.RUNNING and (boot.profile is None or boot.profile.version != boot.versions["SC"]):
            raise Held("I2", "the profile is not that of the version that runs")

    def _look_at_stored(self, loader: Loader, journey: Journey) -> None:
        status = loader.status()
        if status.next_offset < journey.acknowledged:
            raise Held("I4", f"{journey.acknowledged} octets were acknowledged, {status.next_offset} are stored")
        if status.next_offset and status.sha256 != hashlib.sha256(self.container[: status.next_offset]).hexdigest():
            raise Held("I4", "what is stored is not what was sent")
        if journey.acknowledged and (status.last is None or status.last.version != NEW):
            raise Held("I10", f"the last attempt is not readable: {status.last}")

    def _runs(self, boot: Boot, version: str) -> bool:
        wanted = {component.value: version if component in self.parts else OLD for component in self.layout.capacities}
        return dict(boot.versions) == wanted


class Held(Exception):  # noqa: N818
    """An invariant did not hold."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.what = what


@dataclass
class Journey:
    """What the tool has seen so far, over all cuts: octets acknowledged, the restart announced, success after it."""

    path: tuple[str, ...] = ()
    acknowledged: int = 0
    announced: bool = False
    success: bool = False

    def note(self, loader: Loader) -> None:
        if loader.state is State.RECEIVING:
            self.acknowledged = loader.status().next_offset
        self.announced = self.announced or loader.state is State.RESTARTING

    def copy(self) -> Journey:
        return Journey(self.path, self.acknowledged, self.announced, self.success)
