"""A host without a machine: the receiver on its own, for tests, benchmarks and fuzzers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fauxfax.faults import FaultPlan, Rule
from fauxfax.ifax.address import Address, Answer, Directory, Resolution
from fauxfax.models import MIB, SmtpQuirks


def _directory() -> Directory:
    return Directory(domain="uf-8000.local")


@dataclass(slots=True)
class StandaloneHost:
    """Answers the receiver's questions from its own fields; they may be changed at any time."""

    quirks: SmtpQuirks = field(default_factory=lambda: SmtpQuirks(banner="UF-8000"))
    directory: Directory = field(default_factory=_directory)
    faults: FaultPlan = field(default_factory=lambda: FaultPlan(lambda: 0.0))
    reason: str = ""
    """Why nobody may begin; empty if everybody may."""
    memory: int = 64 * MIB
    ready: bool = True
    """The print engine's."""
    now: Callable[[], float] = field(default=lambda: 0.0)

    @property
    def domain(self) -> str:
        """Of the directory."""
        return self.directory.domain

    def refusal(self) -> str:
        """See `Host`."""
        return self.reason

    def free_memory(self) -> int:
        """See `Host`."""
        return self.memory

    def terminal_ready(self) -> bool:
        """See `Host`."""
        return self.ready

    def resolve(self, address: Address) -> Resolution:
        """See `Host`."""
        return self.directory.resolve(address)

    def verify(self, name: str) -> Answer:
        """See `Host`."""
        return self.directory.verify(name)

    def expand(self, name: str) -> Answer:
        """See `Host`."""
        return self.directory.expand(name)

    @property
    def armed(self) -> bool:
        """See `Host`."""
        return bool(self.faults.rules)

    def ask(self, point: str, *, sender: str = "", recipient: str = "", peer: str = "") -> Rule | None:
        """See `Host`."""
        return self.faults.ask(point, sender=sender, recipient=recipient, peer=peer)

    def wall(self) -> float:
        """See `Host`."""
        return self.now()
