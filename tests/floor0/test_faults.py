from __future__ import annotations

import pytest

from fauxfax.clock import ManualClock
from fauxfax.errors import Misuse
from fauxfax.faults import FaultPlan, Rule, parse_rule


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def plan(clock: ManualClock) -> FaultPlan:
    return FaultPlan(lambda: clock.now)


def fired(plan: FaultPlan, times: int, point: str = "rcpt", **facts: str) -> list[int]:
    """Which of `times` questions were answered with a rule, counted from 1."""
    return [number for number in range(1, times + 1) if plan.ask(point, **facts) is not None]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("rcpt -> drop", [1, 2, 3, 4, 5, 6]),
        ("rcpt nth=3 -> drop", [3]),
        ("rcpt every=2 -> drop", [2, 4, 6]),
        ("rcpt times=2 -> drop", [1, 2]),
        ("rcpt every=2 times=1 -> drop", [2]),
        ("rcpt probability=0 -> drop", []),
        ("rcpt probability=1 -> drop", [1, 2, 3, 4, 5, 6]),
        ("mail -> drop", []),
    ],
)
def test_a_rule_selects_among_the_times_it_is_asked(plan: FaultPlan, rule: str, expected: list[int]) -> None:
    plan.arm(rule)
    assert fired(plan, 6) == expected


def test_a_pattern_counts_only_what_it_matches(plan: FaultPlan) -> None:
    rule = plan.arm("rcpt recipient=*@Example.org nth=2 -> reply 550 no")
    assert plan.ask("rcpt", recipient="a@example.org") is None
    assert plan.ask("rcpt", recipient="a@example.net") is None
    assert plan.ask("rcpt", recipient="b@EXAMPLE.ORG") is rule
    assert (rule.matched, rule.fired, rule.argument) == (2, 1, "550 no")


def test_a_window_is_machine_time(plan: FaultPlan, clock: ManualClock) -> None:
    plan.arm("data after=10 until=20 -> stall")
    answers = []
    for _ in range(3):
        answers.append(plan.ask("data") is not None)
        clock.advance(10)
    assert answers == [False, True, False]


def test_the_same_seed_gives_the_same_shots() -> None:
    def shots(text: str) -> list[int]:
        plan = FaultPlan(lambda: 0.0)
        plan.arm(text)
        return fired(plan, 200)

    first = shots("rcpt probability=0.3 seed=7 -> drop")
    assert first == shots("rcpt probability=0.3 seed=7 -> drop")
    assert first != shots("rcpt probability=0.3 seed=8 -> drop")
    assert 30 < len(first) < 90


def test_the_first_rule_that_fires_decides_and_is_reported() -> None:
    reported: list[Rule] = []
    plan = FaultPlan(lambda: 0.0, reported.append)
    plan.arm("rcpt nth=2 -> drop")
    plan.arm("rcpt -> stall")
    assert [plan.ask("rcpt").action for _ in range(3)] == ["stall", "drop", "stall"]
    assert [rule.number for rule in reported] == [2, 1, 2]


def test_clearing_disarms_everything(plan: FaultPlan) -> None:
    plan.arm("rcpt -> drop")
    assert plan.clear() == 1
    assert plan.ask("rcpt") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "expected POINT"),
        ("rcpt", "expected POINT"),
        ("-> drop", "expected POINT"),
        ("rcpt ->", "expected POINT"),
        ("rcpd -> drop", "no point"),
        ("rcpt -> explode", "no action"),
        ("rcpt -> reply 999", "reply 451 try later"),
        ("rcpt -> reply", "reply 451 try later"),
        ("rcpt -> drop it", "written like `drop`"),
        ("rcpt -> close-after many", "close-after 1000"),
        ("rcpt nth=x -> drop", "takes a number"),
        ("rcpt nth=0 -> drop", "counts from 1"),
        ("rcpt every=-1 -> drop", "counts from 1"),
        ("rcpt colour=red -> drop", "no key"),
        ("rcpt sender= -> drop", "no key"),
        ("page -> drop", "drop does nothing at page; it takes delay, paper-out, jam, cover-open, cut"),
        ("document -> reply 451 no", "does nothing at document"),
        ("commit -> jam", "does nothing at commit"),
        ("rcpt -> hang", "hang does nothing at rcpt; it takes reply"),
        ("boot -> drop", "drop does nothing at boot; it takes cut, hang"),
    ],
)
def test_a_rule_that_cannot_be_read_says_which_word(text: str, complaint: str) -> None:
    with pytest.raises(Misuse, match=complaint):
        parse_rule(text)
