"""Firmware updates in this process: seconds of CPU for an 8 MiB system control, machine time, and cuts a second.

Run it with `python benchmarks/update.py`. An update here is everything a machine does: receive, check each block,
store, read back, hash, rewrite, hash, commit, restart, and hash what boots. The floors are the project's own promise;
the program fails if one is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from fauxfax.firmware import codefile, factory, recipe
from fauxfax.firmware.flash import Kind, Operation
from fauxfax.firmware.loader import Loader, State
from fauxfax.models import KIB, MIB, find_model

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "firmware"))

from firmware_sweep import Sweep, every_cut

UPDATE_CEILING = 1.0
"""Seconds of CPU that an update may take."""
CUTS_FLOOR = 1000.0
"""Cuts a second that the sweep must reach on 64 sectors of 4 KiB."""
PACE_TOLERANCE = 0.05
"""How far machine time may be from the sum of what the hardware's operations take."""
CHUNK = 64 * KIB


def container_of_sc() -> bytes:
    """The newer system control of a UF-8000."""
    data = recipe.build(recipe.load_all()["SC"], None, "V10200")[1]
    start, size, _ = codefile.container_at(data)
    return data[start : start + size]


def update(loader: Loader, container: bytes) -> float:
    """Install it and boot it. Returns the machine seconds of the loader's steps."""
    view, position, seconds = memoryview(container), 0, 0.0
    loader.boot()
    if refusal := loader.begin(len(view)):
        raise SystemExit(refusal.reason)
    while True:
        room = min(loader.room, CHUNK)
        loader.feed(view[position : position + room])
        position += room
        step = loader.step()
        seconds += step or 0.0
        if step is None and loader.state is not State.RECEIVING:
            break
    if loader.boot().versions["SC"] != "V10200":
        raise SystemExit("the new version does not run")
    return seconds


def measure_update(layout: str, container: bytes, runs: int) -> tuple[float, float, float]:
    """Median CPU seconds of an update, its machine seconds, and those that the hardware's operations add up to."""
    model, took = find_model("UF-8000"), []
    machine_seconds = hardware_seconds = 0.0
    for _ in range(runs):
        loader = factory.open_loader(model, layout=layout)
        operations: list[Operation] = []
        loader.flash.hook = operations.append  # type: ignore[assignment,func-returns-value]
        before = time.process_time()
        machine_seconds = update(loader, container)
        took.append(time.process_time() - before)
        erased = sum(each.size for each in operations if each.kind is Kind.ERASE)
        programmed = sum(each.size for each in operations if each.kind is Kind.PROGRAM)
        hardware_seconds = erased / (64 * KIB) * model.timing.erase_sector + programmed * model.timing.program_octet
    return statistics.median(took), machine_seconds, hardware_seconds


def main() -> None:
    """Print the figures; exit 1 if a floor is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    runs = 3 if parser.parse_args().quick else 9
    container = container_of_sc()
    missed = False
    for layout in ("staged", "dual"):
        cpu, machine, hardware = measure_update(layout, container, runs)
        rate = len(container) / MIB / cpu
        print(f"8 MiB SC, {layout:6}  {cpu:6.3f} s CPU  {rate:6.0f} MiB/s  {machine:6.1f} s machine time, "
              f"{hardware:6.1f} s of it erase and program")  # fmt: skip
        missed |= cpu > UPDATE_CEILING or abs(machine - hardware) > PACE_TOLERANCE * machine
    for layout in ("staged", "dual"):
        sweep = Sweep("64x4k/4/ff", layout)
        before = time.process_time()
        cuts = sum(sweep.run(every_cut).cuts for _ in range(runs))
        rate = cuts / (time.process_time() - before)
        print(f"64x4k sweep, {layout:6}  {rate:6.0f} cuts/s, each with its recovery and a clean retry")
        missed |= rate < CUTS_FLOOR
    sys.exit(missed)


if __name__ == "__main__":
    main()
