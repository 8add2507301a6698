"""The update desk: who may write firmware now, and the loader's work in machine time.

One way in owns the update from the offer to its end; any other is told that the machine is busy, and why. The loader
itself knows no time: it says how long each of its steps takes, and the desk lets that time pass on the clock.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from fauxfax.clock import Clock, Timer
from fauxfax.firmware.loader import Loader, State
from fauxfax.hostport.jobstream import UpgradeOffered

ACTIVE = (State.RECEIVING, State.CHECKING, State.STAGED, State.REWRITING, State.VERIFYING, State.COMMITTED)
"""States in which the machine does nothing else."""
STALL_SECONDS = 120.0
"""How long a sender may pause inside a code file (machine seconds): a project value."""
WRONG_PASSWORDS = 5
LOCKED_SECONDS = 300.0
"""After so many wrong passwords the desk is closed for so long: project values."""


class UpdateDesk:
    """Arbitrates between ways in, checks the service password, and paces the loader."""

    def __init__(
        self,
        loader: Loader,
        clock: Clock,
        *,
        password: str,
        busy: Callable[[], str],
        changed: Callable[[], None],
        restart: Callable[[], None],
    ) -> None:
        self.loader = loader
        self._clock = clock
        self._password = password
        self._busy = busy
        self._changed = changed
        self._restart = restart
        self._owner: object | None = None
        self._step: Timer | None = None
        self._stall: Timer | None = None
        self._wrong = 0
        self._locked_until = 0.0

    @property
    def active(self) -> bool:
        """Whether an update is under way."""
        return self.loader.state in ACTIVE

    def owns(self, owner: object) -> bool:
        """Whether this way in is the one that sends the code file."""
        return self._owner is owner

    def offer(self, owner: object, offer: UpgradeOffered) -> str:
        """A way in offers a code file. Returns why it is refused, or nothing."""
        reason = self._not_now(offer.password)
        if reason:
            return reason
        refusal = self.loader.begin(offer.size, offset=offer.offset, sha256=offer.sha256, force=offer.force)
        if refusal is not None:
            self._changed()
            return refusal.reason
        self._owner = owner
        self._watch()
        self._changed()
        return ""

    def room(self) -> int:
        """Octets the loader takes now."""
        return self.loader.room

    def data(self, data: bytes) -> None:
        """The next octets of the code file."""
        self.loader.feed(data)
        self._watch()
        self.pump()

    def end(self, reason: str) -> None:
        """The stream is over; complete or not, the loader knows from the size it was told."""
        self._owner = None
        self._unwatch()
        self.loader.end(reason)
        self.pump()
        self._changed()

    def pump(self) -> None:
        """Let the loader do its next step, then the time that step takes pass."""
        if self._step is not None:
            return
        seconds = self.loader.step()
        if self.loader.state is not State.RECEIVING:
            self._owner = None  # refused before its end: what the sender still sends is let pass
            self._unwatch()
        if seconds is not None:
            self._step = self._clock.call_later(seconds, self._stepped)
        elif self.loader.state is State.RESTARTING:
            self._restart()
        self._changed()

    def stop(self) -> None:
        """Power is gone: nothing is in flight any more."""
        for timer in (self._step, self._stall):
            if timer is not None:
                timer.cancel()
        self._step = self._stall = self._owner = None

    def _stepped(self) -> None:
        self._step = None
        self.pump()

    def _not_now(self, password: str | None) -> str:
        if self._owner is not None or self.active:
            return "busy: another update is under way"
        if busy := self._busy():
            return f"busy: {busy}"
        if not self._password:
            return ""
        if self._clock.now < self._locked_until:
            return "service password: locked after too many wrong ones; wait five minutes"
        if not hmac.compare_digest(self._password.encode(), (password or "").encode()):
            self._wrong += 1
            if self._wrong >= WRONG_PASSWORDS:
                self._wrong, self._locked_until = 0, self._clock.now + LOCKED_SECONDS
            return "service password: wrong or missing"
        self._wrong = 0
        return ""

    def _watch(self) -> None:
        """Begin the sender's time anew."""
        self._unwatch()
        self._stall = self._clock.deadline(STALL_SECONDS, lambda: self.end("the sender stalled"))

    def _unwatch(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
