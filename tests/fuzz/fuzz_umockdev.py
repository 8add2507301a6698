"""Fuzzes the device nodes: what a program says through umockdev's socket, which is also what lies in its memory.

The first octet chooses the node, the rest is the program's part of the conversation.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import cast

import atheris
from harness import SPACE, Writer, start

with atheris.instrument_imports(include=["fauxfax.hostport", "fauxfax.servers"]):
    from hostport_memory import MemoryPort, plugged

    from fauxfax.hostport.ieee1284 import Peripheral
    from fauxfax.servers.ppdev import PpdevDevice, PpdevHandle
    from fauxfax.servers.umockdev import DeviceTree, Handle
    from fauxfax.servers.usbfs import UsbfsDevice, UsbfsHandle

FOLDER = tempfile.TemporaryDirectory(prefix="fuzz-")
TREE = DeviceTree(Path(FOLDER.name))
TURNS = 50
"""Turns of the event loop a conversation gets; a program may wait for ever by its own wish."""


def opened(kind: int, port: MemoryPort) -> Handle:
    if kind & 1:
        return PpdevHandle(PpdevDevice(TREE, Peripheral(port)))
    return UsbfsHandle(UsbfsDevice(TREE, lambda: plugged(port)))


async def converse(data: bytes) -> None:
    reader, port = asyncio.StreamReader(), MemoryPort(SPACE, echo=True)
    reader.feed_data(data[1:])
    reader.feed_eof()
    handle = opened(data[0], port)
    serving = TREE._serve(handle, reader, cast(asyncio.StreamWriter, Writer()))
    task = asyncio.ensure_future(serving)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    task.cancel()
    await task
    assert not getattr(handle, "_waiting", None), "a closed descriptor leaves nothing under way"


def test_one_input(data: bytes) -> None:
    if data:
        asyncio.run(converse(data))


if __name__ == "__main__":
    start(test_one_input)
