"""usbip://HOST[:PORT][/BUSID] - the printer class over USB/IP, spoken by this program: no kernel module, no root.

The link imports the device, chooses its first printer interface, and keeps bulk transfers in flight: several out, so
that the wire never waits for an answer, and always one in. Without BUSID the first exported device is taken, and found
again by that id when it restarts.
Source: Linux kernel documentation, usb/usbip_protocol; USB 2.0, 9.4; USB printer class 1.1, 4.2.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple

from fauxfax.errors import FormatError
from fauxfax.hostport import usbip
from fauxfax_tools.errors import LinkLost
from fauxfax_tools.links.address import split_address
from fauxfax_tools.links.base import Deadline, strip_length

CONNECT_TIMEOUT = 10.0  # seconds, also for the answer to a control transfer
SEND_TIMEOUT = 60.0  # seconds a server may read nothing
WINDOW = 4  # bulk transfers out at a time
TRANSFER = 512 * 1024  # octets of one bulk transfer out
READ_SIZE = 4096  # octets of the bulk transfer in
SOCKET_READ = 64 * 1024
OPERATION_LIMIT = 256 * 1024  # octets of a list of devices
PRINTER_CLASS = 7
GET_DESCRIPTOR, SET_CONFIGURATION, GET_DEVICE_ID, SOFT_RESET = 6, 9, 0, 2
CONFIGURATION_DESCRIPTOR, INTERFACE_DESCRIPTOR, ENDPOINT_DESCRIPTOR = 2, 4, 5
BULK, DIRECTION_IN = 2, 0x80
NO_INTERFACE = -1
_SETUP = Struct("<BBHHH")


class Printer(NamedTuple):
    """The part of a device's configuration that takes print jobs; `bulk_in` is 0 on a one-way interface."""

    configuration: int
    interface: int
    bulk_out: int
    bulk_in: int


def open_url(rest: str) -> UsbipLink:
    """The link for `//HOST[:PORT][/BUSID]`. Raises ValueError."""
    address, _, busid = rest.removeprefix("//").partition("/")
    host, port = split_address(address, usbip.PORT)
    if not busid.isascii() or len(busid) > 31:
        raise ValueError(f"{busid!r} is no bus id such as 1-1")
    return UsbipLink(host, port, busid)


