"""Many sockets read in one callback of the event loop, for protocols that get a packet at a time.

asyncio makes a handle and six calls of every packet, an eighth of all that a small message costs the mail receiver.
Here one epoll of its own stands in the loop for all connections of a server, and a connection that has something is
read and dealt with on the spot. Everything else stays with asyncio's transport: what is written, and the end of a
connection. A socket that gives nothing is handed back to its transport, which finds out why.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
from collections.abc import Callable

log = logging.getLogger(__name__)

AT_ONCE = 32
"""Connections read in one callback, so that the loop does other work in between: a project value."""


class Reader:
    """One connection that is read here: `start()` it with its transport paused, `stop()` it before the socket goes.

    `got` hears how many octets lie in the buffer, `ended` that there are none to come from here: let the transport
    read, if the connection is still wanted. `broken` hears that `got` raised an error: cut the connection.
    """

    __slots__ = ("_fd", "_readers", "broken", "ended", "got")

    def __init__(
        self,
        readers: Readers,
        fd: int,
        got: Callable[[int], None],
        ended: Callable[[], None],
        broken: Callable[[], None],
    ) -> None:
        self._readers = readers
        self._fd = fd
        self.got = got
        self.ended = ended
        self.broken = broken

    def start(self) -> None:
        """Read whatever comes from now on."""
        self._readers.add(self._fd, self)

    def stop(self) -> None:
        """Read nothing more until it is started again. Stopping twice does no harm."""
        self._readers.remove(self._fd, self)


class Readers:
    """The connections of one server, read into one `buffer`, which must be emptied before `got` returns.

    Made in the running loop. Raises OSError where there is no epoll: ask `available` first.
    """

    available = hasattr(select, "epoll")

    def __init__(self, buffer: memoryview) -> None:
        self._buffers = [buffer]
        self._readers: dict[int, Reader] = {}
        self._epoll = select.epoll()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._read)

    def add(self, fd: int, reader: Reader) -> None:
        """See `Reader.start`."""
        if not self._epoll.closed:
            self._readers[fd] = reader
            self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int, reader: Reader) -> None:
        """See `Reader.stop`: a number that belongs to a newer connection by now is left alone."""
        if self._readers.get(fd) is reader:
            del self._readers[fd]
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Read nothing more at all."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._readers.clear()

    def _read(self) -> None:
        readers, buffers = self._readers, self._buffers
        for fd, _ in self._epoll.poll(0, AT_ONCE):
            reader = readers.get(fd)
            if reader is None:  # stopped by what another one brought, in this very round
                continue
            try:
                octets = os.readv(fd, buffers)
            except BlockingIOError:
                continue
            except OSError:
                octets = 0
            if not octets:
                reader.stop()
                reader.ended()
                continue
            try:
                reader.got(octets)
            except Exception:  # one connection's error must not be another's, as with asyncio's own transports
                log.exception("a connection is cut: what it sent could not be dealt with")
                reader.broken()
