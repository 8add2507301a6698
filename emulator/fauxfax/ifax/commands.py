"""The commands: what each does to the transaction, and what it answers. Text in, replies out; no octets, no framing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from fauxfax.errors import FormatError
from fauxfax.faults import Rule
from fauxfax.ifax.address import Address, Answer, Resolution, is_literal, without_password
from fauxfax.ifax.body import Body, Fault
from fauxfax.ifax.host import Envelope, Host, Limits, MessageReceived, Mode, Recipient, Reservations
from fauxfax.ifax.replies import STATUS, TEXTS, Code
from fauxfax.ifax.states import COMMANDS, TRANSITIONS, State, Step
from fauxfax.ifax.syntax import Path, UnknownParameterError, check_parameters, decode_xtext, is_domain, parse_path

HTTP_VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"})
"""A browser, or a page that makes one speak to us: no second word with them."""
_KEYWORDS = {
    Step.MAIL: "FROM:", Step.SEND: "FROM:", Step.SOML: "FROM:", Step.SAML: "FROM:", Step.RCPT: "TO:",
}  # fmt: skip
_POINTS = {step: name.lower() for name, step in COMMANDS.items()}
"""What fault rules call the commands."""
_MODES = {Step.MAIL: Mode.MAIL, Step.SEND: Mode.SEND, Step.SOML: Mode.SOML, Step.SAML: Mode.SAML}
_SENDER_PARAMETERS = {"SIZE": {"SIZE"}, "8BITMIME": {"BODY"}, "DSN": {"RET", "ENVID"}}
_RECIPIENT_PARAMETERS = {"DSN": {"NOTIFY", "ORCPT"}}


_OK, _START_INPUT = Code.OK, Code.START_INPUT
_RCPT, _DATA, _READY, _MAIL = Step.RCPT, Step.DATA, State.READY, Mode.MAIL
"""Members used for each message: looking one up in its enum costs as much as a call."""


class Command(NamedTuple):
    """A command line, read: `step` is None for an unknown verb, `path` for a command without one, or a malformed one.

    `argument` is what stands behind the verb, or an unknown verb itself.
    """

    step: Step | None
    argument: str
    path: Path | None = None


@lru_cache(maxsize=512)
def read_command(line: bytes, colon: bool) -> Command:
    """What a command line without its CRLF says, whatever the session; `colon` is the manual's stray one (SM p.284).

    This is the receiver's fast path: faxes say the same few lines again and again, and a line that was read before
    costs one look into a table. NUL, controls, octets of 8 bits, CR or LF alone: no command has any of them.
    """
    text = line.decode("ascii", "replace")
    if not (text.isascii() and text.isprintable()):
        return Command(None, "")
    verb, _, argument = text.partition(" ")
    name = verb.upper()
    step = COMMANDS.get(name.removesuffix(":") if colon else name)
    if step is None:
        return Command(None, name)
    keyword = _KEYWORDS.get(step)
    if keyword is None:
        return Command(step, argument.strip())
    if argument[: len(keyword)].upper() != keyword:
        return Command(step, argument)
    try:
        return Command(step, argument, parse_path(argument[len(keyword) :]))
    except FormatError:
        return Command(step, argument)


class Reply(NamedTuple):
    """A reply before it is written: `rule` is a fault to act out with it."""

    code: int
    lines: tuple[str, ...]
    status: str = ""
    rule: Rule | None = None


def reply(code: Code, text: str = "", status: str = "") -> Reply:
    """A reply with RFC 821's text and the code's usual enhanced status, unless others are given."""
    return Reply(code, (text or TEXTS[code],), status or STATUS.get(code, ""))


OK = reply(Code.OK)
SENDER_OK = reply(Code.OK, status="2.1.0")
RECIPIENT_OK = reply(Code.OK, status="2.1.5")
UNRECOGNIZED = reply(Code.UNRECOGNIZED)
BAD_ARGUMENT = reply(Code.BAD_ARGUMENT)
BAD_SEQUENCE = reply(Code.BAD_SEQUENCE)
NO_STORAGE = reply(Code.NO_STORAGE)
TOO_LARGE = reply(Code.TOO_LARGE)
_NOW: Mapping[Mode, Reply] = {
    Mode.SEND: reply(Code.MAILBOX_BUSY, "Requested mail action not taken: terminal not ready"),
    Mode.SAML: reply(Code.LOCAL_ERROR, "Requested action aborted: terminal not ready"),
}
"""What is said to a transaction that needs the terminal at once, while it is not ready."""
FAULTS: Mapping[Fault, Reply] = {
    Fault.TOO_LARGE: NO_STORAGE,
    Fault.BARE_LINE_END: reply(Code.FAILED, "Transaction failed: CR or LF alone in the message", "5.6.0"),
    Fault.NUL: reply(Code.FAILED, "Transaction failed: NUL in the message", "5.6.0"),
    Fault.LONG_LINE: reply(Code.UNRECOGNIZED, "Line too long", "5.6.0"),
    Fault.LOOP: reply(Code.FAILED, "Transaction failed: mail loop", "5.4.6"),
}
"""What the dot is answered with when the message itself is at fault."""


class Dialogue:
    """The commands of one session and the transaction they build."""

    def __init__(
        self, host: Host, limits: Limits, peer: str, session: int, reservations: Reservations, own: str
    ) -> None:
        self._host = host
        self._own = own
        self._limits = limits
        self._peer = peer
        self._session = session
        self._reservations = reservations
        quirks = host.quirks
        self._announced = (*quirks.ehlo_lines, *quirks.extensions)
        self._sender_parameters, self._recipient_parameters = _parameters(self._announced)
        self._colon = quirks.colon_commands
        self._go_ahead = Reply(quirks.data_code, (TEXTS[_START_INPUT],))
        self.state = State.CONNECTED
        self._helo = ""
        self._reset()

    def command(self, line: bytes) -> Reply:
        """Carry out one command line. The state moves only if the command succeeds."""
        step, argument, path = read_command(line, self._colon)
        if step is None:
            return self.unavailable() if argument in HTTP_VERBS else UNRECOGNIZED
        after = TRANSITIONS[self.state].get(step)
        if after is None:
            return self._out_of_order(step)
        try:
            answer = self._carry_out(step, argument, path)
        except UnknownParameterError as error:
            return reply(Code.BAD_PARAMETER, f"{TEXTS[Code.BAD_PARAMETER]}: {error.where}")
        except FormatError:
            return BAD_ARGUMENT
        if answer.code < 400 and (answer.rule is None or not is_scripted(answer.rule)):
            self.state = after
        return answer

    def open_body(self) -> Body:
        """The collector for the message that follows."""
        limits, room = self._limits, self._available()
        limit = limits.message if limits.message < room else max(0, room)
        return Body(limit, limits.text_line, repair=limits.repair_line_ends)

    def end_of_data(self, body: Body) -> Reply | MessageReceived:
        """The message was read to its end: the reply that refuses it, or the message that waits for a verdict."""
        pieces = body.finish(self._limits.hops)
        if body.total > self._limits.message:
            return TOO_LARGE
        if body.fault is not None:
            return FAULTS[body.fault]
        return MessageReceived(self._envelope(), pieces)

    def ask(self, point: str, recipient: str = "") -> Rule | None:
        """The fault rule that fires at this point of the dialogue."""
        if not self._host.armed:
            return None
        if not recipient and self._recipients:
            recipient = self._recipients[0].address
        return self._host.ask(point, sender=self._sender, recipient=recipient, peer=self._peer)

    def move(self, step: Step) -> None:
        """One of the receiver's own steps; the end of a transaction forgets it."""
        self.state = TRANSITIONS[self.state][step]
        if self.state is _READY:
            self._reset()

    def unavailable(self, reason: str = "") -> Reply:
        """421: the last reply of a session."""
        text = TEXTS[Code.NOT_AVAILABLE]
        return reply(Code.NOT_AVAILABLE, f"{self._host.domain} {text}" + (f": {reason}" if reason else ""))

    # Whether a command may be given now, and giving it -------------------------------------------------------------

    def _out_of_order(self, step: Step) -> Reply:
        if step is _DATA and self._refused:
            return reply(Code.FAILED, "Transaction failed: no valid recipients", "5.5.1")
        return BAD_SEQUENCE

    def _carry_out(self, step: Step, argument: str, path: Path | None) -> Reply:
        """Ask for a fault, then do it. Raises FormatError for arguments that cannot be read."""
        if path is None and step in _KEYWORDS:
            return BAD_ARGUMENT
        rule = self._fault(step, path) if self._host.armed else None
        if rule is not None and (scripted := scripted_reply(rule)) is not None:
            return scripted
        if path is None:
            answer = _HANDLERS[step](self, argument)
        else:
            answer = self._rcpt(path) if step is _RCPT else self._begin(step, path)
        return answer._replace(rule=rule) if rule is not None else answer

    def _fault(self, step: Step, path: Path | None) -> Rule | None:
        """The fault rule that fires at a command."""
        sender, recipient = self._sender, ""
        if path is not None:
            sender, recipient = (sender, path.written) if step is _RCPT else (path.written, "")
        return self._host.ask(_POINTS[step], sender=sender, recipient=recipient, peer=self._peer)

    # The transaction -----------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self._sender = ""
        self._mode = _MAIL
        self._parameters: Mapping[str, str] = {}
        self._recipients: list[Recipient] = []
        self._refused = 0

    def _begin(self, step: Step, path: Path) -> Reply:
        """MAIL, SEND, SOML, SAML: RFC 821 3.1 and 3.4."""
        if path.parameters:
            check_parameters(path.parameters, self._sender_parameters)
        if reason := self._host.refusal():
            return self.unavailable(reason)
        mode = _MODES[step]
        if mode in _NOW and not self._host.terminal_ready():
            return _NOW[mode]
        size = int(path.parameters.get("SIZE", 0)) if path.parameters else 0
        if size > self._limits.message:
            return TOO_LARGE
        if size > (room := self._available()) or room <= 0:
            return NO_STORAGE
        self._reset()
        self._sender = path.written
        self._mode = mode
        self._parameters = path.parameters
        return SENDER_OK

    def _rcpt(self, path: Path) -> Reply:
        if path.parameters:
            check_parameters(path.parameters, self._recipient_parameters)
        if path.address is None:
            raise FormatError("expected a recipient")
        answer = self._accept(path.address, path)
        if answer.code >= 400:
            self._refused += 1
        return answer

    def _accept(self, address: Address, path: Path) -> Reply:
        if len(self._recipients) >= self._limits.recipients:
            return reply(Code.NO_STORAGE, "Requested action not taken: too many recipients", "4.5.3")
        if self._mode is not _MAIL and self._mode is Mode.SEND and not self._host.terminal_ready():
            return reply(Code.MAILBOX_BUSY)
        if address.domain.startswith("[") and is_literal(address.domain, self._own):
            address = address._replace(domain="")  # sent to the address it was connected to: that is this machine
        found = self._host.resolve(address)
        if found.code >= 400:
            return reply(Code(found.code), found.text)
        self._recipients.append(_recipient(path, found))
        return RECIPIENT_OK if found.code == _OK else reply(Code(found.code), found.text)

    def _envelope(self) -> Envelope:
        plain = Envelope(
            self._session, self._peer, self._helo, self._sender, tuple(self._recipients), self._host.wall(), self._mode
        )
        parameters = self._parameters
        if not parameters:
            return plain
        return plain._replace(
            body=parameters.get("BODY", plain.body).upper(),
            ret=parameters.get("RET", "").upper(),
            envid=decode_xtext(parameters.get("ENVID", "")),
        )

    def _available(self) -> int:
        return self._host.free_memory() - self._reservations.octets

    # The other commands --------------------------------------------------------------------------------------------

    def _do_helo(self, argument: str) -> Reply:
        if not is_domain(argument):
            return BAD_ARGUMENT
        self._helo = argument
        self._reset()
        return Reply(Code.OK, (self._host.domain,))

    def _do_ehlo(self, argument: str) -> Reply:
        if argument and not is_domain(argument):
            return BAD_ARGUMENT
        self._helo = argument
        self._reset()
        lines = (f"SIZE {self._limits.message}" if line == "SIZE" else line for line in self._announced)
        return Reply(Code.OK, tuple(lines))

    def _do_data(self, argument: str) -> Reply:
        if argument:
            return BAD_ARGUMENT
        if reason := self._host.refusal():
            return self.unavailable(reason)
        if self._available() <= 0:
            return NO_STORAGE
        return self._go_ahead

    def _do_rset(self, argument: str) -> Reply:
        if argument:
            return BAD_ARGUMENT
        self._reset()
        return OK

    def _do_noop(self, argument: str) -> Reply:  # noqa: ARG002 - RFC 5321 4.1.1.9: whatever stands there is ignored
        return OK

    def _do_quit(self, argument: str) -> Reply:
        if argument:
            return BAD_ARGUMENT
        return reply(Code.CLOSING, f"{self._host.domain} {TEXTS[Code.CLOSING]}")

    def _do_vrfy(self, argument: str) -> Reply:
        return self._look_up(self._host.verify, argument)

    def _do_expn(self, argument: str) -> Reply:
        return self._look_up(self._host.expand, argument)

    @staticmethod
    def _look_up(question: Callable[[str], Answer], argument: str) -> Reply:
        if not argument:
            return BAD_ARGUMENT
        answer = question(argument)
        return Reply(answer.code, answer.lines, STATUS.get(Code(answer.code), ""))

    def _do_help(self, argument: str) -> Reply:  # noqa: ARG002 - one answer for all: the family's list has no 214
        return Reply(Code.HELP, ("Commands: " + " ".join(COMMANDS),))

    def _do_turn(self, argument: str) -> Reply:  # noqa: ARG002 - RFC 5321 F.1: never to be done
        return reply(Code.NOT_IMPLEMENTED)


