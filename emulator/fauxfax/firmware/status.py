"""What the loader tells: its answers to a start and to an offer, and where an update is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fauxfax.firmware.profiles import Profile
from fauxfax.firmware.records import Attempt
from fauxfax.firmware.states import State


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to an update that cannot begin; `next_offset` is where one could."""

    reason: str
    next_offset: int = 0


@dataclass(frozen=True, slots=True)
class Boot:
    """What the loader decided at a start: only what is intact has a version and a hash (SHA-256, hexadecimal).

    `gave_up` says that it gave a firmware up at this start, and the last attempt says why: one on trial that was not
    confirmed, or one that hung too often.
    """

    state: State
    versions: Mapping[str, str]
    hashes: Mapping[str, str]
    profile: Profile | None
    on_trial: bool = False
    gave_up: bool = False


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """The update as a technician sees it. Offsets and sizes are octets of the container.

    `received` came in; `next_offset` of it are stored and survive a power-off, and `sha256` is their hash. `done` of
    `total` octets is how far the state's own work is.
    """

    state: State
    component: str
    version: str
    received: int
    next_offset: int
    sha256: str
    done: int
    total: int
    last: Attempt | None
