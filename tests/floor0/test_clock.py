from __future__ import annotations

import time

import pytest

from fauxfax.clock import FastClock, ManualClock, RealClock, parse_clock
from fauxfax.errors import Misuse


def test_timers_run_in_order_of_time_then_of_arrival() -> None:
    clock, ran = ManualClock(), []
    clock.call_later(2, lambda: ran.append("late"))
    clock.call_later(1, lambda: ran.append("first"))
    clock.call_later(1, lambda: ran.append("second"))
    assert clock.advance(2) == 3
    assert ran == ["first", "second", "late"]


def test_each_timer_sees_its_own_instant() -> None:
    clock, seen = ManualClock(), []
    for delay in (0.5, 1.5, 2.5):
        clock.call_later(delay, lambda: seen.append(clock.now))
    clock.advance(2)
    assert seen == [0.5, 1.5]
    assert clock.now == 2


def test_a_timer_made_by_a_timer_runs_in_the_same_advance() -> None:
    clock, seen = ManualClock(), []
    clock.call_later(1, lambda: clock.call_later(1, lambda: seen.append(clock.now)))
    clock.advance(3)
    assert seen == [2]


def test_a_cancelled_timer_never_runs_and_is_not_waited_for() -> None:
    clock = FastClock()
    timer = clock.call_later(1, pytest.fail)
    timer.cancel()
    timer.cancel()
    assert clock.wait() is None
    assert clock.run_due() == 0


def test_a_fast_clock_jumps_over_work() -> None:
    clock, seen = FastClock(), []
    clock.call_later(3600, lambda: seen.append(clock.now))
    started = time.monotonic()
    assert clock.wait() == 0.0
    clock.run_due()
    assert seen[0] >= 3600
    assert time.monotonic() - started < 1


def test_a_fast_clock_does_not_hurry_the_outside() -> None:
    clock = FastClock()
    clock.deadline(300, pytest.fail)
    clock.call_later(3600, lambda: None)
    clock.run_due()
    assert clock.now >= 3600
    assert clock.wait() == pytest.approx(300, abs=5)


def test_a_scaled_clock_passes_work_and_deadlines_so_many_times_as_fast() -> None:
    clock = RealClock(100)
    clock.call_later(50, lambda: None)
    assert clock.wait() == pytest.approx(0.5, abs=0.2)
    clock.deadline(10, lambda: None)
    assert clock.wait() == pytest.approx(0.1, abs=0.09)


def test_the_driver_is_told_of_a_new_timer() -> None:
    clock, calls = RealClock(), []
    clock.on_timer(lambda: calls.append(1))
    clock.call_later(1, lambda: None)
    clock.deadline(1, lambda: None)
    assert len(calls) == 2


def test_run_until_idle_stops_at_its_limit() -> None:
    clock = ManualClock()

    def again() -> None:
        clock.call_later(1, again)

    again()
    assert clock.run_until_idle(limit=10) == 10


@pytest.mark.parametrize(
    ("text", "kind"), [("real", "real"), ("fast", "fast"), ("manual", "manual"), ("x10", "x10"), ("x0.5", "x0.5")]
)
def test_a_clock_is_known_by_its_name(text: str, kind: str) -> None:
    assert parse_clock(text).kind == kind


@pytest.mark.parametrize("text", ["", "x", "x0", "x-1", "xnan", "xinf", "10", "slow"])
def test_a_clock_nobody_knows_is_refused(text: str) -> None:
    with pytest.raises(Misuse, match="clock"):
        parse_clock(text)


def test_machine_time_does_not_go_back() -> None:
    with pytest.raises(Misuse, match="back"):
        ManualClock().advance(-1)


def test_a_watchdog_bites_when_nothing_has_kicked_it_for_its_delay() -> None:
    clock, bitten = ManualClock(), []
    dog = clock.watchdog(10, lambda: bitten.append(clock.now))
    clock.advance(6)
    dog.kick()
    clock.advance(9)
    dog.kick()
    clock.advance(9.5)
    assert not bitten
    clock.advance(100)
    assert bitten == [25]


def test_a_kicked_watchdog_is_one_timer_and_a_cancelled_one_never_bites() -> None:
    clock, added = ManualClock(), []
    clock.on_timer(lambda: added.append(clock.now))
    dog = clock.watchdog(10, pytest.fail)
    for _ in range(1000):
        dog.kick()
    assert added == [0]
    clock.advance(5)
    dog.kick()
    clock.advance(6)
    dog.cancel()
    clock.advance(100)
