"""The lines of the parallel cable, the phases of IEEE 1284, and what waits to go back to the host.

Names of lines are the standard's for Compatibility mode. What they are called in the other modes:

| Compatibility | Nibble, Byte | ECP             | EPP     | driven by |
|---------------|--------------|-----------------|---------|-----------|
| nStrobe       | HostClk      | HostClk         | nWrite  | host      |
| nAutoFd       | HostBusy     | HostAck         | nDStrb  | host      |
| nInit         | nInit        | nReverseRequest | nInit   | host      |
| nSelectIn     | 1284Active   | 1284Active      | nAStrb  | host      |
| nAck          | PtrClk       | PeriphClk       | Intr    | machine   |
| Busy          | PtrBusy      | PeriphAck       | nWait   | machine   |
| PError        | AckDataReq   | nAckReverse     | -       | machine   |
| Select        | XFlag        | XFlag           | XFlag   | machine   |
| nFault        | nDataAvail   | nPeriphRequest  | -       | machine   |

Source: IEEE 1284-1994, chapters 5 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntFlag

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


class Phase(Enum):
    """Where the two ends are."""

    FORWARD_IDLE = "compatibility mode"
    FORWARD_DATA = "an octet is being strobed in"
    SETUP = "the machine has said that it knows the standard"
    REQUEST = "the extensibility request is being strobed in"
    REFUSED = "the mode asked for is not served"
    HOST_BUSY = "the host may ask for data"
    REVERSE_IDLE = "the host waits for data"
    REVERSE_DATA = "a nibble or an octet is on the lines"
    ECP_SETUP = "ECP mode is agreed on"
    ECP_FORWARD_IDLE = "ECP, the host may send"
    ECP_FORWARD_DATA = "ECP, the host holds an octet out"
    ECP_FORWARD_TAKEN = "ECP, the machine has taken it"
    ECP_RECOVERY = "ECP, the host takes an octet back that was not taken"
    ECP_REVERSE_IDLE = "ECP, the machine may send"
    ECP_REVERSE_DATA = "ECP, the machine holds an octet out"
    EPP_IDLE = "EPP, between two cycles"
    EPP_WRITE = "EPP, the host holds an octet out"
    EPP_READ = "EPP, the host waits for an octet"
    EPP_READ_DONE = "EPP, the machine holds an octet out"
    EPP_DONE = "EPP, the cycle is over for the machine"
    TERMINATION = "the host goes back to compatibility mode"
    TERMINATED = "the machine has gone back"


@dataclass(slots=True)
class Wire:
    """The levels on the cable. `status` counts outside compatibility mode, where the lines show the machine.

    `machine` is the octet that the machine drives onto the data lines; None while they are the host's.
    """

    control: Control = Control.N_STROBE | Control.N_AUTO_FD | Control.N_INIT
    status: Status = field(default_factory=lambda: Status(0))
    host: int = 0
    machine: int | None = None


class Outbox:
    """Octets on their way to the host: an octet leaves it when the host has taken it, so that none is lost.

    Args:
        port: where more come from; None if there is no more than `octets`.
        octets: what waits already.
    """

    READ_AHEAD = 256

    def __init__(self, port: Port | None, octets: bytes = b"") -> None:
        self._port = port
        self._octets = bytearray(octets)

    def __bool__(self) -> bool:
        return bool(self._octets or (self._port is not None and self._port.pending))

    def head(self) -> int:
        """The next octet; there must be one."""
        if not self._octets and self._port is not None:
            self._octets += self._port.read(self.READ_AHEAD)
        return self._octets[0]

    def run(self, limit: int) -> int:
        """How often the next octet comes in a row, as far as can be seen, up to `limit`."""
        head = self.head()
        return next(
            (at for at, octet in enumerate(self._octets[:limit]) if octet != head), min(limit, len(self._octets))
        )

    def drop(self, count: int = 1) -> None:
        """The host has taken the next `count`."""
        del self._octets[:count]

    def clear(self) -> None:
        """Forget what was read ahead."""
        self._octets.clear()
