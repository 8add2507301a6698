"""What an update tells while it goes: frozen events, and the one bar they are drawn on.

An update is six phases, in this order; each has a weight on the bar, so that the bar moves as time does on a machine of
its day (project values: sending and rewriting are what one waits for). The bar never goes backwards, also when a
cut makes the machine begin a phase again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """A phase: its place, its name for people and scripts, and its weight in hundredths of the bar."""

    CHECK = (1, "check", 2)
    SEND = (2, "send", 40)
    VERIFY_STAGED = (3, "verify", 5)
    REWRITE = (4, "rewrite", 38)
    VERIFY_WRITTEN = (5, "verify", 5)
    RESTART = (6, "restart", 10)

    @property
    def label(self) -> str:
        """The word people and scripts see; both verifications have the same."""
        return self.value[1]

    @property
    def weight(self) -> int:
        """Hundredths of the bar."""
        return self.value[2]

    @property
    def start(self) -> int:
        """Where on the bar the phase begins."""
        return sum(phase.weight for phase in Phase if phase.value < self.value)


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` in a phase: octets, or 0 and 1 where nothing can be counted."""

    phase: Phase
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person wants to know: a resume, a lost link, a restart."""

    text: str


Event = Progress | Notice


class Bar:
    """The whole update as one number from 0 to 100 that never goes backwards."""

    def __init__(self) -> None:
        self.percent = 0.0
        self.phase = Phase.CHECK

    def advance(self, progress: Progress) -> float:
        """Take an event in; returns the percentage to draw."""
        part = min(1.0, progress.done / progress.total) if progress.total > 0 else 0.0
        percent = progress.phase.start + progress.phase.weight * part
        if percent >= self.percent:
            self.percent, self.phase = percent, progress.phase
        return self.percent
