"""What the receiver needs from the machine it stands in, and what it hands over: the contract of the room.

The receiver asks a :class:`Host` while a dialogue runs and is answered at once. What it has read it hands over
as :class:`MessageReceived`; whoever keeps it answers with a :class:`Verdict`, and only then does the sender hear 250.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol

from fauxfax.errors import FauxfaxError
from fauxfax.faults import Rule
from fauxfax.ifax.address import Address, Answer, Resolution
from fauxfax.models import MIB, SmtpQuirks, documented, project

BINARY = "BINARY"
"""`Envelope.body` of a document that is no mail: a picture as a PC printed it."""


class MemoryFullError(FauxfaxError):
    """The image memory has no room for a message. A store raises it; the sender hears 452."""


class Mode(Enum):
    """How a transaction was begun: RFC 821 3.4. The terminal of a fax machine is its print engine."""

    MAIL = "MAIL"
    SEND = "SEND"
    SOML = "SOML"
    SAML = "SAML"

    __hash__ = object.__hash__  # members are single, and looked up for each message


class Verdict(Enum):
    """What became of a message that was read to its end; each is one reply to the dot."""

    STORED = "stored"
    """It is durable (or need not be): 250."""
    LOCAL_ERROR = "local-error"
    """It could not be kept now: 451."""
    MEMORY_FULL = "memory-full"
    """No room in the image memory: 452."""
    TOO_LARGE = "too-large"
    """It will never fit: 552."""
    UNREADABLE = "unreadable"
    """Nothing in it can be printed, found out before it was accepted: 554 5.6.1 (RFC 3249 4.4.3)."""
    REFUSED = "refused"
    """Refused for another reason: 554."""

    __hash__ = object.__hash__  # members are single, and looked up for each message


class Recipient(NamedTuple):
    """One accepted recipient. As the envelope and the message a named tuple: one is made for each message.

    `address` is as the sender wrote it, but for a relay password; `mailbox` is the machine's mailbox it prints for, or,
    if `forward`, the foreign address it goes on to. `notify` and `original` are the DSN parameters NOTIFY and ORCPT
    (RFC 3461), the latter decoded from xtext.
    """

    address: str
    mailbox: str
    forward: bool = False
    subaddress: str = ""
    notify: tuple[str, ...] = ()
    original: str = ""


class Envelope(NamedTuple):
    """One transaction: who sent it, to whom, and how. `sender` is empty for `<>`."""

    session: int
    peer: str
    helo: str
    sender: str
    recipients: tuple[Recipient, ...]
    received_at: float
    """Seconds since 1970."""
    mode: Mode = Mode.MAIL
    body: str = "7BIT"
    """`7BIT` or `8BITMIME` (RFC 6152), or BINARY."""
    ret: str = ""
    """`FULL`, `HDRS` or nothing (RFC 3461 4.3)."""
    envid: str = ""
    """Decoded from xtext (RFC 3461 4.4)."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        recipients = [{**one._asdict(), "notify": list(one.notify)} for one in self.recipients]
        return {**self._asdict(), "mode": self.mode.value, "recipients": recipients}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Envelope:
        """The envelope that `as_dict()` made."""
        recipients = tuple(Recipient(**{**one, "notify": tuple(one["notify"])}) for one in data["recipients"])
        return cls(**{**data, "mode": Mode(data["mode"]), "recipients": recipients})


class MessageReceived(NamedTuple):
    """A message has been read to its end and waits for a verdict. It is kept in the pieces it came in."""

    envelope: Envelope
    pieces: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        """The message, dots unstuffed, every line ended by CRLF. Joins the pieces each time: ask once."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)

    @property
    def octets(self) -> int:
        """The length of `data`."""
        pieces = self.pieces
        return len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one receiver takes, and how long it waits. Sizes in octets, times in machine seconds."""

    command_line: int = documented("RFC 821 4.5.3: 512 with CRLF", 512)
    extended_line: int = project("a command line with ESMTP parameters", 2048)
    text_line: int = documented("RFC 821 4.5.3: 1000 with CRLF; smtp.text_line takes up to 64 KiB", 1000)
    message: int = project("largest message whatever the image memory has free", 64 * MIB)
    recipients: int = project("RFC 821 4.5.3 asks for 100 at least", 200)
    errors: int = project("refused commands in one session before it is closed", 20)
    hops: int = project("Received lines that mean a loop (RFC 5321 6.3 asks for 100 at least)", 100)
    pending: int = project("input kept while a message is being stored", MIB)
    sessions: int = project("sessions at a time", 32)
    sessions_per_address: int = project("sessions at a time from one address", 32)
    repair_line_ends: bool = project("bare CR and LF are refused; true makes them CRLF", False)
    greeting_timeout: float = documented("RFC 1123 5.3.2, 8020 p.445: the 220 message", 300.0)
    command_timeout: float = documented("RFC 1123 5.3.2, 8020 p.445: MAIL and RCPT", 300.0)
    data_timeout: float = documented("RFC 1123 5.3.2, 8020 p.445: DATA initiation", 120.0)
    block_timeout: float = documented("RFC 1123 5.3.2, 8020 p.445: a data block", 180.0)
    verdict_timeout: float = documented("RFC 1123 5.3.2, 8020 p.445: the final dot", 600.0)
    session_timeout: float = project("the longest a session lasts in all", 3600.0)


@dataclass(slots=True)
class Reservations:
    """Octets of messages that are being read, over all sessions of one server: they are not free any more."""

    octets: int = field(default=0)


class Host(Protocol):
    """The machine as its receiver sees it. Every question is answered at once and changes nothing but counters."""

    @property
    def quirks(self) -> SmtpQuirks:
        """What senders can see of the flashed firmware."""
        ...

    @property
    def domain(self) -> str:
        """The mail domain of the machine."""
        ...

    def refusal(self) -> str:
        """Why no session or transaction may begin now (`updating`, `shutting down`), for a 421; empty if it may."""
        ...

    def free_memory(self) -> int:
        """Octets of image memory that no stored document holds."""
        ...

    def terminal_ready(self) -> bool:
        """Whether the print engine would print a page now: paper, no jam, covers closed, nothing printing."""
        ...

    def resolve(self, address: Address) -> Resolution:
        """Who a recipient is; see `Directory.resolve`."""
        ...

    def verify(self, name: str) -> Answer:
        """The answer to VRFY; see `Directory.verify`."""
        ...

    def expand(self, name: str) -> Answer:
        """The answer to EXPN; see `Directory.expand`."""
        ...

    @property
    def armed(self) -> bool:
        """Whether there is any fault rule: if not, `ask` need not be called."""
        ...

    def ask(self, point: str, *, sender: str = "", recipient: str = "", peer: str = "") -> Rule | None:
        """The fault rule that fires here, if one does.

        The receiver itself acts on `reply`, `drop`, `delay`, `stall`, `close-after` and `memory-full`. Every other
        action (`paper-out`, `jam`, `cover-open`, `cut`) is done by the machine as it answers; the dialogue goes on.
        """
        ...

    def wall(self) -> float:
        """Seconds since 1970."""
        ...
