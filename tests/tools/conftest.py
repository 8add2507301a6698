"""What the tools' tests share: small code files, and machines made of a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from scripted_machine import Script, ScriptedMachine

from fauxfax.firmware.codefile import Component, Source, build, wrap


@pytest.fixture
def code_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a small code file: `code_file(version="V10200", models=("UF-8000",), size=300_000)`."""

    def write(version: str = "V10200", models: tuple[str, ...] = ("UF-8000",), size: int = 300_000) -> Path:
        payload = (version.encode() * (size // len(version) + 1))[:size]
        path = tmp_path / f"{version}.pfc"
        path.write_bytes(wrap(build(models, [Source(component=Component.SC, version=version, payload=payload)])))
        return path

    return write


@pytest.fixture
def machine() -> Iterator[Callable[..., ScriptedMachine]]:
    """Start scripted machines; they end with the test."""
    with ExitStack() as stack:
        yield lambda **script: stack.enter_context(ScriptedMachine(Script(**script)))
