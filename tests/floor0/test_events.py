from __future__ import annotations

import json

import pytest

from fauxfax.clock import ManualClock
from fauxfax.events import EventStream, PagePrinted, PanelChanged, PoweredOn, Record


def test_records_are_numbered_and_stamped_with_machine_time() -> None:
    clock = ManualClock()
    stream, seen = EventStream(lambda: clock.now), []
    stream.subscribe(seen.append)
    stream.publish(PoweredOn())
    clock.advance(2.5)
    stream.publish(PagePrinted(1, 1, 3))
    assert [(record.sequence, record.at) for record in seen] == [(1, 0.0), (2, 2.5)]


def test_a_record_is_plain_data_for_json() -> None:
    record = Record(3, 1.25, PanelChanged(("UF-8000", "READY"), ("ONLINE",)))
    assert json.loads(json.dumps(record.as_dict())) == {
        "event": "panel-changed",
        "sequence": 3,
        "at": 1.25,
        "lines": ["UF-8000", "READY"],
        "lamps": ["ONLINE"],
    }


def test_a_subscriber_that_left_hears_nothing_and_may_leave_twice() -> None:
    stream, seen = EventStream(lambda: 0.0), []
    leave = stream.subscribe(seen.append)
    leave()
    leave()
    stream.publish(PoweredOn())
    assert seen == []


def test_who_comes_late_gets_what_was_kept() -> None:
    stream = EventStream(lambda: 0.0, keep=10)
    for _ in range(35):
        stream.publish(PoweredOn())
    assert [record.sequence for record in stream.since(0)] == list(range(26, 36))
    assert [record.sequence for record in stream.since(33)] == [34, 35]


def test_everybody_sees_one_order_also_when_a_subscriber_publishes() -> None:
    stream, seen = EventStream(lambda: 0.0), []

    def answer(record: Record) -> None:
        if record.sequence < 3:
            stream.publish(PoweredOn())

    stream.subscribe(answer)
    stream.subscribe(lambda record: seen.append(record.sequence))
    stream.publish(PoweredOn())
    assert seen == [1, 2, 3]


def test_a_subscriber_that_raises_does_not_silence_the_stream() -> None:
    stream, seen = EventStream(lambda: 0.0), []

    def break_the_promise(record: Record) -> None:
        if record.sequence == 1:
            stream.publish(PoweredOn())
            raise ValueError("no subscriber may")

    stream.subscribe(break_the_promise)
    stream.subscribe(lambda record: seen.append(record.sequence))
    with pytest.raises(ValueError, match="no subscriber may"):
        stream.publish(PoweredOn())
    stream.publish(PoweredOn())
    assert seen == [2, 3]
