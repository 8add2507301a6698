"""A mail server of a few lines for the machine's outbox, and the machine's journal beside it."""

from __future__ import annotations

import contextlib
import email
import socket
import threading
import time
from collections.abc import Sequence
from email.message import Message
from typing import BinaryIO

from fauxfax.testing import MachineProcess


class MailServer:
    """A mail server of a few lines: it answers as its script says, then 250, and keeps what it took."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], Message]] = []
        self.script: list[tuple[str, str]] = []
        """Replies to give instead, once each and in order: the beginning of a command, and the reply."""
        self.extensions: Sequence[str] = ("mail.example", "DSN", "8BITMIME")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def options(self) -> tuple[str, ...]:
        return ("--set", "outbox.host=127.0.0.1", "--set", f"outbox.port={self.port}")

    def wait(self, count: int = 1) -> list[Message]:
        end = time.monotonic() + 20
        while len(self.mails) < count and time.monotonic() < end:
            time.sleep(0.01)
        assert len(self.mails) == count
        return [message for _, message in self.mails]

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer, peer.makefile("rwb") as stream, contextlib.suppress(OSError):
                self._talk(stream)

    def _talk(self, stream: BinaryIO) -> None:
        def say(line: str) -> None:
            stream.write(line.encode() + b"\r\n")
            stream.flush()

        commands: list[str] = []
        say("220 mail.example")
        while line := stream.readline().decode().strip():
            commands.append(line)
            if self.script and line.startswith(self.script[0][0]):
                say(self.script.pop(0)[1])
            elif line.startswith("EHLO"):
                *most, last = self.extensions
                stream.write(b"".join(f"250-{word}\r\n".encode() for word in most))
                say(f"250 {last}")
            elif line == "DATA":
                say("354 go on")
                data = b""
                while (row := stream.readline()) != b".\r\n":
                    data += row.removeprefix(b".")
                if self.script and self.script[0][0] == ".":
                    say(self.script.pop(0)[1])
                    continue
                self.mails.append((commands, email.message_from_bytes(data)))
                say("250 taken")
            else:
                say("250 OK")


def lines(machine: MachineProcess, kind: str, count: int = 1) -> list[dict]:
    """The journal's lines of a kind, once there are so many."""
    end = time.monotonic() + 20
    while len(found := [line for line in machine.client.get("/v1/journal") if line["kind"] == kind]) < count:
        assert time.monotonic() < end, machine.client.get("/v1/journal")
        time.sleep(0.02)
    return found
