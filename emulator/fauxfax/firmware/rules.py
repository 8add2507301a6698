"""Which image may be installed on which machine: each refusal names what does not match, and what would."""

from __future__ import annotations

from collections.abc import Mapping

from fauxfax.firmware.codefile import DESTINATION, Component, Header, Part
from fauxfax.firmware.records import Entry
from fauxfax.models import Model


def objection(
    header: Header,
    model: Model,
    installed: Mapping[Component, Entry],
    capacities: Mapping[Component, int],
    *,
    force: bool = False,
) -> str:
    """Why the machine does not take this image; empty if it does.

    `installed` holds what runs: a component that is broken is not in it, and takes any version. `force` lifts the
    rules on downgrade and same version, and no other.
    """
    if model.name not in header.models:
        return f"this code file is for {', '.join(header.models)}, the machine is a {model.name}"
    if header.destination != DESTINATION:
        return f"this code file is for destination {header.destination}, the machine is for {DESTINATION}"
    for part in header.parts:
        reason = _about_hardware(part, model, capacities) or _about_version(part, installed.get(part.component), force)
        if reason:
            return f"{part.component.value} {part.version}: {reason}"
    return _about_each_other(header, installed)


def _about_hardware(part: Part, model: Model, capacities: Mapping[Component, int]) -> str:
    if part.component not in capacities:
        return "the machine has no such component"
    if model.hardware_level not in part.hardware_levels:
        levels = ", ".join(map(str, part.hardware_levels))
        return f"it fits hardware level {levels}, the machine has level {model.hardware_level}"
    if part.payload_size > capacities[part.component]:
        return f"{part.payload_size} octets do not fit the {capacities[part.component]} there are for it"
    if part.load_address != part.component.load_address:
        return f"its load address is {part.load_address:#x}, the component starts at {part.component.load_address:#x}"
    return ""


def _about_version(part: Part, entry: Entry | None, force: bool) -> str:
    if entry is None:
        return ""
    if entry.version < part.lowest:
        return f"it may be installed over {part.lowest} or later, the machine has {entry.version}"
    if part.version == entry.version and not force:
        return "the machine has this version already"
    if part.version < entry.version and not force:
        return f"this would be a downgrade, the machine has {entry.version}"
    return ""


def _about_each_other(header: Header, installed: Mapping[Component, Entry]) -> str:
    """The versions that would stand beside one another afterwards."""
    after = {component: entry.version for component, entry in installed.items()}
    needs = {component: entry.requires for component, entry in installed.items()}
    for part in header.parts:
        after[part.component], needs[part.component] = part.version, part.requires
    touched = {part.component for part in header.parts}
    for component, requirements in needs.items():
        for need in requirements:
            if not touched & {component, need.component}:
                continue
            beside = after.get(need.component)
            if beside is None or beside < need.lowest:
                return (
                    f"{component.value} {after[component]} needs {need.component.value} {need.lowest} or later "
                    f"beside it, there would be {beside or 'none'}; install a set that has both"
                )
    return ""
