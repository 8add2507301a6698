"""Whether octets are somewhere in a piece of data: the one thing that is done with every octet of a picture.

`bytes.rfind` takes 220 to 350 µs for a MiB, longer than the kernel takes to hand it over; `memmem` of the GNU C library
takes half as long. It is used where it is, for pieces that are worth the call.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

WORTH = 8 * 1024
"""Octets from which on the call is worth it. A project value."""


def contains(data: bytes, what: bytes) -> bool:
    """Whether `what` is in `data`."""
    if _memmem is not None and len(data) >= WORTH:
        return _memmem(data, len(data), what, len(what)) is not None
    return data.rfind(what) >= 0  # twice as fast as find


def _find_memmem() -> Callable[[bytes, int, bytes, int], int | None] | None:
    """The C library's own; None where there is none, or none that is known to be quick."""
    if sys.platform != "linux":
        return None
    memmem = getattr(ctypes.CDLL(None), "memmem", None)
    if memmem is not None:
        memmem.restype = ctypes.c_void_p
        memmem.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
    return memmem


_memmem = _find_memmem()
