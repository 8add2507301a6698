"""A picture that a PC sends, as it comes: kept in blocks, so that growing copies nothing and dropping takes no time."""

from __future__ import annotations

from fauxfax.models import KIB

BLOCK = 64 * KIB
"""Octets of a block that small pieces share. A project value."""
LARGE = 4 * KIB
"""A piece of so many octets is a block of its own, which spares a copy. A project value."""


class Picture:
    """Octets up to a limit that whoever adds them knows; beyond it the picture is `spoilt`, and only counted."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._open = bytearray()  # the block that small pieces share now
        self._octets = 0
        self.spoilt = False

    def __len__(self) -> int:
        return self._octets

    def add(self, data: bytes) -> None:
        """The next octets. A spoilt picture gives its blocks back one at a time: 64 MiB at once take 20 ms."""
        self._octets += len(data)
        if self.spoilt:
            self._open.clear()
            if self._blocks:
                self._blocks.pop()
        elif len(data) < LARGE:
            self._open += data
            if len(self._open) >= BLOCK:
                self._seal()
        else:
            self._seal()
            self._blocks.append(data)

    def take(self) -> bytes:
        """The whole of it; nothing is left. Empty if it is spoilt."""
        self._seal()
        data = b"" if self.spoilt else b"".join(self._blocks)
        self._blocks.clear()
        self._octets, self.spoilt = 0, False
        return data

    def _seal(self) -> None:
        if self._open:
            self._blocks.append(bytes(self._open))
            self._open.clear()
