"""The parallel port's data stream over TCP: QEMU's `-chardev socket` behind `-device isa-parallel`.

One-way, as a cable without IEEE 1284 is: what the machine would answer is read and thrown away, so that it never
becomes busy for want of a reader. A cable is silent as long as it likes, and there is one. Back-pressure is TCP's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from fauxfax.hostport.port import Port
from fauxfax.servers.streams import BACKLOG
from fauxfax.servers.tap import Tap, tapped

log = logging.getLogger(__name__)


class ParallelServer:
    """Listens; the connection that is open is the cable, and another is closed at once."""

    def __init__(self, open_port: Callable[[], Port]) -> None:
        self.open_port = open_port
        self.tap: Tap | None = None
        self.cable: Cable | None = None
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen. Returns the port that is really used."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(tapped(lambda: Cable(self), self.tap), host, port, backlog=BACKLOG)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and pull the cable."""
        if self._server is not None:
            self._server.close()
        if self.cable is not None:
            self.cable.abort()
        await asyncio.sleep(0)


class Cable(asyncio.Protocol):
    """One connection: octets in, as the machine has room."""

    def __init__(self, server: ParallelServer) -> None:
        self._server = server
        self._inbox = bytearray()
        self._ended = False
        self._moving = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Plug in, unless a cable is in already."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._server.cable is not None:
            log.warning("parallel: %s turned away: a cable is in", transport.get_extra_info("peername"))
            transport.abort()
            return
        self._server.cable = self
        self._port = self._server.open_port()
        self._port.on_change(self._move)

    def data_received(self, data: bytes) -> None:
        """Octets from the PC."""
        self._inbox += data
        self._move()

    def eof_received(self) -> bool:
        """The PC has said all; what it said is still taken."""
        self._ended = True
        self._move()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The cable is out."""
        if self._server.cable is self:
            self._server.cable = None
            self._port.on_change(None)
            self._port.end()

    def abort(self) -> None:
        """Pull the cable."""
        self._transport.abort()

    def _move(self) -> None:
        """Move what can be moved. While the machine is off it is simply busy: a cable does not notice."""
        if self._moving:
            return
        self._moving = True
        try:
            port = self._port
            while self._inbox and (room := port.room):
                chunk = bytes(self._inbox[:room])
                del self._inbox[:room]
                port.write(chunk)
                self._hear_nothing()
            self._hear_nothing()
        finally:
            self._moving = False
        if self._ended and not self._inbox:
            self._transport.close()
        elif self._inbox:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _hear_nothing(self) -> None:
        while self._port.pending:
            self._port.read(65536)
