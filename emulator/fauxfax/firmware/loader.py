"""The loader: what takes a code file, keeps it until it is proven, and decides at each start what runs.

It has no clock and no thread. `step()` does the next operation and returns the machine seconds it took; whoever owns
the loader lets that time pass and calls again. The work of each state is a generator that ends with the cause of
the next state; `states.py` holds the one table. A power cut is nothing special here: the generator is dropped, and
`boot()` goes by what is in flash.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from fauxfax.errors import Misuse
from fauxfax.events import Event, UpdateProgressed, UpdateStateChanged
from fauxfax.firmware import driver, survey
from fauxfax.firmware.codefile import PREFIX_SIZE, Component
from fauxfax.firmware.flash import Flash, FlashFailure
from fauxfax.firmware.layout import Layout, LayoutKind
from fauxfax.firmware.records import Attempt, Phase, Record
from fauxfax.firmware.states import OPEN_STATES, TRANSITIONS, Cause, State, following
from fauxfax.firmware.status import Boot, Refusal, UpdateStatus
from fauxfax.firmware.update import Activity, Refused, Update
from fauxfax.models import Model

__all__ = ["Attempt", "Boot", "Loader", "Refusal", "State", "UpdateStatus"]

TRIAL_STARTS = 3  # project value: how often an image of the dual layout starts unconfirmed before it is given up
HANGS = 3  # project value: how often in a row the watchdog restarts a firmware before the loader waits for another
PATIENCE = 120.0  # project value: machine seconds a sender may pause; see `Loader.patience`


class Loader:
    """The loader of one machine.

    `card` is the flash of a memory card, if one is plugged in. `publish` takes each event.
    """

    update_type = Update

    def __init__(
        self,
        flash: Flash,
        model: Model,
        layout: Layout,
        *,
        card: Flash | None = None,
        publish: Callable[[Event], object] | None = None,
    ) -> None:
        self.flash = flash
        self.model = model
        self.layout = layout
        self.card = card
        self._publish = publish
        self._forget()

    # Starting ----------------------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Power is there; `boot()` follows when the loader has had its time."""
        self._forget()

    def power_off(self, *, cut: bool = False) -> None:  # noqa: ARG002 - the flash keeps the same either way
        """Power is gone: all that is not in flash is forgotten."""
        self._forget()

    def boot(self, *, hung: bool = False) -> Boot:
        """Decide what runs, from what is in flash. Raises PowerLost if a simulated cut falls into it.

        `hung` says that the watchdog restarts the machine, because the firmware did nothing any more.
        """
        self._forget()
        record = self._update.records.load()
        self._now(self._update.records.settle())
        self._update.intact = survey.intact(self.flash, self.layout, record)
        fell_back = False
        if record is not None and record.previous:
            record = self._count_start(record)
            fell_back = record is not None and not record.previous
        elif record is not None and hung:
            record = self._count_hang(record)
        given_up = hung and record is not None and record.hangs >= HANGS
        profile = self._update.profile()
        self._now(self._update.recall(record))
        if record is not None and record.phase is Phase.INSTALLING and self._update.image is not None:
            self._enter(State.REWRITING)
        elif record is not None and self._update.is_whole(record) and profile is not None and not given_up:
            self._enter(State.RUNNING)
        else:
            self._enter(State.RECOVERY)
        return Boot(
            state=self.state,
            versions={component.value: entry.version for component, entry in self._update.intact.items()},
            hashes={component.value: entry.sha256 for component, entry in self._update.intact.items()},
            profile=profile if self.state is State.RUNNING else None,
            on_trial=record is not None and bool(record.previous or record.hangs),
            gave_up=given_up or fell_back,
        )

    def confirm(self) -> None:
        """The firmware that was started works: one on trial stays, hangs are forgotten. Else it does nothing."""
        record = self._update.records.latest
        if self.state is State.RUNNING and record is not None and (record.previous or record.hangs):
            self._now(self._update.records.write(attrs.evolve(record, previous={}, starts=0, hangs=0)))

    # Taking an image ---------------------------------------------------------------------------------------------

    def begin(self, size: int, offset: int = 0, sha256: str | None = None, *, force: bool = False) -> Refusal | None:
        """Offer a container of `size` octets, from `offset` on if the `offset` stored octets have this hash.

        Returns why not, before anything is erased; None if the loader is receiving now.
        """
        refusal = self._cannot_begin(size, offset, sha256)
        if refusal is not None:
            return refusal
        self._update.offer(size, offset, self.state, force=force)
        self._enter(State.RECEIVING)
        return None

    @property
    def room(self) -> int:
        """Octets `feed()` takes now. What is left of a refused container is still taken, and dropped."""
        update = self._update
        if update.ended:
            return 0
        kept = len(update.buffer) if self.state is State.RECEIVING else 0
        return max(0, min(update.buffer_limit - kept, update.size - update.received))

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next octets, at most `room` of them."""
        if len(data) > self.room:
            raise Misuse(f"loader: {len(data)} octets in {self.state.value}, there is room for {self.room}")
        if self.state is State.RECEIVING:
            self._update.buffer += data
        self._update.received += len(data)

    def end(self, reason: str) -> None:
        """No more octets come. Harmless after the last one; before it, the update ends for this reason."""
        if self.state is State.RECEIVING and self._update.received < self._update.size:
            self._update.ended = reason or "the stream ended"

    @property
    def patience(self) -> float | None:
        """Machine seconds to wait for the next octets before `end()`: None while nothing is waited for."""
        return PATIENCE if self.state is State.RECEIVING else None

    # Working -----------------------------------------------------------------------------------------------------

    def step(self) -> float | None:
        """Do the next operation. Returns the machine seconds it took, None if there is nothing to do now."""
        while self._activity is not None:
            try:
                return next(self._activity)
            except StopIteration as finished:
                self._enter(following(self.state, finished.value))
            except Refused as refused:
                self._refuse(refused)
            except (FlashFailure, driver.WornOut) as failure:
                self._refuse(Refused(str(failure), self._update.received))
        return None

    def status(self) -> UpdateStatus:
        """Where the update is. Why it is being refused is told at once, and survives a power-off a moment later."""
        image, refused = self._update.image, self._update.refusal
        last = self._update.attempt
        if self.state is State.REFUSED:
            last = self._update.attempt_now(self._update.refused_in, refused.reason, refused.offset)
        return UpdateStatus(
            state=self.state,
            component=image.header.name if image else "",
            version=image.header.version if image else "",
            received=self._update.received,
            next_offset=image.next_offset if image else 0,
            sha256=self._update.stored_digest(),
            done=self._update.done,
            total=self._update.total,
            last=last,
        )

    # Moving on ---------------------------------------------------------------------------------------------------

    def _cannot_begin(self, size: int, offset: int, sha256: str | None) -> Refusal | None:
        image = self._update.image
        stored = image.next_offset if image else 0
        if self.state not in OPEN_STATES:
            return Refusal(f"busy: the loader is {self.state.value}", stored)
        if (record := self._update.records.latest) is not None and record.previous:
            return Refusal("busy: the firmware on trial is not confirmed yet", stored)
        most = self.layout.room_for(self.card.geometry if self.card else None)
        if not PREFIX_SIZE < size <= most:
            return Refusal(f"{size} octets are no code file for this machine, it takes up to {most}", stored)
        if offset == 0:
            return None
        if image is None or offset != stored or size != image.header.total_size:
            return Refusal(
                f"it cannot go on at {offset}, {stored} octets are stored; start at 0 or go on there", stored
            )
        if sha256 is None or sha256.lower() != self._update.stored_digest():
            return Refusal("the stored octets are of another file; start at 0", 0)
        return None

    def _count_start(self, record: Record) -> Record | None:
        """One more start of an image on trial, or back to the one before it."""
        if self._update.is_whole(record) and record.starts < TRIAL_STARTS:
            self._now(self._update.records.write(attrs.evolve(record, starts=record.starts + 1)))
            return self._update.records.latest
        why = f"it was not confirmed in {record.starts} starts" if self._update.is_whole(record) else "it is damaged"
        attempt = record.attempt and attrs.evolve(
            record.attempt, stage=State.RUNNING.value, reason=f"{why}; the firmware before it runs again"
        )
        self._now(self._update.records.write(Record(layout=record.layout, entries=record.previous, attempt=attempt)))
        self._update.intact = survey.intact(self.flash, self.layout, self._update.records.latest)
        return self._update.records.latest

    def _count_hang(self, record: Record) -> Record | None:
        """One more hang of a firmware that has no other to give way to: after so many in a row the loader waits."""
        hangs = record.hangs + 1
        attempt = record.attempt
        if hangs >= HANGS:
            runs = self._update.intact.get(Component.SC)
            attempt = Attempt(
                component=Component.SC.value,
                version=runs.version if runs else "",
                stage=State.RUNNING.value,
                reason=f"the firmware hung in {hangs} starts; send a code file, or switch off and on to try it again",
                offset=0,
            )
        self._now(self._update.records.write(attrs.evolve(record, hangs=hangs, attempt=attempt)))
        return self._update.records.latest

    @staticmethod
    def _now(work: driver.Steps) -> bool:
        """Do the few operations of a start or a confirmation at once. Returns whether the cells took them.

        If not, the record before still counts, and says the same of what runs.
        """
        try:
            for _ in work:
                pass
        except (FlashFailure, driver.WornOut):
            return False
        return True

    def _forget(self) -> None:
        """What a power-off takes away."""
        self.state = State.RECOVERY
        self._activity: Activity | None = None
        self._update = self.update_type(self.flash, self.model, self.layout, self.card, self._progressed)

    def _progressed(self, done: int, total: int) -> None:
        if self._publish is not None:
            self._publish(UpdateProgressed(self.state.value, done, total))

    def _enter(self, state: State) -> None:
        """Be in `state` and begin its work."""
        self.state = state
        self._update.done = self._update.total = 0
        self._activity = self._update.work(state)
        if self._publish is not None:
            header = self._update.header
            reason = self._update.refusal.reason if state in (State.REFUSED, State.RECOVERY) else ""
            self._publish(UpdateStateChanged(state.value, header.version if header else "", reason))

    def _refuse(self, refused: Refused) -> None:
        """Leave the state because of `refused`: what ran still runs, unless its rewriting had begun."""
        self._update.refusal, self._update.refused_in = refused, self.state
        cause = Cause.REFUSE
        if self.layout.kind is LayoutKind.STAGED and (self.state, Cause.BROKEN) in TRANSITIONS:
            cause = Cause.BROKEN
            self._give_up(refused)
        self._enter(following(self.state, cause))

    def _give_up(self, refused: Refused) -> None:
        """The rewriting failed: say so in flash, and let the next start try it once more."""
        if not self._now(
            self._update.keep(Phase.INSTALLING, stage=self.state, reason=refused.reason, offset=refused.offset)
        ):
            self._update.attempt = self._update.attempt_now(self.state, refused.reason, refused.offset)
        self._update.intact = survey.intact(self.flash, self.layout, self._update.records.latest)
