"""The fault standard: each fault that the firmware room can meet, as a generator of cases for a geometry and a layout.

A case yields nothing if all held, else what did not. `write_fault_standard.py` runs them all and writes the table in
`docs/reference/fault-standard.md`; `make sweep` runs them again and compares.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from firmware_graph import Graph
from firmware_refusals import REFUSED
from firmware_small import GEOMETRIES, MODEL, SETTINGS, UNIFORM, SmallMachine, image, memory_card, source
from firmware_sweep import NEW, OLD, Device, Held, Journey, Result, Sweep, Variants, every_cut, main_cuts

from fauxfax.firmware.codefile import Component, parse_header
from fauxfax.firmware.flash import CellDefect, Geometry, Kind
from fauxfax.firmware.loader import HANGS, TRIAL_STARTS, Loader, State

COLUMNS = {
    "staged": GEOMETRIES,
    "dual": GEOMETRIES,
    "card": (UNIFORM, "64x4k/32/ff"),
}
"""On which geometries each layout is tried; `card` is `staged` with an image that only the memory card can hold."""

Cases = Iterator[str]


@dataclass(frozen=True)
class Fault:
    """One line of the standard."""

    name: str
    what: str
    cases: Callable[[str, str], Cases]
    layouts: tuple[str, ...] = tuple(COLUMNS)
    geometries: tuple[str, ...] = ()  # all of a layout's if empty


def outcome(result: Result) -> Cases:
    """One case for each cut that happened."""
    yield from (f"{violation.invariant}: {violation.what} [{violation.replay}]" for violation in result.violations)
    yield from ("" for _ in range(result.cuts - len(result.violations)))


def one_cut(geometry: str, layout: str) -> Cases:
    for content in ("sc", "set"):
        yield from outcome(Sweep(geometry, layout, content).run(every_cut))


def all_sequences(sweep: Sweep, *variants: Variants) -> Cases:
    """One case for each sequence of cuts."""
    graph = Graph(sweep, variants)
    found = graph.walk()
    yield from (f"{violation.invariant}: {violation.what} [{violation.replay}]" for violation in graph.violations)
    yield from itertools.repeat("", found.sequences - found.broken)


def two_cuts(geometry: str, layout: str) -> Cases:
    yield from all_sequences(Sweep(geometry, layout), every_cut, every_cut)


def three_cuts(geometry: str, layout: str) -> Cases:
    yield from all_sequences(Sweep(geometry, layout, "set"), main_cuts, main_cuts, main_cuts)


def three_of_every_kind(geometry: str, layout: str) -> Cases:
    yield from all_sequences(Sweep(geometry, layout), every_cut, every_cut, main_cuts)


def between_steps(geometry: str, layout: str) -> Cases:
    """The power goes between two steps of the loader, whether or not a step wrote to flash."""
    sweep = Sweep(geometry, layout, "set")
    device = sweep.device.branch()
    loader, journey, result = started(device, sweep), Journey(), Result()
    position = 0
    while True:
        room = min(loader.room, 1000)
        if room and position < len(sweep.container):
            loader.feed(sweep.container[position : position + room])
            position = min(position + room, len(sweep.container))
        working = loader.step() is not None or loader.state is State.RECEIVING
        journey.note(loader)
        result.cuts += 1
        sweep.follow_uncut(device, (f"after {result.cuts} steps",), result, journey)
        if not working:
            break
    yield from outcome(result)


def started(device: Device, sweep: Sweep) -> Loader:
    """A loader that has been offered the image."""
    loader = Loader(device.flash, MODEL, sweep.layout, card=device.card)
    loader.boot()
    assert loader.begin(len(sweep.container)) is None
    return loader


def prepared(geometry: str, layout: str) -> tuple[SmallMachine, Sweep]:
    return SmallMachine(layout, geometry), Sweep(geometry, layout)


def refused(machine: SmallMachine, container: bytes) -> str:
    """An image that must be refused; what ran must run on."""
    if not machine.send(container):
        return "it was installed"
    boot = machine.boot()
    if boot.state is not State.RUNNING or boot.versions["SC"] != OLD:
        return f"refused, but then {boot.state.value} with {dict(boot.versions)}"
    last = machine.loader.status().last
    return "" if last and last.reason else "the reason did not survive the power-off"


def recovers(machine: SmallMachine, container: bytes) -> str:
    """The next good update completes."""
    reason = machine.send(container)
    if reason or machine.boot().versions["SC"] != NEW:
        return f"a clean retry did not complete: {reason}"
    settings = machine.flash.read(machine.layout.settings.address, len(SETTINGS))
    return "" if settings == SETTINGS else "the settings were touched"


def spoilt_files(geometry: str, layout: str) -> Cases:
    """Each octet of the header, each block at its first, middle and last octet, and swapped blocks."""
    machine, sweep = prepared(geometry, layout)
    container = sweep.container
    header = parse_header(container)
    block = header.parts[0].block_size
    places = [*range(header.size)]
    for start in range(header.size, len(container), block):
        end = min(start + block, len(container))
        places += [start, (start + end) // 2, end - 1]
    for place in places:
        yield refused(machine, container[:place] + bytes([container[place] ^ 0x41]) + container[place + 1 :])
    first, second = header.size, header.size + block
    yield refused(
        machine,
        container[:first] + container[second : second + block] + container[first:second] + container[second + block :],
    )
    yield recovers(machine, container)


def wrong_images(geometry: str, layout: str) -> Cases:
    """Another model, component, destination, level, version rule, size; and a good one after each."""
    sector = Geometry.parse(geometry).sizes[-1]
    too_large = {"too large for its component": (image(source(size=5 * sector + 1, sector=sector)), "")}
    for container, _ in {**REFUSED, **too_large}.values():
        machine, sweep = prepared(geometry, layout)
        yield refused(machine, container) or recovers(machine, sweep.container)


def wrong_lengths(geometry: str, layout: str) -> Cases:
    """Cut short at many places, longer than declared, of no or impossible size."""
    machine, sweep = prepared(geometry, layout)
    container = sweep.container
    for size in (0, 1, 111, 112, 10**6 * 64, 2**32 - 1, 2**63):
        operations = machine.flash.operations
        refusal = machine.loader.begin(size)
        yield "" if refusal and machine.flash.operations == operations else f"{size} octets were accepted"
    for cut in range(113, len(container), len(container) // 97):
        yield refused(machine, container[:cut])
    yield refused(machine, container + bytes(300))
    yield recovers(machine, container)


def early_ends(geometry: str, layout: str) -> Cases:
    """The stream ends early at many places; then a second start, a gap, an old hash, and the right way on."""
    for part in range(25):
        machine, sweep = prepared(geometry, layout)
        container = sweep.container
        machine.loader.begin(len(container))
        yield "" if machine.loader.begin(len(container)) else "a second start was accepted"
        for _ in machine.feeding(container[: len(container) * part // 25]):
            pass
        machine.run()
        machine.loader.end("the cable was pulled")
        machine.run()
        if part % 2:
            machine.boot()
        status = machine.loader.status()
        yield (
            "" if machine.loader.begin(len(container), status.next_offset + 1, status.sha256) else "a gap was accepted"
        )
        if status.next_offset:
            taken = machine.loader.begin(len(container), status.next_offset, hashlib.sha256(b"").hexdigest())
            yield "" if taken else "it went on with another file"
        reason = machine.send(container, status.next_offset, status.sha256)
        yield reason if reason or machine.boot().versions["SC"] == NEW else "it did not complete"


def worn_cells(geometry: str, layout: str) -> Cases:
    """Each sector fails to erase, to program or to read, once or always, saying so or in silence."""
    sweep = Sweep(geometry, layout)
    sectors = [(part, start) for part, flash in enumerate(sweep.device.parts) for start in flash.geometry.starts]
    for part, start in sectors:
        if part == 0 and start < sweep.layout.loader.size:
            continue
        for kind, silent in (
            (Kind.ERASE, False),
            (Kind.ERASE, True),
            (Kind.PROGRAM, False),
            (Kind.PROGRAM, True),
            (Kind.READ, False),
        ):
            for times in (1, None):
                yield with_defect(sweep, part, CellDefect(kind, start, start + 1, silent=silent, times=times))


def failing_at_a_rate(geometry: str, layout: str) -> Cases:
    """Any operation anywhere fails now and then."""
    for seed in range(40):
        sweep = Sweep(geometry, layout)
        for kind, (part, flash) in itertools.product((Kind.ERASE, Kind.PROGRAM), enumerate(sweep.device.parts)):
            chance = random.Random(seed)
            size = flash.geometry.size
            yield with_defect(
                sweep, part, CellDefect(kind, 0, size, silent=bool(seed % 2), rate=0.1, randomness=chance)
            )


def with_defect(sweep: Sweep, part: int, defect: CellDefect) -> str:
    """An update over the defect: success only if the new firmware runs; mended, a retry completes."""
    device = sweep.device.branch()
    device.parts[part].defects.append(defect)
    loader = Loader(device.flash, MODEL, sweep.layout, card=device.card)
    if loader.boot().state is State.RUNNING and loader.begin(len(sweep.container)) is None:
        feed(loader, sweep.container)
    announced = loader.state is State.RESTARTING
    device.parts[part].defects.clear()
    boot = Loader(device.flash, MODEL, sweep.layout, card=device.card).boot()
    if announced and boot.versions.get("SC") != NEW:
        return f"{defect}: success was announced, {dict(boot.versions)} run"
    try:
        sweep.complete(device, Journey(), may_need_recovery=True)
    except Held as broken:
        return f"{defect}: {broken}"
    return ""


def feed(loader: Loader, data: bytes) -> None:
    """Give a loader what it has room for, and let it work until it rests."""
    while loader.state is State.RECEIVING:
        room = loader.room
        loader.feed(data[:room])
        data = data[room:]
        loader.step()
    while loader.step() is not None:
        pass


def unconfirmed(geometry: str, layout: str) -> Cases:
    """The new image is never confirmed, is confirmed late, or decays while on trial."""
    for confirmed_at in range(1, TRIAL_STARTS + 2):
        machine, sweep = prepared(geometry, layout)
        machine.send(sweep.container)
        for start in range(1, TRIAL_STARTS + 2):
            boot = machine.boot()
            if start == confirmed_at:
                machine.loader.confirm()
        late = layout == "dual" and confirmed_at > TRIAL_STARTS
        yield (
            ""
            if boot.versions["SC"] == (OLD if late else NEW)
            else f"confirmed at start {confirmed_at}: {boot.versions}"
        )


def card_changed(geometry: str, layout: str) -> Cases:
    """Power lost at each operation; then the card is out, is another one, or has an octet that is not what it was."""
    yield from card_changes(Sweep(geometry, layout))


def card_changes(sweep: Sweep) -> Cases:
    """See `card_changed`."""
    left_behind: list[tuple[Device, Journey]] = []
    sweep.follow(
        sweep.device, (), main_cuts, Result(), Journey(), lambda device, left: left_behind.append((device, left))
    )
    for number, (device, journey) in enumerate(left_behind):
        yield without_card(sweep, device.branch(), journey)
        blank = memory_card(device.flash.geometry)
        yield with_other_card(sweep, Device(device.branch().flash, blank))
        altered = device.branch().card
        assert altered is not None
        place = number * 997 % len(sweep.container)  # some other octet each time
        altered.storage.write(place, bytes([altered.storage.read(place, 1)[0] ^ 1]))
        yield with_other_card(sweep, Device(device.branch().flash, altered))


def with_other_card(sweep: Sweep, device: Device) -> str:
    """What was whole runs, what was staged is not believed, and a clean retry completes."""
    try:
        loader, boot = sweep.settle(device)
        if loader.state is State.RECOVERY and old_is_whole(sweep, device):
            return f"the old firmware is whole, but it waits: {loader.status().last}"
        sweep.look_at_content(loader, boot)
        sweep.finish(device, loader, boot, Journey())
    except Held as broken:
        return str(broken)
    return ""


def without_card(sweep: Sweep, device: Device, journey: Journey) -> str:
    """The same without a card: the image is refused before the first erase; with the card again, it goes on."""
    try:
        loader, boot = sweep.settle(Device(device.flash))
        if loader.state is State.RECOVERY and old_is_whole(sweep, device):
            return f"the old firmware is whole, but it waits: {loader.status().last}"
        sweep.look_at_content(loader, boot)
        before = device.flash.operations
        if loader.begin(len(sweep.container)) is None:
            return "it takes an image that only a card can hold"
        if device.flash.operations != before:
            return "it erased before it refused"
        sweep.complete(device, journey)
    except Held as broken:
        return str(broken)
    return ""


def old_is_whole(sweep: Sweep, device: Device) -> bool:
    """Whether the old system control lies where it ran, by the oracle's own look."""
    payload, _ = sweep.payloads["SC", OLD]
    return device.flash.read(sweep.layout.slots[Component.SC][0].address, len(payload)) == payload


