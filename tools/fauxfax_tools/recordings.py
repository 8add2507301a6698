"""Recordings of what an unknown tool sent: shown, analysed, and said again to another machine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fauxfax.hostport import recording
from fauxfax.hostport.recording import Piece
from fauxfax_tools.describe import describe
from fauxfax_tools.errors import BadUsage, LinkLost
from fauxfax_tools.framing import Framing, find_checksums, find_counters, find_fixed, find_framing
from fauxfax_tools.links.base import Deadline, Link

PAUSE = 0.02  # seconds between two pieces from which on they are two writes of the tool
SHOWN = 4  # lines of octets of each piece, unless all are asked for
COLUMNS = 16
LINGER = 0.3  # seconds to listen after the last piece of a replay
SEND_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Conversation:
    """One connection of a recording."""

    way: str
    number: int
    pieces: tuple[Piece, ...]

    def said(self, event: str = "in") -> bytes:
        """All octets of one direction."""
        return b"".join(piece.data for piece in self.pieces if piece.event == event)

    def bursts(self) -> list[bytes]:
        """What the tool said without a pause, at a time."""
        spoken = [piece for piece in self.pieces if piece.event == "in"]
        found = [spoken[0].data] if spoken else []
        for before, piece in pairwise(spoken):
            if piece.at - before.at < PAUSE:
                found[-1] += piece.data
            else:
                found.append(piece.data)
        return found


def load(path: Path) -> list[Conversation]:
    """The connections of a recording, in order. Raises FormatError if it is none, BadUsage if it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            pieces = list(recording.parse(file))
    except OSError as error:
        raise BadUsage(f"{path}: {error.strerror}") from error
    numbers = dict.fromkeys(piece.connection for piece in pieces)
    grouped = {number: tuple(piece for piece in pieces if piece.connection == number) for number in numbers}
    return [Conversation(own[0].way, number, own) for number, own in grouped.items()]


def choose(conversations: Sequence[Conversation], number: int | None) -> Conversation:
    """The connection of that number; the one that said most if none is named. Raises BadUsage that lists them."""
    found = [one for one in conversations if number in (None, one.number)]
    if not found:
        there = ", ".join(str(one.number) for one in conversations) or "none"
        raise BadUsage(f"connection {number} is not in the recording; there are: {there}")
    return max(found, key=lambda one: len(one.said()))


# Showing ---------------------------------------------------------------------------------------------------------


def show(conversations: Sequence[Conversation], *, whole: bool = False) -> Iterator[str]:
    """Every piece with its time and direction, and its octets in hex and text."""
    for one in conversations:
        yield f"connection {one.number} ({one.way}): {len(one.said())} octets in, {len(one.said('out'))} out"
        offsets: Counter[str] = Counter()
        for piece in one.pieces:
            arrow = {"in": "->", "out": "<-"}.get(piece.event, "--")
            size = f" {len(piece.data)} octets" if piece.data else ""
            yield f"  {piece.at:11.6f} {arrow} {piece.event}{size}"
            yield from _hex(piece.data, offsets[piece.event], whole=whole)
            offsets[piece.event] += len(piece.data)


def _hex(data: bytes, offset: int, *, whole: bool) -> Iterator[str]:
    lines = range(0, len(data), COLUMNS)
    for at in lines if whole else lines[:SHOWN]:
        row = data[at : at + COLUMNS]
        text = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in row)
        yield f"      {offset + at:08x}  {row.hex(' '):{3 * COLUMNS - 1}}  {text}"
    if not whole and len(lines) > SHOWN:
        yield f"      … {len(data) - SHOWN * COLUMNS} octets more (--all shows them)"


# Analysing -------------------------------------------------------------------------------------------------------


def analyse(conversation: Conversation) -> Iterator[str]:
    """What can be told of one connection: lines for a person."""
    data, bursts = conversation.said(), conversation.bursts()
    yield f"connection {conversation.number} ({conversation.way}), from the tool to the machine"
    yield f"  {len(data)} octets in {len(bursts)} writes"
    if not data:
        return
    sizes = Counter(map(len, bursts)).most_common(5)
    yield "  sizes of the writes: " + ", ".join(f"{size} ({count} x)" for size, count in sizes)
    pauses = [after.at - before.at for before, after in pairwise(conversation.pieces)]
    if long := [pause for pause in pauses if pause >= PAUSE]:
        yield f"  {len(long)} pauses, the longest {max(long):.3f} s: there it may wait for an answer"
    found = describe(data)
    yield f"  entropy {found.entropy:.2f} of 8 bits an octet |{found.picture}|"
    for container in found.containers:
        yield f"  contains: {container}"
    if found.strings:
        yield "  texts: " + " | ".join(found.strings[:6])
    yield from _framing(data, bursts)


def _framing(data: bytes, bursts: Sequence[bytes]) -> Iterator[str]:
    starts = [0]
    for burst in bursts:
        starts.append(starts[-1] + len(burst))
    framing: Framing | None = find_framing(data, starts)
    if framing is None:
        framing = next(filter(None, (find_fixed(data, list(map(len, bursts)), start) for start in starts[:3])), None)
    if framing is None:
        yield "  framing: none with a length field or of one size leads through the stream"
        return
    frames = framing.frames(data)
    sizes = Counter(map(len, frames)).most_common(4)
    yield f"  framing: {framing}"
    if framing.start:
        yield f"  before the first frame: {data[: framing.start]!r}"
    if framing.tail:
        yield f"  after the last frame: {data[-framing.tail :]!r}"
    yield "  sizes of the frames: " + ", ".join(f"{size} ({count} x)" for size, count in sizes)
    for at in find_counters(frames):
        yield f"  counter: the octet at {at} of each frame counts up by one"
    checksums = find_checksums(frames)
    for checksum in checksums[:5]:
        yield f"  checksum: {checksum} (-N counts from the end of the frame)"
    if not checksums:
        yield "  checksum: none of those known here is right in every frame"


# Saying it again -------------------------------------------------------------------------------------------------


def replay(
    conversation: Conversation, link: Link, *, pace: float = 1.0, sleep: Callable[[float], None] = time.sleep
) -> bytes:
    """Send what the tool said over an open link, with its pauses divided by `pace` (0 keeps none).

    Returns what came back. Raises LinkLost if the link takes no more.
    """
    answer = bytearray()
    spoken = [piece for piece in conversation.pieces if piece.event == "in"]
    for number, piece in enumerate(spoken):
        if number and pace:
            sleep((piece.at - spoken[number - 1].at) / pace)
        rest, deadline = memoryview(piece.data), Deadline(SEND_TIMEOUT)
        while rest:
            rest = rest[link.write(rest, deadline.left) :]
            if rest and deadline.passed:
                raise LinkLost(f"{link.url}: it took {len(piece.data) - len(rest)} of {len(piece.data)} octets")
        if link.bidirectional:
            answer += link.read(65536, 0.0)
    while link.bidirectional and (more := link.read(65536, LINGER)):
        answer += more
    return bytes(answer)
