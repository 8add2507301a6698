"""Machine time: the only place that knows what time it is.

A clock keeps *timers* and says when the next is due. It never waits by itself: a driver (`servers/ticker.py`,
or a test) asks `wait()` how long to sleep and calls `run_due()`. Two kinds of timer, because two kinds of
thing take time:

* `call_later` - the machine's own work: a page moves, a sector erases. A fast clock jumps over it.
* `deadline` - patience with the outside: a sender's time-out. A fast clock cannot hurry a sender, so there it
  runs in real time; on a scaled clock it scales like the rest.

| kind     | `now` advances                                  | work        | deadlines   |
|----------|--------------------------------------------------|-------------|-------------|
| `real`   | with real time                                   | waited for  | waited for  |
| `xN`     | N times as fast as real time                     | waited / N  | waited / N  |
| `fast`   | with real time, and jumps to the next work due   | not waited  | waited for  |
| `manual` | when `advance()` is called                       | by advance  | by advance  |
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable

from fauxfax.errors import Misuse


class Timer:
    """One thing due at `when` (machine seconds). `cancel()` makes it never happen."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the callback; cancelling twice, or after it ran, does nothing."""
        self.callback = None


class Watchdog:
    """A deadline that every `kick()` puts off again. A kick reads the time and nothing else, however many there are."""

    __slots__ = ("_callback", "_clock", "_delay", "_kicked", "_timer")

    def __init__(self, clock: Clock, delay: float, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._delay = delay
        self._callback = callback
        self._kicked = clock.patience
        self._timer = clock.deadline(delay, self._look)

    def kick(self) -> None:
        """The outside has done something: the callback comes `delay` machine seconds from now at the earliest."""
        self._kicked = self._clock.patience

    def cancel(self) -> None:
        """Forget the callback."""
        self._timer.cancel()

    def _look(self) -> None:
        left = self._kicked + self._delay - self._clock.patience
        if left > 0:
            self._timer = self._clock.deadline(left, self._look)
        else:
            self._callback()


class _Queue:
    """A heap of timers in order of time, then of arrival."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def push(self, timer: Timer) -> None:
        heapq.heappush(self._heap, (timer.when, next(self._order), timer))

    def due(self) -> float | None:
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self) -> Timer:
        return heapq.heappop(self._heap)[2]


class Clock:
    """Machine time in seconds since the clock was made, and the timers on it. See the module's table."""

    def __init__(self, kind: str, factor: float = 1.0) -> None:
        self.kind = kind
        self._factor = factor
        self._origin = time.monotonic()
        self._epoch = time.time()
        self._jumped = 0.0
        self._work = _Queue()
        self._deadlines = _Queue()
        self._listener: Callable[[], None] | None = None

    @property
    def now(self) -> float:
        """Machine time, seconds."""
        return self._elapsed() + self._jumped

    @property
    def wall(self) -> float:
        """The machine's calendar: seconds since 1970, for dates in journals and mail."""
        return self._epoch + self.now

    @property
    def patience(self) -> float:
        """The time that deadlines run on: machine time without the jumps."""
        return self._elapsed()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Run `callback` after `delay` machine seconds of the machine's own work."""
        return self._add(self._work, self.now + delay, callback)

    def deadline(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Run `callback` when the outside has not done its part within `delay` machine seconds."""
        return self._add(self._deadlines, self.patience + delay, callback)

    def watchdog(self, delay: float, callback: Callable[[], None]) -> Watchdog:
        """Run `callback` when the outside has done nothing for `delay` machine seconds."""
        return Watchdog(self, delay, callback)

    def wait(self) -> float | None:
        """Real seconds a driver may sleep before `run_due()`; 0 if something is due, None if nothing ever is."""
        waits = []
        if (due := self._work.due()) is not None:
            waits.append(self._work_wait(due))
        if (due := self._deadlines.due()) is not None:
            waits.append(max(0.0, (due - self.patience) / self._factor))
        return min(waits) if waits else None

    def run_due(self) -> int:
        """Run what is due now, in order of time. Returns how many callbacks ran."""
        ran = 0
        while (due := self._work.due()) is not None and due <= self.now:
            ran += self._run(self._work)
        while (due := self._deadlines.due()) is not None and due <= self.patience:
            ran += self._run(self._deadlines)
        return ran

    def on_timer(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` whenever a timer is added, so that a sleeping driver can look again."""
        self._listener = listener

    def _elapsed(self) -> float:
        return (time.monotonic() - self._origin) * self._factor

    def _work_wait(self, due: float) -> float:
        return max(0.0, (due - self.now) / self._factor)

    def _add(self, queue: _Queue, when: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(when, callback)
        queue.push(timer)
        if self._listener is not None:
            self._listener()
        return timer

    @staticmethod
    def _run(queue: _Queue) -> int:
        callback = queue.pop().callback
        if callback is None:
            return 0
        callback()
        return 1


class RealClock(Clock):
    """Machine time passes as real time does, `factor` times as fast."""

    def __init__(self, factor: float = 1.0) -> None:
        if not 0 < factor < math.inf:
            raise Misuse(f"clock: the factor must be above 0, and finite, not {factor}")
        super().__init__("real" if factor == 1.0 else f"x{factor:g}", factor)


class FastClock(Clock):
    """Machine time jumps to the next work due: nothing the machine does is waited for."""

    def __init__(self) -> None:
        super().__init__("fast")

    def _work_wait(self, due: float) -> float:  # noqa: ARG002 - nothing is waited for, whenever it is due
        return 0.0

    def run_due(self) -> int:
        """Jump to the next work due and run it, with whatever else is due at that instant."""
        due = self._work.due()
        if due is not None:
            self._jumped += max(0.0, due - self.now)
        return super().run_due()


class ManualClock(Clock):
    """Machine time stands until a test moves it. Its calendar begins at a fixed date."""

    EPOCH = 1_175_385_600.0  # 2007-04-01 00:00 UTC, the month of the service manual

    def __init__(self) -> None:
        super().__init__("manual")
        self._epoch = self.EPOCH
        self._time = 0.0

    def advance(self, seconds: float) -> int:
        """Move machine time forward, running each timer at its own instant. Returns how many ran."""
        if seconds < 0:
            raise Misuse(f"clock: cannot advance by {seconds} s, machine time does not go back")
        end, ran = self._time + seconds, 0
        while (due := self._next()) is not None and due <= end:
            self._time = max(self._time, due)
            ran += self.run_due()
        self._time = end
        return ran

    def run_until_idle(self, limit: float = 3600.0) -> float:
        """Advance until no work is due, at most `limit` seconds. Returns the machine seconds that passed."""
        start = self._time
        while (due := self._work.due()) is not None and due - start <= limit:
            self.advance(max(0.0, due - self._time))
        return self._time - start

    def wait(self) -> float | None:
        """0 if a timer is already due, else None: only `advance()` moves this clock."""
        due = self._next()
        return 0.0 if due is not None and due <= self._time else None

    def _next(self) -> float | None:
        dues = [due for due in (self._work.due(), self._deadlines.due()) if due is not None]
        return min(dues) if dues else None

    def _elapsed(self) -> float:
        return self._time


def parse_clock(text: str) -> Clock:
    """A clock from its name: `real`, `fast`, `manual` or a factor, `x10`. Raises Misuse for anything else."""
    kinds: dict[str, Callable[[], Clock]] = {"real": RealClock, "fast": FastClock, "manual": ManualClock}
    if text in kinds:
        return kinds[text]()
    try:
        if text.startswith("x"):
            return RealClock(float(text[1:]))
    except ValueError:
        pass
    raise Misuse(f"clock: {text!r} is none of real, fast, manual, or a factor above 0 such as x10")
