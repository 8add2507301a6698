from __future__ import annotations

import pytest

from fauxfax.errors import Misuse
from fauxfax.events import EventStream, PanelChanged
from fauxfax.inprocess import InProcessMachine
from fauxfax.machine.panel import KEYS, LAMPS, WIDTH, Panel


@pytest.fixture
def seen() -> list:
    return []


@pytest.fixture
def panel(seen: list) -> Panel:
    events = EventStream(lambda: 0.0)
    events.subscribe(lambda record: seen.append(record.event))
    return Panel("UF-8000", events)


def test_every_display_says_that_this_is_an_emulation(panel: Panel) -> None:
    panel.load_texts("V10100", {"ready": "READY"})
    for state in ("ready", "starting", "recovery", "updating"):
        panel.show(state)
        assert "EMU" in panel.lines[0]


def test_a_dark_panel_shows_nothing(panel: Panel) -> None:
    panel.show("ready", ("ONLINE",))
    panel.show("off")
    assert panel.lines == ("", "")
    assert panel.lamps == ()


def test_only_a_change_is_reported(panel: Panel, seen: list) -> None:
    for _ in range(3):
        panel.show("ready", ("ONLINE",))
    assert seen == [PanelChanged(("UF-8000 EMU", "READY"), ("ONLINE",))]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("P{page}/{pages}", "P02/03"),
        ("{nothing}READY", "READY"),
        ("{page.__class__}", "{page.__class__}"),
        ("{page:>999999}", "{page:>999999}"),
        ("x" * 100, "x" * WIDTH),
    ],
)
def test_a_flashed_text_is_data_and_never_a_format_string(panel: Panel, text: str, shown: str) -> None:
    panel.load_texts("V10100", {"printing": text})
    panel.show("printing", page="02", pages="03")
    assert panel.lines[1] == shown


def test_a_key_nobody_printed_on_the_panel_is_refused_with_those_that_are() -> None:
    assert Panel.check_key("clear") == "CLEAR"
    with pytest.raises(Misuse, match="CLEAR"):
        Panel.check_key("BELL")
    assert len(set(KEYS)) == len(KEYS)


def test_every_lamp_the_machine_lights_is_on_the_panel() -> None:
    lit: set[str] = set()
    with InProcessMachine() as host:
        host.machine.events.subscribe(
            lambda record: lit.update(record.event.lamps) if isinstance(record.event, PanelChanged) else None
        )
        host.machine.engine.fail("jam")
        host.machine.press(["CLEAR"])
    assert {"ONLINE", "ALARM"} <= lit <= set(LAMPS)
