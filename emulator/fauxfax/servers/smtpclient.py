"""A mail to the configured mail server: one connection, one mail, one recipient. RFC 5321, RFC 3461.

It can be cancelled at any await, which cuts the connection. With TLS (RFC 8314, RFC 3207) the server must show a
certificate for its host name, and nothing goes out in clear instead; a login (RFC 4954) needs TLS.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from fauxfax.errors import FauxfaxError, Misuse
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


class Tls(Enum):
    """When a connection to the mail server is encrypted."""

    NONE = "none"
    STARTTLS = "starttls"
    """After EHLO: the submission port, 587."""
    TLS = "tls"
    """From the first octet on: port 465."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """The mail server, and how it is talked to. `ca` is a file of certificates to trust instead of the system's.

    Raises Misuse for a login without TLS, half a login, and a `ca` that cannot be read.
    """

    host: str
    port: int
    tls: Tls = Tls.NONE
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""
    context: ssl.SSLContext | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if bool(self.user) != bool(self.password):
            raise Misuse("outbox.user and outbox.password belong together: set both, or neither")
        if self.user and self.tls is Tls.NONE:
            raise Misuse("outbox.user needs outbox.tls = starttls or tls: a password does not go out in clear")
        context = None
        if self.tls is not Tls.NONE:
            try:
                context = ssl.create_default_context(cafile=self.ca or None)
            except OSError as error:  # ssl.SSLError is one
                raise Misuse(f"outbox.ca: {self.ca} holds no certificates that can be read: {error}") from None
        object.__setattr__(self, "context", context)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _Reply(NamedTuple):
    code: int
    lines: list[str]


async def send(relay: Relay, helo: str, mail: Mail, wishes: Wishes) -> bool:
    """Hand a mail over. Returns whether the server took the wishes, too. Raises Refused or TryAgain, saying why."""
    try:
        async with asyncio.timeout(REPLY_SECONDS):
            implicit = relay.context if relay.tls is Tls.TLS else None
            reader, writer = await asyncio.open_connection(relay.host, relay.port, ssl=implicit)
    except (OSError, TimeoutError) as error:
        raise TryAgain(f"no connection to {relay}: {error or 'nobody answers'}") from None
    conversation = _Conversation(relay, reader, writer)
    try:
        return await conversation.hand_over(helo, mail, wishes)
    except (OSError, EOFError, TimeoutError, ValueError) as error:
        raise TryAgain(f"{relay}: {str(error) or 'the connection was lost'}") from None
    finally:
        conversation.close()


class _Conversation:
    """The client's side of one session, in lock-step."""

    def __init__(self, relay: Relay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._relay = relay
        self._reader = reader
        self._writer = self._socket = writer

    def close(self) -> None:
        self._writer.close()
        self._socket.close()  # without waiting for the server's farewell to TLS

    async def hand_over(self, helo: str, mail: Mail, wishes: Wishes) -> bool:
        _expect(await self._reply(), 220)
        extensions = await self._greet(helo)
        if self._relay.tls is Tls.STARTTLS:
            await self._start_tls(extensions)
            extensions = await self._greet(helo)
        if self._relay.user:
            await self._log_in(extensions)
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

    async def _greet(self, helo: str) -> dict[str, str]:
        """Returns the extensions that the server offers, each with its parameters."""
        reply = await self._say(f"EHLO {helo}")
        if reply.code == 250:
            words = (line.upper().partition(" ") for line in reply.lines[1:])
            return {name: parameters for name, _, parameters in words}
        _expect(await self._say(f"HELO {helo}"), 250)
        return {}

    async def _start_tls(self, extensions: dict[str, str]) -> None:
        """RFC 3207. What the server said in clear after its reply stays behind in the old reader, unread."""
        if "STARTTLS" not in extensions:
            raise TryAgain(f"{self._relay} offers no STARTTLS")
        _expect_of_relay(await self._say("STARTTLS"), 220)
        context = self._relay.context
        assert context is not None
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport = await loop.start_tls(
            self._writer.transport, protocol, context,
            server_hostname=self._relay.host, ssl_handshake_timeout=REPLY_SECONDS,
        )  # fmt: skip
        assert transport is not None
        protocol.connection_made(transport)
        self._reader, self._writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _log_in(self, extensions: dict[str, str]) -> None:
        """RFC 4954, with PLAIN or LOGIN. A login that fails is no verdict on the mail: it is tried again."""
        offered = extensions.get("AUTH", "").split()
        user, password = self._relay.user.encode(), self._relay.password.encode()
        if "PLAIN" in offered:
            answers = ["AUTH PLAIN " + _base64(b"\0" + user + b"\0" + password)]
        elif "LOGIN" in offered:
            answers = ["AUTH LOGIN", _base64(user), _base64(password)]
        else:
            raise TryAgain(f"{self._relay} offers no login that this machine knows (PLAIN, LOGIN)")
        for answer, code in zip(answers, [*[334] * (len(answers) - 1), 235], strict=True):
            reply = await self._say(answer)
            secret = answer.rpartition(" ")[2]  # some servers repeat what they do not like
            _expect_of_relay(reply._replace(lines=[line.replace(secret, "…") for line in reply.lines]), code)

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


def _expect_of_relay(reply: _Reply, code: int) -> None:
    """As `_expect`, for what the server thinks of this machine and not of the mail: always worth another try."""
    try:
        _expect(reply, code)
    except Refused as error:
        raise TryAgain(str(error)) from None


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


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
