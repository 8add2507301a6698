"""The parallel port at register level: an IEEE 1284 peripheral over a :class:`Port`.

The host writes the data and control lines; the machine answers at once on the status lines. Every step of the standard
that is served is a row of `STEPS`: in this phase, when the host's lines stand like that, this event has happened. Modes
served are Compatibility forward, Nibble and Byte reverse, and the device id in both; a host that asks for another (ECP,
EPP) is refused in the standard's own way, by XFlag, and falls back.

Names of lines are the standard's for Compatibility mode. In the other modes nSelectIn is 1284Active, nAutoFd HostBusy,
nStrobe HostClk; nAck is PtrClk, Busy PtrBusy, PError AckDataReq, Select XFlag, nFault nDataAvail.
Source: IEEE 1284-1994, chapters 6 to 8; numbers of events are the standard's.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntFlag
from typing import NamedTuple

from fauxfax.hostport.port import Port


class Control(IntFlag):
    """The host's lines, as levels on the cable: set is high."""

    N_STROBE = 1
    N_AUTO_FD = 2
    N_INIT = 4
    N_SELECT_IN = 8


class Status(IntFlag):
    """The machine's lines, as levels on the cable, each at its place in a PC's status register."""

    N_FAULT = 0x08
    SELECT = 0x10
    P_ERROR = 0x20
    N_ACK = 0x40
    BUSY = 0x80


INVERTED_CONTROL = Control.N_STROBE | Control.N_AUTO_FD | Control.N_SELECT_IN
"""A PC's control register drives these three through inverters; its status register inverts Busy."""
DEVICE_ID, BYTE = 0x04, 0x01
"""Bits of the extensibility request: give the device id; a byte at a time instead of a nibble."""
SERVED = frozenset({0x00, BYTE, DEVICE_ID, DEVICE_ID | BYTE})


class Phase(Enum):
    """Where the two ends are."""

    FORWARD_IDLE = "compatibility mode"
    FORWARD_DATA = "an octet is being strobed in"
    SETUP = "the machine has said that it knows the standard"
    REQUEST = "the extensibility request is being strobed in"
    HOST_BUSY = "the host may ask for data"
    REVERSE_IDLE = "the host waits for data"
    REVERSE_DATA = "a nibble or an octet is on the lines"
    REFUSED = "the mode asked for is not served"
    TERMINATION = "the host goes back to compatibility mode"
    TERMINATED = "the machine has gone back"


class Step(NamedTuple):
    """In `phase`, when the host's lines in `mask` stand as in `levels`: `event`, and what the machine does."""

    phase: Phase
    event: int
    mask: Control
    levels: Control
    action: Callable[[Peripheral], Phase]


