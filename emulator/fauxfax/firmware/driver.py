"""How the loader writes a sector: erase, look, program, read back, and once more if it must.

The functions are generators of machine seconds: each `next()` does one operation on the device and says how long it
took. The device's own status is not trusted alone, because a worn cell can fail in silence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from fauxfax.errors import FauxfaxError
from fauxfax.firmware.flash import Flash, FlashFailure
from fauxfax.models import KIB, Timing

WRITE_TRIES = 3  # project value: how often a sector is tried before it counts as worn out
BLANK_LOOKS = 5  # project value: how often cells are read before they count as blank

Steps = Generator[float, None, None]


class WornOut(FauxfaxError):  # noqa: N818 - a state of the device
    """A sector does not take what is written, however often it is tried."""


def erase(flash: Flash, address: int, timing: Timing) -> Steps:
    """Blank one sector. Raises WornOut."""
    yield from _persist(flash, address, None, timing)


def write(flash: Flash, address: int, data: bytes, timing: Timing) -> Steps:
    """Erase the sector at `address` and write `data` at its beginning. Raises WornOut."""
    yield from _persist(flash, address, data, timing)


def append(flash: Flash, address: int, data: bytes, timing: Timing) -> Steps:
    """Write into cells that are erased already. Raises WornOut."""
    padded = flash.geometry.pad(data)
    try:
        flash.program(address, padded)
        yield timing.program_octet * len(padded)
        if flash.read(address, len(padded)) == padded:
            return
    except FlashFailure as failure:
        raise WornOut(str(failure)) from None
    raise WornOut(f"flash: {address:#x} does not read back as written")


def hint(flash: Flash, address: int, data: bytes, timing: Timing) -> Steps:
    """Append what helps if it holds; cells that do not take it, such as half-erased ones, are no fault."""
    with contextlib.suppress(WornOut):
        yield from append(flash, address, data, timing)


def is_blank(flash: Flash, address: int, size: int) -> bool:
    """Whether cells are erased, and surely so: half-programmed ones may read as erased, but not each time."""
    blank = flash.geometry.blanks[flash.geometry.sizes[flash.geometry.index(address)]][:size]
    return all(flash.read(address, size) == blank for _ in range(BLANK_LOOKS))


def used(flash: Flash, address: int, size: int, step: int) -> int:
    """How many octets of an area that is filled from its beginning, `step` at a time, are in use."""
    cells, blank = flash.read(address, size), bytes([flash.geometry.erased]) * step
    at = 0
    while at + step <= size and not (cells[at : at + step] == blank and is_blank(flash, address + at, step)):
        at += step
    return at


def _persist(flash: Flash, address: int, data: bytes | None, timing: Timing) -> Steps:
    geometry = flash.geometry
    size = geometry.sizes[geometry.index(address)]
    fault = ""
    for _ in range(WRITE_TRIES):
        try:
            flash.erase(address)
            yield timing.erase_sector * size / (64 * KIB)
            if flash.read(address, size) != geometry.blanks[size]:
                fault = f"flash: the sector at {address:#x} is not blank after its erase"
                continue
            if data is not None:
                yield from append(flash, address, data, timing)
        except (FlashFailure, WornOut) as failure:
            fault = str(failure)
        else:
            return
    raise WornOut(f"{fault}, {WRITE_TRIES} times")
