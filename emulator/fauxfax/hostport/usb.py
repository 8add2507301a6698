"""The USB printer function over a :class:`Port`: what a host finds when it plugs the cable in.

Theory of operation. Control transfers are answered at once. Bulk transfers are queued per endpoint and completed in
order, when the port has room or something to say; until then the device answers NAK, that is, the transfer waits. One
that need not wait goes past the queue, and several that come together may be gathered, see `gather()`. A transfer ends
exactly once, in one of the four ways of :class:`Outcome`, and tells its submitter by `done`.

    attached, online goes false      every transfer ends GONE, `on_attachment` hears of it     -> detached
    detached, online comes back      descriptors are built anew, the host enumerates again     -> attached

Source: USB 2.0, chapter 9.4 (standard requests); USB printer class 1.1, chapter 4.2 (class requests).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from fauxfax.hostport.port import Port
from fauxfax.hostport.usbdescriptors import BULK_IN, BULK_OUT, CONFIGURATION, Identity, Kind, Speed, build

DIRECTION_IN = 0x80
"""The bit of an endpoint's address that says it is for IN transfers (USB 2.0, 9.6.6)."""
Octets = bytes | bytearray | memoryview
_SETUP = struct.Struct("<BBHHH")


class Setup(NamedTuple):
    """The eight octets of a SETUP packet, taken apart (USB 2.0, 9.3); `target` is wIndex."""

    request_type: int
    request: int
    value: int
    target: int
    length: int

    @classmethod
    def parse(cls, octets: bytes) -> Setup:
        """Take the eight octets as they stand on the wire."""
        return cls(*_SETUP.unpack(octets))

    @property
    def reads(self) -> bool:
        """Whether the data stage, if any, goes to the host."""
        return self.request_type >= 0x80


class Outcome(Enum):
    """How a transfer ended."""

    DONE = "done"
    STALLED = "stalled"
    CANCELLED = "cancelled"
    GONE = "gone"


class Transfer:
    """One bulk transfer. IN asks for up to `length` octets and finds them in `data`.

    OUT moves `length` octets; `data` is what came of them and has not been moved yet. Whoever submits it in pieces
    (see `PrinterFunction.extend`) makes a bytearray of what is left, for the next piece to be added to.
    `outcome` is None while it waits; `actual` counts the octets moved.
    """

    __slots__ = ("actual", "data", "done", "endpoint", "length", "outcome")

    def __init__(self, endpoint: int, data: Octets, length: int, done: Callable[[Transfer], None]) -> None:
        self.endpoint = endpoint
        self.data = data
        self.length = length
        self.done = done
        self.actual = 0
        self.outcome: Outcome | None = None

    def end(self, outcome: Outcome) -> None:
        """Settle it, and tell the submitter."""
        self.outcome = outcome
        self.done(self)


