"""What the machine tells about itself: the status object of the control API, the panel, and the lines of PJL's INFO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fauxfax.firmware.loader import State
from fauxfax.machine.panel import UPDATE_TEXTS

if TYPE_CHECKING:
    from fauxfax.machine.machine import Machine

READY_CODE, BUSY_CODE = 10001, 10023
"""PJL status codes: ready, and processing a job (PJL Technical Reference, appendix D)."""


def status(machine: Machine) -> dict[str, Any]:
    """The object of `fauxfax status --json` and `GET /v1/machine`."""
    update = machine.updates.loader.status()
    last = machine.updates.last
    return {
        "name": machine.settings.name,
        "model": machine.model.name,
        "emulated": True,
        "power": machine.power,
        "state": machine.state,
        "firmware": machine.versions,
        "firmware_sha256": machine.hashes,
        "update": {
            "state": update.state.name,
            "component": update.component,
            "version": update.version,
            "received": update.received,
            "next_offset": update.next_offset,
            "done": update.done,
            "total": update.total,
            "on_trial": machine.updates.on_trial,
            "last": last
            and {
                "version": last.version,
                "stage": last.stage,
                "reason": last.reason,
                "offset": last.offset,
                "forced": last.forced,
            },
        },
        "memory": {"documents": machine.memory.documents, "free_bytes": machine.memory.free_bytes},
        "panel": list(machine.panel.lines),
        "lamps": list(machine.panel.lamps),
        "faults": [rule.as_dict() for rule in machine.faults.rules],
        "errors": list(machine.engine.errors),
        "counters": machine.database.counters(),
        "since_start": dict(machine.since_start) | {"sunk": machine.sunk},
        "sequence": machine.events.sequence,
        "clock": {"kind": machine.clock.kind, "now": round(machine.clock.now, 6)},
    }


def show(machine: Machine) -> None:
    """Write what goes on onto the panel."""
    panel, engine = machine.panel, machine.engine
    lamps = ["ONLINE"] if machine.running else []
    if engine.errors:
        lamps.append("ALARM")
    match machine.state:
        case "updating":
            status = machine.updates.loader.status()
            panel.show(UPDATE_TEXTS[status.state], (*lamps, "UPDATE"), component=status.component)
        case "printing" if (job := engine.printing) is not None:
            page = min(job.printed + 1, len(job.lengths))
            panel.show("printing", (*lamps, "RECEIVE"), page=f"{page:02d}", pages=f"{len(job.lengths):02d}")
        case "error":
            panel.show(engine.errors[0].replace("-", "_"), tuple(lamps))
        case "ready" if machine.mail_update is not None and machine.mail_update.waits_for_operator:
            panel.show("update_offered", (*lamps, "UPDATE"))
        case "ready" | "recovery" if machine.updates.failed_lately:
            panel.show("update_failed", tuple(lamps))
        case state:
            panel.show(state, tuple(lamps))


def memory_status(machine: Machine) -> dict[str, Any]:
    """What lies in the image memory."""
    return {
        "capacity": machine.model.image_memory,
        "free_bytes": machine.memory.free_bytes,
        "documents": [
            {
                "number": message.number,
                "state": message.state,
                "sender": message.envelope.sender,
                "octets": message.octets,
                "pages": message.pages,
                "printed": message.printed,
            }
            for message in machine.memory.waiting()
        ],
    }


def info(machine: Machine, category: str) -> list[str]:
    """The lines of `@PJL INFO category`; an unknown category has none."""
    model = machine.model
    match category.upper():
        case "ID":
            return [f'"{model.name}"', f"SERIAL={machine.serial}"]
        case "STATUS":
            return [
                f"CODE={READY_CODE if machine.state == 'ready' else BUSY_CODE}",
                f'DISPLAY="{" ".join(machine.panel.lines)}"',
                f"ONLINE={'TRUE' if machine.running else 'FALSE'}",
            ]
        case "CONFIG":
            flash = model.flash_sectors * model.flash_sector_size
            return [f"MEMORY={model.image_memory}", f"FLASH={flash}", f"LAYOUT={machine.settings.update_layout}"]
        case "FIRMWARE":
            lines = []
            for component, version in machine.versions.items():
                lines += [f"{component}={version}", f"{component}.SHA256={machine.hashes.get(component, '')}"]
            return lines
        case "UPGRADE":
            return _upgrade_lines(machine)
    return []


def update_lines(machine: Machine) -> list[str]:
    """The lines of an unsolicited status."""
    status = machine.updates.loader.status()
    refused = status.last is not None and status.state is State.REFUSED
    return [
        f"STATE={status.state.name}",
        f"DONE={status.done}",
        f"TOTAL={status.total}",
        f"VERSION={status.version}",
        f"REASON={status.last.reason if refused and status.last else ''}",
    ]


def _upgrade_lines(machine: Machine) -> list[str]:
    status = machine.updates.loader.status()
    lines = [
        f"STATE={status.state.name}",
        f"COMPONENT={status.component}",
        f"VERSION={status.version}",
        f"RECEIVED={status.received}",
        f"NEXT={status.next_offset}",
        f"SHA256={status.sha256}",
        f"DONE={status.done}",
        f"TOTAL={status.total}",
        f"TRIAL={'ON' if machine.updates.on_trial else 'OFF'}",
    ]
    if (last := machine.updates.last) is not None:
        lines += [
            f"LASTVERSION={last.version}",
            f"LASTSTAGE={last.stage}",
            f"LASTREASON={last.reason}",
            f"LASTOFFSET={last.offset}",
            f"LASTFORCED={'ON' if last.forced else 'OFF'}",
        ]
    return lines
