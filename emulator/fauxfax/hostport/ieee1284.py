"""The parallel port at register level: an IEEE 1284 peripheral over a :class:`Port`.

The host writes the data and control lines; the machine answers at once on the status lines. Every step of the standard
that is served is a row of `STEPS`: in this phase, when the host's lines stand like that, this event has happened. Modes
served are Compatibility forward, Nibble and Byte reverse, ECP both ways with runs and channels, EPP, and the device id
in all reverse modes but EPP. A host that asks for another is refused in the standard's own way, by XFlag.

Source: IEEE 1284-1994, chapters 6 to 8; numbers of events are the standard's, 0 where it gives none for the step
(strobes of Compatibility mode, cycles of EPP). The lines and their other names are in `ieee1284lines.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fauxfax.hostport.ieee1284ecp import Ecp
from fauxfax.hostport.ieee1284epp import Epp
from fauxfax.hostport.ieee1284lines import INVERTED_CONTROL, Control, Outbox, Phase, Status, Wire
from fauxfax.hostport.port import Port

__all__ = ["Control", "Levels", "Peripheral", "Phase", "Status"]

DEVICE_ID, BYTE, ECP, RUNS, EPP = 0x04, 0x01, 0x10, 0x20, 0x40
"""Bits of the extensibility request: give the device id; a byte at a time; ECP; ECP with run lengths; EPP."""
SERVED = frozenset({0x00, BYTE, ECP, ECP | RUNS, EPP, *(DEVICE_ID | mode for mode in (0x00, BYTE, ECP, ECP | RUNS))})
CONTROL_LEVELS = tuple(Control(register) ^ INVERTED_CONTROL for register in range(16))
"""What the control register puts on the cable."""
FLOATING = 0xFF
"""What data lines show that nobody drives."""
COMPATIBILITY = frozenset({Phase.FORWARD_IDLE, Phase.FORWARD_DATA})
N_INIT_HAS_ANOTHER_MEANING = frozenset(phase for phase in Phase if phase.name.startswith(("ECP_", "EPP_")))


class Levels(NamedTuple):
    """Everything on the cable at one moment: lines as levels, the octet on the data lines, and where the ends are."""

    control: Control
    status: Status
    data: int
    phase: Phase


class Step(NamedTuple):
    """In `phase`, when the host's lines in `mask` stand as in `levels`: `event`, and what the machine does.

    `when` is the machine's own condition: until it holds, the host waits. The lines are compared as plain numbers,
    because a step is looked for at every access, and flags are some ten times as slow.
    """

    phase: Phase
    event: int
    mask: int
    levels: int
    action: Callable[[Peripheral], Phase]
    when: Callable[[Peripheral], bool] = lambda _: True


class Peripheral:
    """The machine's end of the cable. Registers are those of a PC's port.

    Args:
        port: the way in.
        trace: hears of every event and the phase it led to.
        scope: hears of all levels after every change, as a logic analyser on the cable would.
    """

    def __init__(
        self,
        port: Port,
        trace: Callable[[int, Phase], None] | None = None,
        scope: Callable[[Levels], None] | None = None,
    ) -> None:
        self.phase = Phase.FORWARD_IDLE
        self._port = port
        self._trace = trace
        self._scope = scope
        self._wire = Wire()
        self._data_register = 0
        self._reversed = False
        self._answers = Outbox(port)
        self._outbox = self._answers
        self._latched = 0
        self._request = 0
        self._high_nibble = False
        self.ecp = Ecp(port, Wire(), self._answers, runs=False)
        self.epp = Epp(port, Wire(), self._answers)

    # Registers ----------------------------------------------------------------------------------------------------

    def write_data(self, value: int) -> None:
        """The host's data register gets an octet, which is on the lines as long as the host drives them."""
        self._data_register = value & 0xFF
        self.turn_data(reverse=self._reversed)

    def turn_data(self, *, reverse: bool) -> None:
        """The host lets go of the data lines, or drives them again."""
        self._reversed = reverse
        self._wire.host = FLOATING if reverse else self._data_register
        self._look()

    def read_data(self) -> int:
        """What is on the data lines: the machine's octet while it drives them."""
        return self._wire.host if self._wire.machine is None else self._wire.machine

    def write_control(self, value: int) -> None:
        """The host sets its lines; the machine follows through as many steps as they bring about."""
        self._wire.control = CONTROL_LEVELS[value & 0x0F]
        if self._reset_wanted():
            self._port.reset()
            self._answers.clear()
            self._forget()
        self._look()
        self._advance()

    def read_control(self) -> int:
        """The control register reads back."""
        return int(self._wire.control ^ INVERTED_CONTROL)

    def read_status(self) -> int:
        """The status register, after what the machine has become ready for meanwhile."""
        self._advance()
        return int(self._levels() ^ Status.BUSY)

    def unplug(self) -> None:
        """The cable is out."""
        self._answers.clear()
        self._forget()
        self._port.end()

    # The machine's lines ------------------------------------------------------------------------------------------

    def _levels(self) -> Status:
        """In compatibility mode the lines show the machine, else the handshake."""
        if self.phase is Phase.ECP_FORWARD_IDLE:
            return self.ecp.idle_lines()
        if self.phase not in COMPATIBILITY:
            return self._wire.status
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

    def _reset_wanted(self) -> bool:
        """NInit low; in ECP and EPP, with 1284Active high, that line means something else."""
        if Control.N_INIT in self._wire.control:
            return False
        return self.phase not in N_INIT_HAS_ANOTHER_MEANING or Control.N_SELECT_IN not in self._wire.control

    def _advance(self) -> None:
        while step := self._next():
            self.phase = step.action(self)
            if self._trace is not None:
                self._trace(step.event, self.phase)
            self._look()

    def _next(self) -> Step | None:
        control = int(self._wire.control)
        return next(
            (step for step in STEPS[self.phase] if control & step.mask == step.levels and step.when(self)), None
        )

    def _look(self) -> None:
        if self._scope is not None:
            self._scope(Levels(self._wire.control, self._levels(), self.read_data(), self.phase))

    def _forget(self) -> None:
        self.phase = Phase.FORWARD_IDLE
        self._wire.machine = None
        self._outbox = self._answers
        self._high_nibble = False

    # Compatibility mode, forward ----------------------------------------------------------------------------------

    def _strobe(self) -> Phase:
        self._latched = self._wire.host
        return Phase.FORWARD_DATA

    def _take(self) -> Phase:
        """The end of the strobe. A host that strobes in spite of Busy loses the octet, as it would on a cable."""
        if self._port.online and self._port.room:
            self._port.write(bytes((self._latched,)))
        return Phase.FORWARD_IDLE

    # Negotiation --------------------------------------------------------------------------------------------------

    def _answer(self) -> Phase:
        """Event 2: yes, I know the standard."""
        self._wire.status = Status.P_ERROR | Status.N_FAULT | Status.SELECT
        return Phase.SETUP

    def _latch_request(self) -> Phase:
        self._request = self._wire.host
        return Phase.REQUEST

    def _decide(self) -> Phase:
        """Events 5 and 6. XFlag says yes to every mode but nibble, which it need not confirm."""
        if self._request not in SERVED:
            self._wire.status = Status.N_ACK | Status.N_FAULT
            return Phase.REFUSED
        if self._request & DEVICE_ID:
            text = self._port.device_id.encode("ascii", "replace")
            self._outbox = Outbox(None, (len(text) + 2).to_bytes(2, "big") + text)
        if self._request & ECP:
            self.ecp = Ecp(self._port, self._wire, self._outbox, runs=bool(self._request & RUNS))
            return Phase.ECP_SETUP
        if self._request & EPP:
            self.epp = Epp(self._port, self._wire, self._outbox)
            return Phase.EPP_IDLE
        return self._idle()

    # Nibble and byte mode, reverse --------------------------------------------------------------------------------

    def _idle(self) -> Phase:
        """Between two octets: PtrClk high, nDataAvail low while there is more."""
        self._wire.machine = None
        self._wire.status = Status.N_ACK | (Status.SELECT if self._request else Status(0))
        if not self._outbox:
            self._wire.status |= Status.N_FAULT | Status.P_ERROR
        return Phase.HOST_BUSY

    def _offer(self) -> Phase:
        """Events 8 and 9: the next nibble or octet, low nibble first, PtrClk low."""
        if not self._outbox:
            return Phase.REVERSE_IDLE
        octet = self._outbox.head()
        if self._request & BYTE:
            self._wire.machine = octet
            self._wire.status &= ~Status.N_ACK
        else:
            self._wire.status = _nibble(octet >> 4 if self._high_nibble else octet & 0x0F)
        return Phase.REVERSE_DATA

    def _taken(self) -> Phase:
        """Event 11: PtrClk high again."""
        if not self._request & BYTE and not self._high_nibble:
            self._high_nibble = True
            self._wire.status |= Status.N_ACK
            return Phase.HOST_BUSY
        self._high_nibble = False
        self._outbox.drop()
        return self._idle()

    # Termination --------------------------------------------------------------------------------------------------

    def _terminate(self) -> Phase:
        """Events 23 and 24: Busy high, XFlag turned round, PtrClk low."""
        status = self._wire.status ^ Status.SELECT | Status.BUSY | Status.N_FAULT
        self._wire.status = status & ~Status.N_ACK
        self._wire.machine = None
        return Phase.TERMINATION

    def _acknowledge(self) -> Phase:
        """Events 26 and 27: PtrClk high."""
        self._wire.status |= Status.N_ACK
        return Phase.TERMINATED

    def _finish(self) -> Phase:
        self._forget()
        return Phase.FORWARD_IDLE


