"""Questions and answers over a link that is slow, or never silent."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable

import pytest

from fauxfax_tools import conversation
from fauxfax_tools.conversation import Conversation
from fauxfax_tools.errors import LinkLost

TIMEOUT = 0.2


class SlowLink:
    """Says one thing after the other, each after half the time that a question is given."""

    url = "tcp://slow"
    bidirectional = True

    def __init__(self, says: Iterable[bytes]) -> None:
        self._says = iter(says)

    def write(self, data: memoryview, timeout: float) -> int:
        return len(data)

    def read(self, limit: int, timeout: float) -> bytes:
        time.sleep(TIMEOUT / 2)
        return next(self._says, b"")


def ask(says: Iterable[bytes]) -> tuple[str, list[str]]:
    heard: list[str] = []
    talk = Conversation(SlowLink(says), heard.append)  # type: ignore[arg-type]
    return talk.ask(b"INFO", lambda reply: reply == "answer", TIMEOUT), heard


def test_an_answer_behind_progress_is_waited_for() -> None:
    assert ask([b"progress\f"] * 6 + [b"ans", b"wer\f"]) == ("answer", ["progress"] * 6)


def test_silence_ends_the_wait() -> None:
    with pytest.raises(LinkLost, match="no answer to INFO"):
        ask([b"progress\f"])


def test_progress_without_an_end_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "ANSWER_LIMIT", 2 * TIMEOUT)
    with pytest.raises(LinkLost, match="no answer to INFO"):
        ask(itertools.repeat(b"progress\f"))
