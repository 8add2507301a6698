"""What the machine's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from machine_bench import Bench, Make


@pytest.fixture
def bench() -> Iterator[Make]:
    made: list[Bench] = []

    def make(layout: str = "staged", password: str = "") -> Bench:
        made.append(Bench(layout, password))
        return made[-1]

    yield make
    for one in made:
        one.host.close()
