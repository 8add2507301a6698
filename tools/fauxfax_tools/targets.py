"""A machine to update, by whatever way: a link that answers, or a carrier that only takes.

`Consent` is the one place that decides whether a machine may be written to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Protocol

from fauxfax.firmware.codefile import wrap
from fauxfax_tools.carriers import CARRIERS, FTP_PORT, LPD_PORT, Parcel
from fauxfax_tools.codefiles import CodeImage
from fauxfax_tools.dialects.base import Installed, Machine, read_machine
from fauxfax_tools.dialects.reference import ReferenceDialect, read_firmware, read_status
from fauxfax_tools.errors import BadUsage, LinkLost, Refused
from fauxfax_tools.links import find_link
from fauxfax_tools.links.base import RETRY_EVERY, Deadline
from fauxfax_tools.links.tcp import DEFAULT_PORT, TcpLink
from fauxfax_tools.steps import Event, Phase, Progress
from fauxfax_tools.updater import Options, Outcome, Result, Updater

Report = Callable[[Event], None]
HOST_LIMIT = 1024  # machines in one call


@dataclass(frozen=True, slots=True)
class Consent:
    """What the person allowed beforehand, and how to ask for the rest.

    `question` is None where nobody can be asked. A machine that does not call itself EMU is real: it needs `real` and a
    question, or `real` and `yes`.
    """

    yes: bool
    real: bool
    question: Callable[[str], bool] | None

    def given(self, machine: Machine, title: str, where: str, components: Iterable[str] = ("SC",)) -> bool:
        """Whether `title` may be installed on this machine. Raises Refused if that takes a flag that is not there.

        `components` are those it replaces: the question says which versions of them run.
        """
        name = (
            machine.described(components)
            if machine.model or machine.serial
            else f"the machine at {where}, which does not say who it is"
        )
        if not machine.emulated and not self.real:
            raise Refused(f"{name}: it does not identify itself as emulated; pass --real to write to a real machine")
        if self.yes:
            return True
        if self.question is None:
            if machine.emulated:
                return True
            raise Refused(
                f"{name}: a real machine is written to after a question only; run this on a terminal, or pass --yes"
            )
        return self.question(f"Install {title} on {name}?")


class Target(Protocol):
    """Somewhere a code file can be installed."""

    @property
    def url(self) -> str:
        """How messages name it."""
        ...

    def install(self, image: CodeImage, consent: Consent, settings: Settings, report: Report) -> Result:
        """Install one code file. Raises ToolError."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What goes along with every file of one call."""

    password: str = ""
    force: bool = False
    patience: float = 120.0


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """A machine behind a LINK."""

    url: str

    def install(self, image: CodeImage, consent: Consent, settings: Settings, report: Report) -> Result:
        """The whole procedure, up to the proof that the new version runs."""
        link = find_link(self.url)

        def confirm(machine: Machine) -> bool:
            return consent.given(machine, image.title, self.url, image.hashes)

        options = Options(confirm, settings.password, settings.force, settings.patience)
        return Updater(link, ReferenceDialect(link), image, options).run(report)