_HANDLERS: Mapping[Step, Callable[[Dialogue, str], Reply]] = {
    Step.HELO: Dialogue._do_helo,
    Step.EHLO: Dialogue._do_ehlo,
    Step.DATA: Dialogue._do_data,
    Step.RSET: Dialogue._do_rset,
    Step.NOOP: Dialogue._do_noop,
    Step.QUIT: Dialogue._do_quit,
    Step.VRFY: Dialogue._do_vrfy,
    Step.EXPN: Dialogue._do_expn,
    Step.HELP: Dialogue._do_help,
    Step.TURN: Dialogue._do_turn,
}


def _recipient(path: Path, found: Resolution) -> Recipient:
    """Raises FormatError for an ORCPT that is not xtext."""
    parameters = path.parameters
    if not parameters:
        return Recipient(path.written, found.mailbox, found.forward, found.subaddress)
    kind, semicolon, xtext = parameters.get("ORCPT", "").partition(";")
    return Recipient(
        address=without_password(path.written) if found.forward else path.written,
        mailbox=found.mailbox,
        forward=found.forward,
        subaddress=found.subaddress,
        notify=tuple(parameters["NOTIFY"].upper().split(",")) if "NOTIFY" in parameters else (),
        original=kind + semicolon + decode_xtext(xtext) if xtext else kind + semicolon,
    )


def is_scripted(rule: Rule) -> bool:
    """Whether a fault rule speaks instead of the machine: then nothing else happens."""
    return rule.action in ("reply", "memory-full")


def scripted_reply(rule: Rule) -> Reply | None:
    """What a fault rule says instead of the machine, if it is a rule that speaks."""
    if rule.action == "memory-full":
        return NO_STORAGE._replace(rule=rule)
    if rule.action == "reply":
        code, _, text = rule.argument.partition(" ")
        return Reply(int(code), (text or _default_text(int(code)),), rule=rule)
    return None


def _default_text(code: int) -> str:
    return TEXTS.get(Code(code), "OK") if code in Code._value2member_map_ else "Requested action not taken"


@lru_cache(maxsize=16)
def _parameters(announced: tuple[str, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """The parameters of MAIL and of RCPT that the announced extensions define."""
    sender, recipient = (
        frozenset(name for line in announced for name in by_extension.get(line, ()))
        for by_extension in (_SENDER_PARAMETERS, _RECIPIENT_PARAMETERS)
    )
    return sender, recipient
