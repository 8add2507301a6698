"""The panel: a display of two lines, lamps, and keys.

What is written on it comes from the flashed firmware; before a firmware runs, from the loader. Every display carries
`EMU`, so that no photograph of it is mistaken for the real machine's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fauxfax.errors import Misuse
from fauxfax.events import EventStream, PanelChanged
from fauxfax.firmware.states import State

WIDTH = 20
"""Characters of a display line: a project value."""
KEYS = ("CLEAR", "STOP", "START", "SET", "FUNCTION", "UP", "DOWN", "LEFT", "RIGHT", *"0123456789", "*", "#")
"""Keys a finger can find: CLEAR also stands for the hand that removes a jam, loads paper and closes the cover."""
LAMPS = ("ONLINE", "RECEIVE", "ALARM", "UPDATE")

LOADER_TEXTS = {
    "off": "",
    "starting": "LOADER CHECK",
    "hung": " ",
    "recovery": "SEND CODE FILE",
    "update_offered": "UPDATE? PRESS SET",
}

UPDATE_TEXTS = {
    State.RECEIVING: "update_receiving",
    State.CHECKING: "update_checking",
    State.STAGED: "update_checking",
    State.REWRITING: "update_rewriting",
    State.VERIFYING: "update_checking",
    State.COMMITTED: "update_done",
    State.RESTARTING: "update_done",
}
"""Which text shows each state of an update."""


def _fill(text: str, values: Mapping[str, object]) -> str:
    """Put values into places such as `{page}`: the text was flashed, so it is data and never a format string."""
    return re.sub(r"\{(\w+)\}", lambda place: str(values.get(place[1], "")), text)


class Panel:
    """Shows one state at a time; publishes PanelChanged when what is seen changes."""

    def __init__(self, model_name: str, events: EventStream) -> None:
        self._model = model_name
        self._events = events
        self._texts: Mapping[str, str] = {}
        self._version = ""
        self.lines: tuple[str, ...] = ("", "")
        self.lamps: tuple[str, ...] = ()

    def load_texts(self, version: str, texts: Mapping[str, str]) -> None:
        """The running firmware's texts; empty when none runs."""
        self._version = version
        self._texts = texts

    def show(self, state: str, lamps: tuple[str, ...] = (), **values: object) -> None:
        """Show the text of a state; `values` fill its places, such as `{page}`."""
        text = self._texts.get(state) or LOADER_TEXTS.get(state) or state.upper()
        head = f"{self._model} EMU {self._version}".rstrip()
        lines = ("", "") if state == "off" else (head[:WIDTH], _fill(text, values)[:WIDTH])
        if (lines, lamps) != (self.lines, self.lamps):
            self.lines, self.lamps = lines, lamps
            self._events.publish(PanelChanged(lines, lamps))

    @staticmethod
    def check_key(key: str) -> str:
        """The key's name as printed on it. Raises Misuse for a key the panel does not have."""
        if key.upper() not in KEYS:
            raise Misuse(f"panel: no key {key!r}; the keys are {' '.join(KEYS)}")
        return key.upper()
