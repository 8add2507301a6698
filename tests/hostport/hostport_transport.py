"""A socket's place in tests of connections without a socket."""

from __future__ import annotations

import asyncio
from typing import Any


class Transport(asyncio.Transport):
    """A socket's place: keeps what is said, knows whether it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.said = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        """Say something."""
        assert not self.closed
        self.said += data

    def close(self) -> None:
        """Everything has been said."""
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Who is there."""
        return ("192.0.2.1", 1) if name in ("peername", "sockname") else default

    def pause_reading(self) -> None:
        """Nothing reads."""

    def resume_reading(self) -> None:
        """Nothing reads."""
