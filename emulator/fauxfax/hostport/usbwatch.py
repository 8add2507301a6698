"""A printer function that somebody watches. Whoever is not watched pays nothing: it is another class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fauxfax.hostport.port import Port
from fauxfax.hostport.usb import DIRECTION_IN, Octets, PrinterFunction, Setup, Transfer
from fauxfax.hostport.usbdescriptors import Identity, Kind, Speed


class Watcher(Protocol):
    """Hears of every transfer on one cable, in order, as soon as the host has its answer.

    `snap` is how many octets of a transfer it wants to see; `now()` is the time it wants to be told, `at` its answers.
    """

    snap: int
    now: Callable[[], int]

    def attached(self, device: bytes, configuration: bytes) -> None:
        """The device is on the bus (again), with these descriptors; called when the host first uses it."""
        ...

    def controlled(self, setup: Setup, reply: bytes | None, at: int) -> None:
        """A control transfer was answered; None is a STALL."""
        ...

    def submitted(self, transfer: Transfer, data: Octets, at: int) -> object:
        """A bulk transfer began, with `data` for the device. What is returned comes back with its end."""
        ...

    def ended(self, token: object, transfer: Transfer, at: int) -> None:
        """It ended; see its `outcome`, `actual` and, for IN, `data`."""
        ...

    def sent(self, transfer: Transfer, data: Octets, began: int, at: int) -> None:
        """A bulk transfer out began and ended: both at once."""
        ...


class WatchedFunction(PrinterFunction):
    """See PrinterFunction."""

    def __init__(self, port: Port, identify: Callable[[], Identity], speed: Speed, watcher: Watcher) -> None:
        self._watcher = watcher
        self._introduced = False
        self.first = watcher.snap
        super().__init__(port, identify, speed)

    def control(self, setup: Setup) -> bytes | None:
        """See PrinterFunction."""
        replies: list[bytes | None] = []
        self.request(setup, replies.append)
        return replies[0]

    def request(self, setup: Setup, answer: Callable[[bytes | None], None]) -> None:
        """See PrinterFunction."""
        self._introduce()
        at = self._watcher.now()
        reply = super().control(setup)
        answer(reply)
        self._watcher.controlled(setup, reply, at)

    def submit(self, transfer: Transfer) -> None:
        """See PrinterFunction. Most transfers out end at once: then both halves are told after the answer."""
        self._introduce()
        watcher, done, data, began = self._watcher, transfer.done, transfer.data, self._watcher.now()
        submitting, token = not transfer.endpoint & DIRECTION_IN, None

        def ended(transfer: Transfer) -> None:
            at = watcher.now()
            done(transfer)
            if submitting:
                watcher.sent(transfer, data, began, at)
            else:
                watcher.ended(token, transfer, at)

        transfer.done = ended
        if not submitting:
            token = watcher.submitted(transfer, data, began)
        super().submit(transfer)
        if submitting and transfer.outcome is None:
            submitting, token = False, watcher.submitted(transfer, data, began)

    def _introduce(self) -> None:
        if not self._introduced and self.attached:
            self._introduced = True
            self._watcher.attached(self.descriptor(Kind.DEVICE), self.descriptor(Kind.CONFIGURATION))

    def _attach(self) -> None:
        self._introduced = False
        super()._attach()
