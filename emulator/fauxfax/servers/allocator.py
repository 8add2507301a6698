"""The C library's allocator, told what this process does: it fills memory with a picture, frees it, and again.

By itself glibc gives the end of its heap back to the system as soon as it is free, and has every page of it fetched and
cleared anew for the next picture: four page faults for each 16 KiB that come, which is a third of a large transfer.
Whether it does that depends on what happens to lie at the end of the heap.
Source: glibc, mallopt(3).
"""

from __future__ import annotations

import ctypes
import sys

KEPT = 128 * 1024 * 1024
"""Octets of freed memory that the process keeps for the next picture: of the largest, with room. A project value."""
LARGE = 32 * 1024 * 1024
"""What is larger is given back by itself when it is free; glibc takes no more. A project value."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Do so from now on; False where the C library knows no such thing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and bool(mallopt(_M_TRIM_THRESHOLD, KEPT) and mallopt(_M_MMAP_THRESHOLD, LARGE))
