"""Prints `SHA-256  name` of every code file the recipes make: the content of `firmware_images/digests.txt`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from fauxfax.firmware import recipe


def lines(place: Path | None = None) -> Iterator[str]:
    """One line a code file, in the order of the recipes."""
    for name, data in recipe.build_all(place):
        yield f"{hashlib.sha256(data).hexdigest()}  {name}"


if __name__ == "__main__":
    print("\n".join(lines()))
