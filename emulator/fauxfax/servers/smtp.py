"""The way in for mail: sockets around `ifax.smtp.Receiver`. Loopback unless told otherwise; port 0 picks a free one.

One call per packet, one timer for all sessions. A session that must wait for its verdict reads nothing more
than it has.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from fauxfax.clock import Clock, Timer
from fauxfax.events import Event, SessionClosed, SessionOpened
from fauxfax.ifax.host import Host, Limits, MessageReceived, Reservations, Verdict
from fauxfax.ifax.smtp import Delay, Dropped, Receiver
from fauxfax.ifax.states import State
from fauxfax.servers.readers import Reader, Readers
from fauxfax.servers.tap import Tap, tapped
from fauxfax.servers.writer import MessageStore, Writer

log = logging.getLogger(__name__)

TICK = 1.0
"""Machine seconds between two looks at the deadlines."""
BUFFER = 256 * 1024
"""Octets read from a socket at once."""
UNWRITTEN = 32 * 1024 * 1024
"""Octets acknowledged from memory that may wait for the writer, when nothing need be durable: a project value."""
LINGER = 0.02
"""Real seconds for which messages that need not be durable are gathered: a thread woken for each would cost more than
all the rest. A project value."""
PARTING = 2.0
"""Real seconds a stopping server gives its sessions to take their last reply."""

Inspector = Callable[[MessageReceived], Awaitable[Verdict]]
"""Looks into a message before it is accepted: STORED lets it through, any other verdict is the sender's reply."""


