"""A firmware that hangs: the watchdog restarts it, and what comes of it is the loader's to decide. In machine time."""

from __future__ import annotations

import pytest
from machine_bench import Bench, Make

from code_files import code_file
from fauxfax.firmware.loader import HANGS, State

PART = "UF-8000 SCN V10200"
OLD, NEW = "V10100", "V10200"


def a_start(pc: Bench) -> float:
    """Machine seconds from a hang to the firmware's next start."""
    timing = pc.machine.model.timing
    return timing.watchdog + timing.loader + timing.boot


def updated_and_hanging(pc: Bench, rule: str) -> None:
    """An update whose firmware hangs when it starts."""
    pc.machine.faults.arm(rule)
    pc.send(code_file(PART))
    while pc.machine.state != "hung":
        assert pc.machine.state in ("ready", "updating", "starting")
        pc.clock.advance(0.05)


@pytest.mark.parametrize("when", ["", " 2.5"], ids=["at once", "while on trial"])
def test_a_firmware_on_trial_that_hangs_gives_way_to_the_one_before(bench: Make, when: str) -> None:
    pc = bench("dual")
    updated_and_hanging(pc, f"boot times=3 -> hang{when}")
    assert not pc.machine.online
    for start in range(1, HANGS):
        pc.clock.advance(a_start(pc) + 2.6)
        assert (pc.machine.state, pc.machine.versions["SCN"]) == ("hung", NEW), f"start {start}"
    pc.clock.advance(a_start(pc))
    assert (pc.machine.state, pc.machine.versions["SCN"]) == ("ready", OLD)
    assert "not confirmed in 3 starts" in pc.asked()["LASTREASON"]
    pc.send(code_file(PART), pc.machine.open_port("raw"))
    assert pc.ready() == NEW


def test_where_there_is_no_other_firmware_the_loader_waits_after_three_hangs_and_says_why(bench: Make) -> None:
    pc = bench("staged")
    updated_and_hanging(pc, "boot -> hang")
    pc.clock.advance(HANGS * a_start(pc) + 0.1)
    assert pc.machine.state == "recovery"
    assert pc.machine.panel.lines[1] == "SEND CODE FILE"
    asked = pc.asked()
    assert (asked["STATE"], asked["LASTVERSION"]) == (State.RECOVERY.value, OLD)
    assert asked["LASTREASON"].startswith("the firmware hung in 3 starts")
    (line,) = [line for line in pc.machine.journal.read() if line.result == "GIVEN UP"]
    assert line.note == f"SC {OLD}: {asked['LASTREASON']}"


def test_a_machine_whose_firmware_hung_takes_another_code_file_or_tries_again_after_a_power_cycle(bench: Make) -> None:
    pc = bench("staged")
    updated_and_hanging(pc, f"boot times={HANGS} -> hang")
    pc.clock.advance(HANGS * a_start(pc) + 0.1)
    assert pc.machine.state == "recovery"
    pc.send(code_file("UF-8000 EC V10200"), pc.machine.open_port("raw"))
    pc.clock.advance(60)
    assert (pc.machine.state, pc.machine.versions["EC"]) == ("ready", NEW)
    other = bench("staged")
    updated_and_hanging(other, f"boot times={HANGS} -> hang")
    other.clock.advance(HANGS * a_start(other) + 0.1)
    other.cycle(cut=True)
    assert (other.machine.state, other.machine.versions["SCN"]) == ("ready", NEW)


@pytest.mark.parametrize("layout", ["staged", "dual"])
def test_a_hang_now_and_then_is_only_a_restart(bench: Make, layout: str) -> None:
    pc = bench(layout)
    pc.machine.faults.arm("boot every=2 -> hang 30")
    for _ in range(2 * HANGS):
        pc.cycle(cut=True)
        pc.clock.advance(31 + a_start(pc))
        assert pc.machine.state == "ready"
        pc.clock.advance(pc.machine.model.timing.trial)
    assert pc.machine.versions["SCN"] == OLD


def test_a_firmware_that_would_hang_later_is_replaced_before(bench: Make) -> None:
    pc = bench("staged")
    pc.machine.faults.arm("boot times=1 -> hang 12")
    pc.cycle()
    pc.send(code_file(PART))
    pc.until(State.RESTARTING)
    for _ in range(600):
        pc.clock.advance(0.1)
        assert pc.machine.state != "hung"
    assert (pc.machine.state, pc.machine.versions["SCN"]) == ("ready", NEW)


def test_the_plug_pulled_while_it_hangs_is_a_start_like_any_other(bench: Make) -> None:
    pc = bench("staged")
    updated_and_hanging(pc, "boot times=1 -> hang")
    operations = pc.machine.updates.loader.flash.operations
    pc.clock.advance(5)
    pc.cycle(cut=True)
    assert (pc.machine.state, pc.machine.versions["SCN"]) == ("ready", NEW)
    pc.clock.advance(60)
    assert pc.machine.state == "ready"
    assert pc.machine.updates.loader.flash.operations - operations < 3, "no hang was written down"
