"""Code files for the tests of the ways in, built once a run."""

from __future__ import annotations

import functools

from fauxfax.firmware import recipe


@functools.cache
def code_file(name: str) -> bytes:
    """The code file of `MODEL COMPONENT VERSION`, such as `UF-8000 SC V10200`."""
    model, component, version = name.split()
    return recipe.build(recipe.load_all()[component], model, version)[1]


def spoilt(data: bytes, at: int = 300_000) -> bytes:
    """The same with one bit turned: a block of it does not match its CRC."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
