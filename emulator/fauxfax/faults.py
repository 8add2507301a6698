"""Faults on command: rules that make the machine misbehave once, now and then, or always.

A rule is one line:

    POINT [KEY=VALUE]... -> ACTION [ARGUMENT]

    rcpt recipient=*@example.org nth=2 -> reply 451 try later
    dot every=3 -> drop
    page nth=4 -> jam
    dot probability=0.1 seed=7 -> memory-full

POINT is where the machine asks: an SMTP verb (`mail`, `rcpt`, `data`, …), `connect`, `dot` (the message has been
read, nothing acknowledged), `document` (it is ready for paper), `page` (a sheet leaves the cassette), `update`,
`commit`, `restart`, `boot` (a firmware has started). Keys select among the times it asks: `sender`, `recipient`, `peer`
(shell patterns); `nth=N` the Nth match only, `every=N`, `times=N` at most N times, `probability=P` with `seed=S`,
`after=S` and `until=S` (machine seconds). The same rules and the same questions give the same answers: a rule counts
its own matches and owns its own random stream.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from fauxfax.errors import Misuse

PATTERNS = ("sender", "recipient", "peer")
ACTIONS = {
    # name: what its argument must look like, and an example of it
    "reply": (r"[245]\d\d( .*)?", "reply 451 try later"),
    "drop": (r"", "drop"),
    "delay": (r"\d+(\.\d+)?", "delay 2.5"),
    "stall": (r"", "stall"),
    "close-after": (r"\d+", "close-after 1000"),
    "memory-full": (r"", "memory-full"),
    "paper-out": (r"", "paper-out"),
    "jam": (r"", "jam"),
    "cover-open": (r"", "cover-open"),
    "cut": (r"", "cut"),
    "hang": (r"(\d+(\.\d+)?)?", "hang 2.5"),
}
POINTS = (
    "connect", "helo", "ehlo", "mail", "send", "soml", "saml", "rcpt", "data", "dot", "rset", "noop", "quit",
    "vrfy", "expn", "help", "turn", "document", "page", "update", "commit", "restart", "boot",
)  # fmt: skip
_BODY = ("paper-out", "jam", "cover-open", "cut")
UPDATE_POINTS = ("update", "commit", "restart")
EFFECTIVE = {
    "document": _BODY, "page": ("delay", *_BODY), **dict.fromkeys(UPDATE_POINTS, ("drop", "delay", "cut")),
    "boot": ("cut", "hang"),
}  # fmt: skip
"""Points that have no dialogue: the actions that do something there."""
IN_DIALOGUE = tuple(action for action in ACTIONS if action != "hang")
"""What does something at every other point."""
GRAMMAR = (
    "POINT [KEY=VALUE]... -> ACTION [ARGUMENT], for example: rcpt recipient=*@example.org nth=2 -> reply 451 try later"
)


@dataclass(slots=True)
class Rule:
    """An armed rule and what it has done so far."""

    number: int
    text: str
    point: str
    action: str
    argument: str
    patterns: dict[str, str] = field(default_factory=dict)
    nth: int | None = None
    every: int | None = None
    times: int | None = None
    probability: float | None = None
    after: float | None = None
    until: float | None = None
    matched: int = 0
    fired: int = 0
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def asked(self, point: str, now: float, facts: dict[str, str]) -> bool:
        """Whether the rule fires for this question; counts the match and the shot."""
        if point != self.point or not self._in_window(now):
            return False
        if not all(fnmatchcase(facts.get(key, "").lower(), glob.lower()) for key, glob in self.patterns.items()):
            return False
        self.matched += 1
        if not self._selected():
            return False
        self.fired += 1
        return True

    def _in_window(self, now: float) -> bool:
        return (self.after is None or now >= self.after) and (self.until is None or now < self.until)

    def _selected(self) -> bool:
        return (
            (self.nth is None or self.matched == self.nth)
            and (self.every is None or self.matched % self.every == 0)
            and (self.times is None or self.fired < self.times)
            and (self.probability is None or self._random.random() < self.probability)
        )

    def as_dict(self) -> dict[str, object]:
        """For `fault list --json` and the API."""
        return {"number": self.number, "rule": self.text, "matched": self.matched, "fired": self.fired}


def parse_rule(text: str, number: int = 0) -> Rule:
    """A rule from its line. Raises Misuse that says which word is wrong and shows the form."""
    selector, arrow, effect = text.partition("->")
    words, action = selector.split(), effect.split(None, 1)
    if not arrow or not words or not action:
        raise Misuse(f"fault rule {text!r}: expected {GRAMMAR}")
    rule = Rule(number, " ".join(text.split()), words[0].lower(), action[0].lower(), (action[1:] or [""])[0].strip())
    if rule.point not in POINTS:
        raise Misuse(f"fault rule {text!r}: {words[0]!r} is no point; the points are {', '.join(POINTS)}")
    if rule.action not in ACTIONS:
        raise Misuse(f"fault rule {text!r}: {rule.action!r} is no action; the actions are {', '.join(ACTIONS)}")
    if rule.action not in (effective := EFFECTIVE.get(rule.point, IN_DIALOGUE)):
        raise Misuse(
            f"fault rule {text!r}: {rule.action} does nothing at {rule.point}; it takes {', '.join(effective)}"
        )
    pattern, example = ACTIONS[rule.action]
    if not re.fullmatch(pattern, rule.argument):
        raise Misuse(f"fault rule {text!r}: {rule.action} is written like `{example}`")
    seed = 0
    for word in words[1:]:
        key, _, value = word.partition("=")
        if key == "seed":
            seed = int(_number(text, key, value, int))
        else:
            _set_key(rule, text, key, value)
    rule._random.seed(f"{seed}:{rule.text}")
    return rule


def _set_key(rule: Rule, text: str, key: str, value: str) -> None:
    """One `KEY=VALUE` of a rule."""
    if key in PATTERNS and value:
        rule.patterns[key] = value
    elif key in ("nth", "every", "times"):
        setattr(rule, key, int(_number(text, key, value, int)))
    elif key in ("probability", "after", "until"):
        setattr(rule, key, _number(text, key, value, float))
    else:
        raise Misuse(f"fault rule {text!r}: {key!r} is no key; the keys are {', '.join(PATTERNS)}, nth, every, times, "
                     "probability, seed, after, until")  # fmt: skip
    if (rule.nth or 1) < 1 or rule.nth == 0 or rule.every == 0 or (rule.every or 1) < 1:
        raise Misuse(f"fault rule {text!r}: {key} counts from 1")


def _number(text: str, key: str, value: str, kind: Callable[[str], float]) -> float:
    try:
        return kind(value)
    except ValueError:
        raise Misuse(f"fault rule {text!r}: {key} takes a number, not {value!r}") from None


class FaultPlan:
    """The armed rules, asked in order: the first that fires decides."""

    def __init__(self, now: Callable[[], float], fired: Callable[[Rule], None] | None = None) -> None:
        self._now = now
        self._fired = fired
        self._numbers = itertools.count(1)
        self.rules: list[Rule] = []

    def arm(self, text: str) -> Rule:
        """Add a rule. Raises Misuse if it cannot be read."""
        rule = parse_rule(text, next(self._numbers))
        self.rules.append(rule)
        return rule

    def clear(self) -> int:
        """Disarm everything. Returns how many rules there were."""
        count = len(self.rules)
        self.rules.clear()
        return count

    def ask(self, point: str, **facts: str) -> Rule | None:
        """The rule that fires at this point, if one does. Cheap when nothing is armed."""
        if not self.rules:
            return None
        now = self._now()
        for rule in self.rules:
            if rule.asked(point, now, facts):
                if self._fired is not None:
                    self._fired(rule)
                return rule
        return None
