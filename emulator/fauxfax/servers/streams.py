"""What the stream servers (raw port, LPD, FTP) share: a listener with a limit, and a connection that moves octets.

Back-pressure is TCP's own: while the machine has no room, nothing is read from the socket.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable

from fauxfax.clock import Clock, Timer
from fauxfax.hostport.port import Port
from fauxfax.servers.tap import Tap, tapped

IDLE_SECONDS = 300.0
"""How long a silent connection is kept at least, and half of how long at most (machine seconds): a project value."""
MAX_CONNECTIONS = 64
"""Connections at a time; the next one is closed at once. A project value."""

BACKLOG = 1024
"""Connections that wait to be taken in: a crowd keeps nobody waiting for a second SYN. A project value."""
log = logging.getLogger(__name__)


class Connection(asyncio.Protocol, ABC):
    """One connection with a port of its own. Subclasses say what octets mean; `pump()` may be called at any time, and
    never runs in itself."""

    transport: asyncio.Transport

    def __init__(self, open_port: Callable[[], Port], clock: Clock, connections: set[Connection]) -> None:
        self._open_port = open_port
        self._clock = clock
        self._connections = connections
        self._pumping = False
        self._pump_again = False
        self._idle: Timer | None = None
        self._heard = False

    @abstractmethod
    def move(self) -> None:
        """Do what can be done now."""

    def opened(self) -> None:
        """The client is there: plug in."""
        self._port = self._open_port()
        self._port.on_change(self.pump)

    def closed(self) -> None:
        """The client is gone; what was not complete ends here."""
        self._port.on_change(None)
        self._port.end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless too many are here."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if len(self._connections) >= MAX_CONNECTIONS:
            log.warning(
                "port %s: %s dropped: %d connections are open",
                transport.get_extra_info("sockname")[1],
                transport.get_extra_info("peername"),
                MAX_CONNECTIONS,
            )
            transport.abort()
            return
        self._connections.add(self)
        self.opened()
        self.touch()
        self.pump()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The connection is gone, whoever ended it."""
        if self in self._connections:
            self._connections.discard(self)
            self.rest()
            self.closed()

    def abort(self) -> None:
        """Cut the connection without a farewell, as a machine that loses power does."""
        self.transport.abort()

    def touch(self) -> None:
        """The client has done something, and has at least IDLE_SECONDS from now on to do more.

        Called for every piece of a file, so it only leaves a note for the one timer there is.
        """
        self._heard = True
        if self._idle is None:
            self._idle = self._clock.deadline(IDLE_SECONDS, self._look)

    def rest(self) -> None:
        """It is not the client's turn: the machine takes the time it takes."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _look(self) -> None:
        self._idle = None
        if not self._heard:
            self.abort()
            return
        self.touch()
        self._heard = False

    def pump(self) -> None:
        """Do what can be done now; a call from inside is done after the one that runs."""
        self._pump_again = True
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._pump_again and not self.transport.is_closing():
                self._pump_again = False
                self.move()
        finally:
            self._pumping = False


class StreamServer:
    """Listens and makes a connection for each client."""

    def __init__(self, connect: Callable[[set[Connection]], Connection]) -> None:
        self.tap: Tap | None = None
        self._connect = connect
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen. Returns the port that is really used."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            tapped(lambda: self._connect(self._connections), self.tap), host, port, backlog=BACKLOG
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        await asyncio.sleep(0)
