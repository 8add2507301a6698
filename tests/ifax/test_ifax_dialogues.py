"""The dialogue files, each as it stands and octet by octet; `dialogues/README.md` says how they are written."""

from __future__ import annotations

import dataclasses
import email
from collections.abc import Iterator
from pathlib import Path

import pytest
from ifax_session import Session

from fauxfax.ifax.host import Limits, MessageReceived, Verdict
from fauxfax.ifax.mail import open_document
from fauxfax.ifax.receipt import Action, Station, delivery_status
from fauxfax.ifax.replies import Code
from fauxfax.ifax.smtp import Dropped
from fauxfax.ifax.standalone import StandaloneHost

FILES = sorted((Path(__file__).parent / "dialogues").glob("*.txt"))
BY_BURST = {"lock_step_resents_pipelining"}
"""A lock-step machine looks at the bursts: that is its quirk."""


class Stage:
    """One dialogue being played."""

    def __init__(self, host: StandaloneHost, *, by_octet: bool) -> None:
        self.host = host
        self.by_octet = by_octet
        self.limits: dict[str, object] = {}
        self.verdict = Verdict.STORED
        self.session: Session | None = None
        self.answer = b""

    def play(self, lines: list[str]) -> None:
        said = b""
        for number, line in enumerate(lines, 1):
            mark, _, rest = line.partition(" ")
            if mark == "C:":
                said += rest.encode() + b"\r\n"
                continue
            if said:
                self._say(said)
                said = b""
            if mark == "S:":
                self._connected()
                reply, end, self.answer = self.answer.partition(b"\r\n")
                assert reply + end == rest.encode() + b"\r\n", f"line {number}"
            elif mark == "=":
                self._direct(*rest.partition(" ")[::2])
            else:
                assert not line or mark == "#", f"line {number}: {line!r}"
        assert not said
        assert self.answer == b""

    def _connected(self) -> Session:
        if self.session is None:
            self.session = Session(self.host, Limits(**self.limits), self.verdict)
            self.answer = self.session.replies()
        return self.session

    def _say(self, octets: bytes) -> None:
        assert self.answer == b"", "the receiver said more than the dialogue has"
        session = self._connected()
        parts = [octets[i : i + 1] for i in range(len(octets))] if self.by_octet else [octets]
        self.answer = b"".join(session.say(part) for part in parts)

    def _direct(self, what: str, argument: str) -> None:
        name, _, value = argument.partition(" ")
        if what == "quirk":
            self.host.quirks = dataclasses.replace(self.host.quirks, **{name: _value(value, name)})
        elif what == "directory":
            self.host.directory = dataclasses.replace(self.host.directory, **{name: _value(value, name)})
        elif what == "limit":
            self.limits[name] = int(value)
        elif what == "host":
            setattr(self.host, name, _value(value, name))
        elif what == "fault":
            self.host.faults.arm(argument)
        elif what == "verdict":
            self.verdict = Verdict[name]
        else:
            self._check(what, name, value)

    def _check(self, what: str, name: str, value: str) -> None:
        session = self._connected()
        if what == "message":
            assert session.messages[int(name) - 1].data == value.replace("\\r\\n", "\r\n").encode()
        elif what == "messages":
            assert len(session.messages) == int(name)
        elif what in ("printed", "unreadable"):
            document = open_document(session.messages[int(name) - 1].data)
            assert bool(document.pages) == (what == "printed")
            assert bool(document.failure) == (what == "unreadable")
        elif what == "delivery-status":
            _check_status(session.messages[-1], name, value)
        elif what == "dropped":
            assert any(isinstance(event, Dropped) for event in session.events)
        else:
            assert session.receiver.closing == {"closed": True, "silence": False}[what]
            assert self.answer == b""


def _value(text: str, name: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    if name in ("ehlo_lines", "extensions", "relay_domains"):
        return tuple(text.split(","))
    return int(text) if text.isdigit() else text.strip('"')


def _check_status(message: MessageReceived, action: str, status: str) -> None:
    wanted = Action.FAILED if action == "failed" else Action.DELIVERED
    mail = delivery_status(message.envelope, message.data, Station("uf-8000.local"), 1, 0.0, action=wanted)
    assert mail is not None
    report = email.message_from_bytes(mail.data).get_payload()[1].get_payload()
    assert (report[1]["Action"], report[1]["Status"]) == (action, status)
    assert report[0]["Original-Envelope-Id"] == "MM123456"
    assert report[1]["Original-Recipient"] == "rfc822;fax@uf-8000.local"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_dialogue_is_spoken_as_written(path: Path, host: StandaloneHost) -> None:
    Stage(host, by_octet=False).play(_lines(path))


@pytest.mark.parametrize("path", [p for p in FILES if p.stem not in BY_BURST], ids=lambda path: path.stem)
def test_the_dialogue_is_the_same_octet_by_octet(path: Path, host: StandaloneHost) -> None:
    Stage(host, by_octet=True).play(_lines(path))


def _codes_spoken() -> Iterator[int]:
    for path in FILES:
        yield from (int(line[3:6]) for line in _lines(path) if line.startswith("S: "))


@pytest.mark.parametrize("code", list(Code), ids=lambda code: f"{code:d}")
def test_every_reply_code_has_a_dialogue_that_produces_it(code: Code) -> None:
    assert code in set(_codes_spoken())


def test_no_dialogue_has_a_code_the_list_does_not_have() -> None:
    assert set(_codes_spoken()) <= set(Code)


def test_a_wrong_dialogue_fails(host: StandaloneHost) -> None:
    with pytest.raises(AssertionError):
        Stage(host, by_octet=False).play(["S: 220 UF-8000", "C: NOOP", "S: 500 Syntax error, command unrecognized"])
