"""A machine made of a script: a real socket server that speaks the replies an update tool must understand.

It installs what it is told to install and misbehaves as it is told to misbehave; of the emulator it uses the codec of
the job stream and nothing else.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Protocol

from fauxfax.errors import FormatError
from fauxfax.firmware.codefile import Header, parse_header
from fauxfax.hostport.jobstream import (
    JobStream,
    Query,
    StatusWanted,
    UpgradeData,
    UpgradeEnded,
    UpgradeOffered,
)


@dataclass
class Script:
    """What the machine is, and what it does wrong."""

    model: str = "UF-8000"
    serial: str = "EMU0001"
    firmware: dict[str, tuple[str, str]] = field(default_factory=lambda: {"SC": ("V10100", "00" * 32)})
    refuse: str = ""  # after everything arrived
    refuse_at: int | None = None  # as soon as so many octets arrived, unasked
    drop_at: list[int] = field(default_factory=list)  # close the connection when so many octets arrived, once each
    dark: int = 0  # closes so many connections at once, after one was dropped
    lie: bool = False  # claims the new version, runs the old content
    silent: bool = False  # never answers
    states: tuple[str, ...] = ("CHECKING", "STAGED", "REWRITING", "VERIFYING", "COMMITTED")
    trials: int = 0  # so many answers say that what runs is on trial
    away: bool = True  # the connection is closed for the restart
    stuck: str = ""  # stays in this state for ever
    busy: str = ""  # another writer: the state it is in from the start


class Connection(Protocol):
    """What a conversation needs of a socket."""

    def settimeout(self, seconds: float) -> None: ...
    def recv(self, size: int) -> bytes: ...
    def sendall(self, data: bytes) -> None: ...


class ScriptedMachine:
    """One listening socket on loopback; use as a context manager."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.stored = bytearray()
        self.offers: list[UpgradeOffered] = []
        self.received = 0
        self._pending: list[str] = []
        self._last = ("", "", "", 0)
        self._installed: Header | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def link(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def __enter__(self) -> ScriptedMachine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(5)

    def stop(self) -> None:
        """Let every conversation end soon."""
        self._stop.set()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with connection:
                if self.script.dark and self.received:
                    self.script.dark -= 1
                    continue
                connection.settimeout(0.05)
                self.converse(connection)

    def converse(self, connection: Connection) -> None:
        stream, self._verbose = JobStream(), False
        while not self._stop.is_set():
            try:
                data = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            if not data:
                self._ended(stream)
                return
            if not self._feed(stream, data):
                return
            try:
                connection.sendall(b"" if self.script.silent else stream.data_to_send())
            except OSError:
                return

    def _ended(self, stream: JobStream) -> None:
        for event in stream.end():
            if isinstance(event, UpgradeEnded) and not event.complete:
                self._last = ("", "RECEIVING", f"the stream ended after {self.received} octets", self.received)

    def _feed(self, stream: JobStream, data: bytes) -> bool:
        """Act on octets; False to close the connection now."""
        for event in stream.feed(data):
            match event:
                case Query(category):
                    if not self._answer(stream, category):
                        return False
                case StatusWanted():
                    self._verbose = True
                case UpgradeOffered():
                    self._offered(event)
                case UpgradeData(octets):
                    if not self._take(stream, octets):
                        return False
                case UpgradeEnded(complete=True):
                    self._complete()
        return True

    def _offered(self, offer: UpgradeOffered) -> None:
        self.offers.append(offer)
        del self.stored[offer.offset :]
        self.received = offer.offset

    def _take(self, stream: JobStream, octets: bytes) -> bool:
        self.stored += octets
        self.received = len(self.stored)
        if self.script.drop_at and self.received >= self.script.drop_at[0]:
            self.script.drop_at.pop(0)
            self._ended(stream)
            return False
        if self.script.refuse_at is not None and self.received >= self.script.refuse_at:
            stream.unsolicited_status(["STATE=REFUSED", f"REASON={self.script.refuse}"])
            self.script.refuse_at = None
        return True

    def _complete(self) -> None:
        container = bytes(self.stored)
        try:
            header = parse_header(container)
        except FormatError as error:
            self._last = ("", "RECEIVING", str(error), 0)
            return
        if self.script.refuse:
            self._last = (header.version, "CHECKING", self.script.refuse, len(container))
            return
        self._pending, self._installed = list(self.script.states), header
        self.stored.clear()

    def _answer(self, stream: JobStream, category: str) -> bool:
        who = [f'"{self.script.model}"', f"SERIAL={self.script.serial}"]
        if category == "UPGRADE":
            state = self._next_state()
            if state == "RESTARTING" and self.script.away:
                return False
            stream.reply_info(category, self._upgrade_lines(state))
        elif category == "FIRMWARE":
            stream.reply_info(category, self._firmware_lines())
        else:
            stream.reply_info(category, who if category == "ID" else [])
        return True

    def _next_state(self) -> str:
        if self.script.busy:
            return self.script.busy
        if self.script.stuck and self._pending:
            return self.script.stuck
        if self._pending:
            return self._pending.pop(0)
        if self._installed is not None:
            self._install(self._installed)
            return "RESTARTING"
        return "RUNNING"

    def _install(self, header: Header) -> None:
        for part in header.parts:
            sha256 = "11" * 32 if self.script.lie else part.sha256.hex()
            self.script.firmware[part.component.value] = (part.version, sha256)
        self._last = (header.version, "COMMITTED", "", 0)
        self._installed = None

    def _upgrade_lines(self, state: str) -> list[str]:
        version, stage, reason, offset = self._last
        return [
            f"STATE={state}",
            f"RECEIVED={self.received}",
            f"NEXT={len(self.stored)}",
            f"SHA256={hashlib.sha256(self.stored).hexdigest() if self.stored else ''}",
            "DONE=1",
            "TOTAL=2",
            f"LASTVERSION={version}",
            f"LASTSTAGE={stage}",
            f"LASTREASON={reason}",
            f"LASTOFFSET={offset}",
            f"TRIAL={self._trial()}",
        ]

    def _trial(self) -> str:
        if not self.script.trials:
            return "OFF"
        self.script.trials -= 1
        return "ON"

    def _firmware_lines(self) -> list[str]:
        lines = []
        for name, (version, sha256) in self.script.firmware.items():
            lines += [f"{name}={version}", f"{name}.SHA256={sha256}"]
        return lines
