"""The value change dump says what was on the cable, and nothing twice."""

from __future__ import annotations

import io
import re

from hostport_memory import MemoryPort
from hostport_pc import Pc

from fauxfax.hostport.vcd import VcdTrace


def dumped(text: str) -> list[tuple[int, dict[str, str]]]:
    """Each moment of a dump with the changes in it, by the names of the lines."""
    head, _, body = text.partition("$enddefinitions $end\n")
    names = dict(re.findall(r"\$var \w+ \d+ (\S+) (\S+) \$end", head))
    moments: list[tuple[int, dict[str, str]]] = []
    for line in body.splitlines():
        if line.startswith("#"):
            moments.append((int(line[1:]), {}))
            continue
        value, code = line.split() if line[0] in "bs" else (line[0], line[1:])
        assert names[code] not in moments[-1][1]
        moments[-1][1][names[code]] = value
    return moments


def test_a_strobed_octet_is_seen_on_the_lines() -> None:
    file = io.StringIO()
    pc = Pc(MemoryPort(), VcdTrace(file.write, lambda: 0.5))
    pc.put(b"\x41")
    moments = dumped(file.getvalue())
    ticks, changes = zip(*moments, strict=True)
    assert ticks == tuple(range(500_000, 500_000 + len(moments)))
    assert len(changes[0]) == 11, "the first moment shows every line"
    assert [list(change.items()) for change in changes[1:]] == [
        [("data", "b01000001")],
        [("nStrobe", "0")],
        [("Busy", "1"), ("phase", "sFORWARD_DATA")],
        [("nStrobe", "1")],
        [("Busy", "0"), ("phase", "sFORWARD_IDLE")],
    ]


def test_a_negotiation_passes_through_its_phases() -> None:
    file = io.StringIO()
    pc = Pc(MemoryPort(), VcdTrace(file.write, lambda: 0.0))
    pc.negotiate(0)
    pc.terminate()
    phases = [change["phase"] for _, change in dumped(file.getvalue()) if "phase" in change]
    assert phases == [
        "sFORWARD_IDLE",
        "sSETUP",
        "sREQUEST",
        "sHOST_BUSY",
        "sTERMINATION",
        "sTERMINATED",
        "sFORWARD_IDLE",
    ]
