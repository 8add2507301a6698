"""What is looked for in print data is found wherever it is, with the C library and without."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.hostport import search
from fauxfax.hostport.jobstream import UEL


@pytest.mark.parametrize("size", [0, len(UEL), search.WORTH - 1, search.WORTH, 3 * search.WORTH + 1])
@given(at=st.integers(0, 4 * search.WORTH), filler=st.sampled_from([b"\0", b"\x1b", b"%-12345", b"\x1b%-12345"]))
def test_it_is_found_wherever_it_is_and_nowhere_else(size: int, at: int, filler: bytes) -> None:
    data = (filler * (size // len(filler) + 1))[:size]
    assert not search.contains(data, UEL), "its beginnings are not it"
    assert search.contains(data[:at] + UEL + data[at:], UEL)


def test_it_is_found_without_the_c_library_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_memmem", None)
    data = bytes(2 * search.WORTH)
    assert not search.contains(data, UEL)
    assert search.contains(data + UEL, UEL)


def test_octets_behind_a_zero_are_looked_at() -> None:
    assert search.contains(bytes(search.WORTH) + b"\0" + UEL + b"\0", UEL)
