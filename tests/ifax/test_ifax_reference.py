"""`docs/reference/smtp.md` against the code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fauxfax.faults import ACTIONS, EFFECTIVE, POINTS
from fauxfax.ifax.host import Limits, Verdict
from fauxfax.ifax.replies import Code
from fauxfax.ifax.smtp import VERDICTS
from fauxfax.ifax.states import COMMANDS, DEADLINES, TRANSITIONS, State
from fauxfax.models import SmtpQuirks, facts

ROOT = Path(__file__).parents[2]
DIALOGUES = ROOT / "tests/ifax/dialogues"
PAGE = (ROOT / "docs/reference/smtp.md").read_text(encoding="utf-8")


def table(heading: str) -> Sequence[Sequence[str]]:
    """The rows of the table whose first column is so called, without their backquotes."""
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    return list(_rows(lines[start + 2 :]))


def spoken(dialogue: str) -> str:
    """The dialogue of that name."""
    return (DIALOGUES / f"{dialogue.strip('`')}.txt").read_text(encoding="utf-8")


def dialogue_lines() -> Iterator[str]:
    """Every line of every dialogue."""
    for path in DIALOGUES.glob("*.txt"):
        yield from path.read_text(encoding="utf-8").splitlines()


def _rows(lines: list[str]) -> Iterator[Sequence[str]]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def test_every_command_is_listed_with_the_states_it_is_in_order_in() -> None:
    listed = {row[0]: row[2] for row in table("Command")}
    assert listed == {
        name: ", ".join(state.value for state in State if step in TRANSITIONS[state]) for name, step in COMMANDS.items()
    }


def test_every_reply_is_listed_with_a_dialogue_that_has_it() -> None:
    rows = table("Code")
    assert [int(row[0]) for row in rows] == sorted(Code)
    for code, situation, dialogue in rows:
        assert situation
        assert f"S: {code} " in spoken(dialogue), dialogue


def test_every_verdict_is_listed_with_its_reply() -> None:
    assert {row[0].strip("`"): int(row[1]) for row in table("Verdict")} == {
        verdict.value: VERDICTS[verdict].code for verdict in Verdict
    }


@pytest.mark.parametrize(
    ("heading", "record"), [("Quirk", SmtpQuirks(banner="UF-8000")), ("Limit", Limits())], ids=["quirks", "limits"]
)
def test_every_number_is_listed_with_its_source(heading: str, record: object) -> None:
    expected = [[f"`{fact.name}`", f"`{fact.value}`", fact.status.value, fact.source] for fact in facts(record)]
    assert [row[:4] for row in table(heading)] == expected


def test_every_quirk_is_listed_with_a_dialogue_that_sets_it() -> None:
    """A standalone receiver is told the two quirks of its directory there."""
    directory = {"vrfy": "directory vrfy", "open_relay_when_blank": "directory relay_when_blank"}
    for name, *_, dialogue in table("Quirk"):
        quirk = name.strip("`")
        assert f"= {directory.get(quirk, f'quirk {quirk}')} " in spoken(dialogue), dialogue


def test_every_command_is_given_in_a_dialogue() -> None:
    given = {line.split()[1].rstrip(":").upper() for line in dialogue_lines() if line.startswith("C: ") and line[3:]}
    assert set(COMMANDS) <= given


def test_every_state_is_listed_with_its_deadline() -> None:
    assert {row[0]: row[1].strip("`") for row in table("State")} == {s.value: DEADLINES[s] for s in State}


def test_every_point_behind_the_dialogue_is_listed_with_its_actions() -> None:
    listed = {row[0].strip("`"): tuple(re.findall(r"`([a-z-]+)`", row[2])) for row in table("Point")}
    assert listed == EFFECTIVE
    assert set(POINTS) == {*listed, "connect", "dot", *(name.lower() for name in COMMANDS)}


def test_every_fault_action_is_listed() -> None:
    listed = {name.strip(" `") for row in table("Action") for name in row[0].split(",")}
    assert listed == set(ACTIONS)