class PrinterFunction:
    """One device on one cable. `identify` is asked at each attachment: new firmware may have a new name."""

    def __init__(self, port: Port, identify: Callable[[], Identity], speed: Speed = Speed.HIGH) -> None:
        self.speed = speed
        self.configuration = 0
        self._port = port
        self._identify = identify
        self._out: deque[Transfer] = deque()
        self._in: deque[Transfer] = deque()
        self._taken: deque[Octets] = deque()  # acknowledged, not yet moved
        self._gathered: list[Octets] = []  # the same, see `gather`
        self._gathers = 0  # octets that may still be gathered
        self._queues = {BULK_OUT: self._out, BULK_IN: self._in}
        self._halted: set[int] = set()
        self._moving = False
        self._used = False
        self._listener: Callable[[], None] | None = None
        self._requests: dict[tuple[int, int], Callable[[Setup], bytes | None]] = {
            (0x80, 0): lambda _: b"\x01\x00",  # GET_STATUS: powered by itself
            (0x81, 0): lambda _: bytes(2),
            (0x82, 0): self._endpoint_status,
            (0x00, 1): lambda _: None,  # CLEAR_FEATURE, SET_FEATURE: the device has none
            (0x02, 1): self._clear_halt,
            (0x02, 3): self._set_halt,
            (0x00, 5): lambda _: b"",  # SET_ADDRESS: the wire's own business
            (0x80, 6): self._descriptor,
            (0x80, 8): lambda _: bytes((self.configuration,)),
            (0x00, 9): self._set_configuration,
            (0x81, 10): lambda _: bytes(1),
            (0x01, 11): lambda setup: b"" if (setup.value, setup.target) == (0, 0) else None,
            (0xA1, 0): self._device_id,
            (0xA1, 1): lambda _: bytes((self._port.status.octet,)),
            (0x21, 2): self._soft_reset,
            (0x23, 2): self._soft_reset,  # Linux usblp sends it to "other", as printer class 1.0 printed it
        }
        self.attached = False
        self._attach()
        port.on_change(self._changed)

    # The host's side ----------------------------------------------------------------------------------------------

    def control(self, setup: Setup) -> bytes | None:
        """Answer a control transfer: the octets to send back (empty for OUT), or None for a STALL."""
        handler = self._requests.get((setup.request_type, setup.request))
        if handler is None or not self.attached:
            return None
        reply = handler(setup)
        return None if reply is None else reply[: setup.length]

    def request(self, setup: Setup, answer: Callable[[bytes | None], None]) -> None:
        """The same for who wants to send the answer before the device does anything else."""
        answer(self.control(setup))

    def submit(self, transfer: Transfer) -> None:
        """Begin a bulk transfer. It may end before this returns."""
        queue = self._queues.get(transfer.endpoint)
        self._used = True
        if not self.attached:
            transfer.end(Outcome.GONE)
        elif queue is None or transfer.endpoint in self._halted:
            transfer.end(Outcome.STALLED)
        elif queue is self._out and 0 < len(transfer.data) == transfer.length <= self._gathers:
            self._gathers -= transfer.length
            self._gathered.append(transfer.data)
            _acknowledge(transfer)
        elif (
            queue is self._out
            and not (queue or self._taken or self._gathered or self._moving)
            and 0 < len(transfer.data) == transfer.length <= self._port.room
        ):
            self._pass(transfer)
        else:
            self.release()
            queue.append(transfer)
            self._move()

    def gather(self) -> None:
        """Several transfers come: as many octets as `port.ahead` are acknowledged at once, and moved by `release()`.

        Until then the host does nothing but `submit()`.
        """
        self._gathers = 0 if self._out or self._taken or self._moving else self._port.ahead

    def release(self) -> None:
        """Move what was gathered, in one go."""
        self._gathers = 0
        if self._gathered:
            self._taken.append(b"".join(self._gathered))
            self._gathered.clear()
            self._move()

    def extend(self, transfer: Transfer, *pieces: Octets) -> None:
        """More of an OUT transfer whose octets come in pieces; of no consequence if it has ended.

        If these are all that was missing, it is acknowledged before they are moved, where the port allows that.
        """
        if transfer.outcome is not None:
            return
        count = sum(map(len, pieces))
        is_next = self._out[0] is transfer and not transfer.data and not self._taken
        if is_next and transfer.actual + count == transfer.length and count <= self._port.ahead:
            self._out.popleft()
            self._taken.extend(map(bytes, pieces))  # a copy only of what may change: they may have to wait
            _acknowledge(transfer)
            self._move()
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if transfer.data:
            assert isinstance(transfer.data, bytearray), "see Transfer"
            transfer.data += data
        else:
            transfer.data = data
        self._move()

    def cancel(self, transfer: Transfer) -> bool:
        """Take a waiting transfer back; it ends CANCELLED. False if it had ended already."""
        if transfer.outcome is not None:
            return False
        self._queues[transfer.endpoint].remove(transfer)
        transfer.end(Outcome.CANCELLED)
        return True

    def reset(self) -> None:
        """Bus reset: the configuration and all halts are forgotten, and so is the job in flight."""
        self._forget(Outcome.CANCELLED)
        self._halted.clear()
        if self.configuration:
            self.configuration = 0
            self._port.reset()

    def unplug(self) -> None:
        """The host's end of the cable is out, for good. A host that only looked has no job to end."""
        self._listener = None
        self._port.on_change(None)
        self.attached = False
        self._forget(Outcome.GONE)
        if self._used:
            self._port.end()

    def on_attachment(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` whenever `attached` changes."""
        self._listener = listener

    @property
    def identity(self) -> Identity:
        """Who the device is since its last attachment."""
        return self._identity

    def descriptor(self, kind: Kind) -> bytes:
        """The first descriptor of a kind."""
        return self._descriptors[kind, 0]

    # The port's side ----------------------------------------------------------------------------------------------

    def _attach(self) -> None:
        self._identity = self._identify()
        self._descriptors = build(self._identity, self.speed)
        self.configuration = 0
        self._halted.clear()
        self.attached = self._port.online

    def _changed(self) -> None:
        if self.attached is not self._port.online:
            if self.attached:
                self.attached = False
                self._forget(Outcome.GONE)
                self._port.reset()
            else:
                self._attach()
            if self._listener is not None:
                self._listener()
        self._move()

    def _move(self) -> None:
        """Move what can be moved. What a transfer's end brings about is done by the same loop, not inside it."""
        if self._moving:
            return
        self._moving = True
        try:
            while self.attached and (self._move_out() or self._move_in()):
                pass
        finally:
            self._moving = False

    def _pass(self, transfer: Transfer) -> None:
        """Move one that has not to wait: most have not, and the queue would take as long as all the rest."""
        self._moving = True
        try:
            data = transfer.data
            _acknowledge(transfer)
            self._port.write(data)
        finally:
            self._moving = False
        if self._in or self._out:
            self._move()

    def _move_out(self) -> bool:
        queue, port = self._out, self._port
        if self._taken:
            return self._move_taken()
        if not queue:
            return False
        transfer = queue[0]
        if not (transfer.data or transfer.actual == transfer.length) or not (room := port.room):
            return False
        chunk = _take(transfer, room)
        transfer.actual += len(chunk)
        if transfer.actual == transfer.length:  # acknowledged when the buffer has it: what it means is found out later
            queue.popleft()
            transfer.end(Outcome.DONE)
        if chunk:
            port.write(chunk)
        return True

    def _move_taken(self) -> bool:
        taken, port = self._taken, self._port
        if not (room := port.room):
            return False
        piece = taken.popleft()
        if len(piece) <= room:
            port.write(piece)
        elif not (isinstance(piece, bytes) and port.keep(piece)):
            view = memoryview(piece)
            taken.appendleft(view[room:])
            port.write(view[:room])
        return True

    def _move_in(self) -> bool:
        queue, port = self._in, self._port
        if not queue or not (port.pending or not queue[0].length):
            return False
        transfer = queue.popleft()
        transfer.data = port.read(transfer.length)
        transfer.actual = len(transfer.data)
        transfer.end(Outcome.DONE)
        return True

    def _forget(self, outcome: Outcome) -> None:
        """A reset of the bus, or no bus any more: nothing is under way."""
        self._gathered.clear()
        self._taken.clear()
        self._end_all(outcome)

    def _end_all(self, outcome: Outcome, *endpoints: int) -> None:
        for endpoint in endpoints or tuple(self._queues):
            queue = self._queues[endpoint]
            for _ in range(len(queue)):  # an end may bring a new transfer, which is not meant
                queue.popleft().end(outcome)

    # Requests -----------------------------------------------------------------------------------------------------

    def _descriptor(self, setup: Setup) -> bytes | None:
        return self._descriptors.get((setup.value >> 8, setup.value & 0xFF))

    def _set_configuration(self, setup: Setup) -> bytes | None:
        if setup.value not in (0, CONFIGURATION):
            return None
        self.configuration = setup.value
        self._halted.clear()
        return b""

    def _endpoint_status(self, setup: Setup) -> bytes | None:
        if setup.target & 0x7F and setup.target not in self._queues:
            return None
        return bytes((setup.target in self._halted, 0))

    def _set_halt(self, setup: Setup) -> bytes | None:
        if setup.value != 0 or setup.target not in self._queues:
            return None
        self._halted.add(setup.target)
        self._end_all(Outcome.STALLED, setup.target)
        return b""

    def _clear_halt(self, setup: Setup) -> bytes | None:
        if setup.value != 0 or setup.target not in self._queues:
            return None
        self._halted.discard(setup.target)
        return b""

    def _device_id(self, setup: Setup) -> bytes | None:
        """The interface is in the high octet of wIndex, its alternate setting in the low one (class 1.1, 4.2.1)."""
        if setup.value or setup.target:
            return None
        text = self._port.device_id.encode("ascii", "replace")
        return (len(text) + 2).to_bytes(2, "big") + text

    def _soft_reset(self, _: Setup) -> bytes:
        self._halted.clear()
        self._gathered.clear()
        self._taken.clear()
        self._port.reset()
        return b""


def _acknowledge(transfer: Transfer) -> None:
    """All of it is taken."""
    transfer.data = b""
    transfer.actual = transfer.length
    transfer.end(Outcome.DONE)


def _take(transfer: Transfer, room: int) -> Octets:
    """As many octets of it as there is room for."""
    data = transfer.data
    if len(data) <= room:
        transfer.data = b""
        return data
    if isinstance(data, bytearray):
        chunk = bytes(data[:room])
        del data[:room]
        return chunk
    view = memoryview(data)
    transfer.data = view[room:]
    return view[:room]
