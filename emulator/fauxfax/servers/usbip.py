"""USB/IP over TCP: machines that a kernel attaches with `usbip attach -r HOST -b 1-1`.

Importing a device is plugging the cable in, closing the connection is pulling it. A machine that restarts closes the
connection: to the client that is an unplug for good, it attaches again. asyncio sets TCP_NODELAY by itself; without
it every round trip would cost 44 ms. The framing is never broken, not even to inject a fault: a half-sent reply hangs
the client's kernel; nor is a transfer answered before all of it has come.

A client that was answered mostly comes back within some microseconds, sooner than a trip through the event loop takes.
So a connection waits for it by itself for a moment before it goes back to the loop: see LINGER.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import sys
import time
from collections.abc import Callable, Sequence

from fauxfax.clock import Clock
from fauxfax.errors import FormatError
from fauxfax.hostport import usbip
from fauxfax.hostport.usb import DIRECTION_IN, Outcome, PrinterFunction, Setup, Transfer
from fauxfax.hostport.usbdescriptors import BIDIRECTIONAL, PRINTER_CLASS, PRINTER_SUBCLASS, Speed
from fauxfax.models import MIB
from fauxfax.servers.streams import BACKLOG

Plug = Callable[[], PrinterFunction]
"""Puts a cable into a machine's USB socket."""

MAX_CONNECTIONS = 64
"""Connections at a time; the next one is closed at once. A project value."""
MAX_WAITING = 1024
"""Transfers of one client that may wait at a time; no host has so many. A project value."""
MAX_HELD = 64 * 1024 * 1024
"""Octets of them, beyond which no more are taken. A project value."""
MAX_GATHERED = MIB
"""Octets of a transfer that are gathered while they come without a pause, so that it is acknowledged before the machine
looks into them: it does that while the client prepares its next one. A project value."""
LINGER = 50e-6
"""Real seconds for which a client that was just answered is waited for outside the event loop. A project value."""
LOOKS = 4
"""How often it is looked for first: to sleep and be woken takes as long as some looks do. A project value."""
TURN = 0.001
"""Real seconds after which everybody else gets their turn, however quick a client is. A project value."""
FD_SETSIZE = 1024
"""Descriptors from this number on are beyond `select`."""
MAX_MISSES = 6
"""Each time in a row that nothing came doubles how often a client is not waited for, up to 2**6. A project value."""
IMPORT_SECONDS = 30.0
"""A connection that has imported nothing by then is closed (machine seconds). A project value."""
STATUS = {
    Outcome.DONE: 0,
    Outcome.STALLED: usbip.EPIPE,
    Outcome.CANCELLED: usbip.ECONNRESET,
    Outcome.GONE: usbip.ESHUTDOWN,
}
log = logging.getLogger(__name__)


