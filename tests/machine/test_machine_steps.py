"""F3: power lost between any two protocol steps of an update, judged by the same oracle as real processes are."""

from __future__ import annotations

import pytest
from machine_bench import Bench, Make

from fauxfax.machine import report
from update_oracle import broken, update_of

UPDATE = update_of("SCN")
CHUNK = 48 * 1024


def steps() -> list[bytes]:
    """All that the reference tool says, message by message; an empty one lets the machine work for a while."""
    uel, data = b"\x1b%-12345X", UPDATE.container
    asked = [uel + f"@PJL INFO {what}\r\n".encode() for what in ("ID", "FIRMWARE", "UPGRADE")]
    opening = uel + b"@PJL USTATUS DEVICE=VERBOSE\r\n" + f"@PJL UPGRADE SIZE={len(data)}\r\n".encode()
    sent = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    return [*asked, opening, *sent, uel, *[b"", asked[2]] * 6]


@pytest.mark.parametrize("layout", ["staged", "dual"])
@pytest.mark.parametrize("step", range(len(steps()) + 1))
def test_power_lost_between_any_two_steps_leaves_one_firmware_and_a_retry_completes(
    bench: Make, layout: str, step: int
) -> None:
    pc: Bench = bench(layout)
    before = report.status(pc.machine)
    for message in steps()[:step]:
        pc.send(message)
        pc.clock.advance(0.0 if message else 1.3)
    pc.cycle(cut=True)
    pc.clock.advance(60)
    after = report.status(pc.machine)
    assert broken(UPDATE, before, after, told_success=False, stored_sha256=pc.asked().get("SHA256", "")) == []
    if pc.machine.versions["SCN"] == UPDATE.old[0]:
        port = pc.machine.open_port("raw")
        pc.send(steps()[3], port)
        pc.send(UPDATE.container, port)
        pc.clock.advance(60)
    after = report.status(pc.machine)
    assert broken(UPDATE, before, after, told_success=True, stored_sha256=pc.asked().get("SHA256", "")) == []