class SmtpServer:
    """The SMTP receiver's sockets.

    `store` keeps the messages (see `MessageStore`); with `durable` false a message is acknowledged before it is kept.
    `stored` hears the numbers of what was kept, `publish` the coming and going of sessions, both in the loop's thread.
    While `dark()` is true, nobody is at home: connections are cut without a word.
    """

    def __init__(
        self,
        host: Host,
        store: MessageStore,
        clock: Clock,
        limits: Limits | None = None,
        *,
        durable: bool = True,
        stored: Callable[[Sequence[int]], None] | None = None,
        publish: Callable[[Event], object] | None = None,
        inspector: Inspector | None = None,
        dark: Callable[[], bool] = lambda: False,
    ) -> None:
        self.host = host
        self.clock = clock
        self.limits = limits or Limits()
        self.durable = durable
        self.inspector = inspector
        self.tap: Tap | None = None
        self.dark = dark
        self.reservations = Reservations()
        self.buffer = memoryview(bytearray(BUFFER))
        self.ticks = 0
        self._store = store
        self._stored = stored
        self._publish = publish
        self._sessions: dict[Session, None] = {}
        self._by_address: Counter[str] = Counter()
        self._outgoing: list[Session] = []
        self._numbers = 0
        self._timer: Timer | None = None
        self._server: asyncio.Server | None = None
        self.stopping = False
        self.readers: Readers | None = None

    async def start(self, address: str = "127.0.0.1", port: int = 0) -> int:
        """Listen. Returns the port."""
        self.stopping = False
        self.writer = Writer(self._store, self._stored, linger=0.0 if self.durable else LINGER)
        self._loop = asyncio.get_running_loop()
        # What a tap is to hear must come by way of the transport.
        self.readers = Readers(self.buffer) if Readers.available and self.tap is None else None
        self._server = await self._loop.create_server(
            tapped(lambda: Session(self), self.tap), address, port, backlog=1024
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Take no more sessions, let what was read be stored and acknowledged, send everybody away with 421."""
        self.stopping = True
        if self._server is not None:
            self._server.close()
            for session in tuple(self._sessions):
                session.send_away("shutting down")
            await self.writer.stop()
            end = asyncio.get_running_loop().time() + PARTING
            while self._sessions and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(0.01)
            for session in tuple(self._sessions):
                session.abort()
            if self.readers is not None:
                self.readers.close()
                self.readers = None
            self._server = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def cut(self) -> None:
        """The machine lost its power: every connection is lost, at once."""
        for session in tuple(self._sessions):
            session.abort()

    @property
    def sessions(self) -> int:
        """How many sessions there are now."""
        return len(self._sessions)

    def enter(self, session: Session, peer: str) -> tuple[int, str]:
        """A connection was made. Returns its number, and why it must go, if it must."""
        self._numbers += 1
        refusal = ""
        if self.stopping:
            refusal = "shutting down"
        elif len(self._sessions) >= self.limits.sessions:
            refusal = "too many sessions"
        elif self._by_address[peer] >= self.limits.sessions_per_address:
            refusal = "too many sessions from your address"
        self._sessions[session] = None
        self._by_address[peer] += 1
        if self._publish is not None:
            self._publish(SessionOpened(self._numbers, peer))
        if self._timer is None:
            self._timer = self.clock.deadline(TICK, self._sweep)
        return self._numbers, refusal

    def send_soon(self, session: Session) -> None:
        """Send a session's replies at the end of this round of the loop, together with those of all others.

        A sender with many sessions then wakes once a round and not once a reply, which is a third of all the work.
        """
        self._outgoing.append(session)
        if len(self._outgoing) == 1:
            self._loop.call_soon(self._send_all)

    def _send_all(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        for session in outgoing:
            session.send()

    def leave(self, session: Session, number: int, peer: str, reason: str) -> None:
        """A connection is gone."""
        self._sessions.pop(session, None)
        self._by_address[peer] -= 1
        if not self._by_address[peer]:
            del self._by_address[peer]
        if self._publish is not None:
            self._publish(SessionClosed(number, reason))

    def _sweep(self) -> None:
        """Once a tick: whoever let a deadline pass is sent away. Sleeps while nobody is here."""
        self.ticks += 1
        for session in tuple(self._sessions):
            session.check_deadlines()
        self._timer = self.clock.deadline(TICK, self._sweep) if self._sessions else None


class Session(asyncio.BufferedProtocol):
    """One connection."""

    __slots__ = ("_began", "_closed_at", "_ended", "_number", "_paused", "_peer", "_reader", "_reason", "_receiver",
                 "_seen", "_server", "_tasks", "_transport", "_writable")  # fmt: skip

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._seen = self._began = server.ticks
        self._closed_at: int | None = None
        self._paused = self._ended = False
        self._writable = True
        self._reason = "connection lost"
        self._reader: Reader | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, or refuse one too many."""
        self._transport = cast(asyncio.Transport, transport)
        peername = transport.get_extra_info("peername")
        self._peer = str(peername[0]) if peername else ""
        self._number, refusal = self._server.enter(self, self._peer)
        server = self._server
        own = transport.get_extra_info("sockname")
        self._receiver = Receiver(
            server.host, server.limits, self._peer, self._number, server.reservations, str(own[0]) if own else ""
        )
        if server.dark():
            self.abort()
            return
        if refusal:
            self._reason = refusal
            self._receiver.refuse(refusal)
        else:
            self._receiver.start()
        self._pump()
        if server.readers is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            fd = transport.get_extra_info("socket").fileno()
            self._reader = Reader(server.readers, fd, self.buffer_updated, self._leave_reading, self.abort)
            if not self._paused:
                self._reader.start()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - one size suits all
        """Where the next octets go: one buffer for all sessions, emptied before the loop reads again."""
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Octets from the sender are in the buffer. This runs for every packet: it does what most need, and no more."""
        server, receiver = self._server, self._receiver
        self._seen = server.ticks
        if receiver.waiting:
            # One chunk is kept; only who talks on is stopped, which spares the others two system calls a message.
            self._set_reading()
        receiver.feed(server.buffer[:nbytes].tobytes())
        if receiver.events or receiver.closing:
            self._pump()
        elif octets := receiver.data_to_send():
            self._transport.write(octets)

    def eof_received(self) -> bool:
        """The sender will say no more: neither will we, once a verdict it waits for has come."""
        self._ended = True
        return self._receiver.state is State.VERDICT

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a lost connection is a lost connection
        """Forget what was not acknowledged."""
        self._stop_reading()
        self._receiver.lost()
        for task in self._tasks:
            task.cancel()
        self._server.leave(self, self._number, self._peer, self._reason)

    def pause_writing(self) -> None:
        """The sender does not take its replies: read no more commands."""
        self._writable = False
        self._set_reading()

    def resume_writing(self) -> None:
        """It takes them again."""
        self._writable = True
        self._set_reading()

    def send_away(self, reason: str) -> None:
        """421, unless a message waits for its verdict: then after it."""
        if self._receiver.state is not State.VERDICT:
            self._reason = reason
            self._receiver.refuse(reason)
            self._pump()

    def abort(self) -> None:
        """Cut the connection."""
        self._stop_reading()
        self._transport.abort()

    def check_deadlines(self) -> None:
        """Called once a tick."""
        ticks, limits = self._server.ticks, self._server.limits
        if self._closed_at is not None:
            if (ticks - self._closed_at) * TICK > limits.command_timeout:
                self.abort()
        elif (ticks - self._seen) * TICK >= self._receiver.deadline or (
            (ticks - self._began) * TICK >= limits.session_timeout and self._receiver.state is not State.VERDICT
        ):
            self._reason = "timeout"
            self._receiver.timed_out()
            self._pump()

    def _pump(self) -> None:
        """Deal with the receiver's events and send its replies."""
        receiver = self._receiver
        dropped = False
        while (event := receiver.next_event()) is not None:
            if type(event) is MessageReceived:
                self._keep(event)
            elif type(event) is Delay:
                self._server.clock.deadline(event.seconds, self._resume)
            elif type(event) is Dropped:
                dropped = True
        if dropped:
            self._reason = "dropped by a fault"
            self.send()
            self.abort()
        elif receiver.closing:
            self._hang_up()
        else:
            self._server.send_soon(self)

    def send(self) -> None:
        """Write the replies that wait."""
        if octets := self._receiver.data_to_send():
            self._transport.write(octets)

    def _hang_up(self) -> None:
        """After the last reply."""
        self.send()
        if self._closed_at is None:
            if self._reason == "connection lost":
                self._reason = "closed"
            self._closed_at = self._server.ticks
            self._stop_reading()
            self._transport.close()

    def _keep(self, message: MessageReceived) -> None:
        """Have a message looked into and stored, or acknowledge it from memory."""
        if self._server.inspector is not None:
            task = asyncio.get_running_loop().create_task(self._inspect(self._server.inspector, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif self._server.durable or self._server.writer.waiting_octets > UNWRITTEN:
            self._server.writer.put(message, self._finish)
        else:
            self._server.writer.put(message, _nobody)
            self._receiver.finish(Verdict.STORED)

    async def _inspect(self, inspector: Inspector, message: MessageReceived) -> None:
        verdict = await inspector(message)
        if verdict is Verdict.STORED:
            self._server.writer.put(message, self._finish)
        else:
            self._finish(verdict)

    def _finish(self, verdict: Verdict) -> None:
        self._seen = self._server.ticks
        self._receiver.finish(verdict)
        self._go_on()

    def _resume(self) -> None:
        self._receiver.resume()
        self._go_on()

    def _go_on(self) -> None:
        """Somebody answered: send the reply, and read again."""
        self._pump()
        if self._ended:
            self.send()
            self._stop_reading()
            self._transport.close()
        elif self._server.stopping:
            self.send_away("shutting down")
        self._set_reading()

    def _set_reading(self) -> None:
        """Read if the receiver reads and the sender takes its replies."""
        pause = self._receiver.waiting or not self._writable
        if pause != self._paused and not self._transport.is_closing():
            self._paused = pause
            if self._reader is not None:
                (self._reader.stop if pause else self._reader.start)()
            else:
                (self._transport.pause_reading if pause else self._transport.resume_reading)()

    def _leave_reading(self) -> None:
        """Nothing came where something should: the transport finds out why, and tells."""
        self._reader = None
        self._transport.resume_reading()

    def _stop_reading(self) -> None:
        """The connection goes: its socket must not be looked at any more."""
        if self._reader is not None:
            self._reader.stop()
            self._reader = None  # it holds this session, which would wait for the collector


def _nobody(verdict: Verdict) -> None:
    """Nobody waits for the verdict on a message that was acknowledged from memory: the log hears of a loss."""
    if verdict is not Verdict.STORED:
        log.error("a message that was acknowledged from memory is lost: %s", verdict.value)
