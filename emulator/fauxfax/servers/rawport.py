"""TCP 9100: whatever arrives goes to the host port, whatever the machine says goes back.

Back-pressure is TCP's own: while the machine has no room, nothing is read from the socket, and the sender's window
closes.
"""

from __future__ import annotations

from collections.abc import Callable

from fauxfax.clock import Clock
from fauxfax.hostport.port import Port
from fauxfax.servers.streams import Connection, StreamServer


class RawPortServer(StreamServer):
    """Listens and gives every connection a port of its own."""

    def __init__(self, open_port: Callable[[], Port], clock: Clock) -> None:
        super().__init__(lambda connections: RawConnection(open_port, clock, connections))


class RawConnection(Connection):
    """One connection: moves octets both ways between a socket and a Port."""

    def __init__(self, open_port: Callable[[], Port], clock: Clock, connections: set[Connection]) -> None:
        super().__init__(open_port, clock, connections)
        self._inbox = bytearray()
        self._ended = False
        self._paused = False
        self._writable = True

    def data_received(self, data: bytes) -> None:
        """Octets from the PC."""
        self._inbox += data
        self.touch()
        self.pump()

    def eof_received(self) -> bool:
        """The PC has said all: what it said is still taken before the connection closes."""
        self._ended = True
        self.pump()
        return True

    def pause_writing(self) -> None:
        """The PC does not read: keep the rest in the machine."""
        self._writable = False

    def resume_writing(self) -> None:
        """The PC reads again."""
        self._writable = True
        self.pump()

    def move(self) -> None:
        """Move what can be moved; a machine that went dark takes the connection with it."""
        port = self._port
        while self._inbox and (room := port.room):
            chunk = bytes(self._inbox[:room])
            del self._inbox[:room]
            port.write(chunk)
        while self._writable and port.pending:
            self.transport.write(port.read(65536))
        self._throttle()
        if not port.online:
            self.abort()
        elif self._ended and not self._inbox and not port.pending:
            self.transport.close()

    def _throttle(self) -> None:
        """Read from the socket only while everything read has been taken."""
        if bool(self._inbox) is not self._paused:
            self._paused = bool(self._inbox)
            (self.transport.pause_reading if self._paused else self.transport.resume_reading)()
