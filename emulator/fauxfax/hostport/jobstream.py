"""The job stream on the host port: UEL and PJL, as tolerant as printers are.

    ESC%-12345X@PJL COMMENT …CRLF  @PJL UPGRADE SIZE=nCRLF  <n octets>  ESC%-12345X

A stream may arrive in any chunks, with CRLF or LF, in any case. It is always in one of three modes:

    JOB       PJL lines, and whatever a PC sends outside a job      -> UPGRADE, PRINT
    UPGRADE   the octets of a code file, so many as were announced  -> JOB
    PRINT     print data (TIFF, PBM, PWG raster) until the next UEL -> JOB

What a PC asks for is an event; the machine answers with `reply_info()`, `reply_echo()` or `unsolicited_status()`.
Nothing raises on what a PC may send: unknown commands and text outside a job are passed over and counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from fauxfax.hostport.search import contains

UEL = b"\x1b%-12345X"
"""Universal Exit Language: ends whatever came before (PJL Technical Reference, chapter 2)."""
_ESCAPE = UEL[:1]
MAX_LINE = 1024
"""Octets of one PJL line; the rest of a longer one is ignored. A project value."""
RASTERS = (b"II*\0", b"MM\0*", b"P4", b"P5", b"P6", b"RaS2", b"RaS3")
"""How print data begins that a fax could put on paper: TIFF, PBM and its relatives, PWG raster."""

_COMMAND = re.compile(rb"\s*@PJL", re.IGNORECASE)
_MEANING = re.compile(rb"\x1b%-12345X|(?<=\n)(?:[ \t\r\v\f]*@PJL|II\*\0|MM\0\*|P[456]|RaS[23])", re.IGNORECASE)
"""Where, behind text that means nothing, something begins that does."""
_OPTION = re.compile(r'([A-Z][A-Z0-9]*)\s*=\s*("[^"]*"|\S+)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Query:
    """`@PJL INFO category`: the machine answers with `reply_info`."""

    category: str


@dataclass(frozen=True, slots=True)
class Echo:
    """`@PJL ECHO text`: the machine answers with `reply_echo`, when what was asked before has its answer."""

    text: str


@dataclass(frozen=True, slots=True)
class UpgradeOffered:
    """`@PJL UPGRADE`: `size` octets follow, from `offset` on if the machine has `offset` octets with this SHA-256."""

    size: int
    offset: int = 0
    sha256: str | None = None
    force: bool = False
    password: str | None = None


@dataclass(frozen=True, slots=True)
class UpgradeData:
    """The next octets of the code file."""

    data: bytes


@dataclass(frozen=True, slots=True)
class UpgradeEnded:
    """No more octets come; `complete` if all that were announced did."""

    complete: bool


@dataclass(frozen=True, slots=True)
class UpgradeAborted:
    """`@PJL UPGRADE ABORT`."""


@dataclass(frozen=True, slots=True)
class StatusWanted:
    """`@PJL USTATUS DEVICE=mode`: ON, VERBOSE or OFF."""

    mode: str


@dataclass(frozen=True, slots=True)
class PrintData:
    """Octets of a picture to print."""

    data: bytes


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A UEL: whatever job there was is over."""


@dataclass(frozen=True, slots=True)
class TextIgnored:
    """So many octets outside a job that meant nothing."""

    octets: int


Event = (
    Query
    | Echo
    | UpgradeOffered
    | UpgradeData
    | UpgradeEnded
    | UpgradeAborted
    | StatusWanted
    | PrintData
    | JobEnded
    | TextIgnored
)


class Mode(Enum):
    """What the next octets are."""

    JOB = "job"
    UPGRADE = "upgrade"
    PRINT = "print"


