"""The four models: every number of the hardware, each with where it comes from.

A field of :class:`Model`, :class:`Timing` or :class:`SmtpQuirks` carries its provenance in the dataclass
metadata, and `facts()` lists it; `docs/reference/facts.md` is made from that list. *Documented* and *inferred*
facts name their source. What nobody has published is a *project value*: chosen here, so that a capture from a real
machine replaces it in one place.

What a firmware version decides (banner, panel texts, parameters) is not here but in the flashed profile; see
`firmware/profiles.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from fauxfax.errors import Misuse

KIB = 1024
MIB = 1024 * KIB


class Status(Enum):
    """How far a fact can be trusted."""

    DOCUMENTED = "documented"
    INFERRED = "inferred"
    PROJECT = "project value"


class Fact(NamedTuple):
    """One number of the machine: its name, its value, how far to trust it, and its source."""

    name: str
    value: object
    status: Status
    source: str


def documented(source: str, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field whose value stands in a public source."""
    return dataclasses.field(default=default, metadata={"status": Status.DOCUMENTED, "source": source})


def inferred(source: str, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field whose value follows from public sources."""
    return dataclasses.field(default=default, metadata={"status": Status.INFERRED, "source": source})


def project(reason: str, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field whose value the project chose, and why."""
    return dataclasses.field(default=default, metadata={"status": Status.PROJECT, "source": reason})


def facts(record: Any) -> Iterator[Fact]:
    """The fields of a dataclass instance that carry a provenance."""
    for field in dataclasses.fields(record):
        if "status" in field.metadata:
            yield Fact(field.name, getattr(record, field.name), field.metadata["status"], field.metadata["source"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long the machine's own work takes, in machine seconds unless the name says otherwise."""

    boot: float = project("a system of this class starts its network in some seconds", 8.0)
    loader: float = project("the loader's own check before it starts the firmware", 1.5)
    trial: float = project("a firmware on trial is confirmed when it has stayed up for so long", 5.0)
    watchdog: float = project("a machine that should have restarted is restarted by its watchdog", 20.0)
    notice: float = project("how long the panel shows that an update failed", 10.0)
    job_timeout: float = project("a print job without an end is over after so much silence: the default of PJL", 15.0)
    shutdown: float = project("time between the restart command and the bus going away", 0.5)
    erase_sector: float = project("typical 64 KiB sector erase of a NOR flash of 2007", 0.5)
    program_octet: float = project("typical buffered programming of such a flash: 1 MiB in about 2 s", 2e-6)
    read_octet: float = project("reading flash for a check: 20 MiB/s", 5e-8)
    paper_speed: float = project("process speed in mm/s; gives about 19 A4 pages a minute", 120.0)
    page_gap: float = project("mm between two sheets in the paper path", 83.0)
    warm_up: float = project("the fuser is kept warm between pages; first page after idle", 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpQuirks:
    """What a sender can see of a firmware version. It is flashed, as part of the profile of the SC component."""

    banner: str = inferred("sister machines greet with the model name alone (nmap-service-probes)")
    ehlo_lines: tuple[str, ...] = inferred(
        "`250-Hello`, `250-DSN` and at least one line more, which nobody recorded", ("Hello", "DSN")
    )
    extensions: tuple[str, ...] = project(
        "announced after DSN: the last line of EHLO, out of SIZE, 8BITMIME, PIPELINING, ENHANCEDSTATUSCODES",
        ("SIZE", "8BITMIME", "PIPELINING"),
    )
    data_code: int = documented("the reply list says 354, the sample dialogue 250 (8020 p.445, 3510 p.455)", 354)
    lock_step: bool = documented("the dialogue is lock-step (SM p.276); true resents pipelining", False)
    colon_commands: bool = documented("the manual prints `HELO:` and `QUIT:` (SM p.284)", True)
    vrfy: bool = documented("VRFY answers the full name and mailbox (SM p.284); false answers 252", True)
    open_relay_when_blank: bool = documented("all relay domains blank means everyone may relay (DP-C266 p.150)", False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of the family."""

    name: str = documented("service manual of April 2007, version 2.1")
    code: str = inferred("the prefix of version lines; `UF-8K` is documented for the twin of the UF-8000")
    usb_vendor: int = documented("USB vendor list: Panasonic", 0x04DA)
    usb_product: int = inferred("`MFSUSB Driver` is the best stand-in", 0x1500)
    hardware_level: int = project("code files name the hardware levels they fit", 1)
    image_memory: int = project("octets of image memory for received documents")
    flash_sectors: int = project("sectors of the firmware flash: 32 MiB in all", 512)
    flash_sector_size: int = project("octets of a sector", 64 * KIB)
    flash_write_unit: int = project("octets programmed at once; writes are aligned to it", 32)
    receive_buffer: int = project("octets the host port takes before it is busy", 64 * KIB)
    paper_capacity: int = project("sheets in the cassette", 550)
    tray_capacity: int = project("sheets the output tray holds", 150)
    mac_prefix: str = documented("Ethernet prefixes of Panasonic", "00:80:F0")
    timing: Timing = dataclasses.field(default_factory=Timing)

    @property
    def default_domain(self) -> str:
        """The mail domain a machine of this model answers to unless configured otherwise."""
        return f"{self.name.lower()}.local"


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(name="UF-7000", code="UF-7K", image_memory=32 * MIB),
        Model(name="UF-7100", code="UF-71K", image_memory=48 * MIB),
        Model(name="UF-8000", code="UF-8K", image_memory=64 * MIB),
        Model(name="UF-8100", code="UF-81K", image_memory=96 * MIB),
    )
}
DEFAULT_MODEL = "UF-8000"


def find_model(name: str) -> Model:
    """The model of that name, in any case. Raises Misuse that lists the four."""
    try:
        return MODELS[name.upper()]
    except KeyError:
        raise Misuse(f"model: {name!r} is none of {', '.join(MODELS)}") from None
