"""Firmware updates: seconds of CPU for an 8 MiB system control, machine time, cuts a second, and MB/s over the wire.

Run it with `python benchmarks/update.py`. An update here is everything a machine does: receive, check each block,
store, read back, hash, rewrite, hash, commit, restart, and hash what boots. Over the wire it is a machine in a process
of its own, with nothing waited for, from the first octet until the image is staged: stored, read back and hashed; and
on a clock that runs eight times as fast, the real time beside the machine's. The floors are the project's own promise;
the program fails if one is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from fauxfax.firmware import codefile, factory, recipe
from fauxfax.firmware.flash import Kind, Operation
from fauxfax.firmware.loader import Loader, State
from fauxfax.models import KIB, MIB, find_model
from fauxfax.testing import MachineProcess
from fauxfax_tools.links import find_link

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "firmware"))

from firmware_graph import Graph
from firmware_sweep import Sweep, every_cut

UPDATE_CEILING = 1.0
"""Seconds of CPU that an update may take."""
CUTS_FLOOR = 1000.0
"""Cuts a second, each run by itself, that the sweep must reach on 64 sectors of 4 KiB, with all cores there are."""
PACE_TOLERANCE = 0.05
"""How far machine time may be from the sum of what the hardware's operations take."""
WIRE_FLOOR = 60.0
"""MB/s over the raw port and USB/IP, up to staged."""
WAYS = {"raw port": "tcp://127.0.0.1:{raw}", "USB/IP": "usbip://127.0.0.1:{usbip}"}
NOT_STAGED = ("RUNNING", "RECEIVING", "CHECKING")
SLOWED = 8
CHUNK = 64 * KIB


def container_of_sc() -> bytes:
    """The newer system control of a UF-8000."""
    data = code_file_of_sc()
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


def code_file_of_sc() -> bytes:
    return recipe.build(recipe.load_all()["SC"], None, "V10200")[1]


def send(machine: MachineProcess, way: str, data: bytes) -> None:
    """Write all of a code file to one way in."""
    link = find_link(WAYS[way].format_map(machine.ports))
    link.open()
    rest = memoryview(data)
    while rest:
        rest = rest[link.write(rest[: 256 * KIB], 30.0) :]
    while machine.status()["update"]["state"] in NOT_STAGED:
        pass


def wire_rate(way: str, data: bytes) -> float:
    """MB/s from the first octet until the image is staged."""
    with tempfile.TemporaryDirectory(prefix="fauxfax-") as folder:
        machine = MachineProcess(Path(folder) / "machine").start()
        try:
            before = time.perf_counter()
            send(machine, way, data)
            return len(data) / 1e6 / (time.perf_counter() - before)
        finally:
            machine.stop()


def pace(data: bytes) -> float:
    """Real seconds of staging a small part on a clock that runs SLOWED times as fast, of those it should take."""
    with tempfile.TemporaryDirectory(prefix="fauxfax-") as folder:
        machine = MachineProcess(Path(folder) / "machine", clock=f"x{SLOWED}").start()
        try:
            before, began = time.perf_counter(), machine.status()["clock"]["now"]
            send(machine, "raw port", data)
            took, machine_took = time.perf_counter() - before, machine.status()["clock"]["now"] - began
            timing, size = find_model("UF-8000").timing, len(data)
            staging = -(-size // (64 * KIB)) * (timing.erase_sector + 64 * KIB * timing.program_octet)
            print(
                f"256 KiB SCN staged in {machine_took:.2f} s of machine time, {staging:.2f} s of it cells, "
                f"in {took:.2f} s of real time"
            )
            return took * SLOWED / machine_took
        finally:
            machine.kill()


def run_share(sweep: Sweep, share: int, shares: int) -> int:
    """Run the cuts of every so manyth operation. Returns how many they were."""
    result = sweep.run(lambda operation: every_cut(operation) if operation.number % shares == share else ())
    if result.violations:
        raise SystemExit(str(result.violations[0]))
    return result.cuts


def cut_rate(sweep: Sweep, runs: int, cores: int) -> float:
    """Median cuts a second, with a process on each of so many cores, as the sweeps of the tests run."""
    rates = []
    with ProcessPoolExecutor(cores) as pool:
        for _ in range(runs + 1):  # the first, which starts the processes, does not count
            before = time.perf_counter()
            cuts = sum(pool.map(run_share, [sweep] * cores, range(cores), [cores] * cores))
            rates.append(cuts / (time.perf_counter() - before))
    return statistics.median(rates[1:])


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
        cores = len(os.sched_getaffinity(0))
        single, alone = cut_rate(sweep, runs, 1), cut_rate(sweep, runs, cores)
        before = time.process_time()
        pairs = Graph(sweep, (every_cut, every_cut)).walk().sequences
        rate = pairs / (time.process_time() - before)
        print(
            f"64x4k sweep, {layout:6}  {alone:6.0f} cuts/s on {cores} cores, {single:.0f} on one, each run by itself "
            f"with its recovery and a clean retry; {rate:6.0f} cuts/s of all {pairs} of one and two, each state once"
        )
        missed |= alone < CUTS_FLOOR
    data = code_file_of_sc()
    for way in WAYS:
        rates = [wire_rate(way, data) for _ in range(min(runs, 5))]
        print(f"8 MiB SC over {way:8}  {statistics.median(rates):6.1f} MB/s until staged")
        missed |= statistics.median(rates) < WIRE_FLOOR
    ratio = pace(recipe.build(recipe.load_all()["SCN"], None, "V10200")[1])
    print(f"real time is {ratio:.3f} of machine time")
    missed |= abs(ratio - 1) > PACE_TOLERANCE
    sys.exit(missed)


if __name__ == "__main__":
    main()
