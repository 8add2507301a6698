"""The update desk: who may write firmware now, and the loader's work in machine time.

One way in owns the update from the offer to its end; any other is told that the machine is busy, and why. The loader
itself knows no time: it says how long each of its steps takes, and the desk lets that time pass on the clock. What was
declined before the loader heard of it is kept in the journal, so that it can be read after a power-off as well.

Fault rules: `update` is asked when a code file is offered, `commit` before the commit record is written, `restart` when
the new firmware is to start. `cut` pulls the plug there (within the write, at `commit`), `delay` makes it take longer,
and `drop` loses it: the offer is declined, the write changes nothing and says nothing, the restart waits for the
watchdog.
"""

from __future__ import annotations

import hmac
from typing import Protocol

from fauxfax.clock import Clock, Timer
from fauxfax.events import EventStream, UpdateDeclined
from fauxfax.faults import FaultPlan
from fauxfax.firmware.flash import CellDefect, Cut, Flash, Operation, PowerLost
from fauxfax.firmware.loader import Attempt, Boot, Loader, State
from fauxfax.hostport.jobstream import UpgradeOffered
from fauxfax.machine.flashwatch import FlashWatch, torn
from fauxfax.machine.journal import Entry, Journal
from fauxfax.models import Timing

ACTIVE = (
    State.RECEIVING,
    State.CHECKING,
    State.STAGED,
    State.REWRITING,
    State.VERIFYING,
    State.COMMITTED,
    State.RESTARTING,
)
"""States in which the machine does nothing else."""
WRONG_PASSWORDS = 5
LOCKED_SECONDS = 300.0
"""After so many wrong passwords the desk is closed for so long: project values."""
KIND = "UPD"
RESULT_TAKEN, RESULT_DECLINED = "TAKEN", "DECLINED"
"""What the journal says of an offer: project values."""
RESULT_INSTALLED, RESULT_REFUSED = "INSTALLED", "REFUSED"
"""What it says of the end of one that was taken: project values."""
RESULT_GIVEN_UP = "GIVEN UP"
"""What it says of a firmware that the loader gave up at a start: a project value."""
FORCED = ", the rules on versions lifted by force"


class Owner(Protocol):
    """A way in that offers a code file. `way` names it in the journal."""

    way: str


class Body(Protocol):
    """What the desk needs of the machine it stands in."""

    events: EventStream
    faults: FaultPlan
    journal: Journal

    @property
    def online(self) -> bool:
        """Whether it is powered, and neither starting nor restarting."""
        ...

    def busy(self) -> str:
        """Why no update can be taken now; empty if one can."""
        ...

    def refresh(self) -> None:
        """What others see may have changed."""
        ...

    def restart(self) -> None:
        """Stop what runs and start the loader."""
        ...

    def power_off(self, *, cut: bool = False) -> None:
        """The power goes."""
        ...


