"""The parallel port's data stream over TCP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from hostport_memory import MemoryPort

from fauxfax.servers.parallel import ParallelServer


@contextlib.asynccontextmanager
async def plugged_in(port: MemoryPort) -> AsyncIterator[tuple[int, asyncio.StreamReader, asyncio.StreamWriter]]:
    server = ParallelServer(lambda: port)
    number = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    try:
        yield number, reader, writer
    finally:
        writer.close()
        await server.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("busy", [{"space": 3}, {"online": False}], ids=["no room", "switched off"])
def test_a_busy_machine_takes_the_rest_when_it_can(busy: dict[str, int]) -> None:
    async def run() -> None:
        port = MemoryPort()
        port.change(**busy)  # type: ignore[arg-type]
        async with plugged_in(port) as (_, _, writer):
            writer.write(b"hello world")
            await until(lambda: port.space == 0 or not port.online)
            port.change(space=100, online=True)
            await until(lambda: bytes(port.heard) == b"hello world")

    asyncio.run(run())


def test_what_the_machine_answers_is_thrown_away() -> None:
    async def run() -> None:
        port = MemoryPort(echo=True)
        async with plugged_in(port) as (_, reader, writer):
            writer.write(bytes(100_000))
            await until(lambda: len(port.heard) == 100_000)
            port.change(say=b"unasked")
            assert port.pending == 0
            writer.write_eof()
            assert await reader.read() == b""

    asyncio.run(run())


def test_there_is_one_cable_and_pulling_it_ends_the_job() -> None:
    async def run() -> None:
        port = MemoryPort()
        async with plugged_in(port) as (number, _, writer):
            writer.write(b"x")
            await until(lambda: bytes(port.heard) == b"x")
            other, other_writer = await asyncio.open_connection("127.0.0.1", number)
            with contextlib.suppress(ConnectionResetError):
                assert await other.read() == b""
            other_writer.close()
            assert port.happened == []
            writer.close()
            await until(lambda: port.happened == ["end"])

    asyncio.run(run())
