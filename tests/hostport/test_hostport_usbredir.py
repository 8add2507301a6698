"""usbredir: the codec, and the server spoken to by a socket as QEMU does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hostport_memory import DEVICE_ID, MemoryPort, plugged
from hypothesis import given
from hypothesis import strategies as st

from fauxfax.clock import ManualClock
from fauxfax.errors import FormatError
from fauxfax.hostport.usb import Setup
from fauxfax.hostport.usbdescriptors import Speed
from fauxfax.hostport.usbredir import MAX_PACKET, Bulk, Capability, Control, Kind, Packet, Status, Wire
from fauxfax.servers.usbredir import GREETING_SECONDS, MAX_HELD, UsbredirServer

MAX_TRANSFER = 8 * 1024 * 1024
SHORT = struct.Struct("<III")


def hello(*capabilities: Capability) -> bytes:
    return Wire(frozenset(capabilities)).hello()


class Host:
    """QEMU's part, by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *can: Capability) -> None:
        self.reader, self.writer = reader, writer
        self.wire = Wire(frozenset(can))
        self._packets: list[Packet] = []

    async def packet(self) -> Packet:
        while not self._packets:
            data = await self.reader.read(65536)
            assert data, "the server closed the connection"
            self._packets += self.wire.feed(data)
        return self._packets.pop(0)

    async def packets(self, count: int) -> list[Packet]:
        return [await self.packet() for _ in range(count)]

    async def greet(self) -> list[Packet]:
        """Say hello; returns what describes the device, up to its plug."""
        self.writer.write(self.wire.hello())
        assert (await self.packet()).kind is Kind.HELLO
        return await self.packets(3)

    def send(self, kind: Kind, number: int, body: bytes = b"") -> None:
        self.writer.write(self.wire.pack(kind, number, body))

    def bulk(self, number: int, endpoint: int, length: int, data: bytes = b"") -> None:
        self.writer.write(self.wire.pack_bulk(number, endpoint, 0, length, data))


