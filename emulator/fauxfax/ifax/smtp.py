"""The SMTP receiver of one session, without its socket: octets in, replies and events out.

Feed it what comes, send what `data_to_send()` gives, take events with `next_event()`:

* `MessageReceived`: keep the message, then call `finish(verdict)`; until then the sender waits.
* `Delay`: a fault; call `resume()` after so many seconds.
* `Dropped`: a fault; cut the connection without a word.

What the sender sends meanwhile is kept, up to a limit. When `closing` is true send what is left and hang up. The
replies are the same for every way the octets may be cut, but for the `lock_step` quirk, whose point is the cut.
RFC 821, RFC 5321; the service manual 9.8.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from fauxfax.errors import Misuse
from fauxfax.faults import Rule
from fauxfax.ifax.body import Body, Fault
from fauxfax.ifax.commands import BAD_SEQUENCE, NO_STORAGE, Dialogue, Reply, reply, scripted_reply
from fauxfax.ifax.host import Host, Limits, MessageReceived, Reservations, Verdict
from fauxfax.ifax.replies import Code, render, render_lines
from fauxfax.ifax.states import DEADLINES, State, Step

__all__ = ["Delay", "Dropped", "Event", "MessageReceived", "Receiver", "Verdict"]


@dataclass(frozen=True, slots=True)
class Delay:
    """A fault holds the next reply back for some machine seconds: then call `resume()`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """A fault drops the connection, now."""


Event = MessageReceived | Delay | Dropped

VERDICTS = {
    Verdict.STORED: reply(Code.OK),
    Verdict.LOCAL_ERROR: reply(Code.LOCAL_ERROR),
    Verdict.MEMORY_FULL: NO_STORAGE,
    Verdict.TOO_LARGE: reply(Code.TOO_LARGE),
    Verdict.UNREADABLE: reply(Code.FAILED, "Transaction failed: media not supported", "5.6.1"),
    Verdict.REFUSED: reply(Code.FAILED),
}
LONG_LINE = reply(Code.UNRECOGNIZED, "Line too long", "5.5.6")
_ERRORS = frozenset({500, 501, 502, 503, 504, 550, 551, 553})
"""Replies that count against a session: mistakes, and guesses at names and at the relay password."""
_LAST = frozenset({221, 421})
_DATA, _VERDICT, _DOT, _ANSWERED = State.DATA, State.VERDICT, Step.DOT, Step.VERDICT
_EXTENDED = (b"MAIL ", b"RCPT ", b"SEND ", b"SOML ", b"SAML ")


