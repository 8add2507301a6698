"""When the outbox tries again: never because the machine had something to do, always when the time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from fauxfax.clock import Clock, FastClock, ManualClock
from fauxfax.ifax.host import Envelope, MessageReceived, Recipient
from fauxfax.ifax.receipt import Mail
from fauxfax.inprocess import InProcessMachine
from fauxfax.machine.outbox import BACK_OFF, Due
from fauxfax.machine.post import PostRoom
from fauxfax.machine.settings import Settings
from fauxfax.servers import outbox
from fauxfax.servers.outbox import Postman
from fauxfax.servers.smtpclient import Relay, TryAgain, Wishes
from fauxfax.servers.ticker import Ticker
from fauxfax.servers.tray import Tray


class Office:
    """A machine that owes one mail, and a mail server that is busy for so many tries."""

    def __init__(self, folder: Path, clock: Clock, busy: int) -> None:
        self.clock = clock
        self.host = InProcessMachine(clock=clock, settings=Settings(outbox=True))
        self.machine = self.host.machine
        self.busy = busy
        self.tries: list[float] = []
        self.tried = asyncio.Event()
        self.post = PostRoom(self.machine)
        self.relay = Relay(host="mail.example", port=25)
        self.postman = Postman(self.machine, self.post, Tray(folder / "tray", folder / "spool"), self.relay)
        self.ticker = Ticker(clock)

    async def send(self, relay: Relay, helo: str, mail: Mail, wishes: Wishes) -> bool:
        assert (relay, helo, mail.recipient, wishes.notify) == (self.relay, "uf-8000.local", "me@x.example", ("NEVER",))
        self.tries.append(self.clock.now)
        self.tried.set()
        if len(self.tries) <= self.busy:
            raise TryAgain("450 busy")
        return True

    async def next_try(self) -> None:
        await self.tried.wait()
        self.tried.clear()
        await asyncio.sleep(0)  # what became of it is noted before anything else happens

    async def __aenter__(self) -> Office:
        recipient = Recipient(address="fax@uf-8000.local", mailbox="fax")
        envelope = Envelope(session=1, peer="", helo="", sender="", recipients=(recipient,), received_at=0.0)
        (number,) = self.machine.memory.store([MessageReceived(envelope, (b"",))])
        self.postman.start()
        self.ticker.start()
        self.post.outbox.put(number, [Due("MDN", Mail("me@x.example", b"a mail"))])
        self.post.changed()
        await self.next_try()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.postman.stop()
        await self.ticker.stop()
        self.host.close()

    @property
    def results(self) -> list[tuple[str, str]]:
        return [(line.result, line.note) for line in self.machine.journal.read()]


Make = Callable[[Clock, int], Office]


@pytest.fixture
def offices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    def make(clock: Clock, busy: int) -> Office:
        office = Office(tmp_path, clock, busy)
        monkeypatch.setattr(outbox, "send", office.send)
        return office

    return make


async def a_while() -> None:
    """Long enough for whatever is under way without waiting for anything."""
    for _ in range(50):
        await asyncio.sleep(0)


def test_a_mail_is_tried_at_the_published_times_and_then_given_up(offices: Make) -> None:
    async def all_of_it() -> tuple[list[float], list[tuple[str, str]]]:
        clock = ManualClock()
        async with offices(clock, 99) as office:
            for wait in BACK_OFF:
                clock.advance(wait - 1)
                await a_while()
                office.tries.append(-1.0)  # a mark: what comes before it came too early
                clock.advance(1)
                await office.next_try()
            clock.advance(86400)
            await a_while()
            return office.tries, office.results

    tries, results = asyncio.run(all_of_it())
    instants = [sum(BACK_OFF[:count]) for count in range(len(BACK_OFF) + 1)]
    assert tries == [instants[0]] + [entry for instant in instants[1:] for entry in (-1.0, instant)]
    assert results == [("872", "given up after 10 tries: 450 busy")]


def test_a_fast_clock_that_jumps_for_the_machines_work_does_not_spend_the_tries(
    offices: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def all_of_it() -> None:
        clock = FastClock()
        async with offices(clock, 1) as office:
            worked = asyncio.Event()
            for hour in range(1, 25):
                clock.call_later(3600.0 * hour, worked.set if hour == 24 else lambda: None)
            await worked.wait()
            await a_while()
            assert clock.now >= 86400
            assert len(office.tries) == 1
            assert BACK_OFF[0] - 30 < (clock.wait() or 0) <= BACK_OFF[0], "the next try is a minute of real time away"
            elapsed = clock._elapsed
            monkeypatch.setattr(clock, "_elapsed", lambda: elapsed() + BACK_OFF[0])
            clock.call_later(0.0, lambda: None)  # the ticker looks again
            await office.next_try()
            await a_while()
            assert office.results == [("OK", "")]

    asyncio.run(all_of_it())
