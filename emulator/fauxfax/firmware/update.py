"""One update, from its first octet to the commit record.

The work of each state of `states.py` is a generator here: it yields the machine seconds of each operation, None where
it needs more octets, and ends with the cause of the next state. A power cut drops the generator; what counts is what
it left in flash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator

import attrs

from fauxfax.errors import FauxfaxError, FormatError, Misuse
from fauxfax.firmware import driver, rules, survey
from fauxfax.firmware.codefile import PREFIX_SIZE, Component, Header, Part, header_size, parse_header
from fauxfax.firmware.flash import Flash, FlashFailure
from fauxfax.firmware.layout import Area, Layout, LayoutKind
from fauxfax.firmware.profiles import LIMIT as PROFILE_LIMIT
from fauxfax.firmware.profiles import Profile
from fauxfax.firmware.records import REASON_LIMIT, Attempt, Entry, Phase, Record, Records
from fauxfax.firmware.staging import BlockCheck, Image, Staging
from fauxfax.firmware.states import Cause, State
from fauxfax.models import Model

STAGED_IMAGE_LOST = "interrupted while rewriting, and the staged image is damaged or its memory card is not there"
INSTALL_TRIES = 3  # project value: how often what runs is rewritten before the loader asks for help

Activity = Generator[float | None, None, Cause]


class Refused(FauxfaxError):  # noqa: N818 - a decision, not an accident
    """The image is not installed. `offset` is the octet of the stream it was decided at."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class Update:
    """What is known of an update while the power is on, and the work it takes.

    `intact` holds the components that run, `size` and `received` are octets of the container, `home` is the state to
    go back to if it is refused.
    """

    def __init__(
        self,
        flash: Flash,
        model: Model,
        layout: Layout,
        card: Flash | None,
        progressed: Callable[[int, int], None],
    ) -> None:
        self.model = model
        self.flash = flash
        self.layout = layout
        self.card = card
        self.records = Records(flash, layout.records, model.timing)
        self.staging = Staging(flash, card, layout, model.timing)
        self.intact: dict[Component, Entry] = {}
        self.image: Image | None = None
        self.offered: Header | None = None
        self.attempt: Attempt | None = None
        self.refusal = Refused("")
        self.refused_in = self.home = State.RECOVERY
        self.buffer = bytearray()
        self.buffer_limit = max(model.receive_buffer, 2 * max(flash.geometry.sizes))
        self.ended = ""
        self.size = self.received = self.done = self.total = self.tries = 0
        self.force = False
        self.progressed = progressed
        self._timing = model.timing
        self._digest: hashlib._Hash | None = None

    def offer(self, size: int, offset: int, home: State, *, force: bool) -> None:
        """A container is about to come; `offset` 0 gives up what is stored."""
        if offset == 0:
            self.image = self._digest = None
        self.offered, self.home, self.force = None, home, force
        self.refusal = Refused("")
        self.size, self.received, self.ended, self.tries = size, offset, "", 0
        self.buffer.clear()

    @property
    def header(self) -> Header | None:
        """That of the image, stored or only offered so far."""
        return self.image.header if self.image else self.offered

    def work(self, state: State) -> Activity | None:
        """The work of a state, about to begin; None if there is none to do."""
        match state:
            case State.RECEIVING:
                return self.receiving()
            case State.CHECKING:
                return self.checking()
            case State.STAGED:
                return self.staged()
            case State.REWRITING:
                return self.rewriting()
            case State.VERIFYING:
                return self.verifying()
            case State.COMMITTED:
                return self.committed()
            case State.REFUSED:
                return self.refused()
        return None

    # The work of each state: generators of machine seconds, None where more octets are needed ------------------------

    def receiving(self) -> Activity:
        """Take the header, decide, then store piece by piece."""
        if self.image is None:
            yield from self._accept_header()
        image = self._staged_image()
        check = BlockCheck(image.header)
        self.total = image.header.total_size
        for stored in self._stored_payload(image):
            check.feed(stored)  # only to know where in a block it goes on: all is hashed before it is used
        while image.stored < len(image.pieces):
            piece = image.pieces[image.stored]
            yield from self._await(piece.size)
            data = bytes(self.buffer[: piece.size])
            if piece.offset >= image.header.size and (damage := check.feed(data)):
                raise Refused(f"{damage}; the file or the link spoilt it", piece.offset)
            del self.buffer[: piece.size]
            yield from self.staging.store(image, data)
            if self._digest is not None:
                self._digest.update(data)
            self._progress(image.next_offset)
        return Cause.WHOLE

    def checking(self) -> Activity:
        """Read back all that was received."""
        image = self._staged_image()
        self.total = image.header.total_size
        for part, area in zip(image.header.parts, image.areas, strict=True):
            yield from self._check_hash(part, area)
            if part.component is Component.SC:
                self._check_profile(part, area)
        return Cause.PASSED

    def staged(self) -> Activity:
        """Write down that the image is whole: from here on a cut is finished, not undone."""
        if self.layout.kind is LayoutKind.DUAL:
            return Cause.IN_PLACE
        yield from self.keep(Phase.INSTALLING, stage=State.REWRITING, reason="interrupted while rewriting")
        return Cause.COPY

    def rewriting(self) -> Activity:
        """Copy the image over what runs."""
        image = self._staged_image()
        self.total = image.header.total_size - image.header.size
        for part, source, target in self._targets(image):
            for address, size in self.flash.pieces(target.address, part.payload_size):
                data = self.staging.read(source, address - target.address, size)
                yield from driver.write(self.flash, address, data, self._timing)
                self._progress(self.done + size)
        return Cause.DONE

    def verifying(self) -> Activity:
        """Read back what will run."""
        image = self._staged_image()
        self.total = image.header.total_size - image.header.size
        for part, _, target in self._targets(image):
            try:
                yield from self._check_hash(part, target)
            except Refused:
                self.tries += 1
                if self.layout.kind is LayoutKind.DUAL or self.tries >= INSTALL_TRIES:
                    raise
                return Cause.WRONG
        return Cause.PASSED

    def committed(self) -> Activity:
        """Write the record that makes it run."""
        image = self._staged_image()
        record = self.records.latest
        entries = dict(record.entries) if record else {}
        entries.update((part.component, self._entry(part)) for part in image.header.parts)
        dual = self.layout.kind is LayoutKind.DUAL
        previous = record.entries if dual and record and self.is_whole(record) else {}
        attempt = self.attempt_now(State.COMMITTED, "")
        yield from self.records.write(
            Record(layout=self.layout.kind.value, entries=entries, previous=previous, attempt=attempt)
        )
        self.attempt = attempt
        return Cause.WRITTEN

    def refused(self) -> Activity:
        """Write down why not."""
        refused = self.refusal
        resumable = bool(self.ended) and self.image is not None and self.image.stored > 0
        phase = Phase.RECEIVING if resumable else Phase.IDLE
        try:
            yield from self.keep(phase, stage=self.refused_in, reason=refused.reason, offset=refused.offset)
        except (FlashFailure, driver.WornOut):
            self.attempt = self.attempt_now(self.refused_in, refused.reason, refused.offset)
        if not resumable:
            self.image = None
        return Cause.KEPT if self.home is State.RUNNING else Cause.BROKEN

    # Its parts ---------------------------------------------------------------------------------------------------

    def _accept_header(self) -> Generator[float | None, None, None]:
        """Wait for the header, decide on it, and only then give up what staging holds."""
        try:
            yield from self._await(min(PREFIX_SIZE, self.size))
            size = header_size(bytes(self.buffer[:PREFIX_SIZE]))
            yield from self._await(min(size, self.size))
            self.offered = header = parse_header(bytes(self.buffer[:size]))
        except FormatError as error:
            raise Refused(str(error)) from None
        if header.total_size != self.size:
            raise Refused(f"{self.size} octets were announced, the header describes {header.total_size}", size)
        reason = rules.objection(header, self.model, self.intact, self.layout.capacities, force=self.force)
        if reason:
            raise Refused(reason, size)
        areas = self._areas(header)
        if areas is None or header.size > self.layout.header.size:
            raise Refused(f"{self.size} octets fit neither the staging area nor a memory card", size)
        self.image = Image(header, areas, self.staging)
        self._digest = hashlib.sha256()
        yield from self.staging.clear()
        yield from self.keep(Phase.RECEIVING, stage=State.RECEIVING, reason="interrupted while receiving")

    def _await(self, size: int) -> Generator[None, None, None]:
        while len(self.buffer) < size:
            if self.ended:
                raise Refused(f"{self.ended} after {self.received} of {self.size} octets", self.received)
            yield None

    def keep(self, phase: Phase, *, stage: State, reason: str, offset: int = 0) -> driver.Steps:
        """Write a record that what ran still runs, how far the update came, and where boot goes on."""
        record, image = self.records.latest, self.image
        attempt = self.attempt_now(stage, reason, offset)
        yield from self.records.write(
            Record(
                layout=self.layout.kind.value,
                entries=record.entries if record else {},
                phase=phase,
                staged=image.header.sha256 if image and phase is not Phase.IDLE else "",
                attempt=attempt,
            )
        )
        self.attempt = attempt

    def attempt_now(self, stage: State, reason: str, offset: int = 0) -> Attempt:
        """This update as the last attempt, should it end here."""
        header = self.header
        return Attempt(
            component=header.name if header else "",
            version=header.version if header else "",
            stage=stage.value,
            reason=reason[:REASON_LIMIT],
            offset=offset,
            forced=self.force,
        )

    def _check_hash(self, part: Part, area: Area) -> driver.Steps:
        """Read a payload back, sector by sector. Raises Refused if it is not what the header says."""
        device = self.staging.device(area.card)
        digest = hashlib.sha256()
        for address, size in device.pieces(area.address, part.payload_size):
            digest.update(device.read(address, size))
            self._progress(self.done + size)
            yield size * self._timing.read_octet
        if digest.digest() != part.sha256:
            raise Refused(f"{part.component.value} does not match its SHA-256", self.received)

    def _check_profile(self, part: Part, area: Area) -> None:
        """A system control that does not say who it is would not start."""
        try:
            profile = Profile.from_payload(self.staging.read(area, 0, min(part.payload_size, PROFILE_LIMIT)))
        except FormatError as error:
            raise Refused(f"SC {part.version}: {error}") from None
        if (profile.version, profile.model) != (part.version, self.model.name):
            raise Refused(f"SC {part.version}: its profile is that of {profile.model} {profile.version}")

    def _targets(self, image: Image) -> Iterator[tuple[Part, Area, Area]]:
        """Each part with where it is staged and where it will run."""
        for part, source in zip(image.header.parts, image.areas, strict=True):
            yield part, source, source if self.layout.kind is LayoutKind.DUAL else self.layout.slots[part.component][0]

    def _stored_payload(self, image: Image) -> Iterator[bytes]:
        for piece in image.pieces[: image.stored]:
            if piece.offset >= image.header.size:
                yield self.staging.device(piece.card).read(piece.address, piece.size)

    def _staged_image(self) -> Image:
        if self.image is None:
            raise Misuse("loader: there is no image to work on")
        return self.image

    def _areas(self, header: Header) -> list[Area] | None:
        return self.layout.place(header, self._slots(), self.card.geometry if self.card else None)

    def _slots(self) -> dict[Component, int]:
        record = self.records.latest
        return {component: entry.slot for component, entry in record.entries.items()} if record else {}

    def _entry(self, part: Part) -> Entry:
        slot = 0 if self.layout.kind is LayoutKind.STAGED else 1 - self._slots().get(part.component, 1)
        return Entry(
            version=part.version,
            slot=slot,
            size=part.payload_size,
            sha256=part.sha256.hex(),
            requires=part.requires,
        )

    def profile(self) -> Profile | None:
        """The profile of the SC that is intact."""
        entry = self.intact.get(Component.SC)
        return survey.profile(self.flash, self.layout, entry) if entry else None

    def is_whole(self, record: Record) -> bool:
        """Whether all that a record says is installed is intact."""
        return bool(record.entries) and self.intact.keys() >= record.entries.keys()

    def recall(self, record: Record | None) -> driver.Steps:
        """Take up what flash says of an update that was under way."""
        self.attempt = record.attempt if record else None
        if record is None or not record.staged:
            return
        if record.phase is Phase.INSTALLING:  # kept if what follows does not find it whole
            self.attempt = record.attempt and attrs.evolve(record.attempt, reason=STAGED_IMAGE_LOST)
        image = self.staging.find(record.staged, self._areas)
        if image is None:
            return
        if record.phase is Phase.RECEIVING:
            yield from self.staging.settle(image)
            self.attempt = record.attempt and attrs.evolve(record.attempt, offset=image.next_offset)
        elif self._is_sound(image):
            self.attempt = record.attempt
        else:
            return
        self.image = image
        self.received = self.size = image.next_offset

    def _is_sound(self, image: Image) -> bool:
        """Whether a staged image is still what it was: its card may be out, or another one in, since the power went."""
        try:
            for part, area in zip(image.header.parts, image.areas, strict=True):
                digest = hashlib.sha256()
                device = self.staging.device(area.card)
                for address, size in device.pieces(area.address, part.payload_size):
                    digest.update(device.read(address, size))
                if digest.digest() != part.sha256:
                    return False
        except (FlashFailure, driver.WornOut):
            return False
        return True

    def _progress(self, done: int) -> None:
        self.done = done
        self.progressed(done, self.total)

    def stored_digest(self) -> str:
        """The SHA-256 of what is stored, kept up as pieces come in."""
        if self.image is None or not self.image.stored:
            return ""
        if self._digest is None:
            try:
                self._digest = self.staging.digest(self.image)
            except (FlashFailure, driver.WornOut):
                return ""
        return self._digest.hexdigest()
