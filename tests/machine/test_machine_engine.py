from __future__ import annotations

import itertools

import pytest

from fauxfax.clock import ManualClock
from fauxfax.events import ErrorRaised, EventStream, PagePrinted, SensorChanged
from fauxfax.faults import FaultPlan
from fauxfax.machine.engine import SENSORS, Engine, Job
from fauxfax.models import MODELS

A4 = 297.0


class Bench:
    """An engine on a manual clock, with what it reported."""

    def __init__(self, **options: float) -> None:
        self.clock = ManualClock()
        self.events = EventStream(lambda: self.clock.now)
        self.records = []
        self.events.subscribe(self.records.append)
        self.faults = FaultPlan(lambda: self.clock.now)
        self.pages: list[tuple[int, int]] = []
        self.done: list[int] = []
        self.engine = Engine(
            MODELS["UF-8000"],
            self.clock,
            self.events,
            self.faults,
            page_done=lambda job: self.pages.append((job.document, job.printed)),
            job_done=lambda job: self.done.append(job.document),
            **options,
        )
        self.engine.power_on()

    def seen(self, kind: type) -> list:
        return [record for record in self.records if isinstance(record.event, kind)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_page_passes_every_sensor_in_the_order_of_the_path(bench: Bench) -> None:
    bench.engine.print_job(Job(1, [A4]))
    bench.clock.run_until_idle()
    activated = [record.event.sensor for record in bench.seen(SensorChanged) if record.event.active]
    assert activated == list(SENSORS)
    assert not any(bench.engine.sensors.values())
    assert bench.done == [1]


def test_pages_leave_at_the_speed_that_process_speed_and_gap_give(bench: Bench) -> None:
    bench.engine.print_job(Job(1, [A4] * 5))
    bench.clock.run_until_idle()
    times = [record.at for record in bench.seen(PagePrinted)]
    timing = MODELS["UF-8000"].timing
    intervals = {round(b - a, 6) for a, b in itertools.pairwise(times)}
    assert intervals == {round((A4 + timing.page_gap) / timing.paper_speed, 6)}


def test_a_configured_speed_replaces_the_models() -> None:
    bench = Bench(pages_per_minute=6)
    bench.engine.print_job(Job(1, [A4] * 3))
    bench.clock.run_until_idle()
    times = [record.at for record in bench.seen(PagePrinted)]
    assert [round(b - a, 6) for a, b in itertools.pairwise(times)] == [10.0, 10.0]


@pytest.mark.parametrize("error", ["jam", "paper-out", "cover-open"])
def test_an_error_stops_the_paper_and_the_lost_sheets_are_printed_again(bench: Bench, error: str) -> None:
    bench.faults.arm(f"page nth=2 -> {error}")
    bench.engine.print_job(Job(1, [A4] * 3))
    bench.clock.run_until_idle()
    assert [record.event.error for record in bench.seen(ErrorRaised)] == [error]
    assert bench.done == []
    assert not bench.engine.ready
    bench.engine.help()
    bench.clock.run_until_idle()
    assert bench.pages == [(1, 1), (1, 2), (1, 3)]
    assert bench.done == [1]


def test_an_empty_cassette_asks_for_paper(bench: Bench) -> None:
    bench.engine.paper = 1
    bench.engine.print_job(Job(1, [A4, A4]))
    bench.clock.run_until_idle()
    assert bench.engine.errors == ["paper-out"]
    assert bench.pages == [(1, 1)], "the sheet in the path comes out all the same"
    bench.engine.help()
    bench.clock.run_until_idle()
    assert bench.done == [1]


def test_power_off_forgets_the_jobs_and_prints_nothing_more(bench: Bench) -> None:
    bench.engine.print_job(Job(1, [A4] * 3))
    bench.clock.advance(MODELS["UF-8000"].timing.warm_up + 1)
    bench.engine.power_off()
    bench.clock.run_until_idle()
    assert bench.pages == []
    assert bench.engine.idle


def test_jobs_are_printed_in_order_and_continue_where_they_stopped(bench: Bench) -> None:
    bench.engine.print_job(Job(1, [A4] * 3, printed=2))
    bench.engine.print_job(Job(2, [A4]))
    bench.engine.print_job(Job(3, []))
    bench.clock.run_until_idle()
    assert bench.pages == [(1, 3), (2, 1)]
    assert bench.done == [1, 2, 3]
