"""What the tests with a guest share."""

from __future__ import annotations

import pytest
from guestimage import Missing, build


@pytest.fixture(scope="session")
def guest_can_be_built() -> None:
    """Skips what needs a guest, with its reason, where something that a guest is made of is missing."""
    try:
        build()
    except Missing as missing:
        pytest.skip(str(missing))
