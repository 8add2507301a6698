"""The print engine: sheets move past named sensors in machine time, run out, jam, or wait for an open cover.

Positions are millimetres along the paper path from the cassette. A sensor is active while a sheet is over it. The next
sheet leaves the cassette when the one before is a gap ahead, so several sheets are in the path at once and the speed in
pages a minute follows from the process speed, the sheet's length and the gap. All are project values
(`models.Timing`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from fauxfax.clock import Clock, Timer
from fauxfax.errors import Misuse
from fauxfax.events import ErrorCleared, ErrorRaised, EventStream, PagePrinted, SensorChanged
from fauxfax.faults import FaultPlan
from fauxfax.models import Model

SENSORS = {"pick-up": 0.0, "registration": 95.0, "fuser": 240.0, "exit": 330.0}
"""Sensor to its place on the path in mm: project values."""
ERRORS = ("paper-out", "jam", "cover-open")
"""What stops the engine until a person helps."""


@dataclass(slots=True)
class Job:
    """A document on its way to paper: the length of each page in mm, how many are out, how many left the cassette."""

    document: int
    lengths: Sequence[float]
    printed: int = 0
    fed: int = 0

    @property
    def done(self) -> bool:
        """Every page is out."""
        return self.printed >= len(self.lengths)


class Engine:
    """One engine. Jobs are printed in order; `page_done` and `job_done` tell the machine, which keeps count durably."""

    def __init__(
        self,
        model: Model,
        clock: Clock,
        events: EventStream,
        faults: FaultPlan,
        *,
        page_done: Callable[[Job], None],
        job_done: Callable[[Job], None],
        pages_per_minute: float = 0.0,
    ) -> None:
        self._timing = model.timing
        self._clock = clock
        self._events = events
        self._faults = faults
        self._page_done = page_done
        self._job_done = job_done
        self._pages_per_minute = pages_per_minute
        self._jobs: deque[Job] = deque()
        self._timers: set[Timer] = set()
        self._next_feed = float("-inf")
        self._feeding: Timer | None = None
        self._on = False
        self.paper = model.paper_capacity
        self._capacity = model.paper_capacity
        self.errors: list[str] = []
        self.sensors = dict.fromkeys(SENSORS, False)

    @property
    def idle(self) -> bool:
        """Nothing to print."""
        return not self._jobs

    @property
    def ready(self) -> bool:
        """Whether a page sent now would be printed now (SEND asks for this)."""
        return self._on and self.idle and not self.errors and self.paper > 0

    @property
    def printing(self) -> Job | None:
        """The job whose sheets are moving."""
        return self._jobs[0] if self._jobs else None

    def power_on(self) -> None:
        """Start; jobs are given again by the machine from its memory."""
        self._on = True

    def power_off(self) -> None:
        """Stop at once: sheets stay where they are and are taken out by hand; the page in the path is not printed."""
        self._on = False
        self._halt()
        self._jobs.clear()

    def print_job(self, job: Job) -> None:
        """Queue a document. Raises Misuse while the engine has no power."""
        if not self._on:
            raise Misuse(f"print engine is off, document {job.document} cannot be printed")
        job.fed = job.printed
        self._jobs.append(job)
        self._schedule()

    def fail(self, error: str) -> None:
        """Raise one of ERRORS now. A jam or an open cover loses the sheets in the path; they are printed again."""
        if error not in ERRORS:
            raise Misuse(f"print engine: {error!r} is none of {', '.join(ERRORS)}")
        if error not in self.errors:
            self.errors.append(error)
            if error != "paper-out":
                self._halt()
            self._events.publish(ErrorRaised(error))

    def help(self) -> None:
        """A person loads paper, takes the jammed sheet out, closes the cover; printing goes on."""
        if "paper-out" in self.errors or self.paper == 0:
            self.paper = self._capacity
        for error in tuple(self.errors):
            self.errors.remove(error)
            self._events.publish(ErrorCleared(error))
        if self._on:
            self._schedule()

    def _schedule(self) -> None:
        """Finish what is done, and feed the next sheet when the path is ready for it."""
        while self._jobs and self._jobs[0].done:
            self._job_done(self._jobs.popleft())
        waiting = any(job.fed < len(job.lengths) for job in self._jobs)
        if waiting and not self.errors and self._feeding is None:
            warm_up = self._timing.warm_up if self._next_feed == float("-inf") else 0.0
            self._feeding = self._clock.call_later(max(warm_up, self._next_feed - self._clock.now), self._feed)

    def _feed(self) -> None:
        """One sheet leaves the cassette, unless a rule or an empty cassette says otherwise."""
        self._feeding = None
        rule = self._faults.ask("page")
        if rule is not None and rule.action in ERRORS:
            self.fail(rule.action)
        elif not self._on:
            pass  # the rule cut the power
        elif rule is not None and rule.action == "delay":
            self._next_feed = self._clock.now + float(rule.argument)
            self._schedule()
        elif self.paper == 0:
            self.fail("paper-out")
        else:
            job = next(job for job in self._jobs if job.fed < len(job.lengths))
            self._move(job.lengths[job.fed])
            job.fed += 1
            self._schedule()

    def _move(self, length: float) -> None:
        """Send one sheet of `length` mm down the path: every sensor's edges are timers of the clock."""
        self.paper -= 1
        speed = self._timing.paper_speed
        for sensor, place in SENSORS.items():
            self._after(place / speed, partial(self._sense, sensor, active=True))
            self._after((place + length) / speed, partial(self._sense, sensor, active=False))
        self._after((max(SENSORS.values()) + length) / speed, self._sheet_out)
        interval = 60.0 / self._pages_per_minute if self._pages_per_minute else (length + self._timing.page_gap) / speed
        self._next_feed = self._clock.now + interval

    def _after(self, delay: float, action: Callable[[], None]) -> None:
        """Run `action` after `delay` seconds unless the motor stops before."""

        def due() -> None:
            self._timers.discard(timer)
            action()

        timer = self._clock.call_later(delay, due)
        self._timers.add(timer)

    def _sense(self, sensor: str, *, active: bool) -> None:
        if self.sensors[sensor] is not active:
            self.sensors[sensor] = active
            self._events.publish(SensorChanged(sensor, active))

    def _sheet_out(self) -> None:
        job = self._jobs[0]
        job.printed += 1
        self._page_done(job)
        self._events.publish(PagePrinted(job.document, job.printed, len(job.lengths)))
        self._schedule()

    def _halt(self) -> None:
        """The motor stops; what was in the path is taken out by hand and will be printed again."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._feeding is not None:
            self._feeding.cancel()
            self._feeding = None
        self._next_feed = float("-inf")
        for job in self._jobs:
            job.fed = job.printed
        for sensor in SENSORS:
            self._sense(sensor, active=False)