class UpdateDesk:
    """Arbitrates between ways in, checks the service password, and paces the loader."""

    def __init__(self, loader: Loader, clock: Clock, body: Body, password: str) -> None:
        self.loader = loader
        self._clock = clock
        self._body = body
        self._password = password
        self._timing: Timing = loader.model.timing
        self._watch = FlashWatch([each for each in (loader.flash, loader.card) if each is not None], self._befall)
        self._owner: Owner | None = None
        self._way = "loader"  # what a start goes on with came in before the power went
        self._step: Timer | None = None
        self._step_takes = 0.0
        self._longer = 0.0
        self._stall: Timer | None = None
        self._trial: Timer | None = None
        self._notice: Timer | None = None
        self._commit_asked = False
        self._wrong = 0
        self._locked_until = 0.0
        self._declined = self._remembered()

    @property
    def active(self) -> bool:
        """Whether an update is under way."""
        return self.loader.state in ACTIVE

    @property
    def last(self) -> Attempt | None:
        """How the last attempt ended, that of an offer which was declined included."""
        return self._declined or self.loader.status().last

    @property
    def on_trial(self) -> bool:
        """Whether the firmware that runs has yet to show that it stays up."""
        return self._trial is not None

    @property
    def failed_lately(self) -> bool:
        """Whether the panel still shows that an update failed."""
        return self._notice is not None

    def owns(self, owner: object) -> bool:
        """Whether this way in is the one that sends the code file."""
        return self._owner is owner

    def offer(self, owner: Owner, offer: UpgradeOffered) -> str:
        """A way in offers a code file. Returns why it is declined, or nothing."""
        reason = self._not_now(offer.password) or self._lost_offer()
        if not self._body.online:
            return reason  # a rule pulled the plug
        if not reason:
            refusal = self.loader.begin(offer.size, offset=offer.offset, sha256=offer.sha256, force=offer.force)
            reason = refusal.reason if refusal is not None else ""
        if reason:
            self.decline(owner.way, reason)
            return reason
        self._owner, self._declined, self._commit_asked = owner, None, False
        self._way = owner.way
        forced = FORCED if offer.force else ""
        self._journal(self._way, RESULT_TAKEN, f"code file of {offer.size} octets, from {offer.offset} on{forced}")
        self.clear_notice()
        self._wait_for_sender()
        self._body.refresh()
        return ""

    def room(self) -> int:
        """Octets the loader takes now."""
        return self.loader.room

    def data(self, data: bytes) -> None:
        """The next octets of the code file."""
        self.loader.feed(data)
        self._wait_for_sender()
        self.pump()

    def end(self, reason: str) -> None:
        """The stream is over; complete or not, the loader knows from the size it was told."""
        self._owner = None
        self._unwatch()
        self.loader.end(reason)
        self.pump()
        self._body.refresh()

    def started(self, boot: Boot) -> None:
        """The firmware is up: one on trial is confirmed when it has stayed up. An update that was cut goes on."""
        if boot.gave_up and (last := self.loader.status().last) is not None:
            self._journal("loader", RESULT_GIVEN_UP, f"{last.component} {last.version}: {last.reason}")
        if boot.on_trial and boot.profile is not None:
            self._trial = self._clock.call_later(self._timing.trial, self._confirm)
        self.pump()

    def pump(self) -> None:
        """Let the loader do its next step, then the time that step takes pass."""
        if self._step is not None:
            return
        self._watch.forget()
        before = self.loader.state
        try:
            seconds = self.loader.step()
        except PowerLost:
            self._watch.forget()
            self._body.power_off(cut=True)
            return
        if self.loader.state is not State.RECEIVING:
            self._owner = None  # refused before its end: what the sender still sends is let pass
            self._unwatch()
        if before in ACTIVE and self.loader.state not in ACTIVE:
            self._failed()
        if seconds is not None:
            self._pass(seconds)
        elif self.loader.state is State.RESTARTING:
            self._leave()
        self._body.refresh()

    def stop(self, *, cut: bool = False) -> None:
        """Power is gone: nothing is in flight any more. A cut tears the operation under way."""
        if cut and self._step is not None and self._step_takes > 0:
            left = max(0.0, self._step.when - self._clock.now)
            self._watch.tear(1.0 - left / self._step_takes)
        for timer in (self._step, self._stall, self._trial, self._notice):
            if timer is not None:
                timer.cancel()
        self._step = self._stall = self._trial = self._notice = self._owner = None
        self._longer = 0.0

    def clear_notice(self) -> None:
        """Somebody has read on the panel that the update failed."""
        if self._notice is not None:
            self._notice.cancel()
            self._notice = None

    # Time ----------------------------------------------------------------------------------------------------

    def _pass(self, seconds: float) -> None:
        self._step_takes, self._longer = seconds + self._longer, 0.0
        self._step = self._clock.call_later(self._step_takes, self._stepped)

    def _stepped(self) -> None:
        self._step = None
        self.pump()

    def _confirm(self) -> None:
        self._trial = None
        self.loader.confirm()

    def _wait_for_sender(self) -> None:
        """Begin the sender's time anew."""
        self._unwatch()
        if (patience := self.loader.patience) is not None:
            self._stall = self._clock.deadline(patience, self._sender_stalled)

    def _sender_stalled(self) -> None:
        """A sender that cannot send, because the machine has no room, does not stall."""
        self._stall = None
        if self.loader.room:
            self.end("the sender stalled")
        else:
            self._wait_for_sender()

    def _unwatch(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _leave(self) -> None:
        """Everything is written: restart, unless a rule says otherwise."""
        if (last := self.loader.status().last) is not None:
            forced = FORCED if last.forced else ""
            self._journal(self._way, RESULT_INSTALLED, f"{last.component} {last.version}{forced}")
        rule = self._body.faults.ask("restart")
        match rule.action if rule is not None else "":
            case "cut":
                self._body.power_off(cut=True)
            case "drop":
                self._restart_after(self._timing.watchdog)
            case "delay" if rule is not None:
                self._restart_after(float(rule.argument))
            case _:
                self._body.restart()

    def _restart_after(self, seconds: float) -> None:
        def due() -> None:
            self._step = None
            self._body.restart()

        self._step_takes = seconds
        self._step = self._clock.call_later(seconds, due)

    # Refusals and faults -------------------------------------------------------------------------------------

    def _not_now(self, password: str | None) -> str:
        if self._owner is not None or self.active:
            return "busy: another update is under way"
        if busy := self._body.busy():
            return f"busy: {busy}"
        return self.wrong_password(password)

    def wrong_password(self, password: str | None) -> str:
        """Why this service password opens nothing; empty if it is right, or none is set. Counts for the lock-out."""
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

    def _lost_offer(self) -> str:
        rule = self._body.faults.ask("update")
        match rule.action if rule is not None else "":
            case "cut":
                self._body.power_off(cut=True)
                return "the power went away"
            case "drop":
                return "the offer was lost"
            case "delay" if rule is not None:
                self._longer = float(rule.argument)
        return ""

    def _befall(self, flash: Flash, operation: Operation) -> Cut | None:
        """What a rule does to the first write of the commit."""
        if self.loader.state is not State.COMMITTED or self._commit_asked:
            return None
        self._commit_asked = True
        rule = self._body.faults.ask("commit")
        match rule.action if rule is not None else "":
            case "cut":
                return torn(operation, 0.5)
            case "drop":
                end = operation.address + operation.size
                flash.defects.append(CellDefect(operation.kind, operation.address, end, silent=True, times=1))
            case "delay" if rule is not None:
                self._longer = float(rule.argument)
        return None

    def decline(self, way: str, reason: str) -> None:
        """Keep why an offer was declined, unless that would hide the update under way."""
        if self.loader.state not in ACTIVE:
            attempt = Attempt(component="", version="", stage=self.loader.state.value, reason=reason, offset=0)
            if attempt != self._declined:  # the same again is told again, but wears nothing out
                self._declined = attempt
                self._journal(way, RESULT_DECLINED, reason)
            self._show_failure()
        self._body.events.publish(UpdateDeclined(way, reason))
        self._body.refresh()

    def _failed(self) -> None:
        """An update that was taken is refused: say why, on the panel for a while and in the journal for good."""
        if (last := self.loader.status().last) is not None:
            what = f"{last.component} {last.version}: " if last.version else ""
            self._journal(self._way, RESULT_REFUSED, f"{what}{last.reason.removeprefix(what)}")
        self._show_failure()

    def _show_failure(self) -> None:
        def due() -> None:
            self._notice = None
            self._body.refresh()

        self.clear_notice()
        self._notice = self._clock.call_later(self._timing.notice, due)

    def _journal(self, way: str, result: str, note: str) -> None:
        self._body.journal.write(Entry(at=self._clock.wall, kind=KIND, peer=way, result=result, note=note))

    def _remembered(self) -> Attempt | None:
        """The offer that was declined last, if nothing was taken since."""
        entry = self._body.journal.last(KIND)
        if entry is None or entry.result != RESULT_DECLINED:
            return None
        return Attempt(component="", version="", stage=State.RUNNING.value, reason=entry.note, offset=0)