class UsbipLink:
    """One imported device."""

    def __init__(self, host: str, port: int, busid: str = "") -> None:
        self.host, self.port, self.busid = host, port, busid
        self.bidirectional = True
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """`usbip://HOST:PORT/BUSID`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"usbip://{host}:{self.port}{f'/{self.busid}' if self.busid else ''}"

    def open(self) -> None:
        """Connect, import the device, configure it, and drop whatever job was in flight."""
        self.close()
        if not self.busid:
            self.busid = self._first_device()
        self._connect()
        try:
            self._devid = self._import()
            self._printer = self._configure()
        except BaseException:
            self.close()
            raise
        self.bidirectional = bool(self._printer.bulk_in)
        with contextlib.suppress(LinkLost):
            self._control(0x21, SOFT_RESET, 0, self._printer.interface << 8, 0)
        self._ask_for_more()

    def close(self) -> None:
        """Pull the plug."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def write(self, data: memoryview, timeout: float) -> int:
        """Submit the next transfer; 0 if as many as may be are still on their way after `timeout`."""
        deadline = Deadline(timeout)
        while len(self._out) >= WINDOW and not deadline.passed:
            self._pump(deadline.left)
        self._pump(0.0)
        if len(self._out) >= WINDOW:
            return 0
        chunk = bytes(data[:TRANSFER])
        self._out.add(self._submit(usbip.OUT, self._printer.bulk_out, len(chunk), data=chunk))
        return len(chunk)

    def read(self, limit: int, timeout: float) -> bytes:
        """What the transfer in brought."""
        deadline = Deadline(timeout)
        self._pump(0.0)
        while not self._received and not deadline.passed:
            self._pump(deadline.left)
        data = bytes(self._received[:limit])
        del self._received[:limit]
        self._ask_for_more()
        return data

    def identify(self) -> str | None:
        """GET_DEVICE_ID of the printer class (4.2.1)."""
        reply = self._control(0xA1, GET_DEVICE_ID, 0, self._printer.interface << 8, 1024)
        return strip_length(reply)

    # Coming in -------------------------------------------------------------------------------------------------------

    def _connect(self) -> socket.socket:
        self._sequence = 0
        self._out: set[int] = set()
        self._in: int | None = None
        self._controls: dict[int, usbip.SubmitReply | None] = {}
        self._received = bytearray()
        self._parser = usbip.ReplyParser()
        try:
            self._socket = socket.create_connection((self.host, self.port), CONNECT_TIMEOUT)
        except OSError as error:
            raise LinkLost(f"{self.url}: no USB/IP server answers ({error.strerror or error})") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _first_device(self) -> str:
        self._connect()
        try:
            answer = self._operation(usbip.pack_devlist_request(), usbip.parse_devlist_reply)
        finally:
            self.close()
        exports = usbip.parse_devlist_reply(answer)
        if not exports:
            raise LinkLost(f"{self.url}: no device is exported there; is the machine switched on?")
        return exports[0].busid

    def _import(self) -> int:
        """How commands name the device from now on."""
        answer = self._operation(usbip.pack_import_request(self.busid), usbip.parse_import_reply)
        found = usbip.parse_import_reply(answer)
        if not isinstance(found, usbip.Export):
            why = "somebody else holds it" if found == usbip.STATUS_BUSY else "no such device, or it restarts"
            raise LinkLost(f"{self.url}: the device cannot be imported: {why} (status {found})")
        return found.devid

    def _operation(self, request: bytes, parse: Callable[[bytes], object]) -> bytes:
        """One question before the import, answered as soon as `parse` makes something of the octets."""
        connection = self._connected()
        data = b""
        try:
            connection.sendall(request)
            while parse(data) is None:
                if len(data) > OPERATION_LIMIT or not (more := connection.recv(SOCKET_READ)):
                    raise LinkLost(f"{self.url}: the server broke off in the middle of its answer")
                data += more
        except OSError as error:
            if isinstance(error, LinkLost):
                raise
            raise LinkLost(f"{self.url}: no answer ({error.strerror or error})") from error
        except FormatError as error:
            raise LinkLost(f"{self.url}: {error}") from error
        connection.settimeout(SEND_TIMEOUT)
        return data

    def _configure(self) -> Printer:
        """Find the printer interface, choose its configuration."""
        whole = self._control(DIRECTION_IN, GET_DESCRIPTOR, CONFIGURATION_DESCRIPTOR << 8, 0, 1024)
        printer = find_printer(whole)
        if printer is None:
            raise LinkLost(f"{self.url}: the device has no printer interface")
        self._control(0x00, SET_CONFIGURATION, printer.configuration, 0, 0)
        return printer

    # Transfers -------------------------------------------------------------------------------------------------------

    def _control(self, request_type: int, request: int, value: int, index: int, length: int) -> bytes:
        """One control transfer on endpoint 0. Raises LinkLost if it stalls or takes too long."""
        setup = _SETUP.pack(request_type, request, value, index, length)
        direction = usbip.IN if request_type & DIRECTION_IN else usbip.OUT
        seqnum = self._submit(direction, 0, length, setup=setup)
        self._controls[seqnum] = None
        deadline = Deadline(CONNECT_TIMEOUT)
        while (reply := self._controls[seqnum]) is None:
            if deadline.passed:
                raise LinkLost(f"{self.url}: request {request} has no answer within {CONNECT_TIMEOUT:g} s")
            self._pump(deadline.left)
        del self._controls[seqnum]
        if reply.status:
            raise LinkLost(f"{self.url}: request {request} ended with error {-reply.status}")
        return reply.data

    def _submit(self, direction: int, endpoint: int, length: int, *, setup: bytes = bytes(8), data: bytes = b"") -> int:
        self._sequence += 1
        if direction == usbip.IN:
            self._parser.expect_data(self._sequence)
        block = usbip.pack_submit(self._sequence, self._devid, endpoint, direction, length, setup)
        try:
            self._connected().sendall(block + data)
        except OSError as error:
            raise LinkLost(f"{self.url}: the connection was lost while sending ({error.strerror or error})") from error
        return self._sequence

    def _ask_for_more(self) -> None:
        if self._in is None and self._printer.bulk_in and not self._received:
            self._in = self._submit(usbip.IN, self._printer.bulk_in, READ_SIZE)

    def _pump(self, timeout: float) -> None:
        """Take in what arrives within `timeout`, at most one read of the socket."""
        connection = self._connected()
        if not select.select([connection], [], [], timeout)[0]:
            return
        try:
            data = connection.recv(SOCKET_READ)
            replies = self._parser.feed(data)
        except OSError as error:
            raise LinkLost(f"{self.url}: the connection was lost ({error.strerror or error})") from error
        except FormatError as error:
            raise LinkLost(f"{self.url}: this is no USB/IP: {error}") from error
        if not data:
            raise LinkLost(f"{self.url}: the server closed the connection")
        for reply in replies:
            if isinstance(reply, usbip.SubmitReply):
                self._settle(reply)

    def _settle(self, reply: usbip.SubmitReply) -> None:
        if reply.seqnum in self._controls:
            self._controls[reply.seqnum] = reply
            return
        if reply.status:
            raise LinkLost(f"{self.url}: the machine went away (error {-reply.status})")
        if reply.seqnum == self._in:
            self._in = None
            self._received += reply.data
            self._ask_for_more()
        self._out.discard(reply.seqnum)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise LinkLost(f"{self.url}: the link is not open")
        return self._socket


def find_printer(configuration: bytes) -> Printer | None:
    """The first printer interface that can be printed on, in a configuration descriptor (USB 2.0, 9.6.3 to 9.6.6)."""
    found: list[Printer] = []
    for descriptor in _descriptors(configuration):
        if descriptor[1] == INTERFACE_DESCRIPTOR and len(descriptor) >= 9:
            number = descriptor[2] if descriptor[5] == PRINTER_CLASS else NO_INTERFACE
            found.append(Printer(configuration[5], number, 0, 0))
        elif descriptor[1] == ENDPOINT_DESCRIPTOR and len(descriptor) >= 7 and found and descriptor[3] & 3 == BULK:
            end = "bulk_in" if descriptor[2] & DIRECTION_IN else "bulk_out"
            found[-1] = found[-1]._replace(**{end: descriptor[2] & 0x0F})
    return next((printer for printer in found if printer.interface != NO_INTERFACE and printer.bulk_out), None)


def _descriptors(data: bytes) -> Iterator[bytes]:
    """One descriptor after the other, as far as their lengths make sense."""
    at = 0
    while at + 6 <= len(data) and data[at] >= 2:
        yield data[at : at + data[at]]
        at += data[at]
