"""A host port in memory: it takes what it has room for, keeps it, and says what a test puts into it."""

from __future__ import annotations

from collections.abc import Callable

from fauxfax.hostport.port import PortStatus
from fauxfax.hostport.usb import PrinterFunction
from fauxfax.hostport.usbdescriptors import Identity, Speed

DEVICE_ID = "MFG:Panasonic;CMD:PJL,TIFF;MDL:UF-8000;CLS:PRINTER;DES:Panasonic UF-8000;SN:EMUFAX1;"
IDENTITY = Identity(0x04DA, 0x1500, "Panasonic", "UF-8000", "EMUFAX1", 0x0100)


class MemoryPort:
    """`hostport.port.Port` in memory. `space` is the room there is; `echo` makes it say what it hears.

    With `ahead` octets may be acknowledged before they are written; `keeps` says what `keep()` answers.
    """

    def __init__(self, space: int = 1 << 30, *, echo: bool = False) -> None:
        self.online = True
        self.device_id = DEVICE_ID
        self.serial = "EMUFAX1"
        self.status = PortStatus(paper_empty=False, selected=True, error=False)
        self.report = ['"UF-8000"', "SERIAL=EMUFAX1", "SC=V10100"]
        self.space = space
        self.ahead = 0
        self.keeps = False
        self.echo = echo
        self.heard = bytearray()
        self.said = bytearray()
        self.happened: list[str] = []
        self._listener: Callable[[], None] | None = None

    @property
    def room(self) -> int:
        return self.space if self.online else 0

    @property
    def pending(self) -> int:
        return len(self.said)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.online
        assert len(data) <= self.space, "more than there is room for"
        self.space -= len(data)
        self.heard += data
        if self.echo:
            self.said += data

    def keep(self, data: bytes) -> bool:
        self.heard += data if self.keeps else b""
        return self.keeps

    def read(self, limit: int) -> bytes:
        data = bytes(self.said[:limit])
        del self.said[:limit]
        return data

    def reset(self) -> None:
        self.happened.append("reset")
        self.said.clear()

    def end(self) -> None:
        self.happened.append("end")

    def on_change(self, listener: Callable[[], None] | None) -> None:
        self._listener = listener

    def change(self, *, space: int | None = None, online: bool | None = None, say: bytes = b"") -> None:
        """Something happens in the machine."""
        self.space = self.space if space is None else space
        self.online = self.online if online is None else online
        self.said += say
        if self._listener is not None:
            self._listener()


def plugged(port: MemoryPort, speed: Speed = Speed.HIGH) -> PrinterFunction:
    """A cable in the port."""
    return PrinterFunction(port, lambda: IDENTITY, speed)
