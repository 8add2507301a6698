"""A port of a machine that a test moves by hand."""

from __future__ import annotations

from collections.abc import Callable

from fauxfax.hostport.port import PortStatus


class HandPort:
    """A `Port`: what was written is in `written`; room, state and output are set by the test."""

    def __init__(self, room: int = 1 << 30) -> None:
        self.device_id = "MFG:Panasonic;CMD:PJL,TIFF;MDL:UF-8000;CLS:PRINTER;DES:Panasonic UF-8000;SN:EMUTEST;"
        self.serial = "EMUTEST"
        self.status = PortStatus(paper_empty=False, selected=True, error=False)
        self.online = True
        self.room = room
        self.written = bytearray()
        self.output = bytearray()
        self.resets = self.ends = 0
        self._listener: Callable[[], None] | None = None

    @property
    def pending(self) -> int:
        return len(self.output)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.online
        assert len(data) <= self.room
        self.room -= len(data)
        self.written += data

    def read(self, limit: int) -> bytes:
        data = bytes(self.output[:limit])
        del self.output[:limit]
        return data

    def reset(self) -> None:
        self.resets += 1
        self.output.clear()

    def end(self) -> None:
        self.ends += 1

    def on_change(self, listener: Callable[[], None] | None) -> None:
        self._listener = listener

    def change(self, *, online: bool | None = None, room: int | None = None, say: bytes = b"") -> None:
        """Move the machine, and tell whoever listens."""
        self.online = self.online if online is None else online
        self.room = self.room if room is None else room
        self.output += say
        if self._listener is not None:
            self._listener()
