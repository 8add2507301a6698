"""The dialect `capture`: whatever a PC sends is taken and written down, nothing is answered, nothing is installed.

For a genuine tool without its machine. See `hostport.recording` for the file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from fauxfax.hostport import recording
from fauxfax.hostport.recording import Piece

LIMIT = 256 * 1024 * 1024
"""Octets of one recording; then it is full, and what still comes is dropped. A project value."""


class Recorder:
    """One recording, begun with its first octet: a new file in `folder` each time the program starts."""

    def __init__(self, folder: Path, model: str, now: Callable[[], float], began: float, limit: int = LIMIT) -> None:
        self._folder = folder
        self._head = recording.head(model, began)
        self._now = now
        self._left = limit
        self._connections = itertools.count(1)
        self._path: Path | None = None

    def connection(self) -> int:
        """The number of a new connection."""
        return next(self._connections)

    def note(self, way: str, connection: int, event: str, data: bytes = b"") -> None:
        """Write one piece down, at once: what a kill leaves is what has happened."""
        if self._left <= 0:
            return
        self._left -= max(1, len(data))
        if self._left <= 0:
            event, data = "full", b""
        self._write(recording.line(Piece(self._now(), way, connection, event, data)))

    def _write(self, text: str) -> None:
        if self._path is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            taken = [int(path.stem) for path in self._folder.glob("*.jsonl") if path.stem.isdigit()]
            self._path = self._folder / f"{max(taken, default=0) + 1:04d}.jsonl"
            text = self._head + text
        with self._path.open("a", encoding="ascii") as file:
            file.write(text)
