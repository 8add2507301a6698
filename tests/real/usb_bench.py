"""A machine with its USB servers on an event loop in a thread; what its USB plug takes is hashed on the way."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

from fauxfax.hostport.usb import PrinterFunction
from fauxfax.hostport.usbdescriptors import Speed
from fauxfax.inprocess import InProcessMachine
from fauxfax.machine.channel import Channel
from fauxfax.servers.ticker import Ticker
from fauxfax.servers.usbip import Plug, UsbipServer
from fauxfax.servers.usbredir import UsbredirServer

T = TypeVar("T")


class UsbBench:
    """Use as a context manager. `usbip` and `usbredir` are TCP ports on the loopback.

    Args:
        speed: of the plug.
        beside: more machines, which the USB/IP server exports as 1-2 and so on.
    """

    def __init__(self, speed: Speed = Speed.HIGH, beside: Sequence[Plug] = ()) -> None:
        self._beside = beside
        self.octets = 0
        self.seconds = 0.0
        """From the first octets taken to the last."""
        self.at: dict[int, Callable[[], None]] = {}
        """What to do when so many octets have been taken."""
        self._owner = InProcessMachine()
        self.machine = self._owner.machine
        self._hash = hashlib.sha256()
        self._speed = speed
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> UsbBench:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._owner.close()

    @property
    def digest(self) -> str:
        """SHA-256 of what the machine has taken since `forget()`."""
        return self._hash.hexdigest()

    def forget(self) -> None:
        """Begin to count and hash anew."""
        self._hash, self.octets, self.seconds = hashlib.sha256(), 0, 0.0

    def call(self, function: Callable[[], T]) -> T:
        """Run a function where the machine lives."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._open_port, self.machine.open_port = self.machine.open_port, self._tapped
        ticker = Ticker(self.machine.clock)
        ticker.start()

        def plug() -> PrinterFunction:
            return self.machine.open_usb(self._speed)

        servers = UsbipServer([plug, *self._beside], self.machine.clock), UsbredirServer(plug, self.machine.clock)
        self.usbip, self.usbredir = [await server.start("127.0.0.1", 0) for server in servers]
        self._started.set()
        await self._stopping.wait()
        for server in servers:
            await server.stop()
        await ticker.stop()

    def _tapped(self, way: str) -> Channel:
        channel = self._open_port(way)
        take = channel.write

        def write(data: memoryview) -> None:
            self._taken(data)
            take(data)

        channel.write = write
        return channel

    def _taken(self, data: memoryview) -> None:
        if not self.octets:
            self._first = time.perf_counter()
        self.octets += len(data)
        self.seconds = time.perf_counter() - self._first
        self._hash.update(data)
        for octets in [octets for octets in self.at if octets <= self.octets] if self.at else ():
            self._loop.call_soon(self.at.pop(octets))
