"""Update by mail, after the maker's patent US 6,405,244; how the real machine words it is not public: project values.

    instruction mail -> lamp and panel -> SET -> request mail -> program mail -> the job stream of every other way in
                                          STOP: forgotten

An instruction is a mail with the subject INSTRUCTION and a line `PASSWORD=<service password>`; a wrong one is declined
and counts for the lock-out like any other. The request goes to the instruction's envelope sender. Its Message-Id
is made with the password, so that only its answer (In-Reply-To) is taken for the program: the attachment.
Off unless configured. What was asked for is forgotten at a power-off. None of these mails is ever printed: each is
known by what the memory keeps, so one that was stored and not looked at when power went is looked at first.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from fauxfax.errors import FormatError
from fauxfax.hostport.jobstream import UEL
from fauxfax.ifax.mime import leaves, parse, parse_headers, read_headers
from fauxfax.ifax.receipt import Mail
from fauxfax.machine.channel import Channel
from fauxfax.machine.journal import RESULT_OK
from fauxfax.machine.memory import Stored

if TYPE_CHECKING:
    from fauxfax.machine.machine import Machine

INSTRUCTION, REQUEST = "FIRMWARE UPDATE INSTRUCTION", "FIRMWARE REQUEST"
"""Subjects of the mails."""
KIND = "UPD"
_ANSWERED = re.compile(r"<(\d{1,9})\.([0-9a-f]{32})@")
_PASSWORD = re.compile(rb"^PASSWORD=(\d{1,10})\s*$", re.MULTILINE | re.IGNORECASE)
_BEGINNING = 64 * 1024
"""Octets of a mail in which its headers, and the password of an instruction, are looked for: a project value."""

Post = Callable[[int, str, Mail], None]


class MailUpdate:
    """The operator's side of an update by mail. `post` sends a mail on account of a document, as a kind."""

    def __init__(self, machine: Machine, post: Post) -> None:
        self._machine = machine
        self._post = post
        self._offer: Stored | None = None
        self._asked = 0
        """The number of the instruction whose program is waited for; 0 if none is."""
        self._rest = memoryview(b"")
        self._port: Channel | None = None
        self._feeding = False

    @property
    def waits_for_operator(self) -> bool:
        """Whether an instruction waits for SET."""
        return self._offer is not None

    def take(self, message: Stored) -> bool:
        """Whether a mail that was accepted is about an update: then it is not printed."""
        memory = self._machine.memory
        beginning = memory.beginning(message.number, _BEGINNING)
        headers = read_headers(parse_headers(beginning))
        if instruction := self._answered(headers.get("In-Reply-To", "")):
            program = memory.body(message.number)
            self._finished(message)
            self._answer(instruction, program)
        elif headers.get("Subject", "").strip().upper() == INSTRUCTION:
            self._finished(message)
            self._instructed(message, beginning)
        else:
            return False
        return True

    def press(self, key: str) -> None:
        """SET asks for the program, STOP forgets the instruction."""
        offer = self._offer
        if offer is None or key not in ("SET", "STOP"):
            return
        self._offer = None
        if key == "SET":
            self._asked = offer.number
            self._post(offer.number, KIND, Mail(offer.envelope.sender, self._request(offer), self._address))

    def power_off(self) -> None:
        """What was asked for is forgotten."""
        self._offer, self._asked, self._rest, self._port = None, 0, memoryview(b""), None
        self._feeding = False

    @property
    def _address(self) -> str:
        machine = self._machine
        return f"fax@{machine.settings.domain or machine.model.default_domain}"

    def _token(self, instruction: Stored) -> str:
        """What the Message-Id of its request begins with. Made of what outlives a power-off."""
        secret = self._machine.settings.update_password.encode()
        proof = hmac.new(secret, f"{instruction.number} {instruction.received_at}".encode(), hashlib.sha256)
        return f"{instruction.number}.{proof.hexdigest()[:32]}"

    def _answered(self, in_reply_to: str) -> int:
        """The number of the instruction whose request, now or before a power-off, is answered; 0 if it is none."""
        for number, proof in _ANSWERED.findall(in_reply_to):
            instruction = self._machine.memory.get(int(number))
            if instruction is not None and hmac.compare_digest(self._token(instruction), f"{number}.{proof}"):
                return instruction.number
        return 0

    def _answer(self, instruction: int, program: bytes) -> None:
        if instruction == self._asked:
            self._asked = 0
            self._install(program)
        else:
            self._machine.updates.decline("mail", "nobody waits any more for the program that was asked for")

    def _instructed(self, message: Stored, beginning: bytes) -> None:
        found = _PASSWORD.search(beginning)
        reason = self._machine.updates.wrong_password(found[1].decode() if found else None)
        if not reason and not message.envelope.sender:
            reason = "the instruction has no sender to ask"
        if reason:
            self._machine.updates.decline("mail", reason)
        else:
            self._offer = message
            self._machine.refresh()

    def _request(self, offer: Stored) -> bytes:
        machine = self._machine
        domain = self._address.partition("@")[2]
        lines = [
            f"From: <{self._address}>",
            f"To: <{offer.envelope.sender}>",
            f"Subject: {REQUEST}",
            f"Date: {format_datetime(datetime.fromtimestamp(machine.clock.wall, UTC))}",
            f"Message-Id: <{self._token(offer)}@{domain}>",
            "MIME-Version: 1.0",
            "",
            f"MODEL={machine.model.name}",
            f"SERIAL={machine.serial}",
            *(f"{component}={version}" for component, version in machine.versions.items()),
        ]
        return "\r\n".join([*lines, ""]).encode("ascii", "replace")

    def _install(self, body: bytes) -> None:
        program = _program(body)
        if not program:
            self._machine.updates.decline("mail", "the mail that was asked for has no code file attached")
            return
        password = self._machine.settings.update_password
        job = UEL + f"@PJL JOB PASSWORD={password}\r\n".encode() + program.removeprefix(UEL)
        self._rest = memoryview(job)
        self._port = self._machine.open_port("mail")
        self._port.on_change(self._feed)
        self._feed()

    def _feed(self) -> None:
        """Give the job stream what it has room for; the machine calls again when it has more, also within a write."""
        port = self._port
        if port is None or self._feeding:
            return
        self._feeding = True
        while self._rest and (room := port.room):
            piece, self._rest = self._rest[:room], self._rest[room:]
            port.write(piece)
        self._feeding = False
        if not self._rest:
            self._port = None
            port.on_change(None)
            port.end()

    def _finished(self, message: Stored) -> None:
        self._machine.memory.finished(message.number, "printed", RESULT_OK)


def _program(body: bytes) -> bytes:
    """The first attachment with a printing job in it; empty if there is none."""
    try:
        return next((part.data for part in leaves(parse(body)) if UEL in part.data[:4096]), b"")
    except FormatError:
        return b""
