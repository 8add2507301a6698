"""Device nodes for unmodified programs on this computer, by umockdev: no kernel driver, no root.

A program runs under `UMOCKDEV_DIR=FOLDER LD_PRELOAD=libumockdev-preload.so.0`; what it opens below `/dev` and `/sys` is
then looked for in FOLDER first, and each ioctl, read and write on such a descriptor comes here through a socket:

    client  (u64 request, u64 argument, u64 argument)   1 ioctl, 7 read, 8 write; 2 is the result of 4
    server  (u64 answer, u64 argument, u64 argument)    3 done, 4 do it on the file, 5 send memory, 6 take memory

Only descriptors which the process opens itself are emulated: a shell's redirection writes into a plain file, and nobody
would hear of it. Source: umockdev 0.17, the preload library's ioctl sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from fauxfax.errors import FormatError
from fauxfax.servers.streams import BACKLOG

IOCTL, RESULT, DONE, RUN, SEND_MEMORY, TAKE_MEMORY, READ, WRITE = 1, 2, 3, 4, 5, 6, 7, 8
MAX_OPEN = 64
"""Descriptors of one node that may be open at a time; the next program is turned away. A project value."""
MAX_MEMORY = 16 * 1024 * 1024
"""Octets of the client's memory moved at once; usbfs of Linux allows as many. A project value."""
_PACKET = struct.Struct("<QQQ")
_STREAM_LIMIT = 4 * 1024 * 1024
log = logging.getLogger(__name__)


class Memory:
    """The memory of the program at the other end of a socket, while it waits in a system call."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, address: int, size: int) -> bytes:
        """`size` octets of the program's memory. Raises OSError beyond MAX_MEMORY."""
        if size > MAX_MEMORY:
            raise OSError(errno.ENOMEM, f"{size} octets at once")
        if not size:
            return b""
        self._writer.write(_PACKET.pack(SEND_MEMORY, address, size))
        return await self._reader.readexactly(size)

    def write(self, address: int, data: bytes) -> None:
        """Put octets into the program's memory."""
        if data:
            self._writer.write(_PACKET.pack(TAKE_MEMORY, address, len(data)))
            self._writer.write(data)


class Handle(Protocol):
    """One open descriptor of a device node. What it cannot do it raises as OSError with the kernel's errno."""

    longest: int
    """Octets of one `read()` or `write()` at most, so that nobody's memory is read for nothing."""

    async def ioctl(self, memory: Memory, request: int, argument: int) -> int:
        """Do an ioctl; returns its result."""
        ...

    async def read(self, limit: int) -> bytes | None:
        """Up to `limit` octets for `read()`; None if the file itself has the answer."""
        ...

    async def write(self, data: bytes) -> int:
        """Take the octets of `write()`; returns how many."""
        ...

    def close(self) -> None:
        """The program closed the descriptor, or ended."""
        ...


class DeviceTree:
    """The folder that $UMOCKDEV_DIR names: nodes below `dev`, attributes below `sys`, sockets below `ioctl`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._servers: dict[str, asyncio.Server] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: Counter[str] = Counter()
        (folder / "dev" / ".node").mkdir(parents=True, exist_ok=True)
        (folder / "sys").mkdir(exist_ok=True)

    async def add_node(self, name: str, number: str, content: bytes, open_handle: Callable[[], Handle]) -> None:
        """A character device `/dev/NAME` with `MAJOR:MINOR`; `content` is what reading the file gives."""
        file, socket = self.folder / "dev" / name, self.folder / "ioctl" / "dev" / name
        for path in (file, socket):
            path.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        (self.folder / "dev" / ".node" / name.replace("/", "_")).symlink_to(number)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._open[name] >= MAX_OPEN:
                log.warning("umockdev: a program was dropped: %d have /dev/%s open", MAX_OPEN, name)
                writer.close()
                return
            self._open[name] += 1
            try:
                await self._serve(open_handle(), reader, writer)
            finally:
                self._open[name] -= 1

        self._servers[name] = await asyncio.start_unix_server(serve, socket, limit=_STREAM_LIMIT, backlog=BACKLOG)

    def remove_node(self, name: str) -> None:
        """The device is gone. Descriptors which are open stay open, as under Linux."""
        self._servers.pop(name).close()
        for path in ("dev/" + name, "ioctl/dev/" + name, "dev/.node/" + name.replace("/", "_")):
            (self.folder / path).unlink(missing_ok=True)

    def add_attributes(self, path: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> None:
        """Attributes of a device below `sys`, and symbolic links from `sys` to it or from it."""
        folder = self.folder / "sys" / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        for name, target in links.items():
            link = self.folder / "sys" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(target)

    def remove_attributes(self, path: str, *links: str) -> None:
        """Take a device out of `sys`."""
        for link in links:
            (self.folder / "sys" / link).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "sys" / path, ignore_errors=True)

    async def close(self) -> None:
        """Take every node away, and end what is open."""
        for name in tuple(self._servers):
            self.remove_node(name)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, handle: Handle, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        memory = Memory(reader, writer)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await _answer(handle, memory, reader, writer)
        except FormatError as error:
            log.warning("umockdev: a program was dropped: %s", error)
        except asyncio.CancelledError:
            pass  # the tree is being closed
        finally:
            self._tasks.discard(task)
            handle.close()
            writer.close()


async def _answer(handle: Handle, memory: Memory, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One system call of the program."""
    request, first, second = _PACKET.unpack(await reader.readexactly(_PACKET.size))
    try:
        result = await _call(handle, memory, request, first, second)
    except OSError as error:
        writer.write(_PACKET.pack(DONE, (1 << 64) - 1, error.errno or errno.EIO))
    else:
        if result is None:
            writer.write(_PACKET.pack(RUN, 0, 0))
            await writer.drain()
            _, result, number = _PACKET.unpack(await reader.readexactly(_PACKET.size))
            writer.write(_PACKET.pack(DONE, result, number))
        else:
            writer.write(_PACKET.pack(DONE, result, 0))
    await writer.drain()


async def _call(handle: Handle, memory: Memory, request: int, first: int, second: int) -> int | None:
    """The result of a system call; None if the file itself is to be asked."""
    if request == IOCTL:
        return await handle.ioctl(memory, first & 0xFFFFFFFF, second)
    if request == WRITE:
        return await handle.write(await memory.read(first, min(second, handle.longest)))
    if request == READ:
        data = await handle.read(min(second, handle.longest))
        if data is None:
            return None
        memory.write(first, data)
        return len(data)
    raise FormatError(f"request {request} is none")
