"""The flash file: a process is killed in the middle of an update, and the file is what the hardware would have kept."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from firmware_small import MODEL, SmallMachine
from firmware_sweep import NEW, OLD, Device, Journey, Sweep

from fauxfax.firmware.flash import Flash, Geometry
from fauxfax.firmware.layout import Layout
from fauxfax.firmware.loader import Loader, State
from fauxfax.firmware.storage import FileStorage

PAUSE = 0.02 / 60
"""Seconds the child pauses after each step, so that a random moment falls into it."""


def steps_of_an_update(flash: Flash, layout: Layout, container: bytes) -> Iterator[None]:
    """One update; yields after each step."""
    loader = Loader(flash, MODEL, layout)
    loader.boot()
    loader.begin(len(container))
    position = 0
    while loader.state is not State.RESTARTING:
        room = min(loader.room, len(container) - position)
        loader.feed(container[position : position + room])
        position += room
        loader.step()
        yield


def update_slowly(path: Path, machine: SmallMachine, container: bytes, told: int) -> None:
    """The child: one update on the file, with a word and a pause at each step; it never returns."""
    for _ in steps_of_an_update(Flash(FileStorage.open(path)), machine.layout, container):
        os.write(told, b".")
        time.sleep(PAUSE)
    os._exit(0)


def kill_in_the_middle(path: Path, machine: SmallMachine, container: bytes, step: int, delay: float) -> None:
    """Kill it some time after so many steps: by its own count, because it may be slow or quick beside other work."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        update_slowly(path, machine, container, write)
    for _ in range(step):
        os.read(read, 1)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)


def killed_updates(folder: Path, times: int, layout: str) -> Counter[str]:
    """Kill `times` updates; each file is then held against the oracle. Returns where the updates were."""
    machine = SmallMachine(layout)
    sweep = Sweep("64x4k/4/ff", layout)
    chance = random.Random(times)
    steps = sum(1 for _ in steps_of_an_update(machine.flash.branch(), machine.layout, sweep.container))
    seen: Counter[str] = Counter()
    for _ in range(times):
        path = folder / "flash"
        FileStorage.create(path, machine.flash.geometry, machine.flash.storage.branch().sectors).close()
        kill_in_the_middle(path, machine, sweep.container, chance.randrange(steps + 1), chance.uniform(0, 2 * PAUSE))
        flash = Flash(FileStorage.open(path), protected=sweep.layout.loader.size)
        loader = Loader(flash.branch(), MODEL, sweep.layout)
        boot = loader.boot()
        stored = loader.status().next_offset
        seen["rewriting" if boot.state is State.REWRITING else "receiving" if stored else boot.versions["SC"]] += 1
        sweep.complete(Device(flash), Journey())
        flash.storage.close()
        path.unlink()
    return seen


@pytest.mark.parametrize("layout", ["staged", "dual"])
def test_a_killed_process_leaves_what_the_hardware_would_have_kept(tmp_path: Path, layout: str) -> None:
    seen = killed_updates(tmp_path, 20, layout)
    assert seen.total() == 20
    assert seen["receiving"] + seen["rewriting"] >= 10  # the kills did fall into updates


@pytest.mark.sweep
@pytest.mark.parametrize("layout", ["staged", "dual"])
def test_two_hundred_killed_processes(tmp_path: Path, layout: str) -> None:
    seen = killed_updates(tmp_path, 200, layout)
    assert seen.total() == 200
    assert len(seen) > 2, seen
    assert {OLD, NEW} & set(seen)


def test_a_full_disk_leaves_no_file_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_space)
    geometry = Geometry.parse("8x4k/4/ff")
    with pytest.raises(OSError, match="No space left on device") as error:
        FileStorage.create(tmp_path / "flash", geometry, [])
    assert error.value.filename == str(tmp_path / "flash")
    assert list(tmp_path.iterdir()) == []
