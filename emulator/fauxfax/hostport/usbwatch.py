"""A printer function that somebody watches. Whoever is not watched pays nothing: it is another class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fauxfax.hostport.port import Port
from fauxfax.hostport.usb import DIRECTION_IN, Octets, Outcome, PrinterFunction, Setup, Transfer
from fauxfax.hostport.usbdescriptors import Identity, Kind, Speed

Done = Callable[[Transfer], None]
Sent = Callable[[Transfer, Octets, int, int], object]
"""Hears of a bulk transfer out that did not have to wait and is DONE: its data, when it began, and when it ended.

There are so many that they go straight to who notes them down: each call on the way is felt.
"""


class Watcher(Protocol):
    """Hears of every transfer on one cable, in order, as soon as the host has its answer.

    `now()` is the time it wants to be told, `at` its answers.
    """

    now: Callable[[], int]
    sent: Sent

    def keeps(self, length: int) -> int:
        """How many octets of a transfer of some length it wants to see."""
        ...

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
        self._fresh: tuple[Transfer, Octets, int] | None = None  # submitted now, and not told of yet
        self._arriving: tuple[bytearray, int, Done, int] = bytearray(), 0, lambda _: None, 0  # see `_arrived`
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
        self._tell()
        self._watcher.controlled(setup, reply, at)

    def submit(self, transfer: Transfer) -> None:
        """See PrinterFunction. Most transfers are whole, and taken at once: what they cost here is felt most."""
        if not self._introduced:
            self._introduce()
        if self._fresh is not None:
            self._tell()  # who submits may be in the middle of another's end
        data, at = transfer.data, self._watcher.now()
        if transfer.endpoint & DIRECTION_IN:
            self._tell_beginning(transfer, b"", at)
            super().submit(transfer)
        elif len(data) == transfer.length:
            self._fresh = transfer, data, at
            super().submit(transfer)
            if self._fresh is not None and transfer.outcome is Outcome.DONE:
                self._fresh = None
                self._watcher.sent(transfer, data, at, at)
            else:
                self._tell()
        else:
            wanted = self._watcher.keeps(transfer.length)
            self._arriving = bytearray(data[:wanted]), wanted, transfer.done, at
            transfer.done = self._arrived
            super().submit(transfer)

    def extend(self, transfer: Transfer, *pieces: Octets) -> None:
        """See PrinterFunction."""
        kept, wanted, done, began = self._arriving
        if len(kept) < wanted:
            for piece in pieces:
                kept += piece[: wanted - len(kept)]
        super().extend(transfer, *pieces)
        if transfer.outcome is None and transfer.actual + len(transfer.data) == transfer.length:
            transfer.done = done
            self._tell_beginning(transfer, kept, began)

    def _arrived(self, transfer: Transfer) -> None:
        """What came in pieces is told of at its end, however it ends, unless all of it has to wait."""
        kept, _, done, began = self._arriving
        at = self._watcher.now()
        done(transfer)
        self._tell()
        self._tell_whole(transfer, kept, began, at)

    def _tell_beginning(self, transfer: Transfer, data: Octets, at: int) -> None:
        """It may have to wait: its end is told then."""
        watcher, done = self._watcher, transfer.done
        token = watcher.submitted(transfer, data, at)

        def ended(transfer: Transfer) -> None:
            at = watcher.now()
            done(transfer)
            self._tell()
            watcher.ended(token, transfer, at)

        transfer.done = ended

    def _tell(self) -> None:
        """Tell of the transfer that was submitted last, if that has not been done."""
        if self._fresh is None:
            return
        (transfer, data, at), self._fresh = self._fresh, None
        if transfer.outcome is None:
            self._tell_beginning(transfer, data, at)
        else:
            self._tell_whole(transfer, data, at, at)

    def _tell_whole(self, transfer: Transfer, data: Octets, began: int, at: int) -> None:
        """It has ended, however it did."""
        watcher = self._watcher
        if transfer.outcome is Outcome.DONE:
            watcher.sent(transfer, data, began, at)
        else:
            watcher.ended(watcher.submitted(transfer, data, began), transfer, at)

    def _introduce(self) -> None:
        if not self._introduced and self.attached:
            self._introduced = True
            self._watcher.attached(self.descriptor(Kind.DEVICE), self.descriptor(Kind.CONFIGURATION))

    def _attach(self) -> None:
        self._introduced = False
        super()._attach()
