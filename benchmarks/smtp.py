"""The mail receiver beside aiosmtpd and Postfix' smtp-sink, all driven by Postfix' smtp-source on loopback.

    python benchmarks/smtp.py [--runs 5] [--quick] [--rows TEXT] [--servers NAMES] [--port N]

Each row is one kind of mail. Every run measures all servers one after the other, so that what else the machine does
hits all of them; the table has the medians of the messages a second and of the ratios within a run. `fauxfax` and
`durable` are the receiver with a store that forgets, or appends and syncs; `run` and `run durable` are whole machines,
`fauxfax run --set smtp.sink=true`, the latter with every message committed to its memory. `--port N` drives
whatever listens there (a whole `fauxfax run --set smtp.sink=true`, say) in the place of the receiver on its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

SENDER, RECIPIENT = "jane@example.org", "fax@uf-8000.local"
IDLE = 2000
_PEERS = ("aiosmtpd", "smtp-sink")
_BEATING = ("fauxfax", "durable", "aiosmtpd")
PEERS = Path(__file__).with_name("_smtp_peers.py")


class Mail(NamedTuple):
    """One row: what smtp-source sends."""

    title: str
    octets: int
    messages: int
    sessions: int
    one_each: bool = False


MAILS = (
    Mail("1 KB, 10 sessions", 1_000, 12_000, 10),
    Mail("1 KB, a connection each", 1_000, 4_000, 10, one_each=True),
    Mail("200 KB, 4 sessions", 200_000, 1_000, 4),
    Mail("2 MB, 4 sessions", 2_000_000, 60, 4),
)


LARGE = Mail("4 messages of 20 MB", 20_000_000, 4, 4)


class Server(NamedTuple):
    """One server under test: its process and port."""

    name: str
    pid: int
    port: int

    def cpu(self) -> float:
        """Processor seconds it has used; 0 if it is not ours to see."""
        if not self.pid:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> int:
        """Octets of memory it holds."""
        line = next(one for one in Path(f"/proc/{self.pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
        return int(line.split()[1]) * 1024


@contextlib.contextmanager
def server(name: str, *command: str) -> Iterator[Server]:
    """Starts a server on a free port and waits until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [word.replace("PORT", str(port)) for word in command]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield Server(name, process.pid, port)
        finally:
            process.send_signal(signal.SIGTERM)


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as caller:
            if caller.recv(3) == b"220":
                return
        time.sleep(0.05)
    raise SystemExit(f"benchmark: nothing greets on port {port}")


@contextlib.contextmanager
def servers(folder: Path, port: int, names: Sequence[str] = ()) -> Iterator[list[Server]]:
    """Those of the servers that are named, or all of them."""
    alone = [sys.executable, str(PEERS)]
    commands = {
        "fauxfax": [*alone, "memory", "PORT", str(folder)],
        "durable": [*alone, "durable", "PORT", str(folder)],
        "run": _machine(durable=False),
        "run durable": _machine(durable=True),
        "aiosmtpd": [*alone, "aiosmtpd", "PORT", str(folder)],
    }
    if shutil.which("smtp-sink"):
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        commands["smtp-sink"] = ["smtp-sink", *user, "127.0.0.1:PORT", "200"]
    if port:
        commands = {name: command for name, command in commands.items() if name in _PEERS}
    with contextlib.ExitStack() as stack:
        ours = [Server("given", 0, port)] if port else []
        wanted = [name for name in commands if not names or name in names]
        yield [*ours, *(stack.enter_context(server(name, *commands[name])) for name in wanted)]


def _machine(*, durable: bool) -> list[str]:
    """The command of a whole machine that drops what it has received."""
    # The UF-8100 has room for four messages of 20 MB.
    others = [f"ports.{way}=-1" for way in ("raw", "lpd", "ftp", "usbip", "usbredir", "parallel")]
    settings = [
        *others,
        "ports.control=0",
        "ports.smtp=PORT",
        "smtp.sink=true",
        "smtp.domain=uf-8000.local",
        f"smtp.durable={str(durable).lower()}",
    ]
    sets = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", "fauxfax", "run", "--ephemeral", "--model", "UF-8100", *sets]


def _source(target: Server, mail: Mail) -> list[str]:
    """The command that sends a row's mail."""
    return ["smtp-source", "-f", SENDER, "-t", RECIPIENT, "-l", str(mail.octets), "-m", str(mail.messages),
            "-s", str(mail.sessions), *([] if mail.one_each else ["-d"]), f"127.0.0.1:{target.port}"]  # fmt: skip


def send(target: Server, mail: Mail) -> tuple[float, float]:
    """Messages a second, and the server's processor seconds a message."""
    cpu, start = target.cpu(), time.perf_counter()
    subprocess.run(_source(target, mail), check=True, stdout=subprocess.DEVNULL)
    return mail.messages / (time.perf_counter() - start), (target.cpu() - cpu) / mail.messages


