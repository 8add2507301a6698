"""USB/IP: the codec, and the server spoken to by a socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hostport_memory import DEVICE_ID, MemoryPort, plugged
from hypothesis import given, settings
from hypothesis import strategies as st

from fauxfax.clock import ManualClock
from fauxfax.errors import FormatError
from fauxfax.hostport import usbip
from fauxfax.hostport.usbip import SubmitReply, UnlinkReply
from fauxfax.servers.usbip import IMPORT_SECONDS, MAX_CONNECTIONS, MAX_HELD, UsbipServer

GET_DEVICE_ID = bytes((0xA1, 0, 0, 0, 0, 0, 0xFF, 0))


class Client:
    """The kernel's part, by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.parser = usbip.ReplyParser()
        self.replies: list[usbip.Reply] = []

    async def operation(self, request: bytes, size: int) -> bytes:
        self.writer.write(request)
        return await self.reader.readexactly(size)

    async def attach(self, busid: str = "1-1") -> usbip.Export | int | None:
        self.writer.write(usbip.pack_import_request(busid))
        head = await self.reader.readexactly(8)
        more = await self.reader.readexactly(312) if head.endswith(bytes(4)) else b""
        return usbip.parse_import_reply(head + more)

    def submit(self, seqnum: int, endpoint: int, direction: int, length: int, setup: bytes = bytes(8)) -> None:
        if direction == usbip.IN:
            self.parser.expect_data(seqnum)
        self.writer.write(usbip.pack_submit(seqnum, 0x10001, endpoint, direction, length, setup))

    async def reply(self) -> usbip.Reply:
        while not self.replies:
            data = await self.reader.read(65536)
            assert data, "the server closed the connection"
            self.replies += self.parser.feed(data)
        return self.replies.pop(0)