Step = Callable[[MemoryPort, Host], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(port: MemoryPort, clock: ManualClock | None = None) -> AsyncIterator[int]:
    server = UsbredirServer(lambda: plugged(port), clock or ManualClock())
    number = await server.start("127.0.0.1", 0)
    try:
        yield number
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def connected(number: int, *can: Capability) -> AsyncIterator[Host]:
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    try:
        yield Host(reader, writer, *(can or Capability))
    finally:
        writer.close()


def converse(step: Step) -> None:
    """Run a conversation after the greeting, with a machine that is on."""

    async def run() -> None:
        port = MemoryPort()
        async with serving(port) as number, connected(number) as host:
            await host.greet()
            await asyncio.wait_for(step(port, host), 10)

    asyncio.run(run())


def test_a_device_is_described_and_then_plugged_in() -> None:
    async def run() -> None:
        async with serving(MemoryPort()) as number, connected(number) as host:
            interfaces, endpoints, plug = await host.greet()
            assert host.wire.agreed == frozenset(Capability)
            assert struct.unpack_from("<I", interfaces.body)[0] == 1
            assert [interfaces.body[4 + 32 * column] for column in range(4)] == [0, 7, 1, 2]
            kinds, sizes = endpoints.body[:32], struct.unpack_from("<32H", endpoints.body, 96)
            used = {row: (kind, sizes[row]) for row, kind in enumerate(kinds) if kind != 255}
            assert used == {0: (0, 64), 16: (0, 64), 1: (2, 512), 18: (2, 512)}
            assert plug == Packet(Kind.DEVICE_CONNECT, 0, struct.pack("<4B3H", 2, 0, 0, 0, 0x04DA, 0x1500, 0x0100))

    asyncio.run(run())


def test_a_host_that_can_do_little_gets_short_headers_and_packets() -> None:
    async def run() -> None:
        async with serving(MemoryPort()) as number, connected(number, Capability.CONNECT_DEVICE_VERSION) as host:
            _, endpoints, plug = await host.greet()
            assert (len(endpoints.body), len(plug.body)) == (96, 10)
            host.bulk(1, 0x01, 5, b"hello")
            assert host.wire.bulk(await host.packet()) == Bulk(0x01, Status.SUCCESS, 5, b"")

    asyncio.run(run())


def test_configurations_are_announced_again_before_they_are_confirmed() -> None:
    async def step(port: MemoryPort, host: Host) -> None:
        host.send(Kind.SET_CONFIGURATION, 7, b"\x01")
        described = await host.packets(3)
        assert [packet.kind for packet in described[:2]] == [Kind.INTERFACE_INFO, Kind.ENDPOINT_INFO]
        assert described[2] == Packet(Kind.CONFIGURATION_STATUS, 7, bytes((Status.SUCCESS, 1)))
        host.send(Kind.SET_CONFIGURATION, 8, b"\x09")
        assert (await host.packets(3))[-1].body == bytes((Status.STALL, 1))
        host.send(Kind.GET_CONFIGURATION, 9)
        assert await host.packet() == Packet(Kind.CONFIGURATION_STATUS, 9, bytes((Status.SUCCESS, 1)))
        host.send(Kind.SET_ALT_SETTING, 10, bytes((0, 0)))
        assert await host.packet() == Packet(Kind.ALT_SETTING_STATUS, 10, bytes((Status.SUCCESS, 0, 0)))
        host.send(Kind.SET_ALT_SETTING, 11, bytes((0, 3)))
        assert (await host.packet()).body == bytes((Status.STALL, 0, 0))
        host.send(Kind.GET_ALT_SETTING, 12, b"\0")
        assert (await host.packet()).body == bytes((Status.SUCCESS, 0, 0))

    converse(step)


def test_control_transfers_are_answered_with_what_they_bring_or_a_stall() -> None:
    async def step(port: MemoryPort, host: Host) -> None:
        device_id, unknown, reset = Setup(0xA1, 0, 0, 0, 1023), Setup(0xC0, 99, 0, 0, 4), Setup(0x23, 2, 0, 0, 0)
        for number, setup in enumerate((device_id, unknown, reset)):
            host.writer.write(host.wire.pack_control(number, setup))
        answer, stall, done = [host.wire.control(packet) for packet in await host.packets(3)]
        assert (answer.data[2:].decode(), answer.setup.length) == (DEVICE_ID, len(DEVICE_ID) + 2)
        assert stall == Control(unknown._replace(length=0), Status.STALL, b"")
        assert done == Control(reset, Status.SUCCESS, b"")
        assert port.happened == ["reset"]

    converse(step)


def test_bulk_goes_out_without_an_echo_and_comes_in_when_there_is_something() -> None:
    async def step(port: MemoryPort, host: Host) -> None:
        data = bytes(range(256)) * 1024  # more than the low half of the length holds
        host.bulk(1, 0x82, 4096)
        host.bulk(2, 0x01, len(data), data)
        out = await host.packet()
        assert (out.id, host.wire.bulk(out)) == (2, Bulk(0x01, Status.SUCCESS, len(data), b""))
        assert bytes(port.heard) == data
        port.change(say=b"answer")
        back = await host.packet()
        assert (back.id, host.wire.bulk(back)) == (1, Bulk(0x82, Status.SUCCESS, 6, b"answer"))

    converse(step)


def test_a_transfer_taken_back_is_answered_once_as_cancelled() -> None:
    async def step(port: MemoryPort, host: Host) -> None:
        host.bulk(1, 0x82, 64)
        host.send(Kind.CANCEL_DATA_PACKET, 1)
        host.send(Kind.CANCEL_DATA_PACKET, 1)
        host.send(Kind.CANCEL_DATA_PACKET, 99)
        cancelled = await host.packet()
        port.change(say=b"late")
        host.bulk(2, 0x82, 64)
        late = await host.packet()
        assert (cancelled.id, host.wire.bulk(cancelled)) == (1, Bulk(0x82, Status.CANCELLED, 0, b""))
        assert (late.id, host.wire.bulk(late)) == (2, Bulk(0x82, Status.SUCCESS, 4, b"late"))

    converse(step)


def test_a_restart_is_a_disconnect_and_a_connect_on_the_same_connection() -> None:
    async def step(port: MemoryPort, host: Host) -> None:
        host.bulk(1, 0x82, 64)
        host.send(Kind.GET_CONFIGURATION, 2)
        await host.packet()  # the server has read both
        port.change(online=False)
        failed, gone = await host.packets(2)
        assert host.wire.bulk(failed).status == Status.IO_ERROR
        assert gone.kind is Kind.DEVICE_DISCONNECT
        host.bulk(3, 0x01, 2, b"no")
        assert host.wire.bulk(await host.packet()).status == Status.IO_ERROR
        port.change(online=True)
        kinds = [packet.kind for packet in await host.packets(3)]
        assert kinds == [Kind.INTERFACE_INFO, Kind.ENDPOINT_INFO, Kind.DEVICE_CONNECT]

    converse(step)


def test_a_machine_that_is_off_is_plugged_in_when_it_comes_on() -> None:
    async def run() -> None:
        port = MemoryPort()
        port.online = False
        async with serving(port) as number, connected(number) as host:
            host.writer.write(host.wire.hello())
            assert (await host.packet()).kind is Kind.HELLO
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(host.packet(), 0.05)
            port.change(online=True)
            assert (await host.packets(3))[-1].kind is Kind.DEVICE_CONNECT

    asyncio.run(run())


def test_pulling_the_cable_ends_the_job_and_frees_the_plug(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        port = MemoryPort()
        async with serving(port) as number:
            async with connected(number) as host:
                await host.greet()
                host.bulk(1, 0x01, 4, b"half")
                await host.packet()
                async with connected(number) as second:
                    assert await second.reader.read() == b""
            while "end" not in port.happened:
                await asyncio.sleep(0.001)
            async with connected(number) as host:
                await host.greet()

    asyncio.run(run())
    assert "another host has the cable" in caplog.text


HOSTILE = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: fax\r\n\r\n",
    "a second hello": hello() + hello(),
    "transfers before the hello": SHORT.pack(Kind.BULK, 8, 1) + bytes(8),
    "a hello that is too short": SHORT.pack(Kind.HELLO, 10, 0) + bytes(10),
    "an endless packet": hello() + SHORT.pack(Kind.BULK, MAX_PACKET + 1, 1),
    "an unknown type": hello() + SHORT.pack(77, 0, 1),
    "a device's packet": hello() + SHORT.pack(Kind.DEVICE_CONNECT, 8, 0) + bytes(8),
    "half a bulk header": hello() + SHORT.pack(Kind.BULK, 3, 1) + bytes(3),
    "half a control header": hello() + SHORT.pack(Kind.CONTROL, 9, 1) + bytes(9),
    "data that do not fit": hello() + SHORT.pack(Kind.BULK, 12, 1) + struct.pack("<BBHI", 1, 0, 9, 0) + b"four",
    "the same id twice": hello() + (SHORT.pack(Kind.BULK, 8, 1) + struct.pack("<BBHI", 0x82, 0, 9, 0)) * 2,
    "a configuration of no octets": hello() + SHORT.pack(Kind.SET_CONFIGURATION, 0, 1),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_peer_is_dropped_with_a_log_line_and_the_next_is_served(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with serving(MemoryPort()) as number:
            async with connected(number) as host:
                host.writer.write(data)
                with contextlib.suppress(ConnectionResetError):
                    while await asyncio.wait_for(host.reader.read(65536), 5):
                        pass
            async with connected(number) as host:
                await host.greet()

    asyncio.run(run())
    assert "dropped: " in caplog.text


def test_who_sends_nonsense_hears_the_answers_to_what_came_before_it_in_the_same_breath() -> None:
    async def step(port: MemoryPort, host: Host) -> None:
        port.ahead = 100
        nonsense = host.wire.pack_bulk(3, 0x01, 0, 5, b"less")
        host.writer.write(b"".join(host.wire.pack_bulk(number, 0x01, 0, 2, b"ok") for number in (1, 2)) + nonsense)
        assert [packet.id for packet in await host.packets(2)] == [1, 2]
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(host.reader.read(), 5) == b""
        assert port.heard == b"okok"

    converse(step)


def test_a_peer_that_fills_the_memory_of_a_busy_machine_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with serving(MemoryPort(space=0)) as number, connected(number) as host:
            await host.greet()
            with contextlib.suppress(ConnectionError):
                for transfer in range(MAX_HELD // MAX_TRANSFER + 2):
                    host.bulk(transfer, 0x01, MAX_TRANSFER, bytes(MAX_TRANSFER))
                    await host.writer.drain()
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(host.reader.read(), 5) == b""

    asyncio.run(run())
    assert "octets wait" in caplog.text


def test_what_has_been_taken_is_no_longer_held() -> None:
    async def step(port: MemoryPort, host: Host) -> None:
        for number in range(1, MAX_HELD // MAX_TRANSFER + 3):
            port.space = 0
            host.bulk(number, 0x01, MAX_TRANSFER, bytes(MAX_TRANSFER))
            host.send(Kind.GET_CONFIGURATION, 0)
            assert (await host.packet()).kind is Kind.CONFIGURATION_STATUS, "the transfer waits"
            port.change(space=MAX_TRANSFER)
            assert (await host.packet()).id == number
            port.heard.clear()

    converse(step)


def test_a_peer_that_never_says_hello_is_dropped() -> None:
    async def run() -> None:
        clock = ManualClock()
        async with serving(MemoryPort(), clock) as number, connected(number) as host:
            await host.reader.readexactly(80)  # the server's hello: it has the cable
            clock.advance(GREETING_SECONDS)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(host.reader.read(), 5) == b""

    asyncio.run(run())


@given(st.lists(st.binary(max_size=80), max_size=8), st.booleans())
def test_what_no_usbredir_is_raises_a_format_error_and_nothing_else(pieces: list[bytes], greeted: bool) -> None:
    wire = Wire()
    with contextlib.suppress(FormatError):
        if greeted:
            wire.feed(hello(*Capability))
        for packet in itertools.chain.from_iterable(map(wire.feed, pieces)):
            wire.bulk(packet) if packet.kind is Kind.BULK else wire.control(packet)


@given(st.data(), st.sets(st.sampled_from(Capability)))
def test_packets_survive_the_wire_however_it_is_cut(data: st.DataObject, capabilities: set[Capability]) -> None:
    sender, receiver = Wire(), Wire()
    sender.feed(hello(*capabilities))
    payload = data.draw(st.binary(max_size=300))
    setup = Setup(0xA1, 1, 2, 3, len(payload))
    stream = sender.pack_bulk(1, 0x82, 0, len(payload), payload) + sender.pack_control(2, setup, 4, payload)
    stream = hello(*capabilities) + stream + sender.connect(plugged(MemoryPort()).identity, Speed.FULL)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:end] for start, end in itertools.pairwise([0, *cuts, len(stream)])]
    _, bulk, control, connect = itertools.chain.from_iterable(map(receiver.feed, pieces))
    assert receiver.bulk(bulk) == Bulk(0x82, 0, len(payload), payload)
    assert receiver.control(control) == Control(setup, 4, payload)
    assert connect.kind is Kind.DEVICE_CONNECT
