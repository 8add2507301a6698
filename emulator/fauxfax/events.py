"""The one event stream: what the machine did, as frozen dataclasses.

The log, the journal, server-sent events, capture and the tests all subscribe to the same stream. An event says
what happened in the machine's own words; it never carries a document's octets.
"""

from __future__ import annotations

import dataclasses
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Subclasses add what; the stream adds when."""

    @classmethod
    def kind(cls) -> str:
        """The name on the wire: `PagePrinted` is `page-printed`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()


@dataclass(frozen=True, slots=True)
class Record:
    """An event with its place in the stream: `sequence` counts from 1, `at` is machine time in seconds."""

    sequence: int
    at: float
    event: Event

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: `event`, `sequence`, `at`, then the event's own fields."""
        fields = {f.name: getattr(self.event, f.name) for f in dataclasses.fields(self.event)}
        return {"event": self.event.kind(), "sequence": self.sequence, "at": round(self.at, 6), **fields}


# Power and state -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PoweredOn(Event):
    """The machine started its loader."""


@dataclass(frozen=True, slots=True)
class PoweredOff(Event):
    """The machine went dark; `cut` if the plug was pulled, else it was switched off in order."""

    cut: bool


@dataclass(frozen=True, slots=True)
class FirmwareStarted(Event):
    """The loader started the system control of this version."""

    model: str
    version: str


@dataclass(frozen=True, slots=True)
class StateChanged(Event):
    """The machine as a whole: `off`, `starting`, `ready`, `receiving`, `printing`, `updating`, `recovery`, `error`."""

    state: str


@dataclass(frozen=True, slots=True)
class PanelChanged(Event):
    """What the display shows now, line by line, and which lamps are lit."""

    lines: tuple[str, ...]
    lamps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SensorChanged(Event):
    """A named sensor of the paper path or a cover closed or opened."""

    sensor: str
    active: bool


@dataclass(frozen=True, slots=True)
class ErrorRaised(Event):
    """The machine needs a person: `paper-out`, `jam`, `cover-open`."""

    error: str


@dataclass(frozen=True, slots=True)
class ErrorCleared(Event):
    """A person helped."""

    error: str


# Internet fax --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionOpened(Event):
    """A sender connected."""

    session: int
    peer: str


@dataclass(frozen=True, slots=True)
class SessionClosed(Event):
    """A sender left, or was sent away; `reason` says which."""

    session: int
    reason: str


@dataclass(frozen=True, slots=True)
class MessageAccepted(Event):
    """A message is durable in the image memory and has been acknowledged."""

    message: int
    sender: str
    recipients: tuple[str, ...]
    octets: int


@dataclass(frozen=True, slots=True)
class PagePrinted(Event):
    """A page left the machine; `page` counts from 1."""

    document: int
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class DocumentPrinted(Event):
    """All pages of a document lie in the tray; `result` is `R-OK` or a three-digit code."""

    document: int
    pages: int
    result: str


@dataclass(frozen=True, slots=True)
class DocumentFailed(Event):
    """A message could not be made into a document; an error sheet lies in the tray."""

    document: int
    reason: str


@dataclass(frozen=True, slots=True)
class DocumentKept(Event):
    """A printed document did not get into the tray; it stays in the memory, and is tried again."""

    document: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReceiptSent(Event):
    """An MDN or a DSN for a document was handed to the mail server."""

    document: int
    kind_of_receipt: str
    to: str


@dataclass(frozen=True, slots=True)
class MessageRelayed(Event):
    """A message for somebody else was handed to the mail server."""

    document: int
    to: str


# Host port and firmware ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortConnected(Event):
    """A PC is at a way in: `usb`, `raw`, `parallel`, …; the machine's USB plug is seen as connected."""

    way: str


@dataclass(frozen=True, slots=True)
class PortDisconnected(Event):
    """The PC left, or the machine left the bus."""

    way: str


@dataclass(frozen=True, slots=True)
class DataDropped(Event):
    """Print data the machine cannot use: accepted and dropped, as the family does."""

    way: str
    octets: int
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateStateChanged(Event):
    """The loader moved to `state` of its table; `reason` is empty unless it refused."""

    state: str
    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateDeclined(Event):
    """A code file was offered at this way in and not taken: busy, a wrong password, a size that cannot be."""

    way: str
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateProgressed(Event):
    """How far the loader is in its state: `done` of `total` octets."""

    state: str
    done: int
    total: int


# Faults --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FaultFired(Event):
    """A rule that was armed did what it was asked to do."""

    rule: str
    point: str


@dataclass(frozen=True, slots=True)
class CaptureEnded(Event):
    """A capture or a trace ended before its time, after so many octets: at its limit, or the disk took no more."""

    file: str
    octets: int
    reason: str


class Subscriber(Protocol):
    """Called with every record, in order, from the machine's own thread. It must not raise."""

    def __call__(self, record: Record, /) -> None:
        """Take the record."""
        ...


class EventStream:
    """Publishes events to its subscribers and keeps the last `keep` for whoever comes late."""

    def __init__(self, now: Callable[[], float], keep: int = 1000) -> None:
        self._now = now
        self._keep = keep
        self._records: list[Record] = []
        self._sequence = 0
        self._subscribers: list[Subscriber] = []
        self._undelivered: deque[Record] = deque()
        self._delivering = False

    def publish(self, event: Event) -> Record:
        """Stamp the event with its sequence number and machine time and hand it on.

        What a subscriber publishes in turn is delivered after the event it answers, so that everybody sees one order.
        """
        self._sequence += 1
        record = Record(self._sequence, self._now(), event)
        self._records.append(record)
        if len(self._records) > 2 * self._keep:
            del self._records[: -self._keep]
        self._undelivered.append(record)
        if not self._delivering:
            self._deliver()
        return record

    def _deliver(self) -> None:
        self._delivering = True
        try:
            while self._undelivered:
                record = self._undelivered.popleft()
                for subscriber in tuple(self._subscribers):
                    subscriber(record)
        finally:  # a subscriber that raised has broken its promise, but it does not silence the stream
            self._delivering = False

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Add a subscriber. Returns the function that removes it."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber) if subscriber in self._subscribers else None

    def since(self, sequence: int) -> Iterator[Record]:
        """The kept records after `sequence`, oldest first."""
        return (record for record in self._records[-self._keep :] if record.sequence > sequence)

    @property
    def sequence(self) -> int:
        """The number of the last record; 0 before the first."""
        return self._sequence
