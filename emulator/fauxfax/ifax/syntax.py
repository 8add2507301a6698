"""What stands in a command line: paths, parameters, xtext. RFC 821 4.1.2, RFC 5321 4.1.2, RFC 3461 4."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from fauxfax.errors import FormatError
from fauxfax.ifax.address import Address

PATH_LIMIT = 256
"""RFC 821 4.5.3: octets of a path."""

_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})
_ROUTE = r"(?:@[^\s<>:,]+(?:,@[^\s<>:,]+)*:)?"
_LOCAL = r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s<>@"()\[\]\\,;:]*)'
_DOMAIN = r"(?:@(?P<domain>[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?|\[[A-Za-z0-9.:]+\]))?"
_PATH = re.compile(rf" *(?P<open><)?{_ROUTE}(?:{_LOCAL}){_DOMAIN}(?(open)>)(?: +(?P<parameters>.*))?")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?|\[[A-Za-z0-9.:]+\]")


class UnknownParameterError(FormatError):
    """A parameter that no announced extension defines: 504."""


class Path(NamedTuple):
    """A forward or reverse path: the address, None for `<>`, and the parameters behind it, names in capitals.

    `written` is the address as text, empty for `<>`.
    """

    address: Address | None
    parameters: Mapping[str, str]
    written: str


def parse_path(text: str) -> Path:
    """A path and its parameters. Source routes are dropped, missing brackets tolerated. Raises FormatError."""
    match = _PATH.fullmatch(text)
    if match is None:
        raise FormatError("expected <mailbox>", text[:40])
    opened, quoted, plain, domain, parameters = match.groups()
    local = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    domain = domain or ""
    if len(local) + len(domain) > PATH_LIMIT - 3:
        raise FormatError("the path is too long")
    if not (local or domain or opened):
        raise FormatError("expected <mailbox>")
    address = Address(local, domain) if local or domain else None
    written = str(address) if address is not None else ""
    return Path(address, parse_parameters(parameters) if parameters else _NO_PARAMETERS, written)


def parse_parameters(text: str) -> Mapping[str, str]:
    """`KEY=VALUE KEY …`. Raises FormatError for one that is malformed or given twice."""
    parameters: dict[str, str] = {}
    for word in text.split():
        match = _PARAMETER.fullmatch(word)
        if match is None or match[1].upper() in parameters:
            raise FormatError("malformed or repeated parameter", word[:40])
        parameters[match[1].upper()] = match[2] or ""
    return MappingProxyType(parameters)


def check_parameters(parameters: Mapping[str, str], allowed: Iterable[str]) -> None:
    """Raises UnknownParameterError for a parameter that is not allowed, FormatError for a value that is wrong."""
    for name, value in parameters.items():
        if name not in allowed:
            raise UnknownParameterError("unknown parameter", name[:40])
        if not _VALUES[name].fullmatch(value):
            raise FormatError("bad value", name)


def decode_xtext(text: str) -> str:
    """Plain text from xtext (RFC 3461 4). Raises FormatError. Octets beyond ASCII become `?`."""
    if not text:
        return ""
    if not _XTEXT.fullmatch(text):
        raise FormatError("not xtext", text[:40])
    octets = re.sub(r"\+([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text)
    return "".join(character if character.isascii() and character.isprintable() else "?" for character in octets)


def is_domain(text: str) -> bool:
    """Whether a HELO argument is one domain name or address literal."""
    return bool(_NAME.fullmatch(text))


_VALUES = {
    "SIZE": re.compile(r"[0-9]{1,20}"),
    "BODY": re.compile(r"7BIT|8BITMIME", re.IGNORECASE),
    "RET": re.compile(r"FULL|HDRS", re.IGNORECASE),
    "ENVID": re.compile(rf"(?=.{{1,100}}$){_XTEXT.pattern}"),
    "NOTIFY": re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*", re.IGNORECASE),
    "ORCPT": re.compile(rf"[A-Za-z0-9-]+;(?=.{{1,500}}$){_XTEXT.pattern}"),
}
