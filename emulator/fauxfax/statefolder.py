"""The folder a machine keeps itself in.

It holds `flash.bin` (the firmware), `memory.sqlite` (documents, journal, parameters), `tray/` and `spool/`,
`machine.json` (which model it is), and while a machine runs `lock` and `run.json`.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from fauxfax.client import RUN_FILE
from fauxfax.errors import Misuse


class StateFolder:
    """The folder, locked while it is in use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = (path / "lock").open("a+", encoding="ascii")
        except OSError as error:
            raise Misuse(
                f"state folder {path}: {error.strerror}; name another with --state, or use --ephemeral"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.seek(0)
            pid = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise Misuse(
                f"state folder {path} is in use by the machine of process {pid}; name another with --state"
            ) from None
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def model(self, wanted: str, explicit: bool) -> str:
        """The model this folder belongs to; the first start decides. Raises Misuse if another is wanted."""
        card = self.path / "machine.json"
        if card.exists():
            kept = _kept_model(card)
            if explicit and kept != wanted:
                raise Misuse(f"state folder {self.path} is a {kept}, not a {wanted}; name another with --state")
            return kept
        fresh = card.with_suffix(".new")  # renamed when it is whole: a kill in between must not leave half a card
        fresh.write_text(json.dumps({"model": wanted}))
        fresh.rename(card)
        return wanted

    def close(self) -> None:
        """Unlock it."""
        (self.path / RUN_FILE).unlink(missing_ok=True)
        self._lock.close()


def _kept_model(card: Path) -> str:
    try:
        return str(json.loads(card.read_text(encoding="utf-8"))["model"])
    except (ValueError, KeyError, TypeError):
        raise Misuse(f"{card} names no model; remove it, and name the model this folder is of with --model") from None
