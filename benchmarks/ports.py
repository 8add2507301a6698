"""The ports of the machine: USB/IP beside the package usbip, usbredir into a guest, the backend in this process.

    python benchmarks/ports.py [--runs 5] [--quick]

The USB/IP rows drive both servers with the same client, one transfer at a time and eight in flight; each run measures
both one after the other, the medians of the rates and of the ratios within a run are printed. Ours is a whole machine
that interprets what it is sent, the peer drops it. What is not installed is left out, and the row says so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from fauxfax.hostport import usbip
from fauxfax.hostport.jobstream import UEL
from fauxfax.inprocess import InProcessMachine
from fauxfax.testing import MachineProcess

CHECKOUT = Path(__file__).parents[1]
PEER = Path(__file__).with_name("_usbip_peer.py")
SECONDS = 0.6
SIZES = {"512 B": 512, "16 KiB": 16 * 1024, "1 MiB": 1024 * 1024}
STALL = 0.04
"""A round trip as long as this is Nagle's algorithm against delayed acknowledgement."""
SETTLE = 0.05
"""Real seconds between two looks at whether a machine is idle again."""
MACHINES = 64
MIB = 1024 * 1024


class Rate(NamedTuple):
    """What one measurement gave: octets a second, and the longest round trip in seconds."""

    octets: float
    longest: float


class Client:
    """A USB/IP client that waits for each reply itself: the same for both servers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(usbip.pack_import_request("1-1"))
        export = usbip.parse_import_reply(self._receive(usbip.IMPORT_REPLY_SIZE))
        assert isinstance(export, usbip.Export)
        self._devid, self._seqnum = export.devid, 0
        self.control(bytes((0x00, 9, 1, 0, 0, 0, 0, 0)))

    def control(self, setup: bytes) -> None:
        """A control transfer without data."""
        self._socket.sendall(self._submit(0, 0, setup))
        self._receive(usbip.URB_SIZE)

    def send(self, data: bytes) -> None:
        """One bulk transfer out, to its end."""
        self._socket.sendall(self._submit(1, len(data)) + data)

    def reply(self) -> None:
        """The reply of the oldest transfer."""
        reply = self._receive(usbip.URB_SIZE)
        if reply[20:24] != bytes(4):
            raise SystemExit(f"benchmark: a transfer failed: {reply.hex()}")

    def close(self) -> None:
        """Pull the cable."""
        self._socket.close()

    def _submit(self, endpoint: int, length: int, setup: bytes = bytes(8)) -> bytes:
        self._seqnum += 1
        return usbip.pack_submit(self._seqnum, self._devid, endpoint, usbip.OUT, length, setup)

    def _receive(self, count: int) -> bytes:
        return self._socket.recv(count, socket.MSG_WAITALL)


def bulk_out(port: int, size: int, in_flight: int, seconds: float) -> Rate:
    """Bulk OUT for some time; the machine is told that print data come."""
    client, data = Client(port), bytes(range(256)) * (size // 256)
    with contextlib.closing(client):
        client.send(UEL + b"II*\0")
        client.reply()
        for _ in range(in_flight - 1):
            client.send(data)
        start = last = time.perf_counter()
        transfers, longest = 0, 0.0
        while last - start < seconds:
            client.send(data)
            client.reply()
            now = time.perf_counter()
            transfers, longest, last = transfers + 1, max(longest, now - last), now
        for _ in range(in_flight - 1):
            client.reply()
        return Rate(transfers * size / (last - start), longest)


@contextlib.contextmanager
def peer() -> Iterator[int | None]:
    """The port of the peer's device; None if the package is not installed."""
    if importlib.util.find_spec("usbip") is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with subprocess.Popen([sys.executable, str(PEER), str(port)]) as process:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield port
        finally:
            process.kill()


def settle(machine: MachineProcess) -> None:
    """Wait until the machine has seen to what it was sent to print: that is to be in nobody's way."""
    time.sleep(SETTLE)
    while machine.status()["memory"]["documents"]:
        time.sleep(SETTLE)


def usbip_rows(machine: MachineProcess, runs: int, seconds: float) -> None:
    """Bulk OUT over USB/IP, ours beside the peer's."""
    print(f"{'USB/IP bulk OUT':28}{'fauxfax':>14}{'usbip 0.7.0':>14}{'ratio':>8}{'longest':>11}")
    with peer() as peer_port:
        for name, size in SIZES.items():
            for in_flight in (1, 8):
                ours, theirs = [], []
                for _ in range(runs):
                    ours.append(bulk_out(machine.ports["usbip"], size, in_flight, seconds))
                    settle(machine)
                    if peer_port is not None:
                        theirs.append(bulk_out(peer_port, size, in_flight, seconds))
                _usbip_row(f"  {name}, {in_flight} in flight", ours, theirs)


