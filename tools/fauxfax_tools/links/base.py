"""What every link is: octets to a machine, octets back, and who is at the other end.

The interface is a Protocol, so that a link which another package offers (`emulated:`) needs nothing from here. Errors
are the operating system's: a link raises `OSError` and nothing else (`ConnectionError` when an open link is lost),
with a sentence a person can act on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from fauxfax_tools.errors import LinkLost

LENGTH_PREFIX = 2  # octets of the big-endian length in front of an IEEE 1284 device id
RETRY_EVERY = 0.25  # seconds between two attempts to find a machine that restarts


class Link(Protocol):
    """How a tool reaches a machine. Times are seconds; a timeout of 0 means: what is possible now.

    After a restart of the machine an open link raises `ConnectionError`; `close()` and `open()` find the *same* machine
    again, which on USB has enumerated anew (other address, same serial number).
    """

    @property
    def url(self) -> str:
        """The link as a person would write it, after `open()` with what was found filled in."""
        ...

    @property
    def bidirectional(self) -> bool:
        """Whether the machine can answer; on a one-way link `read()` always returns nothing."""
        ...

    def open(self) -> None:
        """Reach the machine, once, with a fresh stream: whatever job was in flight on this link is dropped.

        Raises OSError at once if the machine is not there or is in use.
        """
        ...

    def close(self) -> None:
        """Let go; closing twice is fine, and nothing is raised."""
        ...

    def write(self, data: memoryview, timeout: float) -> int:
        """Send what the machine takes within `timeout`; returns how many octets, 0 if it stayed busy."""
        ...

    def read(self, limit: int, timeout: float) -> bytes:
        """Up to `limit` octets from the machine as soon as there are some; empty when none came in time."""
        ...

    def identify(self) -> str | None:
        """The IEEE 1284 device id without its length prefix, where the link can ask for one out of band."""
        ...


class Deadline:
    """A point in real time after which patience ends."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end = now() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._end - self._now())

    @property
    def passed(self) -> bool:
        """Whether it is too late."""
        return self._now() >= self._end


def reopen(link: Link, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Close `link` and open it again as soon as its machine is back; raises LinkLost after `seconds`."""
    deadline = Deadline(seconds)
    while True:
        link.close()
        try:
            link.open()
        except OSError as error:
            if deadline.passed:
                raise LinkLost(f"{link.url}: the machine did not come back within {seconds:g} s ({error})") from error
            sleep(min(RETRY_EVERY, deadline.left))
        else:
            return


def strip_length(reply: bytes) -> str | None:
    """The text of a device id as it comes over a wire: two octets of length (some devices count wrongly), then text."""
    text = reply[LENGTH_PREFIX:].split(b"\0", 1)[0].decode("ascii", "replace").strip()
    return text or None
