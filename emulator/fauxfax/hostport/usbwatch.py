"""A printer function that somebody watches. Whoever is not watched pays nothing: it is another class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fauxfax.hostport.port import Port
from fauxfax.hostport.usb import PrinterFunction, Setup, Transfer
from fauxfax.hostport.usbdescriptors import Identity, Kind, Speed


class Watcher(Protocol):
    """Hears of every transfer on one cable, in order."""

    def attached(self, device: bytes, configuration: bytes) -> None:
        """The device is on the bus (again), with these descriptors; called when the host first uses it."""
        ...

    def controlled(self, setup: Setup, reply: bytes | None) -> None:
        """A control transfer was answered; None is a STALL."""
        ...

    def submitted(self, transfer: Transfer) -> object:
        """A bulk transfer begins. What is returned comes back with its end."""
        ...

    def ended(self, token: object, transfer: Transfer) -> None:
        """It ended; see its `outcome`, `actual` and, for IN, `data`."""
        ...


class WatchedFunction(PrinterFunction):
    """See PrinterFunction."""

    def __init__(self, port: Port, identify: Callable[[], Identity], speed: Speed, watcher: Watcher) -> None:
        self._watcher = watcher
        self._introduced = False
        super().__init__(port, identify, speed)

    def control(self, setup: Setup) -> bytes | None:
        """See PrinterFunction."""
        self._introduce()
        reply = super().control(setup)
        self._watcher.controlled(setup, reply)
        return reply

    def submit(self, transfer: Transfer) -> None:
        """See PrinterFunction."""
        self._introduce()
        token, done, watcher = self._watcher.submitted(transfer), transfer.done, self._watcher

        def ended(transfer: Transfer) -> None:
            watcher.ended(token, transfer)
            done(transfer)

        transfer.done = ended
        super().submit(transfer)

    def _introduce(self) -> None:
        if not self._introduced and self.attached:
            self._introduced = True
            self._watcher.attached(self.descriptor(Kind.DEVICE), self.descriptor(Kind.CONFIGURATION))

    def _attach(self) -> None:
        self._introduced = False
        super()._attach()
