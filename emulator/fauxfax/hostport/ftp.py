"""The file transfer protocol, RFC 959 with EPSV and EPRT of RFC 2428, as a printer speaks it: it only takes files.

    LOGIN     USER -> PASSWORD                       (everything else but QUIT, NOOP, SYST: 530)
    PASSWORD  PASS -> READY
    READY     STOR, LIST, NLST -> TRANSFER           (150, then 226 or 550); STAT tells how the machine is
    TRANSFER  ABOR, or the end of the data -> READY  (other commands wait)
    any       QUIT -> OVER

There are no files to look at: every folder is empty. The type of a transfer is not looked at either, octets are
taken as they come. Octets in, events out: whoever has the sockets opens data connections and tells how it went.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

GREETING = "220 FTP server ready."
UNKNOWN = "510 command not supported."
"""How a sister machine (DP-1820E) greets, and what it says to a line it does not know."""
MAX_LINE = 512
"""Octets of a command line: a project value."""
LOWEST_DATA_PORT = 1024
"""Active mode connects to no port below it, and to no address but the client's own (RFC 2577, 3)."""


class State(Enum):
    """Where the session is; the table is in the module's docstring."""

    LOGIN = "login"
    PASSWORD = "password"
    READY = "ready"
    TRANSFER = "transfer"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class PassiveWanted:
    """The client will connect for its data: answer with `passive()`."""

    extended: bool


@dataclass(frozen=True, slots=True)
class ActiveWanted:
    """The client waits for its data connection on this port of its own address."""

    port: int


@dataclass(frozen=True, slots=True)
class StoreWanted:
    """A file is about to come: answer with `opening()`, then `ended()`."""

    name: str


@dataclass(frozen=True, slots=True)
class ListWanted:
    """A listing, which is empty: answer with `opening()`, then `ended()`."""


@dataclass(frozen=True, slots=True)
class StatusWanted:
    """How the machine is: answer with `status()`."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The client gives the transfer up; nothing is to be answered to it."""


Event = PassiveWanted | ActiveWanted | StoreWanted | ListWanted | StatusWanted | Aborted


