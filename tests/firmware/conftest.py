"""One small machine of each layout, and what is needed to update it."""

from __future__ import annotations

import pytest
from firmware_small import SmallMachine


@pytest.fixture(params=["staged", "dual"])
def machine(request: pytest.FixtureRequest) -> SmallMachine:
    """A small machine with its factory firmware, booted."""
    return SmallMachine(request.param)