def _nibble(value: int) -> Status:
    """Four bits on the status lines, with PtrClk low: nFault, Select, PError, Busy."""
    return Status((value & 7) << 3 | (value & 8) << 4)


def _table(*steps: Step) -> dict[Phase, tuple[Step, ...]]:
    plain = [step._replace(mask=int(step.mask), levels=int(step.levels)) for step in steps]
    return {phase: tuple(step for step in plain if step.phase is phase) for phase in Phase}


_STROBE, _AUTO_FD, _INIT, _ACTIVE = Control.N_STROBE, Control.N_AUTO_FD, Control.N_INIT, Control.N_SELECT_IN
_LOW = _ANY = Control(0)

STEPS = _table(
    # Compatibility, and the way out of it
    Step(Phase.FORWARD_IDLE, 1, _ACTIVE | _AUTO_FD, _ACTIVE, Peripheral._answer),
    Step(Phase.FORWARD_IDLE, 0, _STROBE | _ACTIVE, _LOW, Peripheral._strobe),
    Step(Phase.FORWARD_DATA, 0, _STROBE, _STROBE, Peripheral._take),
    Step(Phase.SETUP, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.SETUP, 3, _STROBE, _LOW, Peripheral._latch_request),
    Step(Phase.REQUEST, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.REQUEST, 4, _STROBE | _AUTO_FD, _STROBE | _AUTO_FD, Peripheral._decide),
    Step(Phase.REFUSED, 22, _ACTIVE, _LOW, Peripheral._terminate),
    # Nibble and Byte
    Step(Phase.HOST_BUSY, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.HOST_BUSY, 7, _AUTO_FD, _LOW, Peripheral._offer),
    Step(Phase.REVERSE_DATA, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.REVERSE_DATA, 10, _AUTO_FD, _AUTO_FD, Peripheral._taken),
    Step(Phase.REVERSE_IDLE, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.REVERSE_IDLE, 10, _AUTO_FD, _AUTO_FD, Peripheral._idle),
    # ECP forward
    Step(Phase.ECP_SETUP, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.ECP_SETUP, 30, _AUTO_FD, _LOW, lambda p: p.ecp.forward()),
    Step(Phase.ECP_FORWARD_IDLE, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.ECP_FORWARD_IDLE, 39, _INIT, _LOW, lambda p: p.ecp.reverse()),
    Step(Phase.ECP_FORWARD_IDLE, 35, _STROBE, _LOW, lambda p: p.ecp.latch()),
    Step(Phase.ECP_FORWARD_DATA, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.ECP_FORWARD_DATA, 72, _INIT, _LOW, lambda p: p.ecp.recover()),
    Step(Phase.ECP_FORWARD_DATA, 36, _ANY, _ANY, lambda p: p.ecp.take(), when=lambda p: p.ecp.can_take()),
    Step(Phase.ECP_FORWARD_TAKEN, 37, _STROBE, _STROBE, lambda p: p.ecp.release(), when=lambda p: p.ecp.delivered()),
    Step(Phase.ECP_RECOVERY, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.ECP_RECOVERY, 74, _INIT | _STROBE, _INIT | _STROBE, lambda p: p.ecp.forward()),
    # ECP reverse
    Step(Phase.ECP_REVERSE_IDLE, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.ECP_REVERSE_IDLE, 47, _INIT, _INIT, lambda p: p.ecp.forward()),
    Step(Phase.ECP_REVERSE_IDLE, 43, _AUTO_FD, _LOW, lambda p: p.ecp.offer(), when=lambda p: p.ecp.can_offer()),
    Step(Phase.ECP_REVERSE_DATA, 22, _ACTIVE, _LOW, Peripheral._terminate),
    Step(Phase.ECP_REVERSE_DATA, 47, _INIT, _INIT, lambda p: p.ecp.take_back()),
    Step(Phase.ECP_REVERSE_DATA, 44, _AUTO_FD, _AUTO_FD, lambda p: p.ecp.taken()),
    # EPP; nInit low is the way out
    *(Step(phase, 0, _INIT, _LOW, Peripheral._finish) for phase in Phase if phase.name.startswith("EPP_")),
    Step(Phase.EPP_IDLE, 0, _STROBE | _AUTO_FD, _LOW, lambda _: Phase.EPP_WRITE),
    Step(Phase.EPP_IDLE, 0, _STROBE | _AUTO_FD, _STROBE, lambda _: Phase.EPP_READ),
    Step(Phase.EPP_IDLE, 0, _STROBE | _ACTIVE, _LOW, lambda p: p.epp.take_address()),
    Step(Phase.EPP_IDLE, 0, _STROBE | _ACTIVE, _STROBE, lambda p: p.epp.offer_address()),
    Step(Phase.EPP_WRITE, 0, _AUTO_FD, _AUTO_FD, lambda p: p.epp.idle()),
    Step(Phase.EPP_WRITE, 0, _ANY, _ANY, lambda p: p.epp.take(), when=lambda p: p.epp.can_take()),
    Step(Phase.EPP_READ, 0, _AUTO_FD, _AUTO_FD, lambda p: p.epp.idle()),
    Step(Phase.EPP_READ, 0, _ANY, _ANY, lambda p: p.epp.offer(), when=lambda p: p.epp.can_offer()),
    Step(Phase.EPP_READ_DONE, 0, _AUTO_FD, _AUTO_FD, lambda p: p.epp.offered()),
    Step(Phase.EPP_DONE, 0, _AUTO_FD | _ACTIVE, _AUTO_FD | _ACTIVE, lambda p: p.epp.idle()),
    # The way back
    Step(Phase.TERMINATION, 25, _AUTO_FD, _LOW, Peripheral._acknowledge),
    Step(Phase.TERMINATED, 29, _AUTO_FD, _AUTO_FD, Peripheral._finish),
)
