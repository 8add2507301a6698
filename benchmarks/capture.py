"""What a capture costs: the same work on a machine that captures and on one that does not, one after the other.

    python benchmarks/capture.py [--runs 20] [--quick]

The table has the medians of both rates, and of what the capture costs within a run. Each run has two new machines:
where a process happens to lie in memory changes its rates by more than a capture does. The rows of USB/IP are a client
that does nothing else, the last of them for so long that what is captured leaves every cache. The last row is what a
driver sees: `usblp` of a guest's kernel, if the guest can be had here.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import smtplib
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fauxfax.hostport.jobstream import UEL
from fauxfax.testing import MachineProcess

sys.path.append(str(Path(__file__).parent))
from ports import CHECKOUT, Client, bulk_out, settle

MIB = 1024 * 1024
WARM_UP = 3
"""Jobs after which a machine is as quick as it will be: before, its memory is new."""
ALLOWED = 10.0
"""Per cent that a capture may cost."""


class Row(NamedTuple):
    """One kind of work: what it does to a machine, and in which unit its rate is."""

    title: str
    unit: str
    rate: Callable[[MachineProcess], float]


def mails(lines: int, count: int) -> Callable[[MachineProcess], float]:
    """Messages of so many lines a second in one session, each durable."""
    text = "Subject: a fax\r\n\r\n" + f"{'a line of text':64}\r\n" * lines

    def rate(machine: MachineProcess) -> float:
        with smtplib.SMTP("127.0.0.1", machine.ports["smtp"]) as smtp:
            start = time.perf_counter()
            for _ in range(count):
                smtp.sendmail("jane@example.org", ["fax@uf-8000.local"], text)
            return count / (time.perf_counter() - start)

    return rate


def raw(machine: MachineProcess) -> float:
    """MB/s of print data into the raw port."""
    data = UEL + b"II*\0" + bytes(16 * MIB) + UEL
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", machine.ports["raw"])) as stream:
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        while stream.recv(65536):
            pass
    return len(data) / (time.perf_counter() - start) / 1e6


def bulk(size: int, seconds: float = 0.12) -> Callable[[MachineProcess], float]:
    """MB/s of bulk OUT over USB/IP."""
    return lambda machine: bulk_out(machine.ports["usbip"], size, 1, seconds).octets / 1e6


def control(machine: MachineProcess) -> float:
    """Control transfers a second over USB/IP, one at a time."""
    client, count = Client(machine.ports["usbip"]), 3000
    start = time.perf_counter()
    for _ in range(count):
        client.control(bytes((0x00, 9, 1, 0, 0, 0, 0, 0)))
    rate = count / (time.perf_counter() - start)
    client.close()
    return rate


def driver_row(runs: int) -> None:
    """8 MiB from a guest's usblp over usbredir, to the end of `cat`; each machine has a guest of its own."""
    sys.path.insert(0, str(CHECKOUT / "tests" / "real"))
    from guest import Guest, Missing

    job = UEL + b"II*\0" + bytes(8 * MIB) + UEL
    try:
        with machines() as (plain, capturing, file), contextlib.ExitStack() as stack:
            guests: dict[MachineProcess, Guest] = {}
            for machine in (plain, capturing):
                guest = Guest(["xhci-pci", "usblp"], {"job": job}, usbredir=machine.ports["usbredir"])
                guests[machine] = stack.enter_context(guest)
                guests[machine].wait_for("[ -e /dev/usb/lp0 ]")

            def rate(machine: MachineProcess) -> float:
                start = time.perf_counter()
                guests[machine].run("cat /job > /dev/usb/lp0")
                return len(job) / (time.perf_counter() - start) / 1e6

            row = Row("a guest's usblp, 8 MiB", "MB/s", rate)
            report(row, [pair(row, plain, capturing, file, backwards=bool(run % 2)) for run in range(runs)])
    except Missing as missing:
        print(f"a guest's usblp: left out, {missing}")


WARMING = Row("a job", "MB/s", bulk(16 * 1024))
ROWS = (
    Row("mail, 2 KB, one session", "/s", mails(32, 150)),
    Row("mail, 50 KB, one session", "/s", mails(770, 100)),
    Row("raw port, 16 MiB", "MB/s", raw),
    Row("USB/IP, 512 B", "MB/s", bulk(512)),
    Row("USB/IP, 16 KiB", "MB/s", bulk(16 * 1024)),
    Row("USB/IP, 256 KiB", "MB/s", bulk(256 * 1024)),
    Row("USB/IP, 1 MiB", "MB/s", bulk(MIB)),
    Row("USB/IP, control", "/s", control),
    Row("USB/IP, 16 KiB, 0.5 s", "MB/s", bulk(16 * 1024, 0.5)),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two runs")
    options = parser.parse_args()
    runs = 2 if options.quick else options.runs
    pairs: dict[str, list[tuple[float, float]]] = {row.title: [] for row in ROWS}
    for run in range(runs):
        with machines() as (plain, capturing, file):
            for _ in range(WARM_UP):
                pair(WARMING, plain, capturing, file)
            for row in ROWS:
                pairs[row.title].append(pair(row, plain, capturing, file, backwards=bool(run % 2)))
    print(f"{'capture':28}{'off':>14}{'on':>14}{'cost':>9}")
    for row in ROWS:
        report(row, pairs[row.title])
    driver_row(runs)


@contextlib.contextmanager
def machines() -> Iterator[tuple[MachineProcess, MachineProcess, Path]]:
    """A machine that does not capture, one that does, and its file."""
    with tempfile.TemporaryDirectory(prefix="fauxfax-bench-") as name:
        folder = Path(name)
        file = folder / "run.pcapng"
        sink = ("--set", "smtp.sink=true", "--set", "capture.limit=64000000000")
        plain = MachineProcess(folder / "plain", sink).start()
        capturing = MachineProcess(folder / "capturing", (*sink, "--capture", str(file))).start()
        try:
            yield plain, capturing, file
        finally:
            plain.kill()
            capturing.kill()


def pair(
    row: Row, plain: MachineProcess, capturing: MachineProcess, file: Path, *, backwards: bool = False
) -> tuple[float, float]:
    """One run of a row: the rate without a capture, and with one, which may be measured first."""
    rates: dict[MachineProcess, float] = {}
    for machine in (capturing, plain) if backwards else (plain, capturing):
        size = -1
        while size != (size := file.stat().st_size):  # what either has still to do would be in the way
            settle(plain)
            settle(capturing)
        with apart(machine):
            rates[machine] = row.rate(machine)
    return rates[plain], rates[capturing]


@contextlib.contextmanager
def apart(machine: MachineProcess) -> Iterator[None]:
    """Give a machine and this client a processor each: else the scheduler puts both on one, or not, and decides."""
    if not hasattr(os, "sched_setaffinity") or len(processors := sorted(os.sched_getaffinity(0))) < 2:
        yield
        return
    assert machine.process is not None
    os.sched_setaffinity(machine.process.pid, processors[:1])
    os.sched_setaffinity(0, processors[1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, processors)


def report(row: Row, pairs: Sequence[tuple[float, float]]) -> None:
    """One line of the table."""
    off, on = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    cost = statistics.median(100 * (1 - mine / base) for base, mine in pairs)
    note = "  MORE THAN ALLOWED" if cost > ALLOWED else ""
    print(f"{row.title:28}{off:9,.0f} {row.unit:4}{on:9,.0f} {row.unit:4}{cost:7.1f} %{note}", flush=True)


if __name__ == "__main__":
    main()
