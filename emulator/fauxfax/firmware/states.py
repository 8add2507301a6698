"""The loader's states and its one transition table.

    RUNNING --begin--> RECEIVING --whole--> CHECKING --passed--> STAGED --copy--> REWRITING --done--> VERIFYING
    VERIFYING --passed--> COMMITTED --written--> RESTARTING --(boot)--> RUNNING

The image is whole and verified before a cell of what runs is touched. In the dual layout it was received into the
bank that does not run, so STAGED goes straight to VERIFYING. REFUSED writes down why, then the machine is where it
was. A cut leaves no state behind but what is in flash: boot decides anew between RUNNING, REWRITING and RECOVERY.
"""

from __future__ import annotations

from enum import Enum

from fauxfax.errors import Misuse


class State(Enum):
    """Where the loader is; the names are the ones users see."""

    RUNNING = "RUNNING"
    RECEIVING = "RECEIVING"
    CHECKING = "CHECKING"
    STAGED = "STAGED"
    REWRITING = "REWRITING"
    VERIFYING = "VERIFYING"
    COMMITTED = "COMMITTED"
    RESTARTING = "RESTARTING"
    REFUSED = "REFUSED"
    RECOVERY = "RECOVERY"


class Cause(Enum):
    """Why the loader moves on."""

    BEGIN = "an update was begun"
    WHOLE = "the whole image is stored"
    PASSED = "the check passed"
    COPY = "what runs must be rewritten"
    IN_PLACE = "the image already lies in the bank that does not run"
    DONE = "everything is written"
    WRONG = "what was written does not read back right"
    REFUSE = "the update is refused"
    WRITTEN = "the commit record is written"
    KEPT = "the firmware that ran still runs"
    BROKEN = "no firmware can run"


TRANSITIONS: dict[tuple[State, Cause], State] = {
    (State.RUNNING, Cause.BEGIN): State.RECEIVING,
    (State.RECOVERY, Cause.BEGIN): State.RECEIVING,
    (State.RECEIVING, Cause.WHOLE): State.CHECKING,
    (State.RECEIVING, Cause.REFUSE): State.REFUSED,
    (State.CHECKING, Cause.PASSED): State.STAGED,
    (State.CHECKING, Cause.REFUSE): State.REFUSED,
    (State.STAGED, Cause.COPY): State.REWRITING,
    (State.STAGED, Cause.IN_PLACE): State.VERIFYING,
    (State.STAGED, Cause.REFUSE): State.REFUSED,
    (State.REWRITING, Cause.DONE): State.VERIFYING,
    (State.REWRITING, Cause.WRONG): State.REWRITING,
    (State.REWRITING, Cause.BROKEN): State.RECOVERY,
    (State.VERIFYING, Cause.PASSED): State.COMMITTED,
    (State.VERIFYING, Cause.WRONG): State.REWRITING,
    (State.VERIFYING, Cause.REFUSE): State.REFUSED,
    (State.VERIFYING, Cause.BROKEN): State.RECOVERY,
    (State.COMMITTED, Cause.WRITTEN): State.RESTARTING,
    (State.COMMITTED, Cause.REFUSE): State.REFUSED,
    (State.COMMITTED, Cause.BROKEN): State.RECOVERY,
    (State.REFUSED, Cause.KEPT): State.RUNNING,
    (State.REFUSED, Cause.BROKEN): State.RECOVERY,
}
BOOT_STATES = (State.RUNNING, State.REWRITING, State.RECOVERY)
OPEN_STATES = (State.RUNNING, State.RECOVERY)


def following(state: State, cause: Cause) -> State:
    """Where `cause` leads from `state`. Raises Misuse if it leads nowhere."""
    try:
        return TRANSITIONS[state, cause]
    except KeyError:
        raise Misuse(f"loader: in {state.value} it cannot be that {cause.value}") from None