class JobStream:
    """One PC's stream. `feed()` returns what it asks for; `data_to_send()` is what it gets back."""

    def __init__(self) -> None:
        self.ignored = 0
        self._mode = Mode.JOB
        self._buffer = bytearray()
        self._remaining = 0
        self._password: str | None = None
        self._output = bytearray()
        self._events: list[Event] = []
        self._steps: dict[Mode, Callable[[], bool]] = {
            Mode.JOB: self._take_line,
            Mode.UPGRADE: self._take_upgrade,
            Mode.PRINT: self._take_print,
        }

    @property
    def printing(self) -> bool:
        """Whether what comes next is print data, as far as it is known."""
        return self._mode is Mode.PRINT

    def passes(self, data: bytes) -> bool:
        """Whether these octets are print data and nothing else, as most are; else `feed()` has to take them."""
        return (
            self._mode is Mode.PRINT
            and not self._buffer
            and not contains(data, UEL)
            and data.rfind(_ESCAPE, 1 - len(UEL)) < 0
        )

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Take octets from the PC. Returns what they ask for, in order."""
        self._events = []
        if self._mode is Mode.UPGRADE and not self._buffer and len(data) <= self._remaining:
            self._upgrade_data(bytes(data))  # the bulk of a code file is never copied twice
            return self._events
        self._buffer += data
        while self._buffer and self._steps[self._mode]():
            pass
        return self._events

    def end(self) -> list[Event]:
        """The connection ends here: an upgrade that is not whole ends early."""
        self._events = []
        if self._mode is Mode.UPGRADE:
            self._events.append(UpgradeEnded(complete=False))
        elif self._mode is Mode.PRINT and self._buffer:
            self._events.append(PrintData(bytes(self._buffer)))
        self._events.append(JobEnded())
        self._buffer.clear()
        self._mode = Mode.JOB
        return self._events

    def data_to_send(self) -> bytes:
        """What waits for the PC; asking takes it."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def reply_info(self, category: str, lines: Sequence[str]) -> None:
        """Answer a query: the command again, a line each, and a form feed (PJL Technical Reference, chapter 7)."""
        self._reply(f"@PJL INFO {category}", lines)

    def reply_echo(self, text: str) -> None:
        """Say it back, for a PC that waits until everything before is answered."""
        self._reply(f"@PJL ECHO {text}", ())

    def unsolicited_status(self, lines: Sequence[str]) -> None:
        """Tell a PC that asked for it what the machine does now."""
        self._reply("@PJL USTATUS DEVICE", lines)

    def _reply(self, head: str, lines: Sequence[str]) -> None:
        text = "".join(f"{line}\r\n" for line in (head, *lines))
        self._output += text.encode("latin-1", "replace") + b"\x0c"

    # One step in each mode: False if it needs more octets --------------------------------------------------------

    def _take_line(self) -> bool:
        """One line outside upgrade and print data, or the UEL before it."""
        buffer = self._buffer
        if buffer.startswith(UEL):
            del buffer[: len(UEL)]
            self._events.append(JobEnded())
            self._password = None
            return True
        head = bytes(buffer[: len(UEL)])
        if any(len(head) < len(known) and known.startswith(head) for known in (UEL, *RASTERS)):
            return False  # the beginning of something known: it takes more octets to tell
        if any(buffer.startswith(magic) for magic in RASTERS):
            self._mode = Mode.PRINT
            return True
        if not _COMMAND.match(buffer):
            return self._pass_over_text()
        end = buffer.find(b"\n") + 1
        uel = buffer.find(UEL, 1, end or len(buffer))
        if not end and uel < 0:
            return self._keep_line_bounded()
        length = uel if uel >= 0 else end
        line = bytes(buffer[:length])
        del buffer[:length]
        self._line(line)
        return True

    def _pass_over_text(self) -> bool:
        """Whole lines that mean nothing, as many as there are: a PC may send megabytes of a language nobody knows."""
        buffer = self._buffer
        found = _MEANING.search(buffer)
        end = found.start() if found else buffer.rfind(b"\n") + 1
        if not end:
            return self._keep_line_bounded()
        self._ignore(end - buffer.count(b"\n", 0, end) - buffer.count(b"\r", 0, end))
        del buffer[:end]
        return True

    def _keep_line_bounded(self) -> bool:
        """A line without an end: its head is kept in case it is a command, what exceeds the limit is dropped."""
        if len(self._buffer) > 2 * MAX_LINE:
            surplus = len(self._buffer) - MAX_LINE - len(UEL)
            del self._buffer[MAX_LINE : MAX_LINE + surplus]
            self._ignore(surplus)
        return False

    def _take_upgrade(self) -> bool:
        data = bytes(self._buffer[: self._remaining])
        del self._buffer[: self._remaining]
        self._upgrade_data(data)
        return True

    def _take_print(self) -> bool:
        """Print data up to the next UEL; what may be the beginning of one is kept back."""
        at = self._buffer.find(UEL)
        end = at if at >= 0 else _sure(self._buffer)
        if end:
            self._events.append(PrintData(bytes(self._buffer[:end])))
            del self._buffer[:end]
        if at >= 0:
            self._mode = Mode.JOB
        return at >= 0

    def _upgrade_data(self, data: bytes) -> None:
        self._remaining -= len(data)
        if data:
            self._events.append(UpgradeData(data))
        if self._remaining == 0:
            self._mode = Mode.JOB
            self._events.append(UpgradeEnded(complete=True))

    # Lines -------------------------------------------------------------------------------------------------------

    def _line(self, line: bytes) -> None:
        text = line[:MAX_LINE].decode("latin-1").strip()
        words = text.split(None, 2)
        if not words or words[0].upper() != "@PJL":
            self._ignore(len(line.rstrip(b"\r\n")))  # `@PJLX` is no command either
            return
        command, rest = (words[1].upper() if len(words) > 1 else ""), (words[2] if len(words) > 2 else "")
        match command:
            case "INFO" if rest:
                self._events.append(Query(rest.split()[0].upper()))
            case "ECHO":
                self._events.append(Echo(rest))
            case "USTATUS":
                self._ustatus(rest)
            case "JOB":
                self._password = _options(rest).get("PASSWORD", self._password)
            case "UPGRADE":
                self._upgrade(rest)

    def _ustatus(self, rest: str) -> None:
        mode = _options(rest).get("DEVICE", "").upper()
        if mode in ("ON", "VERBOSE", "OFF"):
            self._events.append(StatusWanted(mode))

    def _upgrade(self, rest: str) -> None:
        options = _options(rest)
        if rest.strip().upper() == "ABORT":
            self._events.append(UpgradeAborted())
            return
        size, offset = _number(options.get("SIZE")), _number(options.get("OFFSET", "0"))
        if size is None or offset is None:
            return
        self._remaining = max(0, size - offset)
        self._events.append(
            UpgradeOffered(
                size,
                offset,
                options.get("SHA256"),
                force=options.get("FORCE", "").upper() == "ON",
                password=self._password,
            )
        )
        self._mode = Mode.UPGRADE
        if self._remaining == 0:
            self._upgrade_data(b"")

    def _ignore(self, octets: int) -> None:
        if octets > 0:
            self.ignored += octets
            self._events.append(TextIgnored(octets))


def _sure(data: bytes | bytearray) -> int:
    """How many of these octets are surely not the beginning of a UEL."""
    at = data.rfind(_ESCAPE, 1 - len(UEL))  # ESC stands at the beginning of a UEL and nowhere else in it
    return at if at >= 0 and UEL.startswith(data[at:]) else len(data)


def _options(text: str) -> dict[str, str]:
    """`NAME=VALUE` pairs, names in upper case, values without quotes."""
    return {name.upper(): value.strip('"') for name, value in _OPTION.findall(text)}


def _number(text: str | None) -> int | None:
    """A count of octets; None if it is none, or longer than any flash."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 12 else None
