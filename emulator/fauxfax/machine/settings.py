"""What a person set on the machine: the part of the configuration that the device itself needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """See `fauxfax.config` for the meaning of each; empty or 0 means the model's default."""

    name: str = "fax1"
    domain: str = ""
    fax_number: str = ""
    jbig: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    address_book: Mapping[str, str] = field(default_factory=dict)
    relay_domains: tuple[str, ...] = ()
    relay_password: str = field(default="", repr=False)
    outbox: bool = False
    """Whether there is a mail server to send through."""
    sink: bool = False
    durable: bool = True
    max_message: int = 0
    pages_per_minute: float = 0.0
    update_password: str = field(default="", repr=False)
    update_layout: str = "staged"