def hanging(geometry: str, layout: str) -> Cases:
    """The new image hangs in one to four starts; each of the watchdog's starts is cut at each of its operations."""
    for hangs in range(1, HANGS + 2):
        machine, sweep = prepared(geometry, layout)
        machine.send(sweep.container)
        machine.boot()
        for number in range(1, hangs + 1):
            yield from cut_while_hanging(sweep, Device(machine.flash, machine.card))
            boot = machine.boot(hung=True)
            given_up = number >= HANGS
            wanted = (State.RUNNING, NEW)
            if given_up:
                wanted = (State.RUNNING, OLD) if layout == "dual" else (State.RECOVERY, NEW)
            yield "" if (boot.state, boot.versions["SC"]) == wanted else f"hang {number}: {boot.state}, {boot.versions}"
            if boot.state is State.RECOVERY and "hung in" not in str(machine.loader.status().last):
                yield "it does not say why it waits"
        again = machine.boot()
        yield "" if again.state is State.RUNNING else f"after {hangs} hangs power off and on does not help"
        machine.loader.confirm()
        yield recovers_from_hanging(machine, sweep.container)


def cut_while_hanging(sweep: Sweep, device: Device) -> Cases:
    """The power goes in the watchdog's start: the next one finds a firmware that can be tried, and an update passes."""
    branch = device.branch()
    left: list[Device] = []
    branch.flash.hook = lambda operation: left.extend(branch.cut(0, operation, cut) for cut in every_cut(operation))
    Loader(branch.flash, MODEL, sweep.layout, card=branch.card).boot(hung=True)
    yield "" if left else "the hang was not counted"
    for one in left:
        try:
            sweep.complete(one, Journey())
        except Held as broken:
            yield f"a start after a hang was cut: {broken}"
        else:
            yield ""


