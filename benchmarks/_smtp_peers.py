"""One server for `smtp.py`, in a process of its own: `_smtp_peers.py memory|durable|aiosmtpd PORT FOLDER`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fauxfax.clock import RealClock
from fauxfax.ifax.host import Limits, MessageReceived
from fauxfax.ifax.standalone import StandaloneHost
from fauxfax.servers.smtp import SmtpServer
from fauxfax.servers.ticker import Ticker

LIMITS = Limits(sessions=5000, sessions_per_address=5000)


class Nowhere:
    """Forgets what it stores."""

    def store(self, messages: Sequence[MessageReceived]) -> Sequence[int]:
        return range(len(messages))

    def settle(self) -> None:
        """Nothing was put off."""


class Disk:
    """Appends to a file and syncs it once a batch: the least that is durable. Starts anew before it grows large."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")

    def store(self, messages: Sequence[MessageReceived]) -> Sequence[int]:
        if self.file.tell() > 200_000_000:
            self.file.seek(0)
        for message in messages:
            self.file.write(message.data)
        self.file.flush()
        os.fdatasync(self.file.fileno())
        return range(len(messages))

    def settle(self) -> None:
        """Nothing was put off."""


class Heartbeat:
    """The longest that the loop was silent: seconds by the clock, and of its thread's processor time.

    SIGUSR1 has both written to the file, and begins anew. A silence has a millisecond of sleep in it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.clock = self.processor = 0.0
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, self.tell)
        self.task = loop.create_task(self.beat())

    async def beat(self) -> None:
        while True:
            clock, processor = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            self.clock = max(self.clock, time.perf_counter() - clock)
            self.processor = max(self.processor, time.thread_time() - processor)

    def tell(self) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{self.clock} {self.processor}")
        fresh.rename(self.file)
        self.clock = self.processor = 0.0


async def run_ours(port: int, folder: Path, *, durable: bool) -> None:
    clock = RealClock()
    ticker = Ticker(clock)
    ticker.start()
    store = Disk(folder / "messages") if durable else Nowhere()
    server = SmtpServer(StandaloneHost(memory=10**10), store, clock, LIMITS, durable=durable)
    await server.start(port=port)
    await _until_told(folder)
    await server.stop()
    await ticker.stop()


async def run_aiosmtpd(port: int, folder: Path) -> None:
    from aiosmtpd.handlers import Sink
    from aiosmtpd.smtp import SMTP

    # 0 switches its own limit off, which is the default of smtp-sink too.
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: SMTP(Sink(), data_size_limit=0, hostname="peer"), "127.0.0.1", port)
    await _until_told(folder)


async def _until_told(folder: Path) -> None:
    heartbeat = Heartbeat(folder / f"heartbeat-{os.getpid()}")
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()
    heartbeat.task.cancel()


if __name__ == "__main__":
    kind, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    asyncio.run(run_aiosmtpd(port, folder) if kind == "aiosmtpd" else run_ours(port, folder, durable=kind == "durable"))
