"""Fuzzes the job stream: it never raises, and finds the same in the octets however they are cut."""

from __future__ import annotations

import atheris
from harness import pieces, start

with atheris.instrument_imports(include=["fauxfax.hostport"]):
    from fauxfax.hostport.jobstream import Echo, Event, JobStream, PrintData, Query, TextIgnored, UpgradeData


def hear(stream: list[bytes]) -> list[object]:
    """What was found, neighbouring data and ignored text together."""
    job, found = JobStream(), []
    for piece in stream:
        for event in job.feed(piece):
            answer(job, event)
            found.append(event)
    found += job.end()
    together: list[object] = []
    for event in found:
        kind, amount = reduced(event)
        if together and isinstance(amount, bytes | int) and together[-1][0] is kind:
            amount = together.pop()[1] + amount
        together.append((kind, amount))
    return [*together, job.data_to_send()]


def reduced(event: Event) -> tuple[type, object]:
    match event:
        case UpgradeData(data) | PrintData(data):
            return type(event), bytes(data)
        case TextIgnored(octets):
            return TextIgnored, octets
    return type(event), event


def answer(job: JobStream, event: Event) -> None:
    match event:
        case Query(category):
            job.reply_info(category, ["A LINE"])
        case Echo(text):
            job.reply_echo(text)


def test_one_input(data: bytes) -> None:
    whole, cut = map(hear, pieces(data))
    assert whole == cut, (whole, cut)


if __name__ == "__main__":
    start(test_one_input)
