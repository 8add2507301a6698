"""TCP 9100: whatever arrives goes to the host port, whatever the machine says goes back.

Also the shell of every other plain octet stream (the parallel port's data stream). Back-pressure is TCP's own: while
the machine has no room, nothing is read from the socket, and the sender's window closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fauxfax.clock import Clock, Timer
from fauxfax.hostport.port import Port

IDLE_SECONDS = 300.0
"""How long a silent connection is kept (machine seconds): a project value."""
MAX_CONNECTIONS = 64
"""Connections at a time; the next one is closed at once. A project value."""


class PortConnection(asyncio.Protocol):
    """One connection: moves octets both ways between a socket and a Port."""

    def __init__(self, open_port: Callable[[], Port], clock: Clock, connections: set[PortConnection]) -> None:
        self._open_port = open_port
        self._clock = clock
        self._connections = connections
        self._inbox = bytearray()
        self._ended = False
        self._paused = False
        self._writable = True
        self._pumping = False
        self._idle: Timer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Plug in, unless the machine is dark or too many are here."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if len(self._connections) >= MAX_CONNECTIONS:
            transport.abort()
            return
        self._port = self._open_port()
        self._connections.add(self)
        self._port.on_change(self._pump)
        self._touch()
        self._pump()

    def data_received(self, data: bytes) -> None:
        """Octets from the PC."""
        self._inbox += data
        self._touch()
        self._pump()

    def eof_received(self) -> bool:
        """The PC has said all: what it said is still taken before the connection closes."""
        self._ended = True
        self._pump()
        return True

    def pause_writing(self) -> None:
        """The PC does not read: keep the rest in the machine."""
        self._writable = False

    def resume_writing(self) -> None:
        """The PC reads again."""
        self._writable = True
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The cable is out; a job that was not complete ends here."""
        if self not in self._connections:
            return
        self._connections.discard(self)
        if self._idle is not None:
            self._idle.cancel()
        self._port.on_change(None)
        self._port.end()

    def abort(self) -> None:
        """Cut the connection without a farewell, as a machine that loses power does."""
        self._transport.abort()

    def _touch(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self._clock.deadline(IDLE_SECONDS, self.abort)

    def _pump(self) -> None:
        """Move what can be moved; called on every change, and never inside itself."""
        if self._pumping or self._transport.is_closing():
            return
        self._pumping = True
        try:
            self._move()
        finally:
            self._pumping = False

    def _move(self) -> None:
        port = self._port
        if not port.online:
            self._transport.abort()
            return
        while self._inbox and (room := port.room) and port.online:
            chunk = bytes(self._inbox[:room])
            del self._inbox[:room]
            port.write(chunk)
        while self._writable and port.pending:
            self._transport.write(port.read(65536))
        self._throttle()
        if self._ended and not self._inbox and not port.pending:
            self._transport.close()

    def _throttle(self) -> None:
        if bool(self._inbox) is self._paused:
            return
        self._paused = bool(self._inbox)
        if self._paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


class RawPortServer:
    """Listens and gives every connection a port of its own."""

    def __init__(self, open_port: Callable[[], Port], clock: Clock) -> None:
        self._open_port = open_port
        self._clock = clock
        self._connections: set[PortConnection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen. Returns the port that is really used."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: PortConnection(self._open_port, self._clock, self._connections), host, port
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        await asyncio.sleep(0)
