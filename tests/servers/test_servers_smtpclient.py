"""The outbox towards an ordinary mail server: TLS with its certificate checked, and a login that no wire shows."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from fauxfax.errors import Misuse
from fauxfax.ifax.receipt import Mail
from fauxfax.servers.smtpclient import Refused, Relay, Tls, TryAgain, Wishes, send

CERTIFICATES = Path(__file__).parents[1] / "tls"
CA = str(CERTIFICATES / "mail.pem")
MAIL = Mail("me@example.org", b"Subject: hello\r\n\r\n.dot\r\n")
PLAIN = "AUTH PLAIN " + base64.b64encode(b"\0jane\0geheim").decode()


class Server:
    """Speaks the given lines; what it hears is kept, `<TLS>` where the connection became secret."""

    def __init__(self, tls: Tls, replies: dict[str, str], extensions: str) -> None:
        self.heard: list[str] = []
        self.data = b""
        self._tls = tls
        self._replies = {"EHLO": "250-mail.example\r\n" + extensions, "DATA": "354 go", **replies}
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CA, CERTIFICATES / "mail.key")

    async def take(self, relay: Callable[[int], Relay], address: str = "127.0.0.1") -> bool:
        """Listen, and have the client send one mail."""
        context = self._context if self._tls is Tls.TLS else None
        server = await asyncio.start_server(self._talk, address, 0, ssl=context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.wait_for(send(relay(port), "fax.example", MAIL, Wishes()), 10)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 mail.example\r\n")
            while line := (await reader.readline()).decode().strip():
                self.heard.append(line)
                reply = next((text for start, text in self._replies.items() if line.startswith(start)), "250 OK")
                writer.write(reply.encode() + b"\r\n")
                if line == "STARTTLS" and reply.startswith("220"):
                    await writer.start_tls(self._context)
                    self.heard.append("<TLS>")
                elif line == "DATA":
                    self.data = await reader.readuntil(b"\r\n.\r\n")
                    writer.write(b"250 taken\r\n")
        except OSError:  # the client would not have this certificate
            pass
        finally:
            writer.close()


def run(
    tls: Tls, replies: dict[str, str], *, offers: str = "250-STARTTLS\r\n250 AUTH LOGIN PLAIN", user: str = "jane"
) -> Server:
    server, password = Server(tls, replies, offers), "geheim" if user else ""
    asyncio.run(
        server.take(lambda port: Relay(host="localhost", port=port, tls=tls, user=user, password=password, ca=CA))
    )
    return server


OK = {"STARTTLS": "220 go", "AUTH PLAIN": "235 welcome"}


def test_nothing_but_ehlo_goes_out_before_starttls_and_the_login_goes_after_it() -> None:
    server = run(Tls.STARTTLS, OK)
    assert server.heard == [
        "EHLO fax.example", "STARTTLS", "<TLS>", "EHLO fax.example", PLAIN, "MAIL FROM:<>", "RCPT TO:<me@example.org>",
        "DATA", "QUIT",
    ]  # fmt: skip
    assert server.data == b"Subject: hello\r\n\r\n..dot\r\n.\r\n"


def test_a_connection_is_secret_from_its_first_octet_if_that_is_wanted() -> None:
    server = run(Tls.TLS, OK)
    assert server.heard[:2] == ["EHLO fax.example", PLAIN]
    assert server.data


def test_a_server_that_knows_only_login_is_given_it_in_three_steps() -> None:
    def step(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    replies = {"STARTTLS": "220 go", "AUTH LOGIN": "334 VXNlcm5hbWU6", step("jane"): "334 UGFzc3dvcmQ6",
               step("geheim"): "235 welcome"}  # fmt: skip
    server = run(Tls.STARTTLS, replies, offers="250-STARTTLS\r\n250 AUTH LOGIN")
    assert server.heard[4:7] == ["AUTH LOGIN", step("jane"), step("geheim")]
    assert server.data


@pytest.mark.parametrize(
    ("replies", "changes", "reason"),
    [
        (OK, {"ca": ""}, "certificate verify failed"),
        (OK, {"host": "127.0.0.2"}, "IP address mismatch"),
        (OK, {"offers": "250 AUTH PLAIN"}, "offers no STARTTLS"),
        ({"STARTTLS": "554 not today"}, {}, "554 not today"),
        (OK, {"offers": "250-STARTTLS\r\n250 AUTH CRAM-MD5"}, "offers no login that this machine knows"),
        ({"STARTTLS": "220 go", "AUTH": "535 who are you"}, {}, "535 who are you"),
    ],
    ids=["stranger's certificate", "another host's certificate", "no STARTTLS", "STARTTLS refused", "no known login",
         "wrong password"],
)  # fmt: skip
def test_what_is_wrong_with_the_relay_costs_no_mail_and_tells_no_secret(
    replies: dict[str, str], changes: dict[str, str], reason: str
) -> None:
    server = Server(Tls.STARTTLS, replies, changes.pop("offers", "250-STARTTLS\r\n250 AUTH PLAIN"))
    wanted = {"host": "127.0.0.1", "ca": CA, **changes}

    def relay(port: int) -> Relay:
        return Relay(port=port, tls=Tls.STARTTLS, user="jane", password="geheim", **wanted)

    with pytest.raises(TryAgain, match=reason):
        asyncio.run(server.take(relay, wanted["host"]))
    assert server.data == b""
    before_tls = server.heard[: server.heard.index("<TLS>")] if "<TLS>" in server.heard else server.heard
    assert not [line for line in before_tls if line.startswith("AUTH")]


def test_a_server_that_repeats_the_login_puts_no_password_into_the_journal() -> None:
    with pytest.raises(TryAgain) as caught:
        run(Tls.STARTTLS, {"STARTTLS": "220 go", "AUTH": f"535 I do not know {PLAIN}"})
    assert str(caught.value) == "535 I do not know AUTH PLAIN …"


def test_words_slipped_in_before_the_handshake_are_not_taken_for_the_servers() -> None:
    slipped = "220 go\r\n250-mail.example\r\n250 AUTH PLAIN\r\n235 welcome\r\n550 no such user"
    server = run(Tls.STARTTLS, {**OK, "STARTTLS": slipped})
    assert server.data


def test_a_refusal_of_the_mail_is_final_with_tls_too() -> None:
    with pytest.raises(Refused, match="550 nobody"):
        run(Tls.TLS, {"RCPT": "550 nobody"}, user="")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"user": "jane", "password": "geheim"}, "does not go out in clear"),
        ({"tls": Tls.TLS, "user": "jane"}, "belong together"),
        ({"tls": Tls.TLS, "ca": "/nowhere"}, "/nowhere holds no certificates"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_at_the_start(settings: dict, complaint: str) -> None:
    with pytest.raises(Misuse, match=complaint) as caught:
        Relay(host="mail.example", port=25, **settings)
    assert "geheim" not in str(caught.value)
    assert "geheim" not in repr(Relay(host="h", port=25, tls=Tls.TLS, user="jane", password="geheim"))
