"""The line printer daemon protocol, RFC 1179, as a printer speaks it: one connection, octets in, events out.

    COMMAND   \\2 queue LF   receive a job             -> JOB
              \\1 \\3 \\4 \\5     print, state, remove      -> OVER (the answer ends the connection)
    JOB       \\1 LF         abort                     -> OVER
              \\2 n name LF  the control file follows  -> CONTROL -> JOB
              \\3 n name LF  a data file follows       -> DATA    -> JOB

What waits for an answer waits for `acknowledge()` or `refuse()`: nothing more is read before. Data come at the
reader's pace: `next_event(limit)` gives out no more than the machine has room for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

UNSUPPORTED = b"It is not being supported.\n"
"""What a sister machine (DP-1520) answers to an octet it does not know; the line end is a project value."""
ACCEPTED, REFUSED = b"\0", b"\1"
MAX_LINE = 1024
"""Octets of a command line: a project value."""
MAX_CONTROL = 64 * 1024
"""Octets of a control file: a project value."""
STREAM_FROM = 1 << 32
"""A count from here on, like 0, announces a data file of unknown size that ends with the connection.

Not in RFC 1179; what clients that print from a pipe do (Windows' `lpr`, LPRng, CUPS with `mode=stream`).
"""


class State(Enum):
    """Where the connection is; the table is in the module's docstring."""

    COMMAND = "command"
    JOB = "job"
    CONTROL = "control file"
    DATA = "data file"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class StateWanted:
    """`lpq`: what waits in the queue, short or long. The answer is a text."""

    queue: str
    long: bool


@dataclass(frozen=True, slots=True)
class JobOffered:
    """A job for a queue."""

    queue: str


@dataclass(frozen=True, slots=True)
class ControlFile:
    """The job's control file, whole: lines of a letter and a value (RFC 1179, 7)."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class DataOffered:
    """A data file is about to come; `size` is None if only the end of the connection tells."""

    name: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Data:
    """The next octets of the data file."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class DataEnded:
    """The data file is over; `complete` if it came as it was announced."""

    complete: bool


Event = StateWanted | JobOffered | ControlFile | DataOffered | Data | DataEnded


class Session:
    """One connection: `receive()` octets, take `next_event()` until None, send `data_to_send()`, close when `over`.

    `complaint` says what the client did wrong, if that is why.
    """

    def __init__(self) -> None:
        self.state = State.COMMAND
        self.complaint = ""
        self._buffer = bytearray()
        self._output = bytearray()
        self._answer_owed = False
        self._ended = False
        self._name = ""
        self._remaining: int | None = 0
        self._steps: dict[State, Callable[[int], Event | None]] = {
            State.COMMAND: self._command,
            State.JOB: self._subcommand,
            State.CONTROL: self._control,
            State.DATA: self._data,
            State.OVER: lambda _: None,
        }

    @property
    def over(self) -> bool:
        """Whether the connection is to be closed once everything has been sent."""
        silent = self._ended and not self._buffer
        return (self.state is State.OVER or silent) and not self._answer_owed

    @property
    def stalled(self) -> bool:
        """Whether octets wait for an answer or for room, so that nothing more is to be read from the client."""
        return bool(self._buffer) and (self._answer_owed or self.state is State.DATA)

    def receive(self, data: bytes) -> None:
        """Octets from the client."""
        self._buffer += data

    def receive_end(self) -> None:
        """The client has said all it will."""
        self._ended = True

    def next_event(self, limit: int) -> Event | None:
        """What comes next; at most `limit` octets of data. None: more octets, room, or an answer is needed first."""
        return None if self._answer_owed else self._steps[self.state](limit)

    def acknowledge(self) -> None:
        """Yes to what was last offered or ended."""
        self._answer(ACCEPTED)

    def refuse(self) -> None:
        """No to what has just ended; the client says what is next."""
        self._answer(REFUSED)

    def tell(self, text: str) -> None:
        """The answer to `StateWanted`."""
        self._answer(text.encode("latin-1", "replace"))
        self._buffer.clear()

    def data_to_send(self) -> bytes:
        """What waits for the client; asking takes it."""
        data = bytes(self._output)
        self._output.clear()
        return data

    # One step in each state: None if it needs more octets --------------------------------------------------------

    def _command(self, _: int) -> Event | None:
        line = self._line(b"\1\2\3\4\5")
        if line is None:
            return None
        code, queue = line[0], _text(line[1:])
        if code == 2:
            return self._owe(JobOffered(queue), State.JOB)
        if code in (3, 4):
            return self._owe(StateWanted(queue.split(" ")[0], code == 4), State.OVER)
        self._output += ACCEPTED  # nothing ever waits here, to be printed or to be removed
        self._over()
        return None

    def _subcommand(self, _: int) -> Event | None:
        line = self._line(b"\1\2\3")
        if line is None:
            return None
        digits, __, self._name = _text(line[1:]).partition(" ")
        if line[0] == 1:
            self._over()
            return None
        size = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None
        if size is None or (line[0] == 2 and size > MAX_CONTROL):
            self._output += REFUSED
            self._over(f"a file of {digits[:20]!r} octets")
            return None
        if line[0] == 2:
            self._remaining, self.state = size, State.CONTROL
            self._output += ACCEPTED
            return self._control(0)
        announced = size if 0 < size < STREAM_FROM else None
        self._remaining = announced
        return self._owe(DataOffered(self._name, announced), State.DATA)

    def _control(self, _: int) -> Event | None:
        """The whole file and the zero octet after it; the answer to it is the caller's."""
        size = self._remaining or 0
        if len(self._buffer) <= size:
            if self._ended:
                self._over()
            return None
        content = bytes(self._buffer[:size])
        del self._buffer[: size + 1]
        return self._owe(ControlFile(self._name, content), State.JOB)

    def _data(self, limit: int) -> Event | None:
        if self._remaining == 0:
            return self._data_end()
        whole = len(self._buffer) if self._remaining is None else min(len(self._buffer), self._remaining)
        octets = bytes(self._buffer[: min(whole, limit)])
        if octets:
            del self._buffer[: len(octets)]
            if self._remaining is not None:
                self._remaining -= len(octets)
            return Data(octets)
        if self._ended and not self._buffer:
            return self._owe(DataEnded(complete=self._remaining is None), State.JOB)
        return None

    def _data_end(self) -> Event | None:
        """After the last octet comes a zero octet; a client that closes instead has still sent all."""
        if not self._buffer and not self._ended:
            return None
        del self._buffer[:1]
        return self._owe(DataEnded(complete=True), State.JOB)

    # Their parts -------------------------------------------------------------------------------------------------

    def _line(self, known: bytes) -> bytes | None:
        """A command line without its end; None if there is none yet, or if the connection is over now."""
        if self._buffer and self._buffer[0] not in known:
            self._output += UNSUPPORTED
            self._over(f"command {self._buffer[0]} is not known here")
            return None
        line, end, rest = self._buffer.partition(b"\n")
        if end and len(line) <= MAX_LINE:
            self._buffer = rest
            return bytes(line)
        if len(line) > MAX_LINE:
            self._over(f"a command of more than {MAX_LINE} octets")
        elif self._ended:
            self._over()
        return None

    def _owe(self, event: Event, following: State) -> Event:
        self._answer_owed, self.state = True, following
        return event

    def _answer(self, octets: bytes) -> None:
        self._answer_owed = False
        self._output += octets

    def _over(self, complaint: str = "") -> None:
        self.state, self.complaint = State.OVER, complaint
        self._buffer.clear()


def _text(octets: bytes) -> str:
    return octets.decode("latin-1").strip()
