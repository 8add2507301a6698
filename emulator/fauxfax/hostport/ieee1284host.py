"""The PC's end of the parallel cable, in software: what a kernel does when a program asks it for a mode.

It moves the lines of a :class:`Peripheral` as the standard's figures have it. The machine answers at once, so nothing
is waited for: a machine with no room takes less than it is given, one with nothing to say gives nothing.
Source: IEEE 1284-1994, chapters 6 to 8; numbers of modes are those of Linux, include/uapi/linux/parport.h.
"""

from __future__ import annotations

from fauxfax.hostport.ieee1284 import BYTE, ECP, EPP, Peripheral
from fauxfax.hostport.ieee1284lines import INVERTED_CONTROL, Control, Status

COMPATIBILITY = 0x100
ADDRESS = 0x2000
"""With EPP: address cycles instead of data cycles."""
_STROBE, _AUTO_FD, _INIT, _ACTIVE = map(int, (Control.N_STROBE, Control.N_AUTO_FD, Control.N_INIT, Control.N_SELECT_IN))
_INVERTED = int(INVERTED_CONTROL)
"""Lines as plain numbers: they move several times an octet."""


class Host:
    """Drives one cable. `mode` is the mode agreed on; it may be set by whoever negotiated by other means."""

    def __init__(self, cable: Peripheral) -> None:
        self.mode = COMPATIBILITY
        self._cable = cable
        self._reversed = False
        self._rest_of_run = b""

    def negotiate(self, mode: int) -> bool:
        """Go to a mode; False, and back in compatibility mode, if the machine does not serve it."""
        if mode == self.mode:
            return True
        self._terminate()
        if mode == COMPATIBILITY:
            return True
        request = mode & 0xFF
        self._cable.write_data(request)
        self._drive(high=_ACTIVE, low=_AUTO_FD)
        self._drive(low=_STROBE)
        self._drive(high=_STROBE | _AUTO_FD)
        self.mode = mode
        if request and Status.SELECT not in self._levels():
            self._terminate()
            return False
        if request & ECP:
            self._drive(low=_AUTO_FD)
        return True

    def write(self, data: bytes) -> int:
        """Send octets in the mode agreed on. Returns how many the machine has taken."""
        if self.mode & ECP:
            self._turn(reverse=False)
            send = self._ecp_send
        elif self.mode & EPP:
            send = self._epp_write
        else:
            self.negotiate(COMPATIBILITY)
            send = self._strobe
        return next((count for count, octet in enumerate(data) if not send(octet)), len(data))

    def read(self, limit: int) -> bytes:
        """Up to `limit` octets in the mode agreed on, as many as the machine offers now."""
        if self.mode & COMPATIBILITY:
            return b""
        if self.mode & ECP:
            return self._ecp_receive(limit)
        receive = self._epp_read if self.mode & EPP else self._byte if self.mode & BYTE else self._two_nibbles
        data = bytearray()
        while len(data) < limit and (octet := receive()) is not None:
            data.append(octet)
        return bytes(data)

    # Lines ---------------------------------------------------------------------------------------------------------

    def _drive(self, *, low: int = 0, high: int = 0) -> None:
        levels = self._cable.read_control() ^ _INVERTED
        self._cable.write_control((levels & ~low | high) ^ _INVERTED)

    def _levels(self) -> Status:
        return Status(self._cable.read_status()) ^ Status.BUSY

    def _terminate(self) -> None:
        """Back to compatibility mode, from wherever the cable is."""
        if self.mode & EPP:
            self._drive(low=_INIT)
        elif self.mode & ECP:
            self._turn(reverse=False)
        if not self.mode & (EPP | COMPATIBILITY):
            self._drive(low=_ACTIVE, high=_AUTO_FD | _STROBE)
            self._drive(low=_AUTO_FD)
        self._drive(low=_ACTIVE, high=_AUTO_FD | _STROBE | _INIT)
        self.mode, self._rest_of_run = COMPATIBILITY, b""

    # One octet in each mode ------------------------------------------------------------------------------------------

    def _strobe(self, octet: int) -> bool:
        if Status.BUSY in self._levels():
            return False
        self._cable.write_data(octet)
        self._drive(low=_STROBE)
        self._drive(high=_STROBE)
        return True

    def _nibble(self) -> int | None:
        """Four bits; None if the machine has nothing to say."""
        self._drive(low=_AUTO_FD)
        levels = self._levels()
        self._drive(high=_AUTO_FD)
        return None if Status.N_ACK in levels else levels >> 3 & 7 | (levels & Status.BUSY) >> 4

    def _two_nibbles(self) -> int | None:
        low = self._nibble()
        return None if low is None else low | (self._nibble() or 0) << 4

    def _byte(self) -> int | None:
        self._drive(low=_AUTO_FD)
        octet = None if Status.N_ACK in self._levels() else self._cable.read_data()
        self._drive(high=_AUTO_FD)
        self._drive(low=_STROBE)
        self._drive(high=_STROBE)
        return octet

    def _turn(self, *, reverse: bool) -> None:
        """ECP: who drives the data lines from now on."""
        if reverse and not self._reversed:
            self._drive(low=_AUTO_FD)
            self._drive(low=_INIT)
        elif self._reversed and not reverse:
            self._drive(high=_INIT)
            self._drive(high=_AUTO_FD)
        self._reversed = reverse

    def _ecp_send(self, octet: int) -> bool:
        if Status.BUSY in self._levels():
            return False
        self._drive(high=_AUTO_FD)
        self._cable.write_data(octet)
        self._drive(low=_STROBE)
        taken = Status.BUSY in self._levels()
        if not taken:  # take it back (host transfer recovery)
            self._drive(low=_INIT)
        self._drive(high=_STROBE)
        self._drive(high=_INIT)
        return taken

    def _ecp_receive(self, limit: int) -> bytes:
        self._turn(reverse=True)
        data, repeat = bytearray(self._rest_of_run), 1
        for _ in range(2 * limit):  # a run takes two cycles; a cable in another mode may move its lines for ever
            if len(data) >= limit or Status.N_ACK in (levels := self._levels()):
                break
            octet = self._cable.read_data()
            if Status.BUSY in levels:
                data += bytes((octet,)) * repeat
                repeat = 1
            else:
                repeat = octet + 1
            self._drive(high=_AUTO_FD)
            self._drive(low=_AUTO_FD)
        self._rest_of_run = bytes(data[limit:])
        return bytes(data[:limit])

    def _epp_strobe(self) -> int:
        return _ACTIVE if self.mode & ADDRESS else _AUTO_FD

    def _epp_write(self, octet: int) -> bool:
        """The port's hardware drives the data lines during the cycle only: its data register keeps what it held."""
        held = self._cable.read_data()
        self._cable.write_data(octet)
        self._drive(low=_STROBE)
        self._drive(low=self._epp_strobe())
        taken = Status.BUSY in self._levels()
        self._drive(high=self._epp_strobe())
        self._drive(high=_STROBE)
        self._cable.write_data(held)
        return taken

    def _epp_read(self) -> int | None:
        self._drive(low=self._epp_strobe())
        octet = self._cable.read_data() if Status.BUSY in self._levels() else None
        self._drive(high=self._epp_strobe())
        return octet
