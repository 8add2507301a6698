"""A picture that a PC sends, as it comes: kept in blocks, so that growing copies nothing and dropping takes no time."""

from __future__ import annotations

from fauxfax.models import MIB

BLOCK = MIB
"""Octets of a block. A project value."""


class Picture:
    """Octets up to a limit that whoever adds them knows; beyond it the picture is `spoilt`, and only counted."""

    def __init__(self) -> None:
        self._blocks: list[memoryview] = []
        self._octets = 0
        self.spoilt = False

    def __len__(self) -> int:
        return self._octets

    def add(self, data: bytes) -> None:
        """The next octets. A spoilt picture gives its blocks back one at a time: 64 MiB at once take 20 ms."""
        at = self._octets % BLOCK
        self._octets += len(data)
        if self.spoilt:
            if self._blocks:
                self._blocks.pop()
        elif at and at + len(data) <= BLOCK:
            self._blocks[-1][at : at + len(data)] = data
        else:
            self._add_across(at, data)

    def take(self) -> bytes:
        """The whole of it; nothing is left. Empty if it is spoilt."""
        if self._blocks and self._octets % BLOCK:
            self._blocks[-1] = self._blocks[-1][: self._octets % BLOCK]
        data = b"" if self.spoilt else b"".join(self._blocks)
        self._blocks.clear()
        self._octets, self.spoilt = 0, False
        return data

    def _add_across(self, at: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if not at:
                self._blocks.append(memoryview(bytearray(BLOCK)))
            count = min(len(rest), BLOCK - at)
            self._blocks[-1][at : at + count] = rest[:count]
            rest, at = rest[count:], (at + count) % BLOCK
