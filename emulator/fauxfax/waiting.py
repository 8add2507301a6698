"""Waiting for a running machine: until it is ready, or until something has happened."""

from __future__ import annotations

import time  # noqa: TID251 - a person's patience, not machine time
from pathlib import Path
from typing import Any

from fauxfax.client import Client, NoMachine
from fauxfax.errors import FauxfaxError, Misuse

COUNTED = {"fax": "documents", "page": "pages", "update": "updates"}
"""What can be waited for, and the counter of the status object's `since_start` that says how often it happened."""


def wait_for(client: Client, what: str, *, count: int, new: bool, timeout: float) -> bool:
    """Whether `what` (fax, page, update, panel=TEXT) happened `count` times within `timeout` seconds.

    Counts from the start of the machine's process, so that nothing is missed between an action and the call; `new`
    counts from now. A panel's text is looked for in what is shown now and from then on.
    """
    kind, _, text = what.partition("=")
    if what not in COUNTED and (kind != "panel" or not text):
        raise Misuse(f"--for {what!r}: expected fax, page, update or panel=TEXT")
    deadline = time.monotonic() + timeout
    status = client.get("/v1/machine")
    base = _counted(status, kind) if new else 0

    def seen(status: dict[str, Any]) -> bool:
        if kind == "panel":
            return any(text in line for line in status["panel"])
        return _counted(status, kind) - base >= count

    while not seen(status):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        next(client.events(status["sequence"], remaining), None)
        status = client.get("/v1/machine")
    return True


def wait_until_ready(url: str | None, state: Path, timeout: float) -> bool:
    """Whether a machine answers and is ready within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if Client.find(url, state).get("/v1/machine")["state"] == "ready":
                return True
        except NoMachine:
            pass
        except FauxfaxError:
            raise
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)


def _counted(status: dict[str, Any], kind: str) -> int:
    return int(status["since_start"].get(COUNTED.get(kind, ""), 0))
