"""A serial port as a pseudo-terminal: `serial:PATH` of the tools, `screen`, `cat`, anything that opens a tty.

The path is a link to the pseudo-terminal, which has no lines of its own: RTS and CTS are the kernel's buffer, which
fills while the machine has no room. The cable stays in when a program closes the port; what was not complete then ends
at the machine's own deadline, as on a real line.
"""

from __future__ import annotations

import asyncio
import errno
import os
import tty
from collections.abc import Callable
from pathlib import Path

from fauxfax.errors import Misuse
from fauxfax.hostport.port import Port

CHUNK = 4096
"""Octets moved at once: what a pseudo-terminal holds."""


class SerialServer:
    """One serial line between a pseudo-terminal and a port."""

    def __init__(self, open_port: Callable[[], Port], path: Path) -> None:
        self._open_port = open_port
        self._path = path
        self._inbox = b""
        self._outbox = b""
        self._moving = False

    async def start(self) -> None:
        """Make the pseudo-terminal and the link to it. Raises Misuse if something else is in the way."""
        self._master, self._slave = os.openpty()  # the slave stays open, so that no program's end is a hang-up
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        try:
            if self._path.is_symlink():
                self._path.unlink()
            self._path.symlink_to(os.ttyname(self._slave))
        except OSError as error:
            self._close()
            raise Misuse(f"serial port {self._path}: {error.strerror}; name another path") from None
        self._port = self._open_port()
        self._port.on_change(self._move)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._master, self._move)

    async def stop(self) -> None:
        """Unplug, and take the link away."""
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        self._port.on_change(None)
        self._port.end()
        self._path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        os.close(self._master)
        os.close(self._slave)

    def _move(self) -> None:
        """Move what can be moved, both ways; called on every change, and never inside itself."""
        if self._moving:
            return
        self._moving = True
        try:
            self._hear()
            self._say()
        finally:
            self._moving = False
        if self._inbox:
            self._loop.remove_reader(self._master)
        else:
            self._loop.add_reader(self._master, self._move)

    def _hear(self) -> None:
        """Octets for the machine, as it has room; while it is off the line is silent."""
        while self._inbox or self._read():
            room = self._port.room
            if not room:
                return
            self._port.write(self._inbox[:room])
            self._inbox = self._inbox[room:]

    def _read(self) -> bool:
        try:
            self._inbox = os.read(self._master, CHUNK)
        except BlockingIOError:
            self._inbox = b""
        return bool(self._inbox)

    def _say(self) -> None:
        """Answers; what nobody reads waits in the machine."""
        while self._outbox or self._port.pending:
            self._outbox = self._outbox or self._port.read(CHUNK)
            try:
                self._outbox = self._outbox[os.write(self._master, self._outbox) :]
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                self._loop.add_writer(self._master, self._move)
                return
        self._loop.remove_writer(self._master)
