"""Runs every fault on every geometry and layout and writes what held: `python tests/firmware/write_fault_standard.py`.

With geometries as arguments only their columns are renewed.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from firmware_faults import COLUMNS, FAULTS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "fault-standard.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def measure(geometry: str, layout: str, number: int) -> tuple[int, int]:
    """How many cases of a fault held, of how many."""
    found = list(FAULTS[number].cases(geometry, layout))
    return found.count(""), len(found)


def cells() -> dict[tuple[str, str, int], str]:
    """The table as it stands on the page: `held/cases` by geometry, layout and fault."""
    read, layout = {}, ""
    numbers = {fault.what: number for number, fault in enumerate(FAULTS)}
    for line in PAGE.read_text().split(BEGIN)[1].split(END)[0].splitlines():
        if line.startswith("### "):
            layout = line.split("`")[1]
        elif line.startswith("| F") and not line.startswith("| Fault"):
            what, *words = (word.strip() for word in line.split("|")[2:-1])
            for geometry, word in zip(COLUMNS[layout], words, strict=True):
                read[geometry, layout, numbers[what]] = word  # KeyError: the page has a line of a fault that is no more
    return read


def all_cells() -> list[tuple[str, str, int]]:
    """Geometry, layout and fault of each cell that the table has, the long ones first."""
    found = [
        (geometry, layout, number)
        for number, fault in enumerate(FAULTS)
        for layout in fault.layouts
        for geometry in fault.geometries or COLUMNS[layout]
    ]
    return sorted(found, key=lambda cell: not FAULTS[cell[2]].what.startswith("three"))


def table(found: dict[tuple[str, str, int], str]) -> str:
    """Markdown: a table for each layout, a line for each fault, a column for each geometry."""
    lines = []
    for layout, geometries in COLUMNS.items():
        lines += [f"### Layout `{layout}`", "", "| Fault | What | " + " | ".join(f"`{g}`" for g in geometries) + " |"]
        lines += ["|---|---|" + "---:|" * len(geometries)]
        for number, fault in enumerate(FAULTS):
            if layout in fault.layouts:
                words = [found.get((geometry, layout, number), "") for geometry in geometries]
                lines.append(f"| {fault.name} | {fault.what} | " + " | ".join(words) + " |")
        lines.append("")
    held, cases = (sum(map(int, column)) for column in zip(*(w.split("/") for w in found.values() if w), strict=True))
    return "\n".join([*lines, f"In all: {held} of {cases} cases held.", ""])


def main() -> None:
    keys = [cell for cell in all_cells() if not sys.argv[1:] or cell[0] in sys.argv[1:]]
    found = cells() if sys.argv[1:] else {}
    with ProcessPoolExecutor() as pool:
        for key, (held, cases) in zip(keys, pool.map(measure, *zip(*keys, strict=True)), strict=True):
            found[key] = f"{held}/{cases}"
            print(*key[:2], FAULTS[key[2]].name, FAULTS[key[2]].what, found[key], flush=True)
    head, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(head + BEGIN + table(found) + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
