"""What must hold of a whole machine after any fault in an update, in one place.

`broken()` compares what a machine says of itself before and after (the status object of the control API) and names
every invariant of `docs/reference/fault-standard.md` that does not hold. It knows the content of both firmwares itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from code_files import code_file
from fauxfax.firmware import codefile

AT_REST = ("RUNNING", "RECOVERY")


@dataclass(frozen=True)
class Update:
    """One update of one component: its versions, and the SHA-256 of what each consists of."""

    component: str
    container: bytes
    old: tuple[str, str]
    new: tuple[str, str]


@cache
def update_of(component: str, old: str = "V10100", new: str = "V10200", model: str = "UF-8000") -> Update:
    """The update of a component from one version to another, known from its code files."""
    identities = []
    for version in (old, new):
        data = code_file(f"{model} {component} {version}")
        start, size, _ = codefile.container_at(data)
        container = data[start : start + size]
        [part] = codefile.parse_header(container).parts
        identities.append((version, part.sha256.hex()))
    return Update(component, container, identities[0], identities[1])


def broken(
    update: Update, before: dict[str, Any], after: dict[str, Any], *, told_success: bool, stored_sha256: str = ""
) -> list[str]:
    """The invariants that do not hold; empty if all do. `after` is of a machine that has come to rest."""
    name, found = update.component, []
    runs = (after["firmware"].get(name), after["firmware_sha256"].get(name))
    if after["update"]["state"] not in AT_REST:
        found.append(f"I9: it does not come to rest, it is {after['update']['state']}")
    if after["update"]["state"] == "RECOVERY" or runs not in (update.old, update.new):
        found.append(f"I1 I2: neither the old nor the new firmware runs, but {runs}")
    if told_success and runs != update.new:
        found.append(f"I3: success was announced, and {runs[0]} runs")
    stored = after["update"]["next_offset"]
    if stored and stored_sha256 != hashlib.sha256(update.container[:stored]).hexdigest():
        found.append(f"I4: {stored} octets are acknowledged, and are not those of the file")
    for what in ("firmware", "firmware_sha256"):
        others = [{key: one[what][key] for key in one[what] if key != name} for one in (before, after)]
        if others[0] != others[1]:
            found.append(f"I8: {what} of other components changed: {others}")
    if before["counters"] != after["counters"]:
        found.append(f"I8: counters changed from {before['counters']} to {after['counters']}")
    if runs == update.new and (after["update"]["last"] or {}).get("version") != update.new[0]:
        found.append(f"I10: {update.new[0]} runs, and the last attempt is {after['update']['last']}")
    return found
