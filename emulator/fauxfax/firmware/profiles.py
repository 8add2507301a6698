"""What a firmware version behaves like: the profile at the beginning of the SC component's payload.

What runs is what is flashed: the machine takes its panel texts, its SMTP banner and quirks and its parameter table
from here, so two versions of SC differ in what a sender and an operator see. In the payload a profile is the magic
`UFPROFIL`, the length of its JSON as a 32-bit little-endian number, and the JSON. A project value throughout.
"""

from __future__ import annotations

import functools
import json
import struct
from typing import Literal

import attrs
import cattrs

from fauxfax.errors import FormatError
from fauxfax.models import SmtpQuirks

MAGIC = b"UFPROFIL"
LIMIT = 64 * 1024
_HEAD = struct.Struct("<8sI")


@attrs.frozen(kw_only=True)
class ParameterSpec:
    """One line of the fax parameter table: its number, its name, how it is set, and what it is until set."""

    number: int
    name: str
    kind: Literal["switch", "number", "text", "choice"]
    default: bool | int | str
    choices: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class PanelTexts:
    """What the display says; `{…}` are filled in by the machine."""

    starting: str = "PLEASE WAIT"
    ready: str = "READY"
    receiving: str = "RECEIVING"
    printing: str = "PRINTING P{page}/{pages}"
    update_receiving: str = "FIRMWARE RECEIVING"
    update_checking: str = "FIRMWARE CHECKING"
    update_rewriting: str = "REWRITING {component}"
    update_done: str = "UPDATE COMPLETED"
    update_failed: str = "UPDATE FAILED"
    recovery: str = "SEND FIRMWARE FILE"
    paper_out: str = "NO PAPER"
    jam: str = "PAPER JAM"
    cover_open: str = "CLOSE COVER"
    memory_full: str = "MEMORY FULL"


@attrs.frozen(kw_only=True)
class Profile:
    """A firmware version, as seen from outside."""

    version: str
    model: str
    smtp: SmtpQuirks
    panel: PanelTexts = attrs.field(factory=PanelTexts)
    parameters: tuple[ParameterSpec, ...] = ()

    def panel_texts(self) -> dict[str, str]:
        """The panel texts by the state they are for."""
        return attrs.asdict(self.panel)

    def to_payload(self) -> bytes:
        """The octets the payload begins with."""
        text = json.dumps(_CONVERTER.unstructure(self), sort_keys=True, separators=(",", ":")).encode()
        return _HEAD.pack(MAGIC, len(text)) + text

    @classmethod
    def from_payload(cls, payload: bytes) -> Profile:
        """The profile a payload begins with. Raises FormatError if there is none or it cannot be read."""
        if len(payload) < _HEAD.size or not payload.startswith(MAGIC):
            raise FormatError("no profile: the payload does not begin with UFPROFIL", "payload, offset 0")
        length = _HEAD.unpack_from(payload)[1]
        if length > LIMIT or _HEAD.size + length > len(payload):
            raise FormatError(f"the profile claims {length} octets", "payload, offset 8")
        return _read(payload[_HEAD.size : _HEAD.size + length])


@functools.lru_cache(maxsize=8)
def _read(text: bytes) -> Profile:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise FormatError("the profile is no JSON", f"payload, offset {_HEAD.size}") from None
    return structure(data)


def structure(data: object) -> Profile:
    """A profile from plain data, of JSON or of a recipe. Raises FormatError that names the field."""
    try:
        return _CONVERTER.structure(data, Profile)
    except Exception as error:
        raise FormatError("; ".join(cattrs.transform_error(error, path="profile")), "profile") from None


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(bool | int | str, _plain_value)
    return converter


def _plain_value(value: object, _: object) -> bool | int | str:
    if isinstance(value, bool | int | str):
        return value
    raise TypeError(f"expected a switch, a number or a text, not {value!r}")


_CONVERTER = _converter()
