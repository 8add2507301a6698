"""A mail to the configured mail server: one connection, one mail, one recipient. RFC 5321, RFC 3461.

It can be cancelled at any await, which cuts the connection. No TLS and no login: the server is one that takes mail of
this machine as it takes that of any fax on its network.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import NamedTuple

from fauxfax.errors import FauxfaxError
from fauxfax.ifax.receipt import Mail

REPLY_SECONDS = 60.0
"""Real seconds for one reply of the mail server, the connection among them: a project value."""
DOT_SECONDS = 600.0
"""RFC 5321 4.5.3.2.6: the reply to the final dot."""
REPLY_LINES = 100
"""Lines of one reply at most: a project value."""

_NOT_XTEXT = re.compile(r"[^!-*,-<>-~]")


class Refused(FauxfaxError):  # noqa: N818 - what the server did
    """The server will not take this mail, ever (5xx)."""


class TryAgain(FauxfaxError):  # noqa: N818 - what is to be done
    """The server does not take it now, or is not there (4xx, no connection, no reply in time, no SMTP)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the sender wants to hear from whoever delivers the mail (RFC 3461 4.1 to 4.4)."""

    notify: tuple[str, ...] = ()
    original: str = ""
    ret: str = ""
    envid: str = ""


class _Reply(NamedTuple):
    code: int
    lines: list[str]


async def send(host: str, port: int, helo: str, mail: Mail, wishes: Wishes) -> bool:
    """Hand a mail over. Returns whether the server took the wishes, too. Raises Refused or TryAgain, saying why."""
    try:
        async with asyncio.timeout(REPLY_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        raise TryAgain(f"no connection to {host}:{port}: {error or 'nobody answers'}") from None
    try:
        return await _Conversation(reader, writer).hand_over(helo, mail, wishes)
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        raise TryAgain(f"{host}:{port}: {str(error) or 'the connection was lost'}") from None
    finally:
        writer.close()


class _Conversation:
    """The client's side of one session, in lock-step."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def hand_over(self, helo: str, mail: Mail, wishes: Wishes) -> bool:
        _expect(await self._reply(), 220)
        extensions = await self._greet(helo)
        dsn = "DSN" in extensions
        eight = "8BITMIME" in extensions and not mail.data.isascii()
        options = _options(BODY="8BITMIME" if eight else "", **_of_mail(wishes) if dsn else {})
        _expect(await self._say(f"MAIL FROM:<{mail.sender}>{options}"), 250)
        options = _options(**_of_recipient(wishes) if dsn else {})
        _expect(await self._say(f"RCPT TO:<{mail.recipient}>{options}"), 250, 251)
        _expect(await self._say("DATA"), 354)
        self._writer.write(re.sub(rb"(?m)^\.", b"..", mail.data))
        end = b".\r\n" if mail.data.endswith(b"\r\n") else b"\r\n.\r\n"
        self._writer.write(end)
        _expect(await self._reply(DOT_SECONDS), 250)
        self._writer.write(b"QUIT\r\n")
        return dsn

    async def _greet(self, helo: str) -> set[str]:
        reply = await self._say(f"EHLO {helo}")
        if reply.code == 250:
            return {line.split(" ")[0].upper() for line in reply.lines[1:]}
        _expect(await self._say(f"HELO {helo}"), 250)
        return set()

    async def _say(self, command: str) -> _Reply:
        if not command.isprintable() or not command.isascii():
            raise Refused(f"{command!r} cannot be said in SMTP")
        self._writer.write(command.encode() + b"\r\n")
        return await self._reply()

    async def _reply(self, seconds: float = REPLY_SECONDS) -> _Reply:
        lines: list[str] = []
        async with asyncio.timeout(seconds):
            await self._writer.drain()
            while len(lines) < REPLY_LINES:
                line = (await self._reader.readuntil(b"\n")).decode("ascii", "replace").strip()
                if not re.match(r"[2-5]\d\d(?:[ -]|$)", line):
                    raise ValueError(f"this is no SMTP: {line[:60]!r}")
                lines.append(line[4:])
                if line[3:4] != "-":
                    return _Reply(int(line[:3]), lines)
        raise ValueError(f"a reply of more than {REPLY_LINES} lines")


def _expect(reply: _Reply, *codes: int) -> None:
    if reply.code in codes:
        return
    words = f"{reply.code} {' '.join(reply.lines)}"[:300]
    raise Refused(words) if reply.code >= 500 else TryAgain(words)


def _of_mail(wishes: Wishes) -> dict[str, str]:
    return {"RET": wishes.ret, "ENVID": _xtext(wishes.envid)}


def _of_recipient(wishes: Wishes) -> dict[str, str]:
    kind, semicolon, address = wishes.original.partition(";")
    return {"NOTIFY": ",".join(wishes.notify), "ORCPT": kind + semicolon + _xtext(address)}


def _options(**values: str) -> str:
    return "".join(f" {name}={value}" for name, value in values.items() if value)


def _xtext(text: str) -> str:
    """RFC 3461 4."""
    return _NOT_XTEXT.sub(lambda match: f"+{ord(match[0]) & 0xFF:02X}", text)
