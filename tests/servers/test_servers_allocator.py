"""What the machine's process asks of the C library's allocator."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from fauxfax.servers.allocator import keep_freed_memory

kept = keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [b"x" * 16_000 + bytes((number & 255,)) for number in range(2000)]
    del pieces
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is asked")
def test_the_memory_of_a_picture_is_there_for_the_next_one() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30)
    kept, faults = done.stdout.split()
    if kept == "False":
        pytest.skip("the C library has no mallopt")
    assert int(faults) < 200, "32 MB are 7,800 pages"
