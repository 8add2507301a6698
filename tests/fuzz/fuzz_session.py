"""Fuzzes the receiver's session: it never raises, answers in SMTP, and says the same however the octets are cut.

The first octet is the length of the pieces the stream is cut into; the rest is the stream.
"""

from __future__ import annotations

import re
import sys

import atheris

with atheris.instrument_imports(include=["fauxfax"]):
    from fauxfax.ifax.host import Limits, MessageReceived, Reservations, Verdict
    from fauxfax.ifax.smtp import Receiver
    from fauxfax.ifax.standalone import StandaloneHost

LIMITS = Limits(message=10_000, command_line=100, extended_line=200, text_line=100, errors=5)
REPLIES = re.compile(rb"(?:[2-5]\d\d[ -][^\r\n]*\r\n)*")


def talk(pieces: list[bytes]) -> tuple[bytes, list[bytes]]:
    receiver = Receiver(StandaloneHost(), LIMITS, "192.0.2.1", 1, Reservations())
    receiver.start()
    said, messages = receiver.data_to_send(), []
    for piece in pieces:
        if receiver.closing:
            break
        receiver.feed(piece)
        while (event := receiver.next_event()) is not None:
            if isinstance(event, MessageReceived):
                messages.append(event.data)
                receiver.finish(Verdict.STORED)
        said += receiver.data_to_send()
    return said, messages


def test_one_input(data: bytes) -> None:
    size, stream = max(1, data[0] if data else 1), data[1:]
    whole = talk([stream])
    assert REPLIES.fullmatch(whole[0]), whole[0]
    assert not any(re.search(rb"(?<!\r)\n|\r(?!\n)|\0", message) for message in whole[1])
    cut = talk([stream[i : i + size] for i in range(0, len(stream), size)])
    assert cut == whole, (cut, whole)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
