"""The attendant: the hands and eyes that the control API gives a person or a test beside the machine."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import zipfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from fauxfax.clock import ManualClock
from fauxfax.errors import FormatError, Misuse
from fauxfax.machine import report, snapshot
from fauxfax.machine.machine import Machine
from fauxfax.servers.tray import FILES, Tray


async def _nobody_works() -> None:
    """A machine without servers is at rest when it is dark."""


class Attendant:
    """Implements `servers.control.Controllable` for one machine and its tray.

    `at_rest` waits, once the machine is dark, until nobody works on its memory any more.
    """

    def __init__(self, machine: Machine, tray: Tray, at_rest: Callable[[], Awaitable[None]] = _nobody_works) -> None:
        self._machine = machine
        self._tray = tray
        self._at_rest = at_rest
        self._one_at_a_time = asyncio.Lock()
        self._restoring: asyncio.Task[None] | None = None
        self.events = machine.events
        self.faults = machine.faults

    def status(self) -> dict[str, Any]:
        """See Controllable."""
        return report.status(self._machine)

    def memory_status(self) -> dict[str, Any]:
        """See Controllable."""
        return report.memory_status(self._machine)

    def journal_entries(self) -> list[dict[str, object]]:
        """See Controllable."""
        return [entry.as_dict() for entry in self._machine.journal.read()]

    def press(self, keys: list[str]) -> None:
        """See Controllable."""
        self._machine.press(keys)

    def power(self, action: str) -> None:
        """See Controllable."""
        if self._restoring is not None:
            raise Misuse("power: a snapshot is being put back; the machine starts by itself when that is done")
        if action == "on":
            self._machine.power_on()
        elif action in ("off", "cut"):
            self._machine.power_off(cut=action == "cut")
        else:
            raise Misuse(f"power: {action!r} is none of on, off, cut")

    def advance(self, seconds: float) -> None:
        """See Controllable."""
        clock = self._machine.clock
        if not isinstance(clock, ManualClock):
            raise Misuse(f"clock: it is {clock.kind}; only a manual clock is moved, start with --clock manual")
        clock.advance(seconds)

    async def save_snapshot(self, path: Path) -> None:
        """See Controllable. The machine goes on meanwhile; what is saved is this instant."""
        async with self._one_at_a_time:
            frozen, numbers = snapshot.freeze(self._machine), self._tray.numbers()
            await asyncio.to_thread(self._write, path, frozen, numbers)

    async def restore_snapshot(self, path: Path) -> None:
        """See Controllable. The tray becomes the snapshot's; documents printed since are gone from it.

        The machine is dark only while its parts are replaced. A kill of the process in that time leaves parts of both
        machines: put the snapshot back again.
        """
        async with self._one_at_a_time:
            with tempfile.TemporaryDirectory(dir=self._tray.spool, prefix="restore-") as name:
                parts = await asyncio.to_thread(self._unpack, path, Path(name))
                self._restoring = asyncio.create_task(self._replace(parts, Path(name)), name="restore")
                try:
                    await asyncio.shield(self._restoring)  # who asked for it may go: half of it will not do
                finally:
                    await self.settled()

    async def settled(self) -> None:
        """Wait until no snapshot is being put back."""
        if self._restoring is not None:
            await asyncio.wait([self._restoring])

    def _write(self, path: Path, frozen: snapshot.Frozen, numbers: Sequence[int]) -> None:
        with (
            contextlib.closing(frozen.memory),
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            tempfile.TemporaryDirectory(dir=self._tray.spool, prefix="save-") as name,
        ):
            frozen.write(archive, Path(name))
            for number in numbers:
                folder = self._tray.folder / self._tray.name(number)
                for file in FILES:
                    if (folder / file).is_file():
                        archive.write(folder / file, f"tray/{folder.name}/{file}")

    def _unpack(self, path: Path, folder: Path) -> snapshot.Thawed:
        """The parts of the machine, and its documents in `folder`/tray."""
        (folder / "tray").mkdir()
        try:
            with zipfile.ZipFile(path) as archive:
                parts = snapshot.check(self._machine, archive, folder)
                for name in archive.namelist():
                    self._unpack_document(archive, name, folder)
        except zipfile.BadZipFile:
            raise FormatError("this is no ZIP archive", "snapshot") from None
        return parts

    def _unpack_document(self, archive: zipfile.ZipFile, name: str, folder: Path) -> None:
        match name.split("/"):
            case ["tray", number, file] if number.isdecimal() and file in FILES:
                document = folder / "tray" / self._tray.name(int(number))
                document.mkdir(exist_ok=True)
                (document / file).write_bytes(archive.read(name))

    async def _replace(self, parts: snapshot.Thawed, folder: Path) -> None:
        self._machine.power_off(cut=True)
        try:
            await self._at_rest()
            await asyncio.to_thread(snapshot.replace, self._machine, parts)
            await asyncio.to_thread(self._tray.become, folder / "tray")
        finally:
            self._machine.memory.recount()
            self._restoring = None
            self._machine.power_on()
