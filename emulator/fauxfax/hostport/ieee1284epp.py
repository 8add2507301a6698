"""EPP, the enhanced parallel port: the machine's side of IEEE 1284-1994, 7.7.

Four cycles, told apart by nWrite and by which strobe falls: data or address, to or from the machine. nWait high ends
each; until then the machine has no room, or nothing to say. The address is kept and read back, and means nothing.
"""

from __future__ import annotations

from fauxfax.hostport.ieee1284lines import Outbox, Phase, Status, Wire
from fauxfax.hostport.port import Port


class Epp:
    """One stay in EPP mode. Each method is what the machine does in a cycle, and returns the phase that follows."""

    def __init__(self, port: Port, wire: Wire, outbox: Outbox) -> None:
        self.address = 0
        self._port = port
        self._wire = wire
        self._outbox = outbox
        wire.status = Status.N_ACK | Status.SELECT | Status.N_FAULT

    def can_take(self) -> bool:
        """Whether the machine has room for an octet."""
        return self._port.online and self._port.room > 0

    def take(self) -> Phase:
        """A data write: the octet is the machine's."""
        self._port.write(bytes((self._wire.host,)))
        return self._done()

    def can_offer(self) -> bool:
        """Whether an answer waits."""
        return bool(self._outbox)

    def offer(self) -> Phase:
        """A data read: the octet is on the lines."""
        self._wire.machine = self._outbox.head()
        self._done()
        return Phase.EPP_READ_DONE

    def offered(self) -> Phase:
        """The host has read it."""
        self._outbox.drop()
        return self.idle()

    def take_address(self) -> Phase:
        """An address write."""
        self.address = self._wire.host
        return self._done()

    def offer_address(self) -> Phase:
        """An address read."""
        self._wire.machine = self.address
        return self._done()

    def idle(self) -> Phase:
        """Both strobes are high: nWait low, the next cycle may come."""
        self._wire.machine = None
        self._wire.status &= ~Status.BUSY
        return Phase.EPP_IDLE

    def _done(self) -> Phase:
        self._wire.status |= Status.BUSY
        return Phase.EPP_DONE
