"""The receiver's states, and every transition between them: the one table of the SMTP session.

Theory of operation. A *step* is a command, or something that happens to the receiver (`Step.DOT`: a message was read
to its end). A step that the table lists for a state is *in order*: its command is tried, and if it succeeds the
session is in the state the table names. A command that is refused leaves the session where it was. A command that
the table does not list is out of order: 503. RFC 821 4.1.1 and 4.3, RFC 5321 4.1.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """Where a session is."""

    CONNECTED = "connected"
    """The banner was sent; nobody has said HELO."""
    READY = "ready"
    """Between transactions."""
    MAIL = "mail"
    """A sender is known, no recipient yet."""
    RCPT = "rcpt"
    """At least one recipient was accepted."""
    DATA = "data"
    """Every octet belongs to the message."""
    VERDICT = "verdict"
    """The message was read; whoever keeps it has not answered yet."""
    CLOSED = "closed"
    """The last reply was given; whatever comes is ignored."""

    __hash__ = object.__hash__  # members are single: the tables below are looked up several times a message


class Step(Enum):
    """What moves a session: the commands, then the receiver's own steps."""

    HELO = "HELO"
    EHLO = "EHLO"
    MAIL = "MAIL"
    SEND = "SEND"
    SOML = "SOML"
    SAML = "SAML"
    RCPT = "RCPT"
    DATA = "DATA"
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"
    VRFY = "VRFY"
    EXPN = "EXPN"
    HELP = "HELP"
    TURN = "TURN"
    DOT = "the message ended, and waits for its verdict"
    REFUSED = "the message ended, and was refused"
    VERDICT = "the verdict came"
    CLOSE = "the session is over"

    __hash__ = object.__hash__


COMMANDS = {step.value: step for step in Step if step.value.isupper()}

_ANYWHERE = {
    Step.HELO: State.READY,
    Step.EHLO: State.READY,
    Step.QUIT: State.CLOSED,
    Step.CLOSE: State.CLOSED,
}


def _stay(state: State) -> dict[Step, State]:
    """The steps that change nothing."""
    return dict.fromkeys((Step.NOOP, Step.VRFY, Step.EXPN, Step.HELP, Step.TURN), state)


_BEGIN = dict.fromkeys((Step.MAIL, Step.SEND, Step.SOML, Step.SAML), State.MAIL)

TRANSITIONS: Mapping[State, Mapping[Step, State]] = {
    State.CONNECTED: {**_ANYWHERE, **_stay(State.CONNECTED), Step.RSET: State.CONNECTED},
    State.READY: {**_ANYWHERE, **_stay(State.READY), Step.RSET: State.READY, **_BEGIN},
    State.MAIL: {**_ANYWHERE, **_stay(State.MAIL), Step.RSET: State.READY, Step.RCPT: State.RCPT},
    State.RCPT: {
        **_ANYWHERE, **_stay(State.RCPT), Step.RSET: State.READY, Step.RCPT: State.RCPT, Step.DATA: State.DATA,
    },
    State.DATA: {Step.DOT: State.VERDICT, Step.REFUSED: State.READY, Step.CLOSE: State.CLOSED},
    State.VERDICT: {Step.VERDICT: State.READY, Step.CLOSE: State.CLOSED},
    State.CLOSED: {Step.CLOSE: State.CLOSED},
}  # fmt: skip

DEADLINES: Mapping[State, str] = {
    State.CONNECTED: "greeting_timeout",
    State.READY: "command_timeout",
    State.MAIL: "command_timeout",
    State.RCPT: "command_timeout",
    State.DATA: "block_timeout",
    State.VERDICT: "verdict_timeout",
    State.CLOSED: "command_timeout",
}
"""Which of the limits bounds the wait in a state."""