@dataclass(frozen=True, slots=True)
class CarrierTarget:
    """A machine that takes jobs by LPD or FTP."""

    via: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """`lpd://HOST:PORT`."""
        return f"{self.via}://{self.host}:{self.port}"

    def install(self, image: CodeImage, consent: Consent, settings: Settings, report: Report) -> Result:
        """Send the job, and see that the new version runs; a machine that does not tell leaves it at SENT."""
        if settings.force or (settings.password and self.via == "lpd"):
            what = "--force-downgrade" if settings.force else "--password"
            raise BadUsage(f"{what} has no place in a job that goes by {self.via.upper()}; use --via raw")
        report(Progress(Phase.CHECK, 0, 1))
        carrier = CARRIERS[self.via]
        job = wrap(image.container, image.title)
        parcel = Parcel(self.host, self.port, job, image.path.name, settings.password)
        machine = _told(carrier.state(parcel))
        if image.runs_in(machine.firmware):
            return Result(Outcome.ALREADY, machine, machine.firmware)
        if machine.model and machine.model not in image.header.models:
            models = ", ".join(image.header.models)
            raise Refused(f"{image.path.name} is for {models}, but the machine is {machine.title}; nothing was sent")
        if not consent.given(machine, image.title, self.url, image.hashes):
            raise Refused(f"{self.url}: not confirmed, nothing was sent")
        report(Progress(Phase.CHECK, 1, 1))
        answer = carrier.send(parcel, lambda done, total: report(Progress(Phase.SEND, done, total)))
        if not machine.firmware:
            return Result(Outcome.SENT, answer=answer)
        firmware = self._follow(lambda: carrier.state(parcel), image, settings.patience, report)
        return Result(Outcome.UPDATED, machine, firmware)

    def _follow(
        self, ask: Callable[[], str], image: CodeImage, patience: float, report: Report
    ) -> dict[str, Installed]:
        """Wait until what was sent runs, and is no longer on trial. Raises Refused with the machine's reason."""
        deadline = Deadline(patience)
        report(Progress(Phase.RESTART, 0, 1))
        while True:
            try:
                lines = ask().splitlines()
            except LinkLost:  # it restarts
                lines = []
            firmware, status = read_firmware(lines), read_status(lines)
            if image.runs_in(firmware) and not status.on_trial:
                report(Progress(Phase.RESTART, 1, 1))
                return firmware
            last = status.last
            if firmware and last is not None and last.reason and last.version == image.header.version:
                raise Refused(f"{self.url}: {last.reason}")
            if deadline.passed:
                raise LinkLost(
                    f"{self.url}: the machine took the job, but the new version was not seen to run within "
                    f"{patience:g} s; look at its panel, or run this again"
                )
            time.sleep(RETRY_EVERY)


def _told(text: str) -> Machine:
    """Who and what a machine says it is."""
    return read_machine(text, firmware=read_firmware(text.splitlines()))


def network_targets(hosts: tuple[str, ...], via: str, port: int | None) -> list[Target]:
    """The machines of `--host`: names, addresses, ranges `192.0.2.10-20`, networks `192.0.2.0/28`, between commas."""
    names = [name for listed in hosts for host in listed.split(",") for name in _expand(host.strip())]
    if len(names) > HOST_LIMIT:
        raise BadUsage(f"--host: {len(names)} machines; one call takes up to {HOST_LIMIT}")
    if via == "raw":
        return [LinkTarget(TcpLink(name, port or DEFAULT_PORT).url) for name in names]
    return [CarrierTarget(via, name, port or (LPD_PORT if via == "lpd" else FTP_PORT)) for name in names]


def _expand(host: str) -> Iterator[str]:
    first, dash, last = host.rpartition("-")
    try:
        if "/" in host:
            network = ip_network(host, strict=False)
            if network.num_addresses > HOST_LIMIT:
                raise BadUsage(f"--host {host}: {network.num_addresses} addresses; one call takes up to {HOST_LIMIT}")
            yield from (str(address) for address in network.hosts())
            return
        start = ip_address(first) if dash else None
    except ValueError:
        start = None
    if start is None:
        if "/" in host:
            raise BadUsage(f"--host {host}: expected a name, an address, a range like 192.0.2.10-20, or 192.0.2.0/28")
        yield host
        return
    yield from _range(host, first, last)


def _range(host: str, first: str, last: str) -> Iterator[str]:
    prefix, _, low = first.rpartition(".")
    if not (low.isdigit() and last.isdigit() and int(low) <= int(last) <= 255):
        raise BadUsage(f"--host {host}: a range goes up within the last number, like 192.0.2.10-20")
    yield from (f"{prefix}.{number}" for number in range(int(low), int(last) + 1))
