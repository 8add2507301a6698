"""The fault standard: each fault that the firmware room can meet, as a generator of cases for a geometry and a layout.

A case yields nothing if all held, else what did not. `write_fault_standard.py` runs them all and writes the table in
`docs/reference/fault-standard.md`; `make sweep` runs them again and compares.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from firmware_refusals import REFUSED
from firmware_small import MODEL, SETTINGS, SmallMachine, image, source
from firmware_sweep import NEW, OLD, Held, Journey, Result, Sweep, every_cut, main_cuts

from fauxfax.firmware.codefile import parse_header
from fauxfax.firmware.flash import CellDefect, Cut, Flash, Geometry, Kind, Operation
from fauxfax.firmware.loader import TRIAL_STARTS, Loader, State

LAYOUTS = ("staged", "dual")
SAMPLE = 0.05
"""Share of the cuts taken at each of three levels: the whole would be millions."""

Cases = Iterator[str]


@dataclass(frozen=True)
class Fault:
    """One line of the standard."""

    name: str
    what: str
    cases: Callable[[str, str], Cases]


def outcome(result: Result) -> Cases:
    """One case for each cut that happened."""
    yield from (f"{violation.invariant}: {violation.what} [{violation.replay}]" for violation in result.violations)
    yield from ("" for _ in range(result.cuts - len(result.violations)))


def one_cut(geometry: str, layout: str) -> Cases:
    for content in ("sc", "set"):
        yield from outcome(Sweep(geometry, layout, content).run(every_cut))


def two_cuts(geometry: str, layout: str) -> Cases:
    yield from outcome(Sweep(geometry, layout).run(main_cuts, main_cuts, depth=2))


def three_cuts(geometry: str, layout: str) -> Cases:
    chance = random.Random(f"{geometry} {layout}")

    def some(operation: Operation) -> list[Cut]:
        return [cut for cut in every_cut(operation) if chance.random() < SAMPLE]

    yield from outcome(Sweep(geometry, layout, "set").run(some, some, depth=3))


def between_steps(geometry: str, layout: str) -> Cases:
    """The power goes between two steps of the loader, whether or not a step wrote to flash."""
    sweep = Sweep(geometry, layout, "set")
    flash = sweep.flash.branch()
    loader, journey, result = started(flash, sweep), Journey(), Result()
    position = 0
    while True:
        room = min(loader.room, 1000)
        if room and position < len(sweep.container):
            loader.feed(sweep.container[position : position + room])
            position = min(position + room, len(sweep.container))
        working = loader.step() is not None or loader.state is State.RECEIVING
        journey.note(loader)
        result.cuts += 1
        sweep.follow(flash, (f"after {result.cuts} steps",), lambda _: (), result, journey, lambda *_: None)
        if not working:
            break
    yield from outcome(result)


def started(flash: Flash, sweep: Sweep) -> Loader:
    """A loader that has been offered the image."""
    loader = Loader(flash, MODEL, sweep.layout)
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
    starts = [start for start in sweep.flash.geometry.starts if start >= sweep.layout.loader.size]
    for start in starts:
        for kind, silent in (
            (Kind.ERASE, False),
            (Kind.ERASE, True),
            (Kind.PROGRAM, False),
            (Kind.PROGRAM, True),
            (Kind.READ, False),
        ):
            for times in (1, None):
                yield with_defect(sweep, CellDefect(kind, start, start + 1, silent=silent, times=times))


def failing_at_a_rate(geometry: str, layout: str) -> Cases:
    """Any operation anywhere fails now and then."""
    for seed in range(40):
        sweep = Sweep(geometry, layout)
        for kind in (Kind.ERASE, Kind.PROGRAM):
            chance = random.Random(seed)
            size = sweep.flash.geometry.size
            yield with_defect(sweep, CellDefect(kind, 0, size, silent=bool(seed % 2), rate=0.1, randomness=chance))


def with_defect(sweep: Sweep, defect: CellDefect) -> str:
    """An update over the defect: success only if the new firmware runs; mended, a retry completes."""
    flash = sweep.flash.branch()
    flash.defects.append(defect)
    loader = Loader(flash, MODEL, sweep.layout)
    if loader.boot().state is State.RUNNING and loader.begin(len(sweep.container)) is None:
        position = 0
        while loader.state is State.RECEIVING:
            room = loader.room
            loader.feed(sweep.container[position : position + room])
            position += room
            loader.step()
        while loader.step() is not None:
            pass
    announced = loader.state is State.RESTARTING
    flash.defects.clear()
    boot = Loader(flash, MODEL, sweep.layout).boot()
    if announced and boot.versions.get("SC") != NEW:
        return f"{defect}: success was announced, {dict(boot.versions)} run"
    try:
        sweep.complete(flash, Journey(), may_need_recovery=True)
    except Held as broken:
        return f"{defect}: {broken}"
    return ""


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


FAULTS = (  # the numbers are those of the table in docs/reference/fault-standard.md
    Fault("F1", "power lost before, within and after each erase and program", one_cut),
    Fault("F2", "power lost twice: every pair of main cuts", two_cuts),
    Fault("F2", "power lost three times: a sample", three_cuts),
    Fault("F3", "power lost between any two steps", between_steps),
    Fault("F4", "each header octet, each block, swapped blocks", spoilt_files),
    Fault("F5 F6 F17", "wrong image, version rules; then a good one", wrong_images),
    Fault("F7", "cut short, longer, zero, impossible size", wrong_lengths),
    Fault("F8 F9 F16", "early end, second start, gap, old hash, resume", early_ends),
    Fault("F12 F13", "each sector fails, aloud and in silence", worn_cells),
    Fault("F12", "any operation fails at a rate", failing_at_a_rate),
    Fault("F15", "never confirmed, or late", unconfirmed),
)
