from __future__ import annotations

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
        self.receiver = Receiver(host, limits, "192.0.2.1", 1, own="192.0.2.7")
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