class Receiver:
    """One SMTP session. `peer` is the sender's address, `session` its number; both go into the envelope.

    `own` is the address of this machine that the sender connected to, by which it may be named as well.

    Attributes:
        waiting: input is only kept, not read: stop reading from the socket.
        events: what `next_event()` will give.
        closing: the last reply was given: send it and hang up.
        early: octets that came before the banner. They are answered after it.
    """

    def __init__(
        self,
        host: Host,
        limits: Limits,
        peer: str,
        session: int,
        reservations: Reservations | None = None,
        own: str = "",
    ) -> None:
        self._host = host
        self._limits = limits
        self._reservations = reservations if reservations is not None else Reservations()
        self._peer = peer
        self._dialogue = Dialogue(host, limits, peer, session, self._reservations, own)
        self._enhanced = "ENHANCEDSTATUSCODES" in host.quirks.extensions
        self._lock_step = host.quirks.lock_step
        self._input = b""
        self._position = 0
        self._skipping = False
        self._body: Body | None = None
        self._reserved = 0
        self._replies: list[bytes] = []
        self._held: Reply | None = None
        self._dot_rule: Rule | None = None
        self._greeted = False
        self.waiting = True  # for start(), for a verdict, or for resume()
        self._close_after: int | None = None
        self._errors = 0
        self.events: deque[Event] = deque()
        self.closing = False
        self.early = 0

    @property
    def state(self) -> State:
        """Where the session is; see `states`."""
        return self._dialogue.state

    @property
    def deadline(self) -> float:
        """Machine seconds the sender has for its next octets, or the keeper for its verdict."""
        if self._body is not None and not self._body.total:
            return self._limits.data_timeout
        return float(getattr(self._limits, DEADLINES[self._dialogue.state]))

    def start(self) -> None:
        """The connection is there: greet, or send it away."""
        self.waiting = False
        if reason := self._host.refusal():
            self._answer(self._dialogue.unavailable(reason))
            return
        rule = self._dialogue.ask("connect")
        greeting = Reply(Code.GREETING, (self._host.quirks.banner,), rule=rule)
        if rule is not None and (scripted := scripted_reply(rule)) is not None:
            greeting = scripted
        self._answer(greeting)
        if greeting.code >= 400 and not self.closing:
            self._close()
        self._run()

    def refuse(self, reason: str) -> None:
        """The connection is one too many: 421 instead of a banner, or in the middle of a session."""
        self.waiting = False
        if not self.closing:
            self._say(self._dialogue.unavailable(reason))

    def feed(self, data: bytes | memoryview) -> None:
        """Octets from the sender. After the session is closed they are ignored."""
        if self.closing:
            return
        if self._close_after is not None:
            data = self._count_down(self._close_after, data)
        if self._position < len(self._input):
            self._input = self._input[self._position :] + data
        else:
            self._input = data if type(data) is bytes else bytes(data)
        self._position = 0
        if self.waiting:
            self._keep(len(data))
        else:
            self._run()

    def next_event(self) -> Event | None:
        """The oldest event not taken yet."""
        return self.events.popleft() if self.events else None

    def data_to_send(self) -> bytes:
        """The replies since the last call; pipelined commands are answered in one write."""
        if not self._replies:
            return b""
        data = self._replies[0] if len(self._replies) == 1 else b"".join(self._replies)
        self._replies.clear()
        return data

    def finish(self, verdict: Verdict) -> None:
        """Answer the dot. Raises Misuse if no message waits for it."""
        if self.closing:
            return
        if self._dialogue.state is not _VERDICT:
            raise Misuse(
                f"receiver: finish({verdict.name}) in the state {self._dialogue.state.value}, without a message"
            )
        self._release()
        self._dialogue.move(_ANSWERED)
        self.waiting = False
        answer = VERDICTS[verdict]
        if self._dot_rule is not None:
            answer, self._dot_rule = answer._replace(rule=self._dot_rule), None
        self._answer(answer)
        self._run(answered=True)

    def resume(self) -> None:
        """The delay of a fault is over: give the reply that was held back, and go on."""
        if self.closing or self._held is None:
            return
        held, self._held = self._held, None
        self.waiting = False
        self._say(held)
        self._run(answered=True)

    def timed_out(self) -> None:
        """The deadline passed: say so, and close."""
        self.refuse("timeout")

    def lost(self) -> None:
        """The connection is gone. What was not acknowledged is forgotten."""
        self._close()
        self._replies.clear()

    # Reading -------------------------------------------------------------------------------------------------------

    def _run(self, *, answered: bool = False) -> None:
        """Read what there is until it is used up, or until somebody must answer first."""
        while self._position < len(self._input) and not (self.waiting or self.closing):
            if self._body is not None:
                self._read_body(self._body)
            elif self._lock_step and answered:
                self._input, self._position = b"", 0
                self._answer(BAD_SEQUENCE)
            elif not self._read_line():
                break
            answered = True
        if self._close_after is not None and self._close_after <= 0 and not self.closing:
            self._drop()

    def _read_line(self) -> bool:
        """Carry out one command line, if it is complete."""
        start = self._position
        end = self._input.find(b"\r\n", start)
        if end < 0:
            self._shorten()
            return False
        line = self._input[start:end]
        self._position = end + 2
        if self._skipping or (end + 2 - start > self._limits.command_line and self._too_long(line)):
            self._skipping = False
            self._answer(LONG_LINE)
        else:
            self._answer(self._dialogue.command(line))
        return True

    def _too_long(self, line: bytes) -> bool:
        """Whether a line over the plain limit is over its own: paths may have parameters behind them."""
        return line[:5].upper() not in _EXTENDED or len(line) + 2 > self._limits.extended_line

    def _shorten(self) -> None:
        """A command line without an end costs no more memory than the longest line: skip to the next CRLF."""
        if self._skipping or len(self._input) - self._position > self._limits.extended_line:
            self._skipping = True
            self._input, self._position = (b"\r" if self._input.endswith(b"\r") else b""), 0

    def _read_body(self, body: Body) -> None:
        position = body.feed(self._input, self._position)
        self._reserve(body)
        if position < 0:
            self._input, self._position = b"", 0
            return
        self._position = position
        self._body = None
        self._end_of_data(body)

    def _end_of_data(self, body: Body) -> None:
        outcome = self._dialogue.end_of_data(body)
        rule = self._dialogue.ask("dot")
        if rule is not None and isinstance(outcome, MessageReceived):
            if rule.action in ("drop", "stall"):
                outcome = VERDICTS[Verdict.LOCAL_ERROR]
            else:
                outcome = scripted_reply(rule) or outcome
        if isinstance(outcome, MessageReceived):
            self._dialogue.move(_DOT)
            self._dot_rule = rule
            self.waiting = True
            self.events.append(outcome)
        else:
            self._release()
            self._dialogue.move(Step.REFUSED)
            self._answer(outcome._replace(rule=rule))

    def _keep(self, size: int) -> None:
        """Input that came while somebody else must answer first."""
        if not self._greeted:
            self.early += size
        if len(self._input) > self._limits.pending:
            self.refuse("too much input")

    def _count_down(self, allowed: int, data: bytes | memoryview) -> bytes:
        """The octets a `close-after` fault lets through."""
        self._close_after = allowed - len(data)
        return bytes(data[:allowed])

    # Memory that is taken while a message is read ------------------------------------------------------------------

    def _reserve(self, body: Body) -> None:
        more = body.octets - self._reserved
        self._reservations.octets += more
        self._reserved += more
        if more > 0 and self._reservations.octets > self._host.free_memory():
            body.refuse(Fault.TOO_LARGE)
            self._release()

    def _release(self) -> None:
        self._reservations.octets -= self._reserved
        self._reserved = 0

    # Answering -----------------------------------------------------------------------------------------------------

    def _answer(self, answer: Reply) -> None:
        """Give a reply, or do with it what a fault wants."""
        if answer.code >= 500 and answer.code in _ERRORS:
            self._errors += 1
            if self._errors > self._limits.errors:
                answer = self._dialogue.unavailable("too many errors")
        if answer.rule is None or self._acts_out(answer, answer.rule):
            self._say(answer)

    def _acts_out(self, answer: Reply, rule: Rule) -> bool:
        """Do what a fault wants of a reply. Returns whether the reply is still to be given."""
        if rule.action == "drop":
            self._drop()
        elif rule.action == "delay":
            self._held = answer
            self.events.append(Delay(float(rule.argument)))
        elif rule.action == "close-after":
            self._input = self._count_down(int(rule.argument), self._input[self._position :])
            self._position = 0
            return True
        elif rule.action != "stall":
            return True
        self.waiting = True
        return False

    def _say(self, answer: Reply) -> None:
        self._greeted = True
        code, lines, status, _ = answer
        if len(lines) == 1:
            self._replies.append(render(code, lines[0], status if self._enhanced else ""))
        else:
            self._replies.append(render_lines(code, lines))
        if code in _LAST:
            self._close()
        elif self._dialogue.state is _DATA:
            self._body = self._dialogue.open_body()

    def _drop(self) -> None:
        self.events.append(Dropped())
        self._close()

    def _close(self) -> None:
        self._release()
        self._dialogue.move(Step.CLOSE)
        self._input, self._position, self._body = b"", 0, None
        self.closing = True
