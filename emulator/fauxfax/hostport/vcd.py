"""A logic analyser on the parallel cable: every change of its lines as a value change dump, for GTKWave and the like.

    with path.open("w") as file:
        peripheral = Peripheral(port, scope=VcdTrace(file.write, lambda: clock.now))

Lines have the standard's names for Compatibility mode; beside them stand the data lines and the phase, in words.
Source: IEEE 1364-2001, chapter 18; the string of the phase is GTKWave's extension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fauxfax.hostport.ieee1284 import Levels
from fauxfax.hostport.ieee1284lines import Control, Status

LINES: Mapping[str, Control | Status] = {
    "nStrobe": Control.N_STROBE,
    "nAutoFd": Control.N_AUTO_FD,
    "nInit": Control.N_INIT,
    "nSelectIn": Control.N_SELECT_IN,
    "nAck": Status.N_ACK,
    "Busy": Status.BUSY,
    "PError": Status.P_ERROR,
    "Select": Status.SELECT,
    "nFault": Status.N_FAULT,
}
DATA, PHASE = "D", "P"
TICKS = 1_000_000
"""Ticks in a second: the time scale is a microsecond."""


class VcdTrace:
    """Writes a dump. To be called with all levels after each change; what has not changed is not written.

    Args:
        write: takes text.
        now: the time in seconds. Two changes are at least a tick apart, else a viewer would show only the second.
    """

    def __init__(self, write: Callable[[str], object], now: Callable[[], float]) -> None:
        self._write = write
        self._now = now
        self._tick = -1
        self._last: dict[str, str] = {}
        self._codes = {name: chr(ord("a") + place) for place, name in enumerate(LINES)}
        variables = [f"$var wire 1 {code} {name} $end\n" for name, code in self._codes.items()]
        write("$timescale 1 us $end\n$scope module ieee1284 $end\n")
        write("".join(variables))
        write(f"$var wire 8 {DATA} data $end\n$var string 1 {PHASE} phase $end\n")
        write("$upscope $end\n$enddefinitions $end\n")

    def __call__(self, levels: Levels) -> None:
        """Write down what has changed."""
        values = {code: f"{self._level(name, levels)}{code}" for name, code in self._codes.items()}
        values[DATA] = f"b{levels.data:08b} {DATA}"
        values[PHASE] = f"s{levels.phase.name} {PHASE}"
        changes = [value for code, value in values.items() if self._last.get(code) != value]
        if changes:
            self._tick = max(self._tick + 1, int(self._now() * TICKS))
            self._write("\n".join((f"#{self._tick}", *changes)) + "\n")
            self._last = values

    @staticmethod
    def _level(name: str, levels: Levels) -> int:
        line = LINES[name]
        return int(line in levels.control if isinstance(line, Control) else line in levels.status)
