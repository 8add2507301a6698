"""What a file is, for a person as a table and for a script as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from fauxfax.errors import FormatError
from fauxfax.firmware.codefile import CodeFile, Component, Part, parse
from fauxfax.firmware.verify import verify
from fauxfax_tools.codefiles import read_file
from fauxfax_tools.describe import Description, describe

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FAULTS = 5  # how many are shown of a damaged file
TABLE_WIDTH = 100  # characters; a narrower terminal wraps lines, which is easier to read than folded cells


def inspect_file(path: Path, as_json: bool) -> bool:
    """Print what the file is; False if it is not a valid code file."""
    data = read_file(path)
    try:
        code_file = parse(data)
    except FormatError as error:
        _print_unknown(path, describe(data), error, [str(fault) for fault in verify(data)[:FAULTS]], as_json)
        return False
    if as_json:
        print(json.dumps(_as_dict(path, len(data), code_file)))
    else:
        _print_code_file(path, len(data), code_file)
    return True


def _as_dict(path: Path, size: int, code_file: CodeFile) -> dict[str, object]:
    header = code_file.header
    return {
        "file": str(path),
        "valid": True,
        "size": size,
        "comment": code_file.comment,
        "models": list(header.models),
        "destination": header.destination,
        "name": header.name,
        "version": header.version,
        "container_size": header.total_size,
        "parts": [_part_as_dict(part) for part in header.parts],
    }


def _part_as_dict(part: Part) -> dict[str, object]:
    return {
        "component": part.component.value,
        "version": part.version,
        "lowest": part.lowest,
        "hardware_levels": list(part.hardware_levels),
        "requires": {need.component.value: need.lowest for need in part.requires},
        "load_address": part.load_address,
        "payload_size": part.payload_size,
        "block_size": part.block_size,
        "blocks": len(part.block_crcs),
        "sha256": part.sha256.hex(),
    }


def _print_code_file(path: Path, size: int, code_file: CodeFile) -> None:
    header = code_file.header
    table = _facts()
    table.add_row("Code file", path.name)
    table.add_row("For", f"{', '.join(header.models)}, destination {header.destination}")
    table.add_row("Brings", ", ".join(f"{part.component.value} {part.version}" for part in header.parts))
    table.add_row("Size", f"{_octets(size)}, checked to the last octet")
    if code_file.comment:
        table.add_row("Says", code_file.comment)
    for name, text in _profile_rows(code_file):
        table.add_row(name, text)
    console = _console()
    console.print(table)
    console.print(_parts_table(header.parts))


def _parts_table(parts: tuple[Part, ...]) -> Table:
    from rich.table import Table

    table = Table()
    for title in ("Component", "Version", "Goes over", "Level", "Needs", "Size", "SHA-256"):
        table.add_column(title, no_wrap=True)
    for part in parts:
        needs = ", ".join(f"{need.component.value} {need.lowest}" for need in part.requires)
        table.add_row(
            f"{part.component.value} {part.component.title}",
            part.version,
            f"{part.lowest}+",
            ", ".join(map(str, part.hardware_levels)),
            needs or "nothing",
            f"{part.payload_size / 1024:g} KiB",
            f"{part.sha256.hex()[:12]}…",
        )
    return table


def _profile_rows(code_file: CodeFile) -> list[tuple[str, str]]:
    """What a sender will see of the system control, from the profile in its payload."""
    from fauxfax.firmware.profiles import Profile

    for part, payload in zip(code_file.header.parts, code_file.payloads, strict=True):
        if part.component is Component.SC:
            try:
                smtp = Profile.from_payload(payload).smtp
            except FormatError as error:
                return [("Profile", f"cannot be read: {error}")]
            dialogue = f"{'lock-step' if smtp.lock_step else 'pipelining'}, DATA is answered {smtp.data_code}"
            return [("Greets with", f"220 {smtp.banner}"), ("Dialogue", dialogue)]
    return []


def _print_unknown(path: Path, found: Description, error: FormatError, faults: list[str], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"file": str(path), "valid": False, "why": str(error), "faults": faults, **found.as_dict()}))
        return
    table = _facts()
    table.add_row("File", path.name)
    table.add_row("Not a code file", "\n".join(faults) or str(error))
    table.add_row("Size", _octets(found.size))
    table.add_row("SHA-256", found.sha256)
    table.add_row("CRC-32", found.crc32)
    table.add_row("Container", "\n".join(found.containers) or "none that is known here")
    table.add_row("Entropy", f"{found.entropy:.2f} of 8 bits an octet; from start to end:\n|{found.picture}|")
    if found.filler:
        table.add_row("Filler", found.filler)
    table.add_row("Texts", "\n".join(found.strings) or "none")
    _console().print(table)


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.width = max(console.width, TABLE_WIDTH)
    return console


def _facts() -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    return table


def _octets(count: int) -> str:
    if count >= 1 << 20:
        return f"{count} octets ({count / (1 << 20):.1f} MiB)"
    return f"{count} octets" + (f" ({count / 1024:.0f} KiB)" if count >= 1024 else "")
