"""Writes docs/reference/facts.md: every number of the machine, how far to trust it, and its source.

make facts
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fauxfax.ifax.host import Limits
from fauxfax.models import MODELS, Fact, SmtpQuirks, Timing, facts

TARGET = Path(__file__).parents[1] / "docs" / "reference" / "facts.md"
HEAD = """\
# Facts of the machine

Made by `make facts` from the code; a test holds it to the code. *Documented* facts stand in a public source, *inferred*
ones follow from such sources, and whatever nobody has published is a *project value*: chosen here, in one place, so
that a capture from a real machine replaces it.

SM is the UF-8100 service manual (April 2007, version 2.1); 3510, 8020 and 1520 are the DP-3510, DP-8020 and DP-1520
service manuals; nmap is nmap-service-probes.
"""


def page() -> str:
    """The whole page."""
    sections = [HEAD]
    names = list(MODELS)
    columns = [list(facts(model)) for model in MODELS.values()]
    sections.append("\n## Models\n\n" + "\n".join(_model_table(names, columns)) + "\n")
    for title, record in (
        ("Timing (machine seconds, mm)", Timing()),
        ("What a sender sees of the factory firmware", SmtpQuirks(banner="UF-8000")),
        ("Limits of the SMTP receiver (octets, machine seconds)", Limits()),
    ):
        sections.append(f"\n## {title}\n\n" + "\n".join(_table(list(facts(record)))) + "\n")
    return "".join(sections)


def _model_table(names: list[str], columns: list[list[Fact]]) -> Iterator[str]:
    yield f"| Name | {' | '.join(names)} | Status | Source |"
    yield "|---" * (len(names) + 3) + "|"
    for row in zip(*columns, strict=True):
        values = " | ".join(_value(fact) for fact in row)
        yield f"| `{row[0].name}` | {values} | {row[0].status.value} | {row[0].source} |"


def _table(rows: list[Fact]) -> Iterator[str]:
    yield "| Name | Value | Status | Source |"
    yield "|---|---|---|---|"
    for fact in rows:
        yield f"| `{fact.name}` | {_value(fact)} | {fact.status.value} | {fact.source} |"


def _value(fact: Fact) -> str:
    if fact.name.startswith("usb_"):
        return f"{fact.value:#06x}"
    return ", ".join(fact.value) if isinstance(fact.value, tuple) else str(fact.value)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
