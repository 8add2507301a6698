"""A machine on a clock that is moved by hand, and the hand of a PC."""

from __future__ import annotations

from collections.abc import Callable

from fauxfax.clock import ManualClock
from fauxfax.firmware.loader import State
from fauxfax.inprocess import InProcessMachine
from fauxfax.machine.channel import Channel
from fauxfax.machine.machine import Machine
from fauxfax.machine.settings import Settings


class Bench:
    """Machine time passes only as a test says. `port` is a connection to the raw port."""

    def __init__(self, layout: str = "staged", password: str = "") -> None:
        self.clock = ManualClock()
        self.host = InProcessMachine(
            clock=self.clock, settings=Settings(update_layout=layout, update_password=password)
        )
        self.machine: Machine = self.host.machine
        self.port = self.machine.open_port("raw")

    def send(self, data: bytes, port: Channel | None = None) -> None:
        """Write as the machine has room; machine time passes only where it has none."""
        port = port or self.port
        while data:
            if not (room := port.room):
                if not port.online or not self._tick():
                    return
                continue
            port.write(data[:room])
            data = data[room:]

    def _tick(self) -> bool:
        before = self.clock.now
        return self.clock.advance(0.05) > 0 or self.clock.now - before < 1

    def until(self, state: State) -> None:
        for _ in range(200_000):
            if self.machine.updates.loader.state is state:
                return
            self.clock.advance(0.002)
        raise AssertionError(f"never {state}: {self.machine.updates.loader.status()}")

    def ready(self, seconds: float = 120.0) -> str:
        """Let it come to rest. Returns the version of the part that runs."""
        self.clock.advance(seconds)
        return self.machine.versions["SCN"]

    def cycle(self, *, cut: bool = False) -> None:
        self.machine.power_off(cut=cut)
        self.machine.power_on()
        self.clock.advance(self.machine.model.timing.loader + self.machine.model.timing.boot + 0.1)

    def asked(self) -> dict[str, str]:
        """INFO UPGRADE, asked by another PC."""
        port = self.machine.open_port("raw")
        port.write(b"\x1b%-12345X@PJL INFO UPGRADE\r\n")
        lines = port.read(65536).decode().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


Make = Callable[..., Bench]
