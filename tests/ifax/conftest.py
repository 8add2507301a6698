from __future__ import annotations

from collections.abc import Callable

import pytest

from fauxfax.ifax.address import Directory
from fauxfax.ifax.host import Limits, MessageReceived, Verdict
from fauxfax.ifax.smtp import Receiver
from fauxfax.ifax.standalone import StandaloneHost


class Session:
    """A receiver, and whoever keeps its messages: every message is acknowledged with `verdict`."""

    def __init__(self, host: StandaloneHost, limits: Limits, verdict: Verdict = Verdict.STORED) -> None:
        self.host = host
        self.verdict = verdict
        self.messages: list[MessageReceived] = []
        self.events: list[object] = []
        self.receiver = Receiver(host, limits, "192.0.2.1", 1)
        self.receiver.start()

    def say(self, octets: bytes) -> bytes:
        """Feed, settle every event, and give what is answered."""
        self.receiver.feed(octets)
        return self.replies()

    def replies(self) -> bytes:
        while (event := self.receiver.next_event()) is not None:
            if isinstance(event, MessageReceived):
                self.messages.append(event)
                self.receiver.finish(self.verdict)
            else:
                self.events.append(event)
        return self.receiver.data_to_send()

    def codes(self, octets: bytes) -> list[int]:
        """The codes of the replies, one for each, many lines count once."""
        return [int(line[:3]) for line in self.say(octets).split(b"\r\n") if line[3:4] == b" "]


@pytest.fixture
def directory() -> Directory:
    return Directory(
        domain="uf-8000.local",
        fax_number="+12125551212",
        mailboxes={"fax": "Front Office", "sales": "Sales Department"},
        aliases={"office": "fax", "boss": "boss@example.com", "lost": "nobody"},
        groups={"everyone": ("fax@uf-8000.local", "jane@example.org")},
        address_book={"Jane Doe": "jane@example.org", "John Doe": "john@example.org"},
    )


@pytest.fixture
def host(directory: Directory) -> StandaloneHost:
    return StandaloneHost(directory=directory)


@pytest.fixture
def connect(host: StandaloneHost) -> Callable[..., Session]:
    """Opens a session whose banner has been read."""

    def connect(limits: Limits | None = None, verdict: Verdict = Verdict.STORED) -> Session:
        session = Session(host, limits or Limits(), verdict)
        session.replies()
        return session

    return connect
