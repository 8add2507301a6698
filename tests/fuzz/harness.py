"""What the fuzzers share: how they start, how they cut a stream, and the machine's end for those that need one."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import atheris

sys.path.append(str(Path(__file__).parents[1] / "hostport"))
from hostport_transport import Transport

__all__ = ["SPACE", "Served", "Transport", "Writer", "check_same", "pieces", "start"]

SPACE = 4096
"""Room of the machines in these tests: small, so that back-pressure is met."""


def start(test_one_input: Callable[[bytes], None]) -> None:
    """Run the fuzzer with libFuzzer's own command line."""
    logging.disable()
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


def pieces(data: bytes) -> Iterator[list[bytes]]:
    """The stream whole, then cut: its first octet is the length of the pieces, the rest is the stream."""
    size, stream = max(1, data[0] if data else 1), data[1:]
    yield [stream]
    yield [stream[i : i + size] for i in range(0, len(stream), size)]


class Served(NamedTuple):
    """What a device's end did: what it said, what the machine heard, whether it dropped the peer."""

    said: bytes
    heard: bytes
    dropped: bool


def check_same(whole: Served, cut: Served) -> None:
    """Both did the same. Who is dropped may miss the answers to what came in one piece with the nonsense."""
    assert whole.dropped is cut.dropped, (whole, cut)
    if whole.dropped:
        assert cut.said.startswith(whole.said), (whole, cut)
        assert cut.heard.startswith(whole.heard), (whole, cut)
    else:
        assert whole == cut, (whole, cut)


class Writer:
    """The writing half of a stream, into nowhere."""

    def write(self, data: bytes) -> None:
        """Forget it."""

    async def drain(self) -> None:
        """There is always room."""

    def close(self) -> None:
        """Nothing to close."""