def idle_sessions(target: Server) -> float:
    """Octets of memory one idle session costs, with the banner read and EHLO said."""
    before = target.resident()
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE):
            caller = stack.enter_context(socket.create_connection(("127.0.0.1", target.port)))
            caller.recv(1000)
            caller.sendall(b"EHLO x\r\n")
            caller.recv(1000)
        return (target.resident() - before) / IDLE


class Stall(NamedTuple):
    """The longest that others waited while large mail arrived, in seconds; None if a server cannot tell.

    `answer`: for the answer to a NOOP on another session. `loop`: for the event loop itself, by the clock, and
    `processor` by the processor time of its thread: what the machine's other work adds is not in it.
    """

    answer: float
    loop: float | None
    processor: float | None


def stall(target: Server, folder: Path) -> Stall:
    """Send four large messages at a time, and another session's NOOP every two milliseconds."""
    _heartbeat(target, folder)
    longest = 0.0
    with socket.create_connection(("127.0.0.1", target.port)) as caller:
        for command in (b"", b"HELO x\r\n"):
            caller.sendall(command)
            caller.recv(1000)
        with subprocess.Popen(_source(target, LARGE), stdout=subprocess.DEVNULL) as source:
            while source.poll() is None:
                start = time.perf_counter()
                caller.sendall(b"NOOP\r\n")
                caller.recv(1000)
                longest = max(longest, time.perf_counter() - start)
                time.sleep(0.002)
    if source.returncode:
        raise SystemExit(f"benchmark: {target.name} did not take {LARGE.title}")
    return Stall(longest, *_heartbeat(target, folder))


def _heartbeat(target: Server, folder: Path) -> tuple[float | None, float | None]:
    """What the server's heartbeat has measured since it was last asked; see `_smtp_peers.py`."""
    file = folder / f"heartbeat-{target.pid}"
    if target.name not in _BEATING:
        return None, None
    file.unlink(missing_ok=True)
    os.kill(target.pid, signal.SIGUSR1)
    while not file.exists():
        time.sleep(0.01)
    clock, processor = file.read_text().split()
    return float(clock), float(processor)


def _stalls(targets: list[Server], folder: Path, runs: int) -> None:
    """The line of the longest waits."""
    results = [[stall(target, folder) for target in targets] for _ in range(runs)]
    print(f"\n{LARGE.title}: the longest wait for the answer to another's NOOP; for the loop, by the clock and in "
          "processor time (medians and the worst, ms)")  # fmt: skip
    for place, target in enumerate(targets):
        parts = []
        for name in Stall._fields:
            values = [getattr(run[place], name) for run in results]
            if None not in values:
                parts.append(f"{name} {statistics.median(values) * 1e3:5.1f} ({max(values) * 1e3:5.1f})")
        print(f"  {target.name:14}" + "   ".join(parts))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="paired runs; the medians are printed")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    parser.add_argument("--rows", default="", help="only rows whose title has this text")
    parser.add_argument("--servers", default="", help="only these servers, with commas between them")
    parser.add_argument("--port", type=int, default=0, help="drive what listens there instead of the bare receiver")
    options = parser.parse_args()
    if shutil.which("smtp-source") is None:
        print("benchmark of the receiver: left out, there is no smtp-source here (Debian package postfix)")
        return
    print(f"load {os.getloadavg()[0]:.1f}")
    names = [name for name in options.servers.split(",") if name]
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder), options.port, names) as targets:
        print(f"{'mail':26}" + "".join(f"{target.name:>22}" for target in targets))
        for mail in (mail for mail in MAILS if options.rows in mail.title):
            count = max(20, mail.messages // 10) if options.quick else mail.messages
            _row(mail._replace(messages=count), targets, options.runs)
        if options.rows in LARGE.title:
            _stalls(targets, Path(folder), options.runs)
        if not (options.port or options.rows):
            print(f"\nan idle session costs {idle_sessions(targets[0]):,.0f} octets ({IDLE} of them)")


def _row(mail: Mail, targets: list[Server], runs: int) -> None:
    """One line of messages a second and microseconds of processor time, one of the ratios to the peers."""
    results = [[send(target, mail) for target in targets] for _ in range(runs)]
    cells, ratios = [], []
    for place, target in enumerate(targets):
        rate = statistics.median(run[place][0] for run in results)
        cpu = statistics.median(run[place][1] for run in results)
        cells.append(f"{rate:>9,.0f}/s {cpu * 1e6:>6,.0f} us")
        if target.name in _PEERS:
            for ours in (one for one in targets if one.name not in _PEERS):
                ratio = statistics.median(run[targets.index(ours)][0] / run[place][0] for run in results)
                ratios.append(f"{ours.name} = {ratio:.1f} x {target.name}")
    print(f"{mail.title:26}" + "".join(f"{cell:>22}" for cell in cells))
    print("".join(f"{'':28}{ratio}\n" for ratio in ratios), end="", flush=True)


if __name__ == "__main__":
    main()