class Session:
    """One control connection: `receive()`, `next_event()` until None, send `data_to_send()`.

    Args:
        peer: the client's address, the only one that data connections are made with.
        serial: the machine's serial number; the login says it, so that nobody takes an emulated machine for a real one.
    """

    def __init__(self, peer: str, serial: str) -> None:
        self.state = State.LOGIN
        self.password = ""
        self._peer = peer
        self._serial = serial
        self._buffer = bytearray()
        self._output = bytearray()
        self._answer_owed = False
        self._too_long = False
        self._say(GREETING)
        self._commands: dict[str, Callable[[str], Event | None]] = {
            "USER": self._user,
            "PASS": self._pass,
            "QUIT": self._quit,
            "NOOP": lambda _: self._say("200 OK."),
            "SYST": lambda _: self._say("215 UNIX Type: L8"),
            "TYPE": lambda words: self._choose(words, ("A", "A N", "I", "L 8"), "Type"),
            "MODE": lambda words: self._choose(words, ("S",), "Mode"),
            "STRU": lambda words: self._choose(words, ("F",), "Structure"),
            "ALLO": lambda _: self._say("202 No storage allocation necessary."),
            "PWD": lambda _: self._say('257 "/" is the current directory.'),
            "CWD": lambda _: self._say("250 There is but one directory."),
            "CDUP": lambda _: self._say("250 There is but one directory."),
            "PASV": lambda _: self._owe(PassiveWanted(extended=False)),
            "EPSV": self._extended_passive,
            "PORT": self._port,
            "EPRT": self._extended_port,
            "STAT": lambda _: self._owe(StatusWanted()),
            "STOR": self._store,
            "LIST": lambda _: self._owe(ListWanted(), State.TRANSFER),
            "NLST": lambda _: self._owe(ListWanted(), State.TRANSFER),
            "RETR": lambda _: self._say("550 There is no such file."),
            "SIZE": lambda _: self._say("550 There is no such file."),
            "DELE": lambda _: self._say("550 There is no such file."),
            "ABOR": lambda _: self._say("226 There is nothing to abort."),
        }
        self._before_login = ("USER", "PASS", "QUIT", "NOOP", "SYST")

    @property
    def over(self) -> bool:
        """Whether the connection is to be closed once everything has been sent."""
        return self.state is State.OVER

    @property
    def stalled(self) -> bool:
        """Whether so much waits for the end of a transfer that nothing more is to be read from the client."""
        return len(self._buffer) > MAX_LINE

    def receive(self, data: bytes) -> None:
        """Octets from the client."""
        self._buffer += data

    def next_event(self) -> Event | None:
        """What comes next; None if more octets, an answer, or the end of a transfer is needed first."""
        while not self._answer_owed and self.state is not State.OVER:
            if self.state is State.TRANSFER:
                return Aborted() if self._take_abort() else None
            line = self._line()
            if line is None:
                return None
            if (event := self._command(line)) is not None:
                return event
        return None

    def passive(self, host: str, port: int) -> None:
        """The answer to `PassiveWanted`: where this side waits, as the control connection knows it."""
        address = ipaddress.ip_address(host)
        if self._extended:
            self._answer(f"229 Entering Extended Passive Mode (|||{port}|)")
        elif address.version == 4:
            numbers = ",".join(map(str, (*address.packed, port >> 8, port & 0xFF)))
            self._answer(f"227 Entering Passive Mode ({numbers})")
        else:
            self._answer("425 PASV knows IPv4 only; use EPSV.")

    def active(self) -> None:
        """The answer to `ActiveWanted`."""
        self._answer("200 OK.")

    def status(self, lines: Sequence[str]) -> None:
        """The answer to `StatusWanted`, in several lines (RFC 959, 4.2)."""
        self._say("211-Status")
        for line in lines:
            self._say(f" {line}")
        self._answer("211 End of status.")

    def opening(self) -> None:
        """The first answer to `StoreWanted` and `ListWanted`."""
        self._answer("150 Opening data connection.")

    def ended(self, code: int, text: str) -> None:
        """The last answer to a transfer: 226, 425, 426 or 550, and why."""
        self.state = State.READY
        self._answer(f"{code} {' '.join(text.split())}")

    def data_to_send(self) -> bytes:
        """What waits for the client; asking takes it."""
        data = bytes(self._output)
        self._output.clear()
        return data

    # Lines ---------------------------------------------------------------------------------------------------------

    def _line(self) -> str | None:
        """The next line without its end and without what Telnet puts before it; None if there is none yet."""
        line, end, rest = self._buffer.partition(b"\n")
        if not end:
            self._too_long = self._too_long or len(line) > MAX_LINE
            if self._too_long:
                self._buffer.clear()
            return None
        self._buffer = rest
        long, self._too_long = self._too_long or len(line) > MAX_LINE, False
        return "" if long else _text(line)

    def _take_abort(self) -> bool:
        line, end, rest = self._buffer.partition(b"\n")
        if not end or _text(line).upper() != "ABOR":
            return False
        self._buffer = rest
        return True

    def _command(self, line: str) -> Event | None:
        word, _, rest = line.partition(" ")
        command = self._commands.get(word.upper())
        if command is None:
            return self._say(UNKNOWN)
        if self.state is not State.READY and word.upper() not in self._before_login:
            return self._say("530 Please log in with USER and PASS.")
        return command(rest.strip())

    def _say(self, text: str) -> Event | None:
        """Answer at once: nobody else needs to do anything. What the client said is repeated without its controls."""
        line = "".join(character if character.isprintable() else "?" for character in text)
        self._output += line.encode("latin-1", "replace") + b"\r\n"
        return None

    def _answer(self, text: str) -> None:
        self._answer_owed = False
        self._say(text)

    def _owe(self, event: Event, following: State = State.READY) -> Event:
        self._answer_owed, self.state = True, following
        self._extended = event == PassiveWanted(extended=True)
        return event

    # Commands ------------------------------------------------------------------------------------------------------

    def _user(self, _: str) -> Event | None:
        self.state = State.PASSWORD
        return self._say("331 Any password will do; a service password opens the firmware update.")

    def _pass(self, password: str) -> Event | None:
        if self.state is not State.PASSWORD:
            return self._say("503 USER comes first.")
        self.password = password if password.isascii() and password.isdigit() else ""
        self.state = State.READY
        return self._say(f"230 Logged in to {self._serial}.")

    def _quit(self, _: str) -> Event | None:
        self.state = State.OVER
        return self._say("221 Goodbye.")

    def _choose(self, words: str, known: tuple[str, ...], what: str) -> Event | None:
        return self._say(f"200 {what} set." if words.upper() in known else f"504 {what} {words} is not supported.")

    def _extended_passive(self, words: str) -> Event | None:
        if words not in ("", "1", "2"):
            return self._say("522 Network protocol not supported, use (1,2)")
        return self._owe(PassiveWanted(extended=True))

    def _port(self, words: str) -> Event | None:
        numbers = [
            int(word) if word.isascii() and word.isdigit() and len(word) <= 3 else 256 for word in words.split(",")
        ]
        if len(numbers) != 6 or max(numbers) > 255:
            return self._say("501 PORT needs six numbers from 0 to 255.")
        return self._active(".".join(map(str, numbers[:4])), numbers[4] << 8 | numbers[5])

    def _extended_port(self, words: str) -> Event | None:
        parts = words.split(words[:1]) if words else []
        if len(parts) != 5 or not (parts[3].isascii() and parts[3].isdigit() and len(parts[3]) <= 5):
            return self._say("501 EPRT needs |1 or 2|address|port|.")
        return self._active(parts[2], int(parts[3]))

    def _active(self, address: str, port: int) -> Event | None:
        if address != self._peer or not LOWEST_DATA_PORT <= port <= 0xFFFF:
            return self._say("501 The data connection goes to your own address and a port from 1024, or not at all.")
        return self._owe(ActiveWanted(port))

    def _store(self, name: str) -> Event | None:
        if not name:
            return self._say("501 STOR needs a name.")
        return self._owe(StoreWanted(name), State.TRANSFER)


def _text(line: bytes | bytearray) -> str:
    """A line as text, without Telnet's IAC commands (ABOR comes with IAC IP and IAC DM; RFC 959, 4.1.3)."""
    octets = bytes(line)
    while octets[:1] == b"\xff":
        octets = octets[2:]
    return octets.lstrip(b"\xf2").decode("latin-1").strip()
