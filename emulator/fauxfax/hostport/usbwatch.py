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
        self._arriving: _Watch | None = None  # what comes in pieces
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
        """See PrinterFunction."""
        self._introduce()
        watch = _Watch(self._watcher, transfer)
        in_pieces = not transfer.endpoint & DIRECTION_IN and len(transfer.data) < transfer.length
        if in_pieces:
            watch.data = bytearray(transfer.data[: self._watcher.snap])
            self._arriving = watch
        super().submit(transfer)
        if transfer.outcome is None and not in_pieces:
            watch.begin(transfer)

    def extend(self, transfer: Transfer, *pieces: Octets) -> None:
        """See PrinterFunction."""
        watch = self._arriving
        assert watch is not None, "see submit()"
        assert isinstance(watch.data, bytearray), "see submit()"
        for piece in pieces:
            watch.data += piece[: max(0, self._watcher.snap - len(watch.data))]
        super().extend(transfer, *pieces)
        if transfer.outcome is None and transfer.actual + len(transfer.data) == transfer.length:
            watch.begin(transfer)

    def _introduce(self) -> None:
        if not self._introduced and self.attached:
            self._introduced = True
            self._watcher.attached(self.descriptor(Kind.DEVICE), self.descriptor(Kind.CONFIGURATION))

    def _attach(self) -> None:
        self._introduced = False
        super()._attach()


class _Watch:
    """A transfer under watch. Most transfers out end at once: then both halves are told after the answer."""

    __slots__ = ("_began", "_done", "_token", "_watcher", "data")

    def __init__(self, watcher: Watcher, transfer: Transfer) -> None:
        self._watcher = watcher
        self._began = watcher.now()
        self._done = transfer.done
        self._token: object = None
        self.data = transfer.data
        transfer.done = self._ended
        if transfer.endpoint & DIRECTION_IN:
            self.begin(transfer)

    def begin(self, transfer: Transfer) -> None:
        """It waits: its beginning is told by itself."""
        if self._token is None:
            self._token = self._watcher.submitted(transfer, self.data, self._began)

    def _ended(self, transfer: Transfer) -> None:
        at = self._watcher.now()
        self._done(transfer)
        if self._token is None:
            self._watcher.sent(transfer, self.data, self._began, at)
        else:
            self._watcher.ended(self._token, transfer, at)
