"""A machine small enough to be cut thousands of times a second: two components, payloads of a few sectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from fauxfax.firmware import codefile, factory
from fauxfax.firmware.codefile import Component, Source
from fauxfax.firmware.flash import Flash, Geometry
from fauxfax.firmware.layout import Layout, LayoutKind
from fauxfax.firmware.loader import Boot, Loader, State
from fauxfax.firmware.profiles import Profile
from fauxfax.firmware.storage import MemoryStorage
from fauxfax.models import SmtpQuirks, find_model

MODEL = find_model("UF-8000")
UNIFORM = "64x4k/4/ff"
GEOMETRIES = (UNIFORM, "64x4k/1/ff", "64x4k/2/00", "64x4k/32/ff", "64x64k/32/ff", "8x8k+63x64k/2/ff")
SETTINGS = b"parameters, addresses, journal: not the loader's to touch\n"


def source(
    component: Component = Component.SC, version: str = "V10200", size: int = 0, seed: int = 0, sector: int = 4096
) -> Source:
    """A part with a payload of `size` octets, by default a few sectors; SC has a profile in it."""
    head = b""
    if component is Component.SC:
        head = Profile(
            version=version, model=MODEL.name, smtp=SmtpQuirks(banner=f"{MODEL.name} {version}")
        ).to_payload()
    filler = hashlib.shake_256(f"{component} {version} {seed}".encode())
    size = size or {Component.SC: 14_000, Component.PNL: 5_000}[component] * sector // 4096
    payload = head + filler.digest(size - len(head))
    return Source(component=component, version=version, payload=payload, block_size=sector)


def image(*sources: Source, models: tuple[str, ...] = (MODEL.name,), destination: str = "AA") -> bytes:
    """A container; of the newer SC alone by default."""
    return codefile.build(models, sources or (source(),), destination)


def both(version: str = "V10200") -> bytes:
    """A set of both components."""
    return image(source(Component.PNL, version), source(Component.SC, version))


def memory_card(geometry: Geometry) -> Flash:
    """A card of eight sectors, of the same cells as the flash."""
    return Flash(MemoryStorage(Geometry(((8, geometry.sizes[-1]),), geometry.write_unit, geometry.erased)))


class SmallMachine:
    """A loader on a small flash, and the hand that feeds it.

    The kind `card` is the staged layout with so little staging that a system control goes to the memory card.
    """

    def __init__(
        self,
        kind: str = "staged",
        geometry: str = UNIFORM,
        *,
        staging: int | None = None,
        card: Flash | None = None,
        unprotected: bool = False,
    ) -> None:
        shape = Geometry.parse(geometry)
        sector = shape.sizes[-1]
        capacities = {Component.SC: 5 * sector, Component.PNL: 2 * sector}
        if kind == "card":
            kind, staging, card = "staged", 2 * sector, memory_card(shape)
        self.layout = Layout(shape, LayoutKind(kind), capacities, staging)
        self.flash = Flash(MemoryStorage(shape))
        factory.fill(self.flash, self.layout, self._old(sector))
        self.flash.program(self.layout.settings.address, shape.pad(SETTINGS))
        self.flash.operations = 0
        self.flash.protected = 0 if unprotected else self.layout.loader.size
        self.card = card
        self.states: list[State] = []
        self.boot()

    @staticmethod
    def _old(sector: int) -> list[Source]:
        return [source(component, "V10100", sector=sector) for component in (Component.SC, Component.PNL)]

    def boot(self, *, hung: bool = False) -> Boot:
        """Power off, power on; or the watchdog's restart."""
        self.loader = Loader(self.flash, MODEL, self.layout, card=self.card)
        return self.loader.boot(hung=hung)

    def send(self, container: bytes, offset: int = 0, sha256: str | None = None, *, force: bool = False) -> str:
        """Send a container to its end. Returns the reason if it was refused."""
        refusal = self.loader.begin(len(container), offset, sha256, force=force)
        if refusal is not None:
            return refusal.reason
        for _ in self.feeding(container[offset:]):
            pass
        self.run()
        last = self.loader.status().last
        return last.reason if last else ""

    def feeding(self, data: bytes) -> Iterator[int]:
        """Feed as much as there is room for, and let the loader work; yields after each step."""
        position = 0
        while position < len(data) and self.loader.state is State.RECEIVING:
            room = self.loader.room
            self.loader.feed(data[position : position + room])
            position += min(room, len(data) - position)
            self.loader.step()
            yield position

    def run(self) -> float:
        """Let the loader work until it has nothing to do. Returns the machine seconds it took."""
        seconds = 0.0
        while (step := self.loader.step()) is not None:
            seconds += step
            self._note()
        self._note()
        return seconds

    def _note(self) -> None:
        if not self.states or self.states[-1] is not self.loader.state:
            self.states.append(self.loader.state)
