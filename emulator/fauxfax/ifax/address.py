"""Recipients of a fax machine: mailboxes, fax numbers in mail addresses, aliases, groups, and whom it relays for.

A fax number is written into a mail address as RFC 3191 and RFC 3192 say:

    FAX=+12125551212@fax.example            the number, in its global form
    FAX=+3940/T33S=183@fax.example          with a T.33 subaddress
    "FAX=+3940/T33S=183"@fax.example        the same, quoted

A relay request is addressed to the machine and names the foreign address and the relay password. Its syntax is not
public; this is a project value:

    user%foreign.example/RELAY=password@fax.example
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple, TypeVar

V = TypeVar("V")
OK = "OK"
UNKNOWN = "Requested action not taken: mailbox unavailable"

_FAX = re.compile(r"FAX=(?P<number>\+?[0-9][0-9.-]*)(?P<qualifiers>(?:/[A-Za-z0-9]+=[^/]*)*)", re.IGNORECASE)
_SUBADDRESS = re.compile(r"/T33S=(?P<digits>[0-9#*]{1,20})(?:/|$)", re.IGNORECASE)
_RELAY = re.compile(r"(?P<local>[^%/]+)%(?P<domain>[A-Za-z0-9.-]+)(?:/RELAY=(?P<password>.*))?", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")


class Address(NamedTuple):
    """A mailbox: its local part without quotes, and its domain, empty if none was given."""

    local: str
    domain: str = ""

    def __str__(self) -> str:
        """As it is written in a path, the local part quoted where it must be."""
        plain = _WORD.fullmatch(self.local) and not self.local.startswith(".") and ".." not in self.local
        local = self.local if plain else '"' + re.sub(r'(["\\])', r"\\\1", self.local) + '"'
        return f"{local}@{self.domain}" if self.domain else local


class Resolution(NamedTuple):
    """Who a recipient is. `code` is 250, 251 (forwarded), 550, 551 or 553; `text` goes behind it."""

    code: int
    text: str
    mailbox: str = ""
    forward: bool = False
    subaddress: str = ""


class Answer(NamedTuple):
    """A reply to VRFY or EXPN: the code and its lines."""

    code: int
    lines: tuple[str, ...]


class FaxNumber(NamedTuple):
    """`FAX=…` of a local part: the digits, with a leading `+` if it is global, and the T.33 subaddress."""

    number: str
    subaddress: str


def is_literal(domain: str, address: str) -> bool:
    """Whether a domain is that IP address, as a literal: `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321, 4.1.3)."""
    text = domain.removeprefix("[").removesuffix("]")
    try:
        return ip_address(text[5:] if text[:5].lower() == "ipv6:" else text) == ip_address(address)
    except ValueError:
        return False


def without_password(written: str) -> str:
    """A relay request as it may be shown: the password is the machine's secret."""
    return re.sub(r"/RELAY=[^@\"]*", "/RELAY=***", written, flags=re.IGNORECASE)


def parse_fax_number(local: str) -> FaxNumber | None:
    """The fax number in a local part. None if it is none, or none that can be read."""
    match = _FAX.fullmatch(local)
    if match is None:
        return None
    subaddress = _SUBADDRESS.search(match["qualifiers"])
    if match["qualifiers"] and subaddress is None:
        return None
    return FaxNumber(re.sub(r"[.-]", "", match["number"]), subaddress["digits"] if subaddress else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Everything a machine knows about addresses. Names and local parts are compared without regard to case.

    `mailboxes`: local part to full name; the first is the machine's own. `aliases`: name to one of the mailboxes, or to
    a foreign address that is forwarded to. `groups`: name to its members' addresses. `address_book`: full name to
    address. Nobody may relay unless a domain is allowed *and* the password matches; with `relay_when_blank` (a quirk
    of the real family) an empty list of domains allows all of them.
    """

    domain: str
    fax_number: str = ""
    mailboxes: Mapping[str, str] = field(default_factory=lambda: {"fax": ""})
    aliases: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    address_book: Mapping[str, str] = field(default_factory=dict)
    relay_domains: tuple[str, ...] = ()
    relay_password: str = field(default="", repr=False)
    relay_when_blank: bool = False
    vrfy: bool = True
    _domain: str = field(init=False, repr=False, compare=False)
    _mailboxes: Mapping[str, Resolution] = field(init=False, repr=False, compare=False)
    _aliases: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Lay out what every recipient is looked up in, so that it costs one look."""
        domain = self.domain.lower()
        names = {mailbox.lower(): mailbox for mailbox in reversed(list(self.mailboxes))}
        names |= dict.fromkeys(("", "postmaster", domain), next(iter(self.mailboxes)))
        object.__setattr__(self, "_domain", domain)
        object.__setattr__(self, "_mailboxes", {name: Resolution(250, OK, one) for name, one in names.items()})
        aliases = {name.lower(): target for name, target in reversed(list(self.aliases.items()))}
        object.__setattr__(self, "_aliases", aliases)

    def resolve(self, address: Address) -> Resolution:
        """Who a recipient is: a mailbox, a forwarded alias, a relay request, or nobody."""
        local, domain = address
        if domain and domain.lower().rstrip(".") != self._domain:
            return self._foreign(address)
        name = local.lower()
        if (target := self._aliases.get(name)) is not None:
            return self._alias(target)
        if name.startswith("fax="):
            return self._fax(local)
        if (found := self._mailboxes.get(name)) is not None:
            return found
        if (request := _RELAY.fullmatch(address.local)) is not None:
            return self._relay(request["local"], request["domain"], request["password"] or "")
        return Resolution(550, UNKNOWN)

    def verify(self, name: str) -> Answer:
        """The answer to VRFY: full name and mailbox; 251 for a forwarded one, 553 for more than one."""
        if not self.vrfy:
            return Answer(252, ("Cannot VRFY user, but will accept message and attempt delivery",))
        wanted = name.strip().removeprefix("<").removesuffix(">").strip('"').lower()
        found = dict.fromkeys(_line(full, address) for full, address in self._people() if _means(wanted, full, address))
        if len(found) > 1:
            return Answer(553, ("User ambiguous.",))
        if found:
            return Answer(250, tuple(found))
        local, at, domain = wanted.rpartition("@")
        resolution = self.resolve(Address(local, domain) if at else Address(wanted))
        if resolution.code == 250:
            return Answer(250, (self._member(f"{resolution.mailbox}@{self.domain}"),))
        if resolution.code == 251:
            return Answer(251, (resolution.text,))
        return Answer(550, ("String does not match anything.",))

    def expand(self, name: str) -> Answer:
        """The answer to EXPN: the members of a group, one a line."""
        wanted = name.strip().removeprefix("<").removesuffix(">").lower().removesuffix(f"@{self.domain.lower()}")
        members = _find(self.groups, wanted)
        return Answer(250, tuple(map(self._member, members))) if members else Answer(550, ("Mailing list unknown.",))

    def _alias(self, target: str) -> Resolution:
        local, at, domain = target.rpartition("@")
        if at and domain.lower() != self.domain.lower():
            return Resolution(251, f"User not local; will forward to <{target}>", target, forward=True)
        return self._mailboxes.get((local if at else target).lower(), Resolution(550, UNKNOWN))

    def _fax(self, local: str) -> Resolution:
        number = parse_fax_number(local)
        if number is None:
            return Resolution(553, "Requested action not taken: mailbox name not allowed")
        if not self.fax_number or number.number.lstrip("+") != self.fax_number.lstrip("+"):
            return Resolution(550, UNKNOWN)
        return Resolution(250, OK, next(iter(self.mailboxes)), subaddress=number.subaddress)

    def _foreign(self, address: Address) -> Resolution:
        """A foreign recipient without a password: told to go there, or that a password is needed."""
        if self._relays_for(address.domain):
            return self._relay(address.local, address.domain, "")
        return Resolution(551, f"User not local; please try <{address}>")

    def _relay(self, local: str, domain: str, password: str) -> Resolution:
        given, wanted = password.encode(errors="replace"), self.relay_password.encode(errors="replace")
        if not self._relays_for(domain) or not hmac.compare_digest(given, wanted):
            return Resolution(550, "Requested action not taken: relay not permitted")
        return Resolution(250, OK, str(Address(local, domain)), forward=True)

    def _relays_for(self, domain: str) -> bool:
        """Whether a domain may be relayed to at all. Without a password nobody may, but in the family's own way."""
        allowed = [one.lower() for one in self.relay_domains if one]
        if not allowed:
            return self.relay_when_blank
        return bool(self.relay_password) and domain.lower() in allowed

    def _people(self) -> Iterator[tuple[str, str]]:
        """Everybody with a name: (full name, address)."""
        for mailbox, full in self.mailboxes.items():
            yield full, f"{mailbox}@{self.domain}"
        yield from self.address_book.items()

    def _member(self, address: str) -> str:
        full = next((full for full, known in self._people() if known.lower() == address.lower()), "")
        return _line(full, address)


def _find(table: Mapping[str, V], name: str) -> V | None:
    return next((value for key, value in table.items() if key.lower() == name), None)


def _line(full: str, address: str) -> str:
    return f"{full} <{address}>" if full else f"<{address}>"


def _means(wanted: str, full: str, address: str) -> bool:
    """Whether somebody means this person: by address, by local part, by name, or by a word of the name."""
    address, full = address.lower(), full.lower()
    return bool(wanted) and (wanted in (address, address.rpartition("@")[0], full) or wanted in full.split())
