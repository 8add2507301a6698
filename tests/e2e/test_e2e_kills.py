"""F18: the machine's process is killed at random moments of an update, which the real updater speaks to it.

The oracle is that of every other fault (`update_oracle`). A failing case prints its seed, which replays it.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fauxfax.testing import MachineProcess
from fauxfax_tools.codefiles import CodeImage, load
from fauxfax_tools.dialects.reference import ReferenceDialect
from fauxfax_tools.errors import ToolError
from fauxfax_tools.links import find_link
from fauxfax_tools.updater import Options, Outcome, Updater
from update_oracle import Update, broken, update_of

CLOCK = "x20"
"""An update of one small part takes about half a second, most of it the flash's own time."""
WAYS = {"raw": "tcp://127.0.0.1:{raw}", "usbip": "usbip://127.0.0.1:{usbip}"}


class Attempt(threading.Thread):
    """One update by the technician's tool. `succeeded` is what the tool says of it."""

    def __init__(self, machine: MachineProcess, way: str, image: CodeImage, patience: float) -> None:
        super().__init__()
        self._link = find_link(WAYS[way].format_map(machine.ports))
        self._image = image
        self._patience = patience
        self.succeeded = False
        self.seconds = 0.0

    def run(self) -> None:
        start = time.monotonic()
        options = Options(confirm=lambda _: True, patience=self._patience)
        with contextlib.suppress(ToolError, OSError):
            result = Updater(self._link, ReferenceDialect(self._link), self._image, options).run(lambda _: None)
            self.succeeded = result.outcome in (Outcome.UPDATED, Outcome.ALREADY)
        self.seconds = time.monotonic() - start


def at_rest(machine: MachineProcess) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while (status := machine.status())["state"] not in ("ready", "recovery"):
        assert time.monotonic() < deadline, f"I9: it does not come to rest: {status}"
        time.sleep(0.01)
    return status


def stored_sha256(machine: MachineProcess) -> str:
    link = find_link(WAYS["raw"].format_map(machine.ports))
    link.open()
    try:
        return ReferenceDialect(link).status().sha256
    finally:
        link.close()


def kill_once(folder: Path, way: str, layout: str, image: CodeImage, update: Update, chance: random.Random) -> str:
    """Kill one update, hold what is left against the oracle, and retry. Returns what the kill fell into."""
    machine = MachineProcess(folder, ["--set", f"update.layout={layout}"], CLOCK).start()
    try:
        before = at_rest(machine)
        attempt = Attempt(machine, way, image, patience=0.2)
        attempt.start()
        time.sleep(chance.uniform(0.0, 0.6))
        fell_into = machine.status()["update"]["state"]
        machine.kill()
        attempt.join()
        machine.start()
        after = at_rest(machine)
        wrong = broken(update, before, after, told_success=attempt.succeeded, stored_sha256=stored_sha256(machine))
        if after["firmware"][update.component] == update.old[0]:
            retry = Attempt(machine, way, image, patience=30.0)
            retry.run()
            wrong += [] if retry.succeeded else [f"I5: a clean retry fails: {machine.status()['update']}"]
            wrong += broken(update, before, at_rest(machine), told_success=True)
        assert wrong == []
        return str(fell_into)
    finally:
        machine.kill()


def kill_often(
    tmp_path: Path, code_file: Callable[[str], Path], way: str, layout: str, seed: int, times: int
) -> Counter[str]:
    update, image, seen = update_of("SCN"), load(code_file("UF-8000 SCN V10200")), Counter[str]()
    for number in range(times):
        chance = random.Random(f"{seed} {way} {layout} {number}")
        folder = tmp_path / f"machine-{number}"
        seen[kill_once(folder, way, layout, image, update, chance)] += 1
    print(f"seed={seed} {way} {layout}: {dict(seen)}")
    return seen


@pytest.mark.parametrize(
    ("way", "layout"), [("raw", "staged"), ("usbip", "staged"), ("raw", "dual"), ("usbip", "dual")]
)
def test_a_machine_killed_while_the_tool_updates_it_has_one_firmware_and_a_retry_completes(
    tmp_path: Path, code_file: Callable[[str], Path], way: str, layout: str
) -> None:
    assert kill_often(tmp_path, code_file, way, layout, seed=7, times=2).total() == 2


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("layout", ["staged", "dual"])
@pytest.mark.parametrize("way", list(WAYS))
def test_two_hundred_machines_killed_at_random_moments(
    tmp_path: Path, code_file: Callable[[str], Path], way: str, layout: str, seed: int
) -> None:
    seen = kill_often(tmp_path, code_file, way, layout, seed, times=10)
    assert seen.total() == 10
    assert len(seen) > 1, f"all kills fell outside the update: {seen}"