@contextlib.asynccontextmanager
async def serving(*ports: MemoryPort, clock: ManualClock | None = None) -> AsyncIterator[tuple[UsbipServer, int]]:
    server = UsbipServer([lambda port=port: plugged(port) for port in ports], clock or ManualClock())  # type: ignore[misc]
    number = await server.start("127.0.0.1", 0)
    try:
        yield server, number
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def connected(number: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def test_what_was_asked_before_nonsense_is_answered_before_the_peer_is_dropped() -> None:
    async def go() -> None:
        async with serving(MemoryPort()) as (_, number), connected(number) as client:
            await client.attach()
            client.parser.expect_data(1)
            request = usbip.pack_submit(1, 0x10001, 0, usbip.IN, 255, GET_DEVICE_ID)
            client.writer.write(request + b"nonsense" * 6)  # in one piece
            reply = await client.reply()
            assert isinstance(reply, SubmitReply)
            assert reply.data[2:] == DEVICE_ID.encode()
            assert await client.reader.read() == b""

    asyncio.run(go())


async def converse() -> None:
    port = MemoryPort()
    async with serving(port) as (_, number), connected(number) as client:
        export = await client.attach()
        assert isinstance(export, usbip.Export)
        assert (export.busid, export.vendor, export.speed) == ("1-1", 0x04DA, usbip.SPEED_HIGH)
        client.submit(1, 0, usbip.IN, 255, GET_DEVICE_ID)
        reply = await client.reply()
        assert isinstance(reply, SubmitReply)
        assert reply.data[2:].decode() == DEVICE_ID
        data = bytes(range(256)) * 8192
        client.submit(2, 1, usbip.OUT, len(data))
        client.writer.write(data)
        assert await client.reply() == SubmitReply(2, 0, len(data), b"")
        assert bytes(port.heard) == data
        client.submit(3, 2, usbip.IN, 4096)
        client.submit(4, 5, usbip.IN, 64)
        assert await client.reply() == SubmitReply(4, usbip.EPIPE, 0, b"")
        port.change(say=b"answer")
        assert await client.reply() == SubmitReply(3, 0, 6, b"answer")


def test_a_client_imports_writes_and_reads() -> None:
    asyncio.run(converse())


def test_an_unlinked_transfer_is_never_completed_and_a_completed_one_not_unlinked() -> None:
    async def run() -> None:
        port = MemoryPort()
        async with serving(port) as (_, number), connected(number) as client:
            await client.attach()
            client.submit(1, 2, usbip.IN, 64)
            client.writer.write(usbip.pack_unlink(2, 0x10001, 1))
            assert await client.reply() == UnlinkReply(2, usbip.ECONNRESET)
            port.change(say=b"late")
            client.submit(3, 2, usbip.IN, 64)
            assert await client.reply() == SubmitReply(3, 0, 4, b"late")
            client.writer.write(usbip.pack_unlink(4, 0x10001, 3))
            assert await client.reply() == UnlinkReply(4, 0)

    asyncio.run(run())


def test_several_machines_are_listed_and_each_has_one_cable() -> None:
    async def run() -> None:
        first, second, dark = MemoryPort(), MemoryPort(), MemoryPort()
        dark.online = False
        async with serving(first, second, dark) as (_, number):
            async with connected(number) as client:
                listing = await client.operation(usbip.pack_devlist_request(), 12 + 2 * 316)
                exports = usbip.parse_devlist_reply(listing)
                assert exports is not None
                assert [export.busid for export in exports] == ["1-1", "1-2"]
                assert isinstance(await client.attach("1-2"), usbip.Export)
                client.submit(1, 1, usbip.OUT, 0)
                assert await client.reply() == SubmitReply(1, 0, 0, b"")
                for busid, status in {"1-2": 2, "1-3": 4, "1-4": 4, "2-1": 4, "": 4, "1-x": 4}.items():
                    async with connected(number) as other:
                        assert await other.attach(busid) == status, busid
            while second.happened[-1:] != ["end"]:
                await asyncio.sleep(0.001)
            async with connected(number) as client:
                assert isinstance(await client.attach("1-2"), usbip.Export), "the cable is free again"

    asyncio.run(run())


def test_a_restart_of_the_machine_is_an_unplug_for_good() -> None:
    async def run() -> None:
        port = MemoryPort()
        async with serving(port) as (_, number), connected(number) as client:
            await client.attach()
            port.change(online=False)
            with contextlib.suppress(ConnectionResetError):
                assert await client.reader.read() == b""

    asyncio.run(run())


HOSTILE = {
    "a browser": b"GET / HTTP/1.1\r\n\r\n",
    "an unknown operation": bytes.fromhex("0111 8099 00000000"),
    "an unknown command": usbip.pack_import_request("1-1") + bytes(48),
    "four gigabytes": usbip.pack_import_request("1-1") + usbip.pack_submit(1, 1, 1, usbip.OUT, 0xFFFFFFFF),
    "endpoint 99": usbip.pack_import_request("1-1") + usbip.pack_submit(1, 1, 99, usbip.IN, 0),
    "a number twice": usbip.pack_import_request("1-1") + 2 * usbip.pack_submit(1, 1, 2, usbip.IN, 8),
    "too many at a time": usbip.pack_import_request("1-1")
    + b"".join(usbip.pack_submit(number, 1, 2, usbip.IN, 8) for number in range(2000)),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_peer_is_dropped_and_the_next_is_served(data: bytes) -> None:
    async def run() -> None:
        async with serving(MemoryPort()) as (server, number):
            async with connected(number) as peer:
                peer.writer.write(data)
                with contextlib.suppress(ConnectionResetError):
                    await asyncio.wait_for(peer.reader.read(), 5)
            assert not server.connections
            async with connected(number) as client:
                assert isinstance(await client.attach(), usbip.Export)

    asyncio.run(run())


def test_what_waits_for_a_busy_machine_is_kept_while_more_comes() -> None:
    async def run() -> None:
        port = MemoryPort(space=0)
        async with serving(port) as (_, number), connected(number) as client:
            await client.attach()
            jobs = [bytes((octet,)) * size for octet, size in ((1, 3000), (2, 3 * usbip.POOL), (3, 5), (4, 70_000))]
            for seqnum, job in enumerate(jobs):
                client.submit(seqnum, 1, usbip.OUT, len(job))
                client.writer.write(job)
            client.submit(9, 0, usbip.IN, 255, GET_DEVICE_ID)
            assert (await client.reply()).seqnum == 9
            port.change(space=1 << 30)
            assert [(await client.reply()).seqnum for _ in jobs] == [0, 1, 2, 3]
            assert bytes(port.heard) == b"".join(jobs)

    asyncio.run(run())


def test_a_peer_that_fills_the_memory_of_a_busy_machine_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    size = usbip.MAX_TRANSFER

    async def run() -> None:
        async with serving(MemoryPort(space=0)) as (_, number), connected(number) as client:
            await client.attach()
            with contextlib.suppress(ConnectionError):
                for seqnum in range(MAX_HELD // size + 2):
                    client.submit(seqnum, 1, usbip.OUT, size)
                    client.writer.write(bytes(size))
                    await client.writer.drain()
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(client.reader.read(), 5) == b""

    asyncio.run(run())
    assert "octets wait" in caplog.text


def test_a_peer_that_says_nothing_is_dropped_and_so_is_one_too_many() -> None:
    async def run() -> None:
        clock = ManualClock()
        async with serving(MemoryPort(), clock=clock) as (server, number), contextlib.AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(connected(number)) for _ in range(MAX_CONNECTIONS + 1)]
            with contextlib.suppress(ConnectionResetError):
                assert await peers[-1].reader.read() == b""
            assert len(server.connections) == MAX_CONNECTIONS
            clock.advance(IMPORT_SECONDS)
            with contextlib.suppress(ConnectionResetError):
                await peers[0].reader.read()
            assert not server.connections

    asyncio.run(run())


@given(st.lists(st.binary(max_size=100), max_size=10), st.booleans())
def test_a_parser_raises_nothing_but_format_errors(pieces: list[bytes], imported: bool) -> None:
    server, client = usbip.ServerParser(), usbip.ReplyParser()
    if imported:
        server.imported()
    for parse in (server.feed, client.feed):
        with contextlib.suppress(FormatError):
            for piece in pieces:
                parse(piece)
    for parse_whole in (usbip.parse_devlist_reply, usbip.parse_import_reply):
        with contextlib.suppress(FormatError):
            parse_whole(b"".join(pieces))


@given(st.lists(st.integers(0, 2 * usbip.POOL), max_size=5), st.integers(1, 3 * usbip.POOL))
@settings(deadline=None)
def test_requests_of_every_size_are_read_in_place(sizes: list[int], piece: int) -> None:
    jobs = [bytes((number,)) * size for number, size in enumerate(sizes)]
    stream = b"".join(usbip.pack_submit(number, 1, 1, usbip.OUT, len(job)) + job for number, job in enumerate(jobs))
    parser, seen = usbip.ServerParser(), []
    parser.imported()
    for at in range(0, len(stream), max(piece, 100)):
        rest = stream[at : at + max(piece, 100)]
        while rest:
            space = parser.space()
            assert len(space)
            count = min(len(space), len(rest))
            space[:count], rest = rest[:count], rest[count:]
            for request in parser.received(count):
                if isinstance(request, usbip.Submit):
                    seen.append(bytearray(request.data))
                    assert (request.seqnum, request.length) == (len(seen) - 1, len(jobs[len(seen) - 1]))
                    assert request.length > usbip.PIECE or len(request.data) == request.length
                else:
                    assert isinstance(request, usbip.More)
                    seen[-1] += request.data
                    assert request.last is (len(seen[-1]) == len(jobs[len(seen) - 1]))
    assert seen == jobs


@given(st.integers(1, 200))
def test_how_a_stream_is_cut_does_not_matter(size: int) -> None:
    stream = usbip.pack_submit(7, 1, 1, usbip.OUT, 5) + b"hello" + usbip.pack_unlink(8, 1, 7)
    parser, requests = usbip.ServerParser(), []
    parser.imported()
    for at in range(0, len(stream), size):
        requests += parser.feed(stream[at : at + size])
    assert requests == [usbip.Submit(7, usbip.OUT, 1, 5, bytes(8), b"hello"), usbip.Unlink(8, 7)]


def test_a_large_transfer_goes_on_while_it_still_comes_and_is_answered_once_it_is_whole() -> None:
    async def run() -> None:
        port = MemoryPort()
        async with serving(port) as (_, number), connected(number) as client:
            await client.attach()
            data = bytes(range(256)) * 4096
            client.submit(1, 1, usbip.OUT, len(data))
            client.writer.write(data[:-1])
            while len(port.heard) < len(data) - 1:
                await asyncio.sleep(0.001)
            client.writer.write(data[-1:])
            assert await client.reply() == SubmitReply(1, 0, len(data), b"")
            assert bytes(port.heard) == data

    asyncio.run(run())


@pytest.mark.parametrize("endpoint", [1, 5], ids=["halted", "unknown"])
def test_a_large_transfer_that_stalls_is_answered_once_it_is_whole_and_the_next_is_served(endpoint: int) -> None:
    async def run() -> None:
        port = MemoryPort()
        async with serving(port) as (_, number), connected(number) as client:
            await client.attach()
            client.submit(1, 0, usbip.OUT, 0, bytes((0x02, 3, 0, 0, 1, 0, 0, 0)))
            assert await client.reply() == SubmitReply(1, 0, 0, b"")
            client.submit(2, endpoint, usbip.OUT, 3 * usbip.PIECE)
            client.writer.write(bytes(2 * usbip.PIECE))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), 0.1)
            client.writer.write(bytes(usbip.PIECE))
            assert await client.reply() == SubmitReply(2, usbip.EPIPE, 0, b"")
            client.submit(3, 0, usbip.OUT, 0, bytes((0x02, 1, 0, 0, 1, 0, 0, 0)))
            client.submit(4, 1, usbip.OUT, 2)
            client.writer.write(b"ok")
            assert await client.reply() == SubmitReply(3, 0, 0, b"")
            assert await client.reply() == SubmitReply(4, 0, 2, b"")
            assert bytes(port.heard) == b"ok"

    asyncio.run(run())


