"""ECP, the extended capabilities port: the machine's side of IEEE 1284-1994, 7.6, in both directions.

An octet goes with a ninth bit that says data or command. A command is a channel address (bit 7 set) or the count of a
run: the next octet stands for one more than that many. The machine has one channel; an address is kept and told.
"""

from __future__ import annotations

from fauxfax.hostport.ieee1284lines import Control, Outbox, Phase, Status, Wire
from fauxfax.hostport.port import Port

MAX_RUN = 128
SHORTEST_RUN = 3
"""A run pays from here on: it is sent as two octets. A project value."""
CHANNEL = 0x80


class Ecp:
    """One stay in ECP mode. Each method is what the machine does at an event, and returns the phase that follows."""

    def __init__(self, port: Port, wire: Wire, outbox: Outbox, *, runs: bool) -> None:
        self.channel = 0
        self._port = port
        self._wire = wire
        self._outbox = outbox
        self._runs = runs
        self._repeat = 1
        self._latched = 0
        self._is_data = True
        self._inbox = bytearray()
        self._leaving = 0
        self._run_announced = False
        wire.status = Status.N_ACK | Status.SELECT | Status.N_FAULT

    def idle_lines(self) -> Status:
        """Between two octets forward: nPeriphRequest is low while an answer waits."""
        return Status.N_ACK | Status.SELECT | Status.P_ERROR | (Status(0) if self._outbox else Status.N_FAULT)

    def forward(self) -> Phase:
        """Event 31, or 49 after the reverse direction: nAckReverse high, the data lines are the host's."""
        self._wire.machine = None
        self._wire.status = self.idle_lines()
        return Phase.ECP_FORWARD_IDLE

    # Forward ---------------------------------------------------------------------------------------------------------

    def latch(self) -> Phase:
        """Event 35: HostClk low; HostAck says data or command."""
        self._latched = self._wire.host
        self._is_data = Control.N_AUTO_FD in self._wire.control
        return Phase.ECP_FORWARD_DATA

    def can_take(self) -> bool:
        """Whether the machine has room for an octet."""
        return self._port.online and self._port.room > 0

    def take(self) -> Phase:
        """Event 36: PeriphAck high, the octet is taken."""
        if self._is_data:
            self._inbox += bytes((self._latched,)) * self._repeat
            self._repeat = 1
        elif self._latched & CHANNEL:
            self.channel = self._latched & ~CHANNEL
        elif self._runs:
            self._repeat = self._latched + 1
        self._wire.status |= Status.BUSY
        return Phase.ECP_FORWARD_TAKEN

    def delivered(self) -> bool:
        """Whether all of it has gone to the machine: a run may be longer than the room there is."""
        if self._inbox and self._port.online and (room := self._port.room):
            self._port.write(bytes(self._inbox[:room]))
            del self._inbox[:room]
        return not self._inbox

    def release(self) -> Phase:
        """Event 32, after 37: PeriphAck low."""
        self._wire.status = self.idle_lines()
        return Phase.ECP_FORWARD_IDLE

    def recover(self) -> Phase:
        """Events 72 and 73: the host gives up on an octet that is not taken; nAckReverse low says so is it."""
        self._wire.status &= ~Status.P_ERROR
        return Phase.ECP_RECOVERY

    # Reverse ---------------------------------------------------------------------------------------------------------

    def reverse(self) -> Phase:
        """Event 40, after 39: nAckReverse low, the data lines are the machine's."""
        self._wire.status = Status.N_ACK | Status.SELECT | Status.N_FAULT
        self._wire.machine = 0xFF
        return Phase.ECP_REVERSE_IDLE

    def can_offer(self) -> bool:
        """Whether an answer waits."""
        return bool(self._outbox)

    def offer(self) -> Phase:
        """Events 42 and 43: an octet on the lines, PeriphAck says data or command, PeriphClk low."""
        octet = self._outbox.head()
        run = self._outbox.run(MAX_RUN) if self._runs else 1
        if self._run_announced or run < SHORTEST_RUN:
            self._leaving = self._leaving if self._run_announced else 1
            self._wire.machine = octet
            self._wire.status |= Status.BUSY
        else:
            self._leaving = run
            self._wire.machine = run - 1
            self._wire.status &= ~Status.BUSY
        self._wire.status &= ~Status.N_ACK
        return Phase.ECP_REVERSE_DATA

    def taken(self) -> Phase:
        """Event 45, after 44: PeriphClk high, the host has the octet."""
        self._run_announced = Status.BUSY not in self._wire.status
        if not self._run_announced:
            self._outbox.drop(self._leaving)
        self._wire.status |= Status.N_ACK
        return Phase.ECP_REVERSE_IDLE

    def take_back(self) -> Phase:
        """Events 48 and 49: the host turns the bus round although an octet is held out; it is offered again later."""
        self._run_announced = False
        return self.forward()
