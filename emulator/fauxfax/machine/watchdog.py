"""The watchdog: a firmware that hangs is restarted, and the loader is told why.

A firmware hangs because a fault rule says so: `boot` is asked when it has started, and may answer `hang`, at once or
after so many seconds. While it hangs nobody is answered. What comes of it is the loader's to decide: a firmware on
trial gives way to the one before it, any other is given up after some hangs in a row. `cut` pulls the plug instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fauxfax.clock import Timer
    from fauxfax.machine.machine import Machine


class Watchdog:
    """Bites `Timing.watchdog` seconds after the firmware's last sign of life."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._timer: Timer | None = None
        self.hung = False

    def started(self) -> None:
        """The loader has started what there is: if that is a firmware, a rule may let it hang."""
        rule = self._machine.faults.ask("boot") if self._machine.profile is not None else None
        match rule.action if rule is not None else "":
            case "cut":
                self._machine.power_off(cut=True)
            case "hang" if rule is not None and float(rule.argument or 0) > 0:
                self._timer = self._machine.clock.call_later(float(rule.argument), self._hang)
            case "hang":
                self._hang()

    def bitten(self) -> bool:
        """Whether the start that now begins is the watchdog's; asked once."""
        hung, self.hung = self.hung, False
        return hung

    def stop(self) -> None:
        """What ran is over: its power is gone, or it is restarted. Nothing hangs any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.hung = None, False

    def _hang(self) -> None:
        self.hung = True
        self._machine.freeze()
        self._machine.refresh()
        self._timer = self._machine.clock.call_later(self._machine.model.timing.watchdog, self._bite)

    def _bite(self) -> None:
        self._timer = None
        self._machine.start_loader()
