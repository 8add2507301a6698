"""Asking a machine who it is, without changing anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from fauxfax_tools.dialects.base import Machine, Status, read_machine
from fauxfax_tools.dialects.reference import ReferenceDialect
from fauxfax_tools.links.base import Link


@dataclass(frozen=True, slots=True)
class Probe:
    """What a machine said. `status` is None on a link that cannot read back."""

    url: str
    machine: Machine
    status: Status | None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        machine, status = self.machine, self.status
        return {
            "link": self.url,
            "model": machine.model,
            "device_id": machine.device_id,
            "serial": machine.serial,
            "emulated": machine.emulated,
            "firmware": {name: installed.version for name, installed in machine.firmware.items()},
            "sha256": {name: installed.sha256 for name, installed in machine.firmware.items()},
            "update": None
            if status is None
            else {
                "state": status.state.value,
                "received": status.received,
                "next_offset": status.next_offset,
                "last": asdict(status.last) if status.last else None,
            },
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        machine, status = self.machine, self.status
        kind = "emulated" if machine.emulated else "a real machine"
        yield f"{'Link':<12} {self.url}"
        yield f"{'Machine':<12} {machine.model or 'unknown model'}, {machine.serial or 'no serial number'} ({kind})"
        yield f"{'Device id':<12} {machine.device_id or 'none on this link'}"
        if status is None:
            yield f"{'Firmware':<12} this link is one-way: the machine cannot answer"
            return
        versions = " ".join(f"{name} {installed.version}" for name, installed in machine.firmware.items())
        yield f"{'Firmware':<12} {versions or 'none runs'}"
        kept = f", {status.next_offset} octets of an unfinished update are kept" if status.next_offset else ""
        yield f"{'State':<12} {status.state.value}{kept}"
        yield f"{'Last update':<12} {_last(status)}"


def probe(link: Link) -> Probe:
    """Ask over an open link. Raises OSError if nobody answers."""
    if not link.bidirectional:
        device_id = link.identify() or ""
        return Probe(link.url, read_machine(device_id, device_id), None)
    dialect = ReferenceDialect(link)
    return Probe(link.url, dialect.identify(), dialect.status())


def _last(status: Status) -> str:
    last = status.last
    if last is None:
        return "none known"
    if not last.reason:
        return f"{last.version} was installed{', by force' if last.forced else ''}"
    what = f"{last.version or 'an unknown file'} failed in {last.stage or 'an unknown stage'}"
    return f"{what} at {last.offset}: {last.reason}"
