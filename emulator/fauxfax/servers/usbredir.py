"""usbredir over TCP: the machine on the USB bus of a QEMU guest, `-device usb-redir,chardev=…`.

A connection is a cable; there is one. The connection outlives the machine's restarts: the guest sees a disconnect and
a connect, as it would at a socket. The chardev needs `nodelay=on`, or every round trip costs 44 ms; with `reconnect=1`
it also survives a restart of this program.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from fauxfax.clock import Clock
from fauxfax.errors import FormatError
from fauxfax.hostport.usb import DIRECTION_IN, Outcome, PrinterFunction, Setup, Transfer
from fauxfax.hostport.usbredir import Kind, Packet, Status, Wire, octets
from fauxfax.servers.streams import BACKLOG

GREETING_SECONDS = 30.0
"""A connection that has not said hello by then is closed (machine seconds). A project value."""
MAX_WAITING = 1024
"""Transfers that may wait at a time; no host has so many. A project value."""
MAX_HELD = 64 * 1024 * 1024
"""Octets of them, beyond which no more are taken. A project value."""
STATUS = {
    Outcome.DONE: Status.SUCCESS,
    Outcome.STALLED: Status.STALL,
    Outcome.CANCELLED: Status.CANCELLED,
    Outcome.GONE: Status.IO_ERROR,
}
SET_CONFIGURATION, GET_CONFIGURATION, SET_INTERFACE, GET_INTERFACE = 9, 8, 11, 10
log = logging.getLogger(__name__)


class UsbredirServer:
    """Offers one machine. `plug` puts a cable into its USB socket; a second host is turned away while it is in."""

    def __init__(self, plug: Callable[[], PrinterFunction], clock: Clock) -> None:
        self.plug = plug
        self.clock = clock
        self.connection: UsbredirConnection | None = None
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen. Returns the port that is really used."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: UsbredirConnection(self), host, port, backlog=BACKLOG)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and pull the cable."""
        if self._server is not None:
            self._server.close()
        if self.connection is not None:
            self.connection.abort()
        await asyncio.sleep(0)


class Block(Transfer):
    """A transfer that the host submitted."""

    __slots__ = ("id",)

    def __init__(
        self, packet_id: int, endpoint: int, data: bytes, length: int, done: Callable[[Transfer], None]
    ) -> None:
        super().__init__(endpoint, data, length, done)
        self.id = packet_id


