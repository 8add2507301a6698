"""A recording of what a PC said to a way in, and what it got back: a file of JSON lines.

    {"fauxfax recording": 1, "model": "UF-8000", "began": 1175385600.0}
    {"at": 12.25, "way": "raw", "connection": 3, "event": "in", "data": "G0VYQU1QTEU="}

`at` is machine time in seconds. `event` is `in` (octets of the PC), `out` (octets of the machine), `end` (the PC left),
`reset` (it reset the port) or `full` (the recording ends here, the limit is reached); `data` is Base64. A line is
complete or was never written to its end, so a recording that a kill cut short is still read.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fauxfax.errors import FormatError

VERSION = 1
_TITLE = "fauxfax recording"
EVENTS = ("in", "out", "end", "reset", "full")


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing that happened on one connection."""

    at: float
    way: str
    connection: int
    event: str
    data: bytes = b""


def head(model: str, began: float) -> str:
    """The first line; `began` is seconds since 1970."""
    return json.dumps({_TITLE: VERSION, "model": model, "began": began}) + "\n"


def line(piece: Piece) -> str:
    """The line of a piece."""
    fields: dict[str, object] = {
        "at": round(piece.at, 6), "way": piece.way, "connection": piece.connection, "event": piece.event
    }  # fmt: skip
    if piece.data:
        fields["data"] = base64.b64encode(piece.data).decode("ascii")
    return json.dumps(fields) + "\n"


def parse(lines: Iterable[str]) -> Iterator[Piece]:
    """The pieces of a recording. Raises FormatError that names the line; a last line without its end is left out."""
    for number, text in enumerate(lines, 1):
        where = f"line {number}"
        if not text.endswith("\n"):
            return
        try:
            fields = json.loads(text)
            if number == 1:
                if fields[_TITLE] != VERSION:
                    raise FormatError(f"a recording of version {fields[_TITLE]}; this program reads {VERSION}", where)
                continue
            piece = Piece(
                float(fields["at"]),
                str(fields["way"]),
                int(fields["connection"]),
                str(fields["event"]),
                base64.b64decode(fields.get("data", ""), validate=True),
            )
        except (ValueError, TypeError, KeyError, AttributeError, binascii.Error):
            raise FormatError("this is no recording of fauxfax", where) from None
        if piece.event not in EVENTS:
            raise FormatError(f"event {piece.event!r} is none of {', '.join(EVENTS)}", where)
        yield piece
