"""The attendant: the hands and eyes that the control API gives a person or a test beside the machine."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from fauxfax.clock import ManualClock
from fauxfax.errors import FormatError, Misuse
from fauxfax.machine import report, snapshot
from fauxfax.machine.machine import Machine
from fauxfax.servers.tray import FILES, Tray


class Attendant:
    """Implements `servers.control.Controllable` for one machine and its tray."""

    def __init__(self, machine: Machine, tray: Tray) -> None:
        self._machine = machine
        self._tray = tray
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

    def save_snapshot(self, path: Path) -> None:
        """See Controllable."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            snapshot.save(self._machine, archive)
            for folder in sorted(self._tray.folder.iterdir()):
                for name in FILES:
                    if (folder / name).is_file():
                        archive.write(folder / name, f"tray/{folder.name}/{name}")

    def restore_snapshot(self, path: Path) -> None:
        """See Controllable. The tray becomes the snapshot's; documents printed since are gone from it."""
        try:
            with zipfile.ZipFile(path) as archive:
                snapshot.restore(self._machine, archive)
                self._tray.clear()
                for name in archive.namelist():
                    self._restore_file(archive, name)
        except zipfile.BadZipFile:
            raise FormatError("this is no ZIP archive", "snapshot") from None
        self._machine.power_on()

    def _restore_file(self, archive: zipfile.ZipFile, name: str) -> None:
        match name.split("/"):
            case ["tray", number, file] if number.isdigit() and file in FILES:
                self._tray.put(int(number), file, archive.read(name))