def test_a_cable_pulled_out_within_a_large_transfer_leaves_what_went_before() -> None:
    async def run() -> None:
        port = MemoryPort()
        async with serving(port) as (server, number):
            async with connected(number) as client:
                await client.attach()
                client.submit(1, 1, usbip.OUT, 4 * usbip.PIECE)
                client.writer.write(bytes(3 * usbip.PIECE))
                while len(port.heard) < 3 * usbip.PIECE:
                    await asyncio.sleep(0.001)
            while server.connections:
                await asyncio.sleep(0.001)
            assert port.happened == ["end"]

    asyncio.run(run())


def test_a_client_that_is_quick_does_not_keep_another_from_being_served() -> None:
    async def run() -> None:
        first, second = MemoryPort(), MemoryPort()
        async with serving(first, second) as (_, number), connected(number) as quick, connected(number) as other:
            await quick.attach("1-1")
            await other.attach("1-2")

            async def busy() -> None:
                for seqnum in range(2000):
                    quick.submit(seqnum, 1, usbip.OUT, 4)
                    quick.writer.write(b"more")
                    await quick.reply()

            working = asyncio.create_task(busy())
            for seqnum in range(20):
                other.submit(seqnum, 1, usbip.OUT, 4)
                other.writer.write(b"mine")
                assert await other.reply() == SubmitReply(seqnum, 0, 4, b"")
            assert not working.done()
            await working
            assert (len(first.heard), len(second.heard)) == (8000, 80)

    asyncio.run(run())