def _usbip_row(title: str, ours: list[Rate], theirs: list[Rate]) -> None:
    rate = statistics.median(one.octets for one in ours)
    longest = statistics.median(one.longest for one in ours)
    note = "  STALL" if longest >= STALL else ""
    beside = "  not installed" + " " * 7
    if theirs:
        ratio = statistics.median(one.octets / other.octets for one, other in zip(ours, theirs, strict=True))
        beside = f"{statistics.median(one.octets for one in theirs) / 1e6:9.1f} MB/s{ratio:8.2f}"
    print(f"{title:28}{rate / 1e6:9.1f} MB/s{beside}{longest * 1e3:8.1f} ms{note}", flush=True)


def control_row(runs: int, seconds: float) -> None:
    """Control transfers through the PyUSB backend in this process."""
    import usb.core

    with InProcessMachine() as machine:
        backend = machine.usb_backend()
        device = usb.core.find(backend=backend)
        device.set_configuration()
        handle = device._ctx.handle  # what PyUSB hands to a backend
        buffer = usb.util.create_buffer(1)
        raw = _per_second(lambda: backend.ctrl_transfer(handle, 0xA1, 1, 0, 0, buffer, 1000), runs, seconds)
        whole = _per_second(lambda: device.ctrl_transfer(0xA1, 1, 0, 0, 1), runs, seconds)
    print(f"\nin process: {raw:,.0f} control transfers/s at the backend, {whole:,.0f}/s through PyUSB's own layers")


def _per_second(call: Callable[[], object], runs: int, seconds: float) -> float:
    rates = []
    for _ in range(runs):
        calls, start = 0, time.perf_counter()
        while (now := time.perf_counter()) - start < seconds:
            for _ in range(1000):
                call()
            calls += 1000
        rates.append(calls / (now - start))
    return statistics.median(rates)


def guest_row(runs: int) -> None:
    """8 MiB from a guest's usblp over usbredir, timed in the machine from the first octets to the last."""
    sys.path.insert(0, str(CHECKOUT / "tests" / "real"))
    from guest import Guest, Missing
    from usb_bench import UsbBench

    rates = []
    try:
        with UsbBench() as bench:
            job = b"II*\0" + bytes(8 * MIB)
            with Guest(["xhci-pci", "usblp"], {"job": job}, usbredir=bench.usbredir) as guest:
                guest.wait_for("[ -e /dev/usb/lp0 ]")
                for _ in range(runs):
                    bench.forget()
                    guest.run("cat /job > /dev/usb/lp0")
                    rates.append(bench.octets / bench.seconds / 1e6)
    except Missing as missing:
        print(f"usbredir into a guest's usblp: left out, {missing}")
        return
    print(f"usbredir into a guest's usblp: {statistics.median(rates):.1f} MB/s (8 MiB, software emulation)", flush=True)


def parallel_row(machine: MachineProcess, runs: int) -> None:
    """The parallel port's data stream into the machine."""
    if "parallel" not in machine.ports:
        print("parallel stream: left out, the machine offers none")
        return
    rates, data = [], UEL + b"II*\0" + bytes(8 * MIB) + UEL
    for _ in range(runs):
        start = time.perf_counter()
        with socket.create_connection(("127.0.0.1", machine.ports["parallel"])) as stream:
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            while stream.recv(65536):
                pass
        rates.append(len(data) / (time.perf_counter() - start) / 1e6)
    print(f"parallel stream into the machine: {statistics.median(rates):.1f} MB/s", flush=True)


def memory_row() -> None:
    """Resident memory of idle machines in one process, in a process of its own."""
    program = (
        "from pathlib import Path\n"
        "from fauxfax.inprocess import InProcessMachine\n"
        "def resident():\n"
        "    text = Path('/proc/self/status').read_text()\n"
        "    return next(int(l.split()[1]) for l in text.splitlines() if l.startswith('VmRSS')) * 1024\n"
        "first = InProcessMachine(); before = resident()\n"
        f"many = [InProcessMachine() for _ in range({MACHINES})]\n"
        f"print((resident() - before) / {MACHINES})\n"
        "for machine in [first, *many]: machine.close()\n"
    )
    if not Path("/proc/self/status").exists():
        print("memory of idle machines: left out, there is no /proc here")
        return
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    print(f"{MACHINES} idle machines in one process: {float(result.stdout) / MIB:.2f} MiB each")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="paired runs; the medians are printed")
    parser.add_argument("--quick", action="store_true", help="a quarter of the time")
    options = parser.parse_args()
    seconds = SECONDS / 4 if options.quick else SECONDS
    with tempfile.TemporaryDirectory() as folder:
        machine = MachineProcess(Path(folder) / "machine").start()
        try:
            usbip_rows(machine, options.runs, seconds)
            control_row(options.runs, seconds)
            parallel_row(machine, options.runs)
        finally:
            machine.stop()
    guest_row(options.runs)
    memory_row()


if __name__ == "__main__":
    main()
