"""The flash operation under way: what a power cut tears, and where a fault rule may befall the commit.

The loader does an operation at once and says how long it takes. If the plug is pulled within that time, the cells must
be as the hardware would have left them: so the cells from before are put back and the same operation is done again,
this time with a cut in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from fauxfax.firmware.flash import Cut, Flash, FlashFailure, Kind, Operation, PowerLost

Befall = Callable[[Flash, Operation], Cut | None]


@dataclass(frozen=True, slots=True)
class _UnderWay:
    flash: Flash
    operation: Operation
    before: bytes


class FlashWatch:
    """Listens on the hook of each device. `befall` is asked before each operation and may cut it."""

    def __init__(self, devices: Iterable[Flash], befall: Befall) -> None:
        self._befall = befall
        self._under_way: _UnderWay | None = None
        for flash in devices:
            flash.hook = partial(self._begun, flash)

    def forget(self) -> None:
        """The operation is over: it can no longer be torn."""
        self._under_way = None

    def tear(self, part: float) -> bool:
        """Leave the operation under way as a power cut after this part of its time would. False if there is none."""
        if self._under_way is None:
            return False
        flash, operation, before = self._under_way.flash, self._under_way.operation, self._under_way.before
        self._under_way = None
        flash.storage.write(operation.address, before)
        hook, flash.hook = flash.hook, lambda _: torn(operation, part)
        try:
            with contextlib.suppress(PowerLost, FlashFailure):
                if operation.kind is Kind.ERASE:
                    flash.erase(operation.address)
                else:
                    flash.program(operation.address, operation.data)
        finally:
            flash.hook = hook
        return True

    def _begun(self, flash: Flash, operation: Operation) -> Cut | None:
        before = flash.storage.read(operation.address, operation.size)
        self._under_way = _UnderWay(flash, operation, before)
        return self._befall(flash, operation)


def torn(operation: Operation, part: float) -> Cut:
    """The cut that falls within an operation: at least an octet is done, and at least one is not."""
    return Cut(max(1, min(operation.size - 1, int(operation.size * part))), unstable=True)
