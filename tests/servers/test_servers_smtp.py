from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from fauxfax.clock import FastClock, ManualClock, RealClock
from fauxfax.events import Event, SessionClosed, SessionOpened
from fauxfax.ifax.address import Address, Directory, Resolution
from fauxfax.ifax.host import Limits, MemoryFullError, MessageReceived, Verdict
from fauxfax.ifax.standalone import StandaloneHost
from fauxfax.servers.readers import AT_ONCE
from fauxfax.servers.smtp import SmtpServer

MESSAGE = b"MAIL FROM:<jane@example.org>\r\nRCPT TO:<fax>\r\nDATA\r\nSubject: x\r\n\r\ntext\r\n.\r\n"


class Shelf:
    """A store in memory that can be made to wait, to be full, or to fail."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.room = 10**9
        self.settled = 0

    def store(self, messages: Sequence[MessageReceived]) -> Sequence[int]:
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        if sum(message.octets for message in messages) > self.room:
            raise MemoryFullError("no room")
        self.room -= sum(message.octets for message in messages)
        self.batches.append([message.data for message in messages])
        return range(len(messages))

    def settle(self) -> None:
        self.settled += 1


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def code(self) -> int:
        """The code of the next reply, of one line or more."""
        while (line := await asyncio.wait_for(self.reader.readline(), 5))[3:4] == b"-":
            pass
        return int(line[:3]) if line else 0

    async def codes(self, count: int) -> list[int]:
        return [await self.code() for _ in range(count)]

    async def hung_up(self) -> bool:
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), 5) == b""
        return True


class House:
    """A server and its callers."""

    def __init__(self, server: SmtpServer, port: int) -> None:
        self.server = server
        self.port = port
        self.writers: list[asyncio.StreamWriter] = []

    async def call(self, *, greeted: bool = True) -> Caller:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        caller = Caller(reader, writer)
        if greeted:
            assert await caller.code() == 220
            await caller.say(b"HELO x\r\n")
            assert await caller.code() == 250
        return caller


@contextlib.asynccontextmanager
async def house(server: SmtpServer) -> AsyncIterator[House]:
    here = House(server, await server.start())
    try:
        yield here
    finally:
        for writer in here.writers:
            writer.close()
        await server.stop()


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await body()

    asyncio.run(bounded())


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def host() -> StandaloneHost:
    return StandaloneHost()


def test_a_message_is_acknowledged_only_when_it_is_stored(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        stored: list[int] = []
        async with house(SmtpServer(host, shelf, RealClock(), stored=stored.extend)) as here:
            shelf.gate.clear()
            caller = await here.call()
            await caller.say(MESSAGE)
            assert await caller.codes(3) == [250, 250, 354]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(caller.reader.read(1), 0.1)
            shelf.gate.set()
            assert await caller.code() == 250
        assert shelf.batches == [[b"Subject: x\r\n\r\ntext\r\n"]]
        assert stored == [0]

    run(body)


def test_messages_that_wait_together_are_stored_in_one_batch(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        async with house(SmtpServer(host, shelf, RealClock())) as here:
            callers = [await here.call() for _ in range(10)]
            shelf.gate.clear()
            for caller in callers:
                await caller.say(MESSAGE)
                assert await caller.codes(3) == [250, 250, 354]
            await asyncio.sleep(0.05)
            shelf.gate.set()
            assert [await caller.code() for caller in callers] == [250] * 10
        assert sum(map(len, shelf.batches)) == 10
        assert len(shelf.batches) <= 3

    run(body)


def test_if_not_all_of_a_batch_fits_each_message_gets_its_own_reply(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        async with house(SmtpServer(host, shelf, RealClock())) as here:
            callers = [await here.call() for _ in range(4)]
            shelf.gate.clear()
            shelf.room = 50
            for caller in callers:
                await caller.say(MESSAGE)
                await caller.codes(3)
            await asyncio.sleep(0.05)
            shelf.gate.set()
            assert sorted([await caller.code() for caller in callers]) == [250, 250, 452, 452]
            shelf.room = 1000
            await callers[0].say(MESSAGE)
            assert await callers[0].codes(4) == [250, 250, 354, 250]

    run(body)


def test_a_store_that_fails_is_451_and_reception_goes_on(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        async with house(SmtpServer(host, shelf, RealClock())) as here:
            caller = await here.call()
            shelf.error = OSError("disk on fire")
            await caller.say(MESSAGE)
            assert await caller.codes(4) == [250, 250, 354, 451]
            shelf.error = None
            await caller.say(MESSAGE)
            assert await caller.codes(4) == [250, 250, 354, 250]

    run(body)


def test_what_need_not_be_durable_is_acknowledged_from_memory(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        shelf.gate.clear()
        async with house(SmtpServer(host, shelf, RealClock(), durable=False)) as here:
            caller = await here.call()
            await caller.say(MESSAGE)
            assert await caller.codes(4) == [250, 250, 354, 250]
            shelf.gate.set()
        assert sum(map(len, shelf.batches)) == 1

    run(body)


def test_one_session_too_many_is_421(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        async with house(SmtpServer(host, shelf, RealClock(), Limits(sessions=2))) as here:
            first, _ = await here.call(), await here.call()
            third = await here.call(greeted=False)
            assert await third.code() == 421
            assert await third.hung_up()
            await first.say(b"QUIT\r\n")
            assert await first.code() == 221
            assert await first.hung_up()
            await here.call()

    run(body)


def test_one_session_too_many_from_one_address_is_421(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        async with house(SmtpServer(host, shelf, RealClock(), Limits(sessions_per_address=1))) as here:
            await here.call()
            assert await (await here.call(greeted=False)).code() == 421

    run(body)


def test_an_idle_session_is_sent_away_when_its_time_is_over(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with house(SmtpServer(host, shelf, clock)) as here:
            caller = await here.call()
            clock.advance(299)
            await caller.say(b"NOOP\r\n")
            assert await caller.code() == 250
            clock.advance(299)
            await caller.say(b"NOOP\r\n")
            assert await caller.code() == 250
            clock.advance(301)
            assert await caller.code() == 421
            assert await caller.hung_up()

    run(body)


def test_a_session_that_trickles_on_for_ever_is_ended(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with house(SmtpServer(host, shelf, clock, Limits(session_timeout=1000))) as here:
            caller = await here.call()
            for _ in range(9):
                clock.advance(100)
                await caller.say(b"NOOP\r\n")
                assert await caller.code() == 250
            clock.advance(101)
            assert await caller.code() == 421

    run(body)


@pytest.mark.parametrize("rule", ["rcpt -> drop", "data -> close-after 3", "dot -> drop"])
def test_a_fault_cuts_the_connection_and_nothing_is_kept(host: StandaloneHost, shelf: Shelf, rule: str) -> None:
    async def body() -> None:
        armed = host.faults.arm(rule)
        async with house(SmtpServer(host, shelf, RealClock())) as here:
            caller = await here.call()
            await caller.say(MESSAGE)
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(caller.reader.read(), 5)
            assert armed.fired == 1
        assert shelf.batches == []

    run(body)


def test_a_fault_delays_a_reply_by_machine_time(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        host.faults.arm("mail -> delay 30")
        clock = ManualClock()
        async with house(SmtpServer(host, shelf, clock)) as here:
            caller = await here.call()
            await caller.say(MESSAGE)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(caller.reader.read(1), 0.1)
            clock.advance(30)
            assert await caller.codes(4) == [250, 250, 354, 250]

    run(body)


def test_a_delay_is_not_jumped_over_by_a_fast_clock(
    host: StandaloneHost, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        host.faults.arm("mail -> delay 3600")
        clock = FastClock()
        async with house(SmtpServer(host, shelf, clock)) as here:
            caller = await here.call()
            await caller.say(MESSAGE)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(caller.reader.read(1), 0.1)
            clock.run_due()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(caller.reader.read(1), 0.1)
            elapsed = clock._elapsed
            monkeypatch.setattr(clock, "_elapsed", lambda: elapsed() + 3600)
            clock.run_due()
            assert await caller.codes(4) == [250, 250, 354, 250]

    run(body)


def test_32_sessions_are_served_and_the_33rd_is_421(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        async with house(SmtpServer(host, shelf, RealClock())) as here:
            callers = [await here.call() for _ in range(32)]
            assert await (await here.call(greeted=False)).code() == 421
            for caller in callers:
                await caller.say(b"NOOP\r\n")
            assert [await caller.code() for caller in callers] == [250] * 32

    run(body)


def test_stopping_acknowledges_what_was_read_and_sends_the_others_away(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        server = SmtpServer(host, shelf, RealClock())
        async with house(server) as here:
            idle, sender = await here.call(), await here.call()
            shelf.gate.clear()
            await sender.say(MESSAGE)
            await sender.codes(3)
            stop = asyncio.create_task(server.stop())
            assert await idle.code() == 421
            shelf.gate.set()
            assert await sender.codes(2) == [250, 421]
            await stop
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.1", here.port)

    run(body)


def test_what_a_store_puts_off_is_done_in_a_pause_and_at_the_end(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        async with house(SmtpServer(host, shelf, RealClock())) as here:
            caller = await here.call()
            await caller.say(MESSAGE * 2)
            assert await caller.codes(8) == [250, 250, 354, 250] * 2
            while not shelf.settled:
                await asyncio.sleep(0.01)
            await caller.say(MESSAGE)
            assert await caller.codes(4) == [250, 250, 354, 250]
            before = shelf.settled
        assert shelf.settled > before

    run(body)


def test_more_senders_than_are_read_in_one_go_are_all_served(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        count = 2 * AT_ONCE + 1
        limits = Limits(sessions=count, sessions_per_address=count)
        async with house(SmtpServer(host, shelf, RealClock(), limits)) as here:
            callers = [await here.call() for _ in range(count)]
            for caller in callers:
                await caller.say(MESSAGE)
            for caller in callers:
                assert await caller.codes(4) == [250, 250, 354, 250]
        assert sum(map(len, shelf.batches)) == count

    run(body)


def test_an_error_of_ours_cuts_one_session_and_no_other(
    host: StandaloneHost, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(directory: Directory, address: Address) -> Resolution:
        raise RuntimeError("not foreseen")

    async def body() -> None:
        async with house(SmtpServer(host, shelf, RealClock())) as here:
            one, other = await here.call(), await here.call()
            monkeypatch.setattr(Directory, "resolve", resolve)
            await one.say(MESSAGE)
            await other.say(b"NOOP\r\n")
            assert await other.code() == 250
            assert await one.hung_up()

    run(body)


def test_a_reset_in_the_middle_of_a_message_leaves_nothing(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        server = SmtpServer(host, shelf, RealClock())
        async with house(server) as here:
            caller = await here.call()
            await caller.say(MESSAGE[:-5])
            await caller.codes(3)
            caller.writer.transport.abort()
            while server.sessions:
                await asyncio.sleep(0.01)
            caller = await here.call()
            await caller.say(MESSAGE)
            assert await caller.codes(4) == [250, 250, 354, 250]
        assert len(shelf.batches) == 1

    run(body)


def test_an_inspector_refuses_before_acceptance(host: StandaloneHost, shelf: Shelf) -> None:
    async def inspect(message: MessageReceived) -> Verdict:
        return Verdict.UNREADABLE if b"bad" in message.data else Verdict.STORED

    async def body() -> None:
        async with house(SmtpServer(host, shelf, RealClock(), inspector=inspect)) as here:
            caller = await here.call()
            await caller.say(MESSAGE.replace(b"text", b"bad") + MESSAGE)
            assert await caller.codes(8) == [250, 250, 354, 554, 250, 250, 354, 250]
        assert sum(map(len, shelf.batches)) == 1

    run(body)


def test_a_sender_that_closes_its_half_after_the_dot_hears_the_verdict(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        async with house(SmtpServer(host, shelf, RealClock())) as here:
            caller = await here.call()
            shelf.gate.clear()
            await caller.say(MESSAGE)
            caller.writer.write_eof()
            assert await caller.codes(3) == [250, 250, 354]
            shelf.gate.set()
            assert await caller.code() == 250
            assert await caller.hung_up()

    run(body)


def test_coming_and_going_is_published(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        events: list[Event] = []
        async with house(SmtpServer(host, shelf, RealClock(), publish=events.append)) as here:
            caller = await here.call()
            await caller.say(b"QUIT\r\n")
            assert await caller.code() == 221
            assert await caller.hung_up()
            await asyncio.sleep(0.05)
        assert events == [SessionOpened(1, "127.0.0.1"), SessionClosed(1, "closed")]

    run(body)


def test_a_sender_that_reads_no_replies_is_not_read_from(host: StandaloneHost, shelf: Shelf) -> None:
    async def body() -> None:
        async with house(SmtpServer(host, shelf, RealClock())) as here:
            caller = await here.call()
            flood = b"HELP\r\n" * 10_000
            sent = 0
            with contextlib.suppress(asyncio.TimeoutError):
                for _ in range(200):
                    caller.writer.write(flood)
                    await asyncio.wait_for(caller.writer.drain(), 0.3)
                    sent += len(flood)
            assert sent < 190 * len(flood)

    run(body)
