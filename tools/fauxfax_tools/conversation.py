"""Questions and answers over a link: everything is written or it raises, and replies are put together from pieces."""

from __future__ import annotations

from collections.abc import Callable

from fauxfax_tools.errors import LinkLost
from fauxfax_tools.links.base import Deadline, Link

REPLY_END = b"\f"
REPLY_LIMIT = 64 * 1024  # octets of one reply; a machine that says more without an end is not listened to
READ_SIZE = 64 * 1024
ANSWER_TIMEOUT = 10.0  # seconds of silence for an answer to a question
ANSWER_LIMIT = 180.0  # seconds in all: a question may wait in the network behind megabytes of a code file
BUSY_TIMEOUT = 60.0  # seconds a machine may take nothing at all while octets wait for it


class Conversation:
    """One open link, spoken to in whole messages.

    `unasked(text)` is called with each reply that nobody waits for.
    """

    def __init__(self, link: Link, unasked: Callable[[str], None], *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.link = link
        self._unasked = unasked
        self._busy_timeout = busy_timeout
        self._buffer = bytearray()

    def forget(self) -> None:
        """Drop a half-read reply: the connection it came on is gone."""
        self._buffer.clear()

    def send(self, data: bytes | memoryview) -> None:
        """Write all of `data`. Raises LinkLost if the machine takes nothing for the whole busy time."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.send_some(rest) :]

    def send_some(self, data: memoryview) -> int:
        """Write what the machine takes, at least one octet; replies are read meanwhile, so that neither side blocks."""
        deadline = Deadline(self._busy_timeout)
        while not (taken := self.link.write(data, min(1.0, deadline.left))):
            self.listen()
            if deadline.passed:
                raise LinkLost(f"{self.link.url}: the machine has taken nothing for {self._busy_timeout:g} s")
        return taken

    def listen(self) -> None:
        """Read what is there now and hand on every whole reply in it."""
        if self.link.bidirectional:
            self._read(0.0)
            while (reply := self._next()) is not None:
                self._unasked(reply)

    def ask(self, question: bytes, is_answer: Callable[[str], bool], timeout: float = ANSWER_TIMEOUT) -> str:
        """Send a question and wait for its answer. Raises LinkLost if the machine is silent for so many seconds.

        One that tells its progress meanwhile has not come to the question yet: that counts as no silence.
        """
        self.send(question)
        deadline, limit = Deadline(timeout), Deadline(ANSWER_LIMIT)
        while True:
            while (reply := self._next()) is not None:
                if is_answer(reply):
                    return reply
                self._unasked(reply)
                deadline = Deadline(timeout)
            if deadline.passed or limit.passed:
                raise LinkLost(f"{self.link.url}: no answer to {_printable(question)} within {timeout:g} s")
            self._read(min(1.0, deadline.left))

    def _read(self, timeout: float) -> None:
        self._buffer += self.link.read(READ_SIZE, timeout)
        if len(self._buffer) > REPLY_LIMIT and REPLY_END not in self._buffer:
            self._buffer.clear()

    def _next(self) -> str | None:
        reply, end, rest = self._buffer.partition(REPLY_END)
        if not end:
            return None
        self._buffer = rest
        return reply.decode("ascii", "replace").strip()


def _printable(question: bytes) -> str:
    return "".join(character for character in question.decode("latin-1") if character.isprintable()).strip()