class UsbipServer:
    """Offers machines as `1-1`, `1-2`, … in the order of `plugs`; each has one cable."""

    def __init__(self, plugs: Sequence[Plug], clock: Clock) -> None:
        self.plugs = plugs
        self.clock = clock
        self.connections: set[UsbipConnection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen. Returns the port that is really used."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: UsbipConnection(self), host, port, backlog=BACKLOG)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and pull every cable."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.abort()
        await asyncio.sleep(0)

    def exports(self) -> list[usbip.Export]:
        """The machines that are there now."""
        exports = []
        for number, plug in enumerate(self.plugs, start=1):
            function = plug()
            if function.attached:
                exports.append(_export(number, function))
            function.unplug()
        return exports

    def taken(self, number: int) -> bool:
        """Whether the cable of machine `number` is in use."""
        return any(connection.number == number for connection in self.connections)


class Block(Transfer):
    """A transfer that a client submitted."""

    __slots__ = ("seqnum",)

    def __init__(self, request: usbip.Submit, done: Callable[[Transfer], None]) -> None:
        self.seqnum, direction, endpoint, self.length, _, self.data = request
        self.endpoint = endpoint | direction << 7
        self.done = done
        self.actual = 0
        self.outcome = None


class UsbipConnection(asyncio.BufferedProtocol):
    """One client: operations first, then the transfers of the device it imported."""

    def __init__(self, server: UsbipServer) -> None:
        self.number = 0
        self._server = server
        self._parser = usbip.ServerParser()
        self._function: PrinterFunction | None = None
        self._waiting: dict[int, Block] = {}
        self._held = 0
        self._incoming: Block | None = None
        self._pieces: list[bytes | memoryview] = []  # of the incoming block, while more come without a pause
        self._gathered = 0
        self._replies: list[bytes] = []
        self._handling = False
        self._misses = self._sulking = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client in, unless too many are here."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._peer = transport.get_extra_info("peername")
        connection = transport.get_extra_info("socket")
        self._descriptor: int = connection.fileno() if connection is not None else -1
        self._lingers = sys.platform != "win32" and 0 <= self._descriptor < FD_SETSIZE
        if len(self._server.connections) >= MAX_CONNECTIONS:
            log.warning("usbip: %s dropped: %d connections are open", self._peer, MAX_CONNECTIONS)
            transport.abort()
            return
        self._server.connections.add(self)
        self._patience = self._server.clock.deadline(IMPORT_SECONDS, self.abort)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where the next octets go."""
        return self._parser.space()

    def buffer_updated(self, nbytes: int) -> None:
        """Requests, or pieces of them, and more of them while they come quickly."""
        try:
            self._serve(self._parser.received(nbytes))
            if self._function is not None and self._lingers:
                end = time.perf_counter() + TURN
                while (requests := self._linger(end)) is not None:
                    self._serve(requests)
            self._extend_now()
        except FormatError as error:
            self._handling = False
            self._flush()  # what was asked before the nonsense has its answer
            if self._function is not None:
                self._function.release()
            log.warning("usbip: %s dropped: %s", self._peer, error)
            self.abort()

    def _serve(self, requests: list[usbip.Request]) -> None:
        """Several requests are answered in one go; print data, and a single request, is looked into after that."""
        self._handling = len(requests) > 1
        function = self._function
        if function is not None and self._handling and all(map(_is_bulk, requests)):
            function.gather()
        while requests and not self._transport.is_closing():
            for request in requests:
                self._handle(request)
            if not (isinstance(requests[-1], usbip.ImportRequest) or self._parser.broken):
                break
            requests = self._parser.received(0)
        self._handling = False
        if self._replies:
            self._flush()
        if function is not None:
            function.release()

    def _linger(self, end: float) -> list[usbip.Request] | None:
        """What comes within LINGER, and before the `end` of this turn; None if nothing does, for whatever reason."""
        if self._sulking:
            self._sulking -= 1
            return None
        if time.perf_counter() > end or not self._transport.is_reading():
            return None
        try:
            for _ in range(LOOKS):
                try:
                    return self._read()
                except BlockingIOError:
                    self._extend_now()
            return [] if self._comes() else None
        except OSError:
            return None  # it is for the transport to find out why

    def _comes(self) -> bool:
        """Whether something comes within LINGER. This thread sleeps meanwhile: the client may need its core."""
        if select.select((self._descriptor,), (), (), LINGER)[0]:
            self._misses = 0
            return True
        self._misses = min(self._misses + 1, MAX_MISSES)
        self._sulking = (1 << self._misses) - 2
        return False

    def _read(self) -> list[usbip.Request] | None:
        """What is there now. Raises BlockingIOError if nothing is."""
        parser, descriptor = self._parser, self._descriptor
        if parser.left:
            data = os.read(descriptor, min(parser.left, MAX_GATHERED))
            return [parser.piece(data)] if data else None
        count = os.readv(descriptor, (parser.space(),))
        return parser.received(count) if count else None

    def pause_writing(self) -> None:
        """The client does not read its replies: take no more requests from it."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The cable is out."""
        if self not in self._server.connections:
            return
        self._server.connections.discard(self)
        self._patience.cancel()
        if self._function is not None:
            self._function.unplug()

    def abort(self) -> None:
        """Pull the cable."""
        self._transport.abort()

    def _handle(self, request: usbip.Request) -> None:
        match request:
            case usbip.Submit():
                self._submit(request)
            case usbip.More(data, last):
                self._more(data, last=last)
            case usbip.Unlink():
                self._unlink(request)
            case usbip.ImportRequest(busid):
                self._import(busid)
            case usbip.DevlistRequest():
                interface = (PRINTER_CLASS, PRINTER_SUBCLASS, BIDIRECTIONAL)
                self._replies.append(usbip.pack_devlist_reply(self._server.exports(), interface))

    def _flush(self) -> None:
        if self._replies:
            if not self._transport.is_closing():
                self._transport.write(b"".join(self._replies) if len(self._replies) > 1 else self._replies[0])
            self._replies.clear()

    def _close(self) -> None:
        """Say what is to be said, then pull the cable; whoever does not listen does not keep it."""
        self.number = 0
        self._flush()
        self._transport.close()

    def _import(self, busid: str) -> None:
        bus, _, digits = busid.partition("-")
        number = int(digits) if bus == "1" and digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
        if not 1 <= number <= len(self._server.plugs):
            self._refuse(usbip.STATUS_NO_DEVICE)
        elif self._server.taken(number):
            self._refuse(usbip.STATUS_BUSY)
        else:
            function = self._server.plugs[number - 1]()
            if not function.attached:
                function.unplug()
                self._refuse(usbip.STATUS_NO_DEVICE)
                return
            self.number, self._function = number, function
            function.on_attachment(self._close)
            self._patience.cancel()
            self._parser.imported()
            self._replies.append(usbip.pack_import_reply(_export(number, function)))

    def _refuse(self, status: int) -> None:
        self._replies.append(usbip.pack_import_reply(None, status))
        self._close()

    def _submit(self, request: usbip.Submit) -> None:
        function = self._function
        assert function is not None
        if request.endpoint == 0:
            self._control(function, request)
            return
        block = Block(request, self._done)
        if len(request.data) < request.length and request.direction == usbip.OUT:
            self._incoming = block
        function.submit(block)
        if block.outcome is None:
            self._keep(block)

    def _more(self, data: bytes | memoryview, *, last: bool) -> None:
        """The next octets of a transfer; one that has ended is answered when the client has said all of it."""
        block = self._incoming
        assert block is not None
        assert self._function is not None
        if last:
            self._incoming = None
        if block.outcome is not None:
            if last:
                self._done(block)
            return
        self._pieces.append(data)
        self._gathered += len(data)
        if last or self._gathered >= MAX_GATHERED:
            self._extend(block)

    def _extend(self, block: Block) -> None:
        """Hand over what was gathered of a transfer."""
        assert self._function is not None
        pieces, self._pieces, self._gathered = self._pieces, [], 0
        self._function.extend(block, *pieces)
        if block.outcome is None:
            self._keep(block)

    def _extend_now(self) -> None:
        """Nothing more comes at once: the machine may look into what is there."""
        if self._pieces and self._incoming is not None:
            self._extend(self._incoming)

    def _keep(self, block: Block) -> None:
        """It has to wait: its data leave the parser's buffer."""
        if block.data or block is not self._incoming:
            self._wait_for(block)
        if block.data and not isinstance(block.data, bytearray):
            block.data = bytearray(block.data)

    def _wait_for(self, block: Block) -> None:
        known = self._waiting.get(block.seqnum)
        if known is block:
            return
        if known is not None or len(self._waiting) >= MAX_WAITING or self._held > MAX_HELD:
            raise FormatError(
                f"{len(self._waiting)} transfers with {self._held} octets wait, or one of this number does",
                f"transfer {block.seqnum}",
            )
        self._held += 0 if block.endpoint & DIRECTION_IN else block.length
        self._waiting[block.seqnum] = block

    def _done(self, transfer: Transfer) -> None:
        assert isinstance(transfer, Block)
        if transfer is self._incoming:
            return  # not before its last octet has come, see `_more`
        if self._waiting.pop(transfer.seqnum, None) is not None:
            self._held -= 0 if transfer.endpoint & DIRECTION_IN else transfer.length
        if transfer.outcome is Outcome.CANCELLED:
            return  # what was taken back is never completed
        data = bytes(transfer.data) if transfer.endpoint & DIRECTION_IN else b""
        status = 0 if transfer.outcome is Outcome.DONE else STATUS[transfer.outcome or Outcome.GONE]
        self._reply(usbip.pack_submit_reply(transfer.seqnum, status, transfer.actual, data))

    def _control(self, function: PrinterFunction, request: usbip.Submit) -> None:
        def answer(reply: bytes | None) -> None:
            if reply is None:
                packet = usbip.pack_submit_reply(request.seqnum, usbip.EPIPE, 0)
            elif request.direction == usbip.IN:
                reply = reply[: request.length]
                packet = usbip.pack_submit_reply(request.seqnum, 0, len(reply), reply)
            else:
                packet = usbip.pack_submit_reply(request.seqnum, 0, len(request.data))
            self._reply(packet)

        function.request(Setup.parse(request.setup), answer)

    def _reply(self, packet: bytes) -> None:
        self._replies.append(packet)
        if not self._handling:
            self._flush()

    def _unlink(self, request: usbip.Unlink) -> None:
        """A transfer that is taken back is never completed; one that had ended is not taken back."""
        assert self._function is not None
        victim = self._waiting.get(request.victim)
        cancelled = victim is not None and self._function.cancel(victim)
        self._replies.append(usbip.pack_unlink_reply(request.seqnum, usbip.ECONNRESET if cancelled else 0))


def _is_bulk(request: usbip.Request) -> bool:
    return isinstance(request, usbip.Submit) and request.endpoint != 0


def _export(number: int, function: PrinterFunction) -> usbip.Export:
    identity = function.identity
    return usbip.Export(
        path=f"/sys/devices/fauxfax/usb1/1-{number}",
        busid=f"1-{number}",
        busnum=1,
        devnum=number,
        speed=usbip.SPEED_HIGH if function.speed is Speed.HIGH else usbip.SPEED_FULL,
        vendor=identity.vendor,
        product=identity.product,
        release=identity.release,
        device_class=0,
        subclass=0,
        protocol=0,
        configuration=function.configuration,
        configurations=1,
        interfaces=1,
    )
