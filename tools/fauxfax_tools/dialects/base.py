"""What an update needs to say to a machine, whatever the words on the wire are.

The real tools' protocol is not public, so the words are one dialect behind this interface; a capture of the real
tools can replace it without a change to the updater.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from fauxfax.firmware.states import State
from fauxfax.models import MODELS
from fauxfax_tools.conversation import Conversation

WORKING = (State.RECEIVING, State.CHECKING, State.STAGED, State.REWRITING, State.VERIFYING, State.COMMITTED)


@dataclass(frozen=True, slots=True)
class Installed:
    """What runs of one component: its version, and the SHA-256 of its content in hex."""

    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class LastAttempt:
    """How the update before went; it survives power-off. An empty reason means it succeeded."""

    version: str
    stage: str
    reason: str
    offset: int
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """Where the machine's loader is. `sha256` is of the `received` octets that it stored of an unfinished update.

    `on_trial` says that what runs may still give way to the firmware before it.
    """

    state: State
    version: str = ""
    received: int = 0
    next_offset: int = 0
    sha256: str = ""
    done: int = 0
    total: int = 0
    reason: str = ""
    on_trial: bool = False
    last: LastAttempt | None = None

    @property
    def refused(self) -> bool:
        """Whether the machine has just said no."""
        return self.state is State.REFUSED or bool(self.reason)


@dataclass(frozen=True, slots=True)
class Machine:
    """Who answers on a link."""

    model: str
    device_id: str
    serial: str
    firmware: dict[str, Installed] = field(default_factory=dict)

    @property
    def emulated(self) -> bool:
        """Whether it says of itself that it is not a real machine: its serial number begins with EMU."""
        return self.serial.startswith("EMU")

    @property
    def title(self) -> str:
        """What messages call it: `UF-8000 EMUFAX1`."""
        return f"{self.model or 'unknown model'} {self.serial or 'without a serial number'}"

    def described(self, components: Iterable[str] = ("SC",)) -> str:
        """What a question calls it, with what runs of these: `UF-8000 EMUFAX1, which runs SC V10100`."""
        running = [f"{name} {self.firmware[name].version}" for name in components if name in self.firmware]
        return f"{self.title}, which runs {' and '.join(running)}" if running else self.title


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be sent: the container, from `offset` on if the machine already holds what stands before it."""

    container: bytes
    offset: int = 0
    prefix_sha256: str = ""
    password: str = ""
    force: bool = False


class Dialect(Protocol):
    """The words of one update protocol, spoken over an open link."""

    @property
    def conversation(self) -> Conversation:
        """The link as a stream of whole messages; octets of a code file go through it between the dialect's own."""
        ...

    def forget(self) -> None:
        """Drop what is half read, and news: the connection they came on is gone."""
        ...

    def identify(self) -> Machine:
        """Who is there. Raises LinkLost if nobody answers in this dialect."""
        ...

    def firmware(self) -> dict[str, Installed]:
        """What runs, by component."""
        ...

    def status(self) -> Status:
        """Where the loader is, asked now."""
        ...

    def news(self) -> Status | None:
        """The latest progress that the machine told unasked since the last call; a refusal is never passed over."""
        ...

    def opening(self, job: Job) -> bytes:
        """What goes before the container's octets."""
        ...

    def closing(self) -> bytes:
        """What goes after them."""
        ...


def read_machine(text: str, device_id: str = "", firmware: dict[str, Installed] | None = None) -> Machine:
    """Who speaks, from whatever it says of itself: a device id, the reply to INFO ID, a greeting."""
    return Machine(_find_model(text), device_id, _find_serial(text), firmware or {})


def _find_model(text: str) -> str:
    """The longest model name of the family that occurs in `text`, or what a device id calls its model."""
    for name in sorted(MODELS, key=len, reverse=True):
        if name in text.upper():
            return name
    field_of_id = re.search(r"(?:MDL|MODEL)[:=]\s*\"?([^;\"\r\n]+)", text)
    return field_of_id[1].strip() if field_of_id else ""


def _find_serial(text: str) -> str:
    """The serial number in a device id or a reply, or that of an emulated machine in its FTP login."""
    found = re.search(r"\b(?:SN|SERN|SERIAL|SERIALNUMBER)[:=]\s*\"?([^;\"\r\n]+)", text)
    found = found or re.search(r"^230 Logged in to (EMU\w*)", text, re.MULTILINE)
    return found[1].strip() if found else ""
