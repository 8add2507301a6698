"""Updaters that are wrong on purpose. Each makes one mistake that real ones have made; the sweep must catch each."""

from __future__ import annotations

from collections.abc import Generator

import attrs

from fauxfax.firmware import driver
from fauxfax.firmware.flash import Flash
from fauxfax.firmware.loader import Boot, Loader, State
from fauxfax.firmware.records import Record, Records
from fauxfax.firmware.staging import Image, Staging
from fauxfax.firmware.states import Cause
from fauxfax.firmware.status import Refusal
from fauxfax.firmware.update import Activity, Update


class CommitsBeforeVerifying(Update):
    """The commit record says that the new image runs before it has been copied."""

    def staged(self) -> Activity:
        yield from super().committed()
        return (yield from super().staged())


class CommitBeforeVerify(Loader):
    update_type = CommitsBeforeVerifying

    def boot(self) -> Boot:
        """Trusts the record, and drops the installation it would have to go on with."""
        boot = super().boot()
        record = self._update.records.latest
        if self.state is State.REWRITING and record is not None:
            self._update.image = None
            self._enter(State.RUNNING if self._update.profile() else State.RECOVERY)
            versions = {component.value: entry.version for component, entry in record.entries.items()}
            return Boot(self.state, versions, boot.hashes, boot.profile)
        return boot


class MarksBeforeStoring(Staging):
    """A piece is acknowledged before it is stored."""

    def store(self, image: Image, data: bytes) -> driver.Steps:
        yield from self._mark(image.stored)
        piece = image.pieces[image.stored]
        image.stored += 1
        yield from driver.write(self.device(piece.card), piece.address, data, self._timing)


class SuccessBeforeStore(Loader):
    class _Update(Update):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            self.staging = MarksBeforeStoring(self.flash, self.card, self.layout, self.model.timing)

    update_type = _Update


class LoaderErased(Loader):
    """Rewrites itself as well."""

    class _Update(Update):
        def rewriting(self) -> Activity:
            old = self.flash.read(self.layout.loader.address, self.layout.loader.size)
            self.flash.erase(self.layout.loader.address)
            yield 0.0
            self.flash.program(self.layout.loader.address, old)
            yield 0.0
            return (yield from super().rewriting())

    update_type = _Update


def write_without_looking(flash: Flash, address: int, data: bytes) -> Generator[float, None, None]:
    flash.erase(address)
    yield 0.0
    flash.program(address, flash.geometry.pad(data))
    yield 0.0


class NoReadBack(Loader):
    """Believes the device: no cell is read back after it was written."""

    class _Update(Update):
        def rewriting(self) -> Activity:
            image = self._staged_image()
            for part, source, target in self._targets(image):
                for address, size in self.flash.pieces(target.address, part.payload_size):
                    data = self.staging.read(source, address - target.address, size)
                    yield from write_without_looking(self.flash, address, data)
            return Cause.DONE

        def verifying(self) -> Activity:
            return Cause.PASSED
            yield

    update_type = _Update


class ResumeWithoutHash(Loader):
    """Goes on at any offset that fits, whoever's octets are stored."""

    def _cannot_begin(self, size: int, offset: int, sha256: str | None) -> Refusal | None:
        return super()._cannot_begin(size, offset, self._update.stored_digest() if offset else sha256)


class VersionWrittenFirst(Loader):
    """The new version number is noted when the image is staged."""

    class _Update(Update):
        def staged(self) -> Activity:
            record = self.records.latest
            assert record is not None
            entries = dict(record.entries)
            for part in self._staged_image().header.parts:
                entries[part.component] = attrs.evolve(entries[part.component], version=part.version)
            yield from self.records.write(attrs.evolve(record, entries=entries))
            return (yield from super().staged())

    update_type = _Update


class WritesBothRecords(Records):
    """Keeps both copies the same, as if two of them were safer than one before and one after."""

    def write(self, record: Record) -> driver.Steps:
        for area in self._areas:
            yield from driver.erase(self._flash, area.address, self._timing)
        yield from super().write(record)


class BothCommitRecordsWritten(Loader):
    class _Update(Update):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            self.records = WritesBothRecords(self.flash, self.layout.records, self.model.timing)

    update_type = _Update


class StagingReusedUnverified(Loader):
    """What was stored is not read back as a whole before what runs is given up."""

    class _Update(Update):
        def checking(self) -> Activity:
            return Cause.PASSED
            yield

    update_type = _Update


class BelievesTheCard(Loader):
    """A staged image was verified before the power went; that it still is what it was is not looked at."""

    class _Update(Update):
        def _is_sound(self, image: Image) -> bool:
            return True

    update_type = _Update


class SettingsErased(Loader):
    """Cleans up a sector that is not its own."""

    class _Update(Update):
        def committed(self) -> Activity:
            yield from driver.erase(self.flash, self.layout.settings.address, self._timing)
            return (yield from super().committed())

    update_type = _Update


class RewritesWhileReceiving(Loader):
    """Has no patience for staging: each piece goes where it will run at once."""

    class _Update(Update):
        def offer(self, size: int, offset: int, home: State, *, force: bool) -> None:
            super().offer(size, offset, home, force=force)
            slots = self.layout.slots
            self._areas = lambda header: [slots[part.component][0] for part in header.parts]  # type: ignore[method-assign]

    update_type = _Update


class RecordWithoutChecksum(Loader):
    """Takes any record that can be read at its beginning for a record."""

    class _Update(Update):
        class _Records(Records):
            def load(self) -> Record | None:
                found = super().load()
                newest = max(self._areas, key=lambda area: self._flash.read(area.address + 12, 4)[::-1])
                sector = self._flash.read(newest.address, newest.size)
                if sector[:4] == b"UFRC" and self._read(newest) is None:
                    self.latest = None  # the newer one counts, and cannot be read to its end
                    return None
                return found

        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            self.records = self._Records(self.flash, self.layout.records, self.model.timing)

    update_type = _Update


class TrustsWhatItReadsOnce(Loader):
    """A record whose seal was readable once is acted upon, though the next start may not be able to read it."""

    class _Update(Update):
        class _Records(Records):
            def settle(self) -> driver.Steps:
                yield from ()

        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            self.records = self._Records(self.flash, self.layout.records, self.model.timing)

    update_type = _Update


class ForgetsToGoOn(Loader):
    """A rewriting that was cut is not finished at the next start."""

    def boot(self) -> Boot:
        boot = super().boot()
        if self.state is State.REWRITING:
            self._enter(State.RUNNING)
        return boot