class UsbredirConnection(asyncio.Protocol):
    """One host: greeted, told what is plugged in, and served."""

    def __init__(self, server: UsbredirServer) -> None:
        self._server = server
        self._wire = Wire()
        self._waiting: dict[int, Block] = {}
        self._held = 0
        self._answers: list[bytes] = []
        self._handling = False
        self._handlers: dict[Kind, Callable[[Packet], None]] = {
            Kind.HELLO: self._hello,
            Kind.RESET: self._reset,
            Kind.SET_CONFIGURATION: self._set_configuration,
            Kind.GET_CONFIGURATION: self._get_configuration,
            Kind.SET_ALT_SETTING: self._set_alt_setting,
            Kind.GET_ALT_SETTING: self._get_alt_setting,
            Kind.CANCEL_DATA_PACKET: self._cancel,
            Kind.CONTROL: self._control,
            Kind.BULK: self._bulk,
            Kind.FILTER: lambda _: None,  # what the host would let in concerns whoever chooses the device
            Kind.FILTER_REJECT: lambda _: log.warning("usbredir: %s lets no such device in", self._peer),
            Kind.DISCONNECT_ACK: lambda _: None,
        }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the host, unless another has the cable."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._peer = transport.get_extra_info("peername")
        if self._server.connection is not None:
            log.warning("usbredir: %s dropped: another host has the cable", self._peer)
            transport.abort()
            return
        self._server.connection = self
        self._function = self._server.plug()
        self._patience = self._server.clock.deadline(GREETING_SECONDS, self.abort)
        transport.write(self._wire.hello())

    def data_received(self, data: bytes) -> None:
        """Packets, or pieces of them. Several are answered in one go; print data is looked into after that."""
        try:
            packets = self._wire.feed(data)
            self._handling = len(packets) > 1
            if self._handling and all(packet.kind is Kind.BULK for packet in packets):
                self._function.gather()
            for packet in packets:
                if self._transport.is_closing():
                    break
                self._handle(packet)
            self._flush()
        except FormatError as error:
            self._flush()  # what was asked before the nonsense has its answer
            log.warning("usbredir: %s dropped: %s", self._peer, error)
            self.abort()
        finally:
            self._function.release()

    def pause_writing(self) -> None:
        """The host does not read its answers: take no more packets from it."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The host reads again."""
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The cable is out."""
        if self._server.connection is not self:
            return
        self._server.connection = None
        self._patience.cancel()
        self._waiting.clear()
        self._function.unplug()

    def abort(self) -> None:
        """Pull the cable."""
        self._transport.abort()

    def _handle(self, packet: Packet) -> None:
        handler = self._handlers.get(packet.kind)
        if handler is None:
            raise FormatError(f"{packet.kind.name} is for a host, not for a device", f"packet {packet.id}")
        handler(packet)

    # The device's coming and going -------------------------------------------------------------------------------

    def _hello(self, _: Packet) -> None:
        self._patience.cancel()
        self._function.on_attachment(self._attachment)
        if self._function.attached:
            self._attachment()

    def _attachment(self) -> None:
        function, wire = self._function, self._wire
        if function.attached:
            self._send(wire.describe(function.speed) + wire.connect(function.identity, function.speed))
        else:
            self._send(wire.pack(Kind.DEVICE_DISCONNECT, 0))

    def _reset(self, packet: Packet) -> None:
        octets(packet, 0)
        self._function.reset()

    # Configuration -----------------------------------------------------------------------------------------------

    def _set_configuration(self, packet: Packet) -> None:
        (value,) = octets(packet, 1)
        taken = self._function.control(Setup(0x00, SET_CONFIGURATION, value, 0, 0))
        self._send(self._wire.describe(self._function.speed))
        self._configuration_status(packet.id, taken)

    def _get_configuration(self, packet: Packet) -> None:
        octets(packet, 0)
        self._configuration_status(packet.id, self._function.control(Setup(0x80, GET_CONFIGURATION, 0, 0, 1)))

    def _configuration_status(self, packet_id: int, answer: bytes | None) -> None:
        body = bytes((_status(answer), self._function.configuration))
        self._send(self._wire.pack(Kind.CONFIGURATION_STATUS, packet_id, body))

    def _set_alt_setting(self, packet: Packet) -> None:
        interface, setting = octets(packet, 2)
        answer = self._function.control(Setup(0x01, SET_INTERFACE, setting, interface, 0))
        self._alt_setting_status(packet.id, interface, answer)

    def _get_alt_setting(self, packet: Packet) -> None:
        (interface,) = octets(packet, 1)
        answer = self._function.control(Setup(0x81, GET_INTERFACE, 0, interface, 1))
        self._alt_setting_status(packet.id, interface, answer)

    def _alt_setting_status(self, packet_id: int, interface: int, answer: bytes | None) -> None:
        body = bytes((_status(answer), interface, 0))
        self._send(self._wire.pack(Kind.ALT_SETTING_STATUS, packet_id, body))

    # Transfers ---------------------------------------------------------------------------------------------------

    def _control(self, packet: Packet) -> None:
        setup = self._wire.control(packet).setup
        answer = self._function.control(setup)
        data = (answer or b"") if setup.reads else b""
        moved = setup._replace(length=len(data) if setup.reads or answer is None else setup.length)
        self._send(self._wire.pack_control(packet.id, moved, _status(answer), data))

    def _bulk(self, packet: Packet) -> None:
        endpoint, _, length, data = self._wire.bulk(packet)
        reads = endpoint >= DIRECTION_IN
        if len(data) != (0 if reads else length):
            raise FormatError(f"{len(data)} octets with a bulk transfer of {length}", f"packet {packet.id}")
        if packet.id in self._waiting or len(self._waiting) >= MAX_WAITING or self._held > MAX_HELD:
            what = f"{len(self._waiting)} transfers with {self._held} octets wait, or one of this id does"
            raise FormatError(what, f"packet {packet.id}")

        block = Block(packet.id, endpoint, data, length, self._done)
        self._function.submit(block)
        if block.outcome is None:
            self._waiting[packet.id] = block
            self._held += len(data)

    def _done(self, transfer: Transfer) -> None:
        assert isinstance(transfer, Block)
        reads = transfer.endpoint >= DIRECTION_IN
        if self._waiting.pop(transfer.id, None) is not None and not reads:
            self._held -= transfer.length
        status = STATUS[transfer.outcome or Outcome.GONE]
        received = bytes(transfer.data) if reads else b""
        self._send(self._wire.pack_bulk(transfer.id, transfer.endpoint, status, transfer.actual, received))

    def _cancel(self, packet: Packet) -> None:
        """A transfer taken back is answered so; one that had ended has had its answer."""
        octets(packet, 0)
        victim = self._waiting.get(packet.id)
        if victim is not None:
            self._function.cancel(victim)

    def _send(self, octets: bytes) -> None:
        self._answers.append(octets)
        if not self._handling:
            self._flush()

    def _flush(self) -> None:
        self._handling = False
        if self._answers:
            if not self._transport.is_closing():
                self._transport.write(b"".join(self._answers))
            self._answers.clear()


def _status(answer: bytes | None) -> Status:
    return Status.STALL if answer is None else Status.SUCCESS