class Peripheral:
    """The machine's end of the cable. Registers are those of a PC's port; `trace` hears of every event."""

    def __init__(self, port: Port, trace: Callable[[int, Phase], None] | None = None) -> None:
        self.phase = Phase.FORWARD_IDLE
        self._port = port
        self._trace = trace
        self._control = Control.N_STROBE | Control.N_AUTO_FD | Control.N_INIT
        self._lines = Status(0)
        self._data = 0
        self._latched = 0
        self._request = 0
        self._reverse = bytearray()
        self._high_nibble: int | None = None

    # Registers ----------------------------------------------------------------------------------------------------

    def write_data(self, value: int) -> None:
        """The host puts an octet on the data lines."""
        self._data = value & 0xFF

    def read_data(self) -> int:
        """What is on the data lines: in byte mode, while the machine drives them, its octet."""
        driving = self.phase is Phase.REVERSE_DATA and self._request & BYTE
        return self._latched if driving else self._data

    def write_control(self, value: int) -> None:
        """The host sets its lines; the machine follows through as many steps as they bring about."""
        self._control = Control(value & 0x0F) ^ INVERTED_CONTROL
        if Control.N_INIT not in self._control:
            self._port.reset()
            self._forget()
            return
        while step := self._next():
            self.phase = step.action(self)
            if self._trace is not None:
                self._trace(step.event, self.phase)

    def read_control(self) -> int:
        """The control register reads back."""
        return int(self._control ^ INVERTED_CONTROL)

    def read_status(self) -> int:
        """The status register. In compatibility mode it shows the machine, else the handshake."""
        return int(self._levels() ^ Status.BUSY)

    def unplug(self) -> None:
        """The cable is out."""
        self._forget()
        self._port.end()

    # The machine's lines ------------------------------------------------------------------------------------------

    def _levels(self) -> Status:
        if self.phase not in (Phase.FORWARD_IDLE, Phase.FORWARD_DATA):
            return self._lines
        status, lines = self._port.status, Status.N_ACK
        if status.paper_empty:
            lines |= Status.P_ERROR
        if status.selected:
            lines |= Status.SELECT
        if not status.error:
            lines |= Status.N_FAULT
        if self.phase is Phase.FORWARD_DATA or not self._port.online or not self._port.room:
            lines |= Status.BUSY
        return lines

    def _next(self) -> Step | None:
        return next((step for step in STEPS[self.phase] if self._control & step.mask == step.levels), None)

    def _forget(self) -> None:
        self.phase = Phase.FORWARD_IDLE
        self._reverse.clear()
        self._high_nibble = None

    # Compatibility mode, forward ----------------------------------------------------------------------------------

    def _strobe(self) -> Phase:
        self._latched = self._data
        return Phase.FORWARD_DATA

    def _take(self) -> Phase:
        """The end of the strobe. A host that strobes in spite of Busy loses the octet, as it would on a cable."""
        if self._port.online and self._port.room:
            self._port.write(bytes((self._latched,)))
        return Phase.FORWARD_IDLE

    # Negotiation --------------------------------------------------------------------------------------------------

    def _answer(self) -> Phase:
        """Event 2: yes, I know the standard."""
        self._lines = Status.P_ERROR | Status.N_FAULT | Status.SELECT
        return Phase.SETUP

    def _latch_request(self) -> Phase:
        self._request = self._data
        return Phase.REQUEST

    def _decide(self) -> Phase:
        """Events 5 and 6. XFlag says yes to every mode but nibble, which it need not confirm."""
        if self._request not in SERVED:
            self._lines = Status.N_ACK | Status.N_FAULT
            return Phase.REFUSED
        if self._request & DEVICE_ID:
            text = self._port.device_id.encode("ascii", "replace")
            self._reverse += (len(text) + 2).to_bytes(2, "big") + text
        self._idle_lines()
        return Phase.HOST_BUSY

    def _idle_lines(self) -> None:
        """Between two octets: PtrClk high, nDataAvail low while there is more."""
        self._lines = Status.N_ACK
        if self._request:
            self._lines |= Status.SELECT
        if not self._available:
            self._lines |= Status.N_FAULT | Status.P_ERROR

    # Nibble and byte mode, reverse --------------------------------------------------------------------------------

    @property
    def _available(self) -> bool:
        """Whether more waits for the host: the rest of the id where it was asked for, else the machine's answer."""
        return bool(self._reverse or (not self._request & DEVICE_ID and self._port.pending))

    def _offer(self) -> Phase:
        """Events 7 to 9 (14 and 15 in byte mode): the next nibble or octet, low nibble first, PtrClk low."""
        if self._high_nibble is None and not self._available:
            return Phase.REVERSE_IDLE
        if self._high_nibble is not None:
            self._lines, self._high_nibble = _nibble(self._high_nibble), None
            return Phase.REVERSE_DATA
        octet = self._reverse.pop(0) if self._reverse else self._port.read(1)[0]
        if self._request & BYTE:
            self._latched = octet
            self._lines &= ~Status.N_ACK
        else:
            self._lines, self._high_nibble = _nibble(octet & 0x0F), octet >> 4
        return Phase.REVERSE_DATA

    def _taken(self) -> Phase:
        """Event 11: PtrClk high again."""
        if self._high_nibble is None:
            self._idle_lines()
        else:
            self._lines |= Status.N_ACK
        return Phase.HOST_BUSY

    def _wake(self) -> Phase:
        self._idle_lines()
        return Phase.HOST_BUSY

    # Termination --------------------------------------------------------------------------------------------------

    def _terminate(self) -> Phase:
        """Events 23 and 24: Busy high, XFlag turned round, PtrClk low."""
        self._lines = (self._lines ^ Status.SELECT | Status.BUSY | Status.N_FAULT) & ~Status.N_ACK
        return Phase.TERMINATION

    def _acknowledge(self) -> Phase:
        """Events 26 and 27: PtrClk high."""
        self._lines |= Status.N_ACK
        return Phase.TERMINATED

    def _finish(self) -> Phase:
        self._forget()
        return Phase.FORWARD_IDLE


def _nibble(value: int) -> Status:
    """Four bits on the status lines, with PtrClk low: nFault, Select, PError, Busy."""
    return Status((value & 7) << 3 | (value & 8) << 4)


def _table(*steps: Step) -> dict[Phase, tuple[Step, ...]]:
    return {phase: tuple(step for step in steps if step.phase is phase) for phase in Phase}


_STROBE, _AUTO_FD, _ACTIVE = Control.N_STROBE, Control.N_AUTO_FD, Control.N_SELECT_IN
_LOW = Control(0)

STEPS = _table(
    Step(Phase.FORWARD_IDLE, 1, _ACTIVE | _AUTO_FD, _ACTIVE, Peripheral._answer),
    Step(Phase.FORWARD_IDLE, 0, _STROBE | _ACTIVE, _LOW, Peripheral._strobe),
    Step(Phase.FORWARD_DATA, 0, _STROBE, _STROBE, Peripheral._take),
    Step(Phase.SETUP, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.SETUP, 3, _STROBE, _LOW, Peripheral._latch_request),
    Step(Phase.REQUEST, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.REQUEST, 4, _STROBE | _AUTO_FD, _STROBE | _AUTO_FD, Peripheral._decide),
    Step(Phase.HOST_BUSY, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.HOST_BUSY, 7, _AUTO_FD, _LOW, Peripheral._offer),
    Step(Phase.REVERSE_DATA, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.REVERSE_DATA, 10, _AUTO_FD, _AUTO_FD, Peripheral._taken),
    Step(Phase.REVERSE_IDLE, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.REVERSE_IDLE, 10, _AUTO_FD, _AUTO_FD, Peripheral._wake),
    Step(Phase.REFUSED, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.TERMINATION, 25, _AUTO_FD, _LOW, Peripheral._acknowledge),
    Step(Phase.TERMINATED, 29, _AUTO_FD, _AUTO_FD, Peripheral._finish),
)
