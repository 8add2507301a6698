"""A printer function that somebody watches. Whoever is not watched pays nothing: it is another class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fauxfax.hostport.port import Port
from fauxfax.hostport.usb import Octets, PrinterFunction, Setup, Transfer
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
        """See PrinterFunction. Most transfers end at once: then both halves are told after the answer."""
        self._introduce()
        watcher, done, data = self._watcher, transfer.done, transfer.data
        began, token = watcher.now(), None

        def ended(transfer: Transfer) -> None:
            nonlocal token
            at = watcher.now()
            done(transfer)
            if token is None:
                token = watcher.submitted(transfer, data, began)
            watcher.ended(token, transfer, at)

        transfer.done = ended
        super().submit(transfer)
        if token is None:
            token = watcher.submitted(transfer, data, began)

    def _introduce(self) -> None:
        if not self._introduced and self.attached:
            self._introduced = True
            self._watcher.attached(self.descriptor(Kind.DEVICE), self.descriptor(Kind.CONFIGURATION))

    def _attach(self) -> None:
        self._introduced = False
        super()._attach()
