from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fauxfax.errors import FauxfaxError
from fauxfax.inprocess import InProcessMachine
from fauxfax.machine import snapshot


@pytest.fixture
def host() -> Iterator[InProcessMachine]:
    with InProcessMachine() as host:
        yield host


def saved(host: InProcessMachine, folder: Path) -> dict[str, bytes]:
    return written(snapshot.freeze(host.machine), folder)


def written(frozen: snapshot.Frozen, folder: Path) -> dict[str, bytes]:
    octets = io.BytesIO()
    with contextlib.closing(frozen.memory), zipfile.ZipFile(octets, "w") as archive:
        frozen.write(archive, folder)
    with zipfile.ZipFile(octets) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def put_back(host: InProcessMachine, parts: dict[str, bytes], folder: Path) -> None:
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with zipfile.ZipFile(octets) as archive:
        thawed = snapshot.check(host.machine, archive, folder)
    host.machine.power_off(cut=True)
    snapshot.replace(host.machine, thawed)
    host.machine.memory.recount()


def test_what_is_put_back_is_what_was_saved(host: InProcessMachine, tmp_path: Path) -> None:
    host.machine.parameters.set(142, "Valid")
    before = saved(host, tmp_path)
    host.machine.parameters.set(142, "Invalid")
    put_back(host, before, tmp_path)
    host.machine.power_on(at_once=True)
    assert host.machine.parameters.get(142) == "Valid"
    assert host.machine.versions["SC"] == "V10100"


def test_what_is_written_is_the_machine_of_the_instant_it_was_frozen(host: InProcessMachine, tmp_path: Path) -> None:
    host.machine.parameters.set(142, "Valid")
    frozen = snapshot.freeze(host.machine)
    host.machine.parameters.set(142, "Invalid")
    host.machine.updates.loader.flash.storage.write(0, bytes(16))
    put_back(host, written(frozen, tmp_path), tmp_path)
    host.machine.power_on(at_once=True)
    assert host.machine.parameters.get(142) == "Valid"
    assert host.machine.versions["SC"] == "V10100"


def test_a_memory_with_pages_of_another_size_is_put_back(host: InProcessMachine, tmp_path: Path) -> None:
    host.machine.parameters.set(142, "Valid")
    before = saved(host, tmp_path)
    old = tmp_path / "old.sqlite"
    old.write_bytes(before["memory.sqlite"])
    with sqlite3.connect(old) as connection:
        for change in ("journal_mode = DELETE", "page_size = 4096"):
            connection.execute(f"PRAGMA {change}")
        connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert old.read_bytes()[16:18] == (4096).to_bytes(2, "big")
    host.machine.parameters.set(142, "Invalid")
    put_back(host, before | {"memory.sqlite": old.read_bytes()}, tmp_path)
    assert host.machine.parameters.get(142) == "Valid"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"machine.json": json.dumps({"snapshot": 1, "model": "UF-7000", "layout": "staged"}).encode()}, "UF-7000"),
        (
            {"machine.json": json.dumps({"snapshot": 2, "model": "UF-8000", "layout": "staged"}).encode()},
            "snapshot is 2",
        ),
        ({"machine.json": b"{"}, "not JSON"),
        ({"machine.json": b"[]"}, "no object"),
        ({"flash.bin": b"short"}, "no flash of this machine"),
        ({"flash.bin": None}, "flash.bin missing"),
        ({"bomb": bytes(2 << 20)}, "unpacks to more than"),
        ({"memory.sqlite": b"no database, but long enough to have been one" * 100}, "cannot be read"),
        ({"memory.sqlite": b""}, "version 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_snapshot_that_does_not_fit_changes_nothing(
    host: InProcessMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    change: dict[str, bytes | None], complaint: str,
) -> None:  # fmt: skip
    parts = {name: content for name, content in {**saved(host, tmp_path), **change}.items() if content is not None}
    if "bomb" in parts:
        monkeypatch.setattr(snapshot, "MAX_UNPACKED", 33 << 20)
    with pytest.raises(FauxfaxError, match=complaint):
        put_back(host, parts, tmp_path)
    assert host.machine.running
