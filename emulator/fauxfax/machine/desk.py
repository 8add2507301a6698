"""The machine as its SMTP receiver sees it: implements `ifax.host.Host`."""

from __future__ import annotations

from fauxfax.faults import Rule
from fauxfax.ifax.address import Address, Answer, Directory, Resolution
from fauxfax.machine.machine import Machine
from fauxfax.models import SmtpQuirks


class Desk:
    """Answers the receiver's questions from the machine's parts; the directory follows the running firmware."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._directory = self._make_directory()
        self.stopping = False

    @property
    def quirks(self) -> SmtpQuirks:
        """See Host."""
        profile = self._machine.profile
        return profile.smtp if profile is not None else SmtpQuirks(banner=self._machine.model.name)

    @property
    def domain(self) -> str:
        """See Host."""
        return self._machine.settings.domain or self._machine.model.default_domain

    def refusal(self) -> str:
        """See Host."""
        if self.stopping:
            return "shutting down"
        if self._machine.updates.active:
            return "updating"
        return "" if self._machine.running else "starting"

    def free_memory(self) -> int:
        """See Host."""
        return self._machine.memory.free_bytes

    def terminal_ready(self) -> bool:
        """See Host."""
        return self._machine.engine.ready

    def resolve(self, address: Address) -> Resolution:
        """See Host. Nobody is relayed for without a mail server to relay through."""
        found = self._current().resolve(address)
        if found.forward and not self._machine.settings.outbox:
            return Resolution(551, f"User not local; please try <{found.mailbox}>")
        return found

    @property
    def relays_for_everybody(self) -> bool:
        """Whether anybody may send on through this machine: the flashed firmware does so, and nothing keeps it."""
        settings = self._machine.settings
        blank = not any(settings.relay_domains) and not settings.relay_password
        return settings.outbox and blank and self.quirks.open_relay_when_blank

    def verify(self, name: str) -> Answer:
        """See Host."""
        return self._current().verify(name)

    def expand(self, name: str) -> Answer:
        """See Host."""
        return self._current().expand(name)

    @property
    def armed(self) -> bool:
        """See Host."""
        return bool(self._machine.faults.rules)

    def ask(self, point: str, *, sender: str = "", recipient: str = "", peer: str = "") -> Rule | None:
        """See Host."""
        return self._machine.faults.ask(point, sender=sender, recipient=recipient, peer=peer)

    def wall(self) -> float:
        """See Host."""
        return self._machine.clock.wall

    def _current(self) -> Directory:
        quirks = self.quirks
        if (self._directory.vrfy, self._directory.relay_when_blank) != (quirks.vrfy, quirks.open_relay_when_blank):
            self._directory = self._make_directory()
        return self._directory

    def _make_directory(self) -> Directory:
        settings = self._machine.settings
        return Directory(
            domain=self.domain,
            fax_number=settings.fax_number,
            mailboxes={"fax": f"Panafax {self._machine.model.name}"},
            aliases=settings.aliases,
            groups=settings.groups,
            address_book=settings.address_book,
            relay_domains=settings.relay_domains,
            relay_password=settings.relay_password,
            relay_when_blank=self.quirks.open_relay_when_blank,
            vrfy=self.quirks.vrfy,
        )