def recovers_from_hanging(machine: SmallMachine, container: bytes) -> str:
    """Once it has stayed up the hangs are forgotten, and the next good update completes."""
    boot = machine.boot(hung=True)
    if boot.state is not State.RUNNING:
        return "hangs are counted that were long ago"
    return recovers(machine, container) if boot.versions["SC"] == OLD else ""


FAULTS = (  # the numbers are those of the table in docs/reference/fault-standard.md
    Fault("F1", "power lost before, within and after each erase and program", one_cut),
    Fault("F2", "power lost twice: every pair of all cuts", two_cuts),
    Fault("F2", "power lost three times: every triple of main cuts, of the set", three_cuts),
    Fault(
        "F2",
        "three times: every pair of all cuts, then main cuts",
        three_of_every_kind,
        ("staged", "dual"),
        (UNIFORM,),
    ),
    Fault("F3", "power lost between any two steps", between_steps),
    Fault("F4", "each header octet, each block, swapped blocks", spoilt_files),
    Fault("F5 F6 F17", "wrong image, version rules; then a good one", wrong_images),
    Fault("F7", "cut short, longer, zero, impossible size", wrong_lengths),
    Fault("F8 F9 F16", "early end, second start, gap, old hash, resume", early_ends),
    Fault("F12 F13", "each sector fails, aloud and in silence", worn_cells),
    Fault("F12", "any operation fails at a rate", failing_at_a_rate),
    Fault("F15", "never confirmed, or late", unconfirmed),
    Fault("F15", "hangs in each of its starts, which are cut", hanging),
    Fault("F2 F4", "power lost, then the card is out, another, or altered", card_changed, ("card",)),
)
