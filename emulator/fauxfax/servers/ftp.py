"""FTP: a file that is stored goes to the host port, and the reply at its end tells what became of it.

226: installed, or taken because it was no firmware. 550: refused by the machine, with its reason. A data connection
is only ever made with the client of the control connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fauxfax.capture.tcp import End
from fauxfax.clock import Clock, Timer
from fauxfax.hostport.delivery import Delivery
from fauxfax.hostport.ftp import (
    Aborted,
    ActiveWanted,
    Event,
    ListWanted,
    PassiveWanted,
    Session,
    StatusWanted,
    StoreWanted,
)
from fauxfax.hostport.port import Port
from fauxfax.servers.streams import Connection, StreamServer
from fauxfax.servers.tap import Tap, tapped

DATA_SECONDS = 30.0
"""How long a data connection may take to come about (machine seconds): a project value."""


class DataConnection(asyncio.Protocol):
    """The octets of one transfer. `changed` is called whenever there is something to do."""

    def __init__(self, peer: str, changed: Callable[[], None]) -> None:
        self._peer = peer
        self._changed = changed
        self._transport: asyncio.Transport | None = None
        self._used = False
        self.inbox = bytearray()
        self.ended = False
        self.broken = False

    @property
    def connected(self) -> bool:
        """Whether the client is, or has been, there."""
        return self._used

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The first connection of the right client is the one; others are cut."""
        assert isinstance(transport, asyncio.Transport)
        if self._used or transport.get_extra_info("peername")[0] != self._peer:
            transport.set_protocol(asyncio.Protocol())
            transport.abort()
            return
        self._used, self._transport = True, transport
        self._changed()

    def data_received(self, data: bytes) -> None:
        """Octets of the file."""
        self.inbox += data
        self._changed()

    def eof_received(self) -> None:
        """The file is over."""
        self.ended = True
        self._changed()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; without an end of the file before, the file is broken."""
        self.broken = exc is not None and not self.ended
        self.ended = True
        self._changed()

    def throttle(self) -> None:
        """Read nothing while octets wait for the machine."""
        if self._transport is None or self._transport.is_closing():
            return
        if self.inbox:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self, *, abort: bool = False) -> None:
        """No more of it."""
        if self._transport is not None:
            self._transport.abort() if abort else self._transport.close()


class FtpConnection(Connection):
    """One client: its control connection, its port, and one transfer at a time."""

    def __init__(
        self, open_port: Callable[[], Port], clock: Clock, connections: set[Connection], tap: Tap | None
    ) -> None:
        super().__init__(open_port, clock, connections)
        self._tap = tap
        self._data: DataConnection | None = None
        self._listener: asyncio.Server | None = None
        self._delivery: Delivery | None = None
        self._listing = False
        self._finished = False
        self._restarting = False
        self._patience: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def opened(self) -> None:
        """Plug in and greet."""
        self._peer = str(self.transport.get_extra_info("peername")[0])
        self._own = str(self.transport.get_extra_info("sockname")[0])
        super().opened()
        self._session = Session(self._peer, self._port.serial)

    def closed(self) -> None:
        """A file that was not complete ends here."""
        super().closed()
        self._drop_data(abort=True)
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        """Octets from the client."""
        self._session.receive(data)
        self.touch()
        self.pump()

    def move(self) -> None:
        """See Connection."""
        self._transfer()
        installed = self._delivery is not None and self._delivery.installed
        if not self._port.online and not self._restarting and not installed:
            self.abort()
            return
        while (event := self._session.next_event()) is not None:
            self._handle(event)
        self._transfer()
        if output := self._session.data_to_send():
            self.transport.write(output)
        if self._session.over:
            self.transport.close()
        elif self._session.stalled:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    # The control connection --------------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        match event:
            case PassiveWanted():
                self._drop_data()
                self._start(self._listen())
            case ActiveWanted(port):
                self._drop_data()
                self._start(self._connect(port))
                self._session.active()
            case StatusWanted():
                self._session.status(self._port.report)
            case Aborted():
                self._end(426, "aborted by the client")
            case StoreWanted() if not self._port.online:
                self._session.ended(450, "the machine is restarting; come back later")
            case StoreWanted() | ListWanted() if self._data is None:
                self._session.ended(425, "no data connection: PASV, EPSV, PORT or EPRT comes first")
            case StoreWanted():
                self._delivery, self._finished = Delivery(self._port, self._session.password), False
                self._session.opening()
            case ListWanted():
                self._listing = True
                self._session.opening()

    # The data connection -----------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        data = self._expect_data()
        self._listener = await asyncio.get_running_loop().create_server(
            tapped(lambda: data, self._tap, main=False), self._own, 0, backlog=1
        )
        self._session.passive(self._own, int(self._listener.sockets[0].getsockname()[1]))
        self.pump()

    async def _connect(self, port: int) -> None:
        data = self._expect_data()
        try:
            factory = tapped(lambda: data, self._tap, End.CLIENT, main=False)
            await asyncio.get_running_loop().create_connection(factory, self._peer, port)
        except OSError:
            self._no_data()

    def _expect_data(self) -> DataConnection:
        self._data = DataConnection(self._peer, self.pump)
        self._patience = self._clock.deadline(DATA_SECONDS, self._no_data)
        return self._data

    def _no_data(self) -> None:
        """The data connection did not come about."""
        if self._delivery is not None or self._listing:
            self._end(425, "the data connection did not come about")
        else:
            self._drop_data()
        self.pump()

    def _transfer(self) -> None:
        """Move what the machine takes; at the end of the file poll for what became of it."""
        data = self._data
        if data is None or not data.connected:
            return
        self._calm()
        if self._listing:
            self._end(226, "that is all: the directory is empty")
        elif self._delivery is not None:
            self._store(data, self._delivery)
        data.throttle()

    def _store(self, data: DataConnection, delivery: Delivery) -> None:
        while data.inbox and (room := delivery.room):
            delivery.write(bytes(data.inbox[:room]))
            del data.inbox[:room]
            self.touch()
        if data.ended and not data.inbox and not self._finished:
            self._finished = True
            delivery.finish()
            self.rest()
        verdict = delivery.poll()
        if verdict is None:
            return
        self._restarting = not self._port.online
        if data.broken and verdict.accepted and not self._restarting:
            self._end(426, "the data connection broke")
        else:
            self._end(226 if verdict.accepted else 550, verdict.text)

    def _end(self, code: int, text: str) -> None:
        """The transfer is over, however it went."""
        if self._delivery is not None and not self._finished:
            self._port.end()
        self._delivery, self._listing = None, False
        self._drop_data(abort=code == 426)
        self._session.ended(code, text)
        self.touch()

    def _drop_data(self, *, abort: bool = False) -> None:
        self._calm()
        data, self._data = self._data, None
        if data is not None:
            data.close(abort=abort)

    def _calm(self) -> None:
        """The data connection is there or not wanted any more: nobody waits for it, and no other may come."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class FtpServer(StreamServer):
    """Listens and gives every client a port of its own."""

    def __init__(self, open_port: Callable[[], Port], clock: Clock) -> None:
        super().__init__(lambda connections: FtpConnection(open_port, clock, connections, self.tap))
