"""The contract between the machine and every way a PC reaches it: USB, parallel, TCP 9100, LPD, FTP, serial.

The machine gives each way in a :class:`Port`; codecs (`usb.py`, `ieee1284.py`) and servers move octets between it
and their wire. Back-pressure is `room`: a way in with no room answers NAK, BUSY, or reads nothing from its socket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PortStatus:
    """The printer's three status lines (USB printer class 1.1, 4.2.2; IEEE 1284 PError, Select, nFault)."""

    paper_empty: bool
    selected: bool
    error: bool

    @property
    def octet(self) -> int:
        """GET_PORT_STATUS: bit 5 paper empty, bit 4 selected, bit 3 *not* error."""
        return self.paper_empty << 5 | self.selected << 4 | (not self.error) << 3


class Port(Protocol):
    """One way in, as the machine offers it."""

    @property
    def online(self) -> bool:
        """Whether the machine is there: false while it is dark or restarting. USB shows it as disconnect."""
        ...

    @property
    def device_id(self) -> str:
        """The IEEE 1284 device id without its length prefix: `MFG:Panasonic;CMD:PJL,TIFF;MDL:UF-8000;…;`."""
        ...

    @property
    def serial(self) -> str:
        """The USB serial number; begins with `EMU`."""
        ...

    @property
    def status(self) -> PortStatus:
        """The status lines now."""
        ...

    @property
    def report(self) -> Sequence[str]:
        """Who the machine is, what runs, how the last update went: the lines of PJL's INFO ID, FIRMWARE, UPGRADE."""
        ...

    @property
    def room(self) -> int:
        """Octets that `write()` takes now; 0 is busy."""
        ...

    @property
    def ahead(self) -> int:
        """Octets that may be acknowledged to the PC before `write()` takes them, `room` at a time, or `keep()`.

        0 where the machine has a say in each of them; more while a picture comes, which is only kept. What a way in
        has acknowledged and cannot hand over before the cable is out is lost, as in a printer's own buffer.
        """
        ...

    @property
    def pending(self) -> int:
        """Octets that wait for the PC."""
        ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take octets from the PC, at most `room` of them; more, or writing while offline, is a Misuse."""
        ...

    def keep(self, data: bytes) -> bool:
        """Take octets that are beyond `room`, but nothing else than a picture; False if `write()` must have them."""
        ...

    def read(self, limit: int) -> bytes:
        """Give the PC up to `limit` octets; empty if nothing waits."""
        ...

    def reset(self) -> None:
        """Soft reset or nInit: the job in flight is dropped, what waits for the PC is forgotten."""
        ...

    def end(self) -> None:
        """The PC closed the connection or pulled the cable: the stream ends here."""
        ...

    def on_change(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` when `online`, `status`, `room` or `pending` may have changed. One listener a port."""
        ...
