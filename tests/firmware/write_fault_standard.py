"""Runs every fault on every geometry and layout and writes what held: `python tests/firmware/write_fault_standard.py`.

With geometries as arguments it only prints their lines.
"""

from __future__ import annotations

import itertools
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from firmware_faults import FAULTS, LAYOUTS
from firmware_small import GEOMETRIES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "fault-standard.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"


def measure(geometry: str, layout: str, number: int) -> tuple[int, int]:
    """How many cases of a fault held, of how many."""
    found = list(FAULTS[number].cases(geometry, layout))
    return found.count(""), len(found)


def cells() -> dict[tuple[str, str, int], str]:
    """The table as it stands on the page: `held/cases` by geometry, layout and fault."""
    read, layout, number = {}, "", 0
    for line in PAGE.read_text().split(BEGIN)[1].split(END)[0].splitlines():
        if line.startswith("### "):
            layout, number = line.split("`")[1], 0
        elif line.startswith("| F") and not line.startswith("| Fault"):
            for geometry, cell in zip(GEOMETRIES, line.split("|")[3:-1], strict=True):
                read[geometry, layout, number] = cell.strip()
            number += 1
    return read


def table(found: dict[tuple[str, str, int], tuple[int, int]]) -> str:
    """Markdown: a table for each layout, a line for each fault, a column for each geometry."""
    lines = []
    for layout in LAYOUTS:
        lines += [f"### Layout `{layout}`", "", "| Fault | What | " + " | ".join(f"`{g}`" for g in GEOMETRIES) + " |"]
        lines += ["|---|---|" + "---:|" * len(GEOMETRIES)]
        for number, fault in enumerate(FAULTS):
            numbers = (found[geometry, layout, number] for geometry in GEOMETRIES)
            lines.append(f"| {fault.name} | {fault.what} | " + " | ".join(f"{h}/{n}" for h, n in numbers) + " |")
        lines.append("")
    held, cases = (sum(column) for column in zip(*found.values(), strict=True))
    return "\n".join([*lines, f"In all: {held} of {cases} cases held.", ""])


def main() -> None:
    keys = list(itertools.product(sys.argv[1:] or GEOMETRIES, LAYOUTS, range(len(FAULTS))))
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(measure, *zip(*keys, strict=True)))
    if sys.argv[1:]:
        for (geometry, layout, number), (held, cases) in zip(keys, results, strict=True):
            print(geometry, layout, FAULTS[number].name, FAULTS[number].what, f"{held}/{cases}")
        return
    head, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(head + BEGIN + table(dict(zip(keys, results, strict=True))) + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
