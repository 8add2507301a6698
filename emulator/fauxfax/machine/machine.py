"""The machine: owns its parts and the one event stream, and nothing else decides about the device.

No socket, no thread, no wall clock. Ways in get a :class:`Channel` each (`open_port`), the SMTP receiver asks the
:class:`Desk` (`desk`), messages go into `memory` and come out as printed documents.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from fauxfax.clock import Clock, Timer
from fauxfax.errors import FauxfaxError
from fauxfax.events import (
    DocumentFailed,
    DocumentKept,
    DocumentPrinted,
    ErrorCleared,
    ErrorRaised,
    Event,
    EventStream,
    FaultFired,
    FirmwareStarted,
    MessageAccepted,
    PagePrinted,
    PoweredOff,
    PoweredOn,
    Record,
    StateChanged,
    UpdateDeclined,
    UpdateStateChanged,
)
from fauxfax.faults import UPDATE_POINTS, FaultPlan, Rule
from fauxfax.firmware.loader import Loader, State
from fauxfax.firmware.profiles import Profile
from fauxfax.hostport.port import PortStatus
from fauxfax.hostport.usb import PrinterFunction
from fauxfax.hostport.usbdescriptors import Identity, Speed
from fauxfax.hostport.usbwatch import WatchedFunction, Watcher
from fauxfax.ifax.host import BINARY
from fauxfax.machine import report
from fauxfax.machine.channel import Channel
from fauxfax.machine.database import Database
from fauxfax.machine.engine import ERRORS, Engine, Job
from fauxfax.machine.journal import RESULT_OK, RESULT_UNREADABLE, Entry, Journal
from fauxfax.machine.mailupdate import MailUpdate
from fauxfax.machine.memory import DISK_PATIENCE, Memory, Stored
from fauxfax.machine.panel import Panel
from fauxfax.machine.parameters import Parameters
from fauxfax.machine.printdesk import PRINTED, PrintDesk
from fauxfax.machine.recorder import Recorder
from fauxfax.machine.settings import Settings
from fauxfax.machine.updates import UpdateDesk
from fauxfax.machine.watchdog import Watchdog
from fauxfax.models import Model


class Machine:
    """One fax machine. Made without power; `power_on()` starts the loader.

    Args:
        model: which of the family.
        clock: machine time.
        memory: the file of the non-volatile memory.
        loader: the loader with the flash behind it.
        settings: what a person set on it.
        publish_document: puts a printed document into the tray, by its number; must bear being called again.
    """

    def __init__(
        self,
        model: Model,
        clock: Clock,
        memory: Path,
        make_loader: Callable[[Callable[[Event], object]], Loader],
        settings: Settings,
        publish_document: Callable[[int], None],
    ) -> None:
        self.model = model
        self.clock = clock
        self.settings = settings
        self.events = EventStream(lambda: clock.now)
        self.faults = FaultPlan(lambda: clock.now, self._fault_fired)
        self.database = Database(memory, durable=settings.durable)
        self.memory = Memory(self.database, model.image_memory)
        self.journal = Journal(self.database)
        self.parameters = Parameters(self.database)
        self.panel = Panel(model.name, self.events)
        self.engine = Engine(
            model,
            clock,
            self.events,
            self.faults,
            page_done=lambda job: self.memory.page_out(job.document, job.printed),
            job_done=self._job_done,
            pages_per_minute=settings.pages_per_minute,
        )
        self.updates = UpdateDesk(make_loader(self._publish), clock, self, settings.update_password)
        self.watchdog = Watchdog(self)
        self.prints = PrintDesk(self)
        self.recorder: Recorder | None = None
        self.mail_update: MailUpdate | None = None
        self.receiving: Callable[[], bool] = lambda: False
        self._publish_document = publish_document
        self._channels: weakref.WeakSet[Channel] = weakref.WeakSet()
        self._starting: Timer | None = None
        self.sunk = 0
        self.since_start: Counter[str] = Counter()
        self.events.subscribe(self._notice)
        self.power = "off"
        self.state = "off"
        self.profile: Profile | None = None
        self.versions: dict[str, str] = {}
        self.hashes: dict[str, str] = {}

    # Power ---------------------------------------------------------------------------------------------------

    def power_on(self, *, at_once: bool = False) -> None:
        """Start the loader, then the firmware, in machine time; `at_once` finds the machine already started."""
        if self.power == "on":
            return
        self.power = "on"
        self.updates.loader.power_on()
        self._publish(PoweredOn())
        (self._boot if at_once else self.start_loader)()

    def power_off(self, *, cut: bool = False) -> None:
        """Switch off in order, or (`cut`) pull the plug: what is in flight is lost as the hardware loses it."""
        if self.power == "off":
            return
        self.power = "off"
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
        self.watchdog.stop()
        self.freeze(cut=cut)
        self._publish(PoweredOff(cut))
        self.refresh()

    def freeze(self, *, cut: bool = False) -> None:
        """All that the machine was doing is over: its power is gone, or its firmware hangs."""
        self.updates.stop(cut=cut)
        if self.mail_update is not None:
            self.mail_update.power_off()
        self.updates.loader.power_off(cut=cut)
        self.engine.power_off()
        self._firmware_stopped()

    @property
    def online(self) -> bool:
        """Whether a PC sees the machine: powered, neither starting nor restarting, and not hung."""
        return self.power == "on" and self._starting is None and not self.watchdog.hung

    @property
    def running(self) -> bool:
        """Whether a firmware runs; false while dark, starting, or in recovery."""
        return self.online and self.profile is not None

    def start_loader(self) -> None:
        """The loader checks the flash, then starts what is in it."""
        self._starting = self.clock.call_later(self.model.timing.loader, self._loader_done)
        self.refresh()

    def _loader_done(self) -> None:
        """The loader has checked the flash; the firmware, if there is one, needs its own time to start."""
        self._starting = self.clock.call_later(self.model.timing.boot, self._boot)

    def _boot(self) -> None:
        self._starting = None
        boot = self.updates.loader.boot(hung=self.watchdog.bitten())
        self.versions, self.hashes, self.profile = dict(boot.versions), dict(boot.hashes), boot.profile
        if self.profile is not None:
            self.panel.load_texts(self.profile.version, attrs.asdict(self.profile.panel))
            self.parameters.load_table({spec.number: str(spec.default) for spec in self.profile.parameters})
            self._publish(FirmwareStarted(self.model.name, self.profile.version))
            self.engine.power_on()
        self.refresh()
        self.updates.started(boot)
        self.watchdog.started()
        if self.mail_update is not None and self.running:
            for message in self.memory.waiting():  # power may have gone between their storing and their being noticed
                if message.state == "received":
                    self.mail_update.take(message)

    def restart(self) -> None:
        """The loader asks for a restart: the bus goes away, then comes back."""
        self.watchdog.stop()
        self.engine.power_off()
        self._firmware_stopped()
        self._starting = self.clock.call_later(self.model.timing.shutdown, self.start_loader)
        self.refresh()

    def _firmware_stopped(self) -> None:
        self.profile = None
        self.panel.load_texts("", {})

    # Documents -----------------------------------------------------------------------------------------------

    def accepted(self, numbers: Sequence[int]) -> None:
        """Messages have been stored and acknowledged; they wait to be decoded, or are counted and dropped (`sink`)."""
        if self.settings.sink:
            self.memory.drop(numbers)
            self.sunk += len(numbers)
            return
        for number in numbers:
            message = self.memory.get(number)
            if message is None:
                continue
            if self.mail_update is not None and self.mail_update.take(message):
                continue
            recipients = tuple(recipient.address for recipient in message.envelope.recipients)
            self._publish(MessageAccepted(number, message.envelope.sender, recipients, message.octets))
        self.refresh()

    def decoded(self, number: int, page_lengths: Sequence[float]) -> None:
        """A document is ready for paper; the length of each page in mm. Pages that are out are not printed again."""
        self.memory.printing(number, len(page_lengths))
        message = self.memory.get(number)
        if message is not None and self.running:
            envelope = message.envelope
            recipient = envelope.recipients[0].address if envelope.recipients else ""
            self.faults.ask("document", sender=envelope.sender, recipient=recipient, peer=envelope.peer)
        if message is not None and self.running:  # a rule may have cut the power
            self.engine.print_job(Job(number, page_lengths, message.printed))
            self.refresh()

    def undecodable(self, number: int, reason: str, result: str = RESULT_UNREADABLE) -> None:
        """A message could not be made into a sound document: its sheet is in the tray, the journal says why."""
        message = self.memory.get(number)
        self._publish_document(number)
        self.memory.finished(number, "failed", result)
        self._publish(DocumentFailed(number, reason))
        if message is not None:
            self._journal("RCV", message, pages=0, result=result, note=reason)
        self.refresh()

    def _job_done(self, job: Job) -> None:
        message = self.memory.get(job.document)
        try:
            self._publish_document(job.document)
            self.memory.finished(job.document, "printed", RESULT_OK)
        except sqlite3.Error:  # a full disk: the pages are out, and are noted when there is room
            self.clock.deadline(DISK_PATIENCE, lambda: self._job_done(job))
            return
        except (FauxfaxError, OSError) as error:
            self._publish(DocumentKept(job.document, str(error)))
            return
        self.database.count("pages", len(job.lengths))
        if message is not None:
            self._journal("RCV", message, pages=len(job.lengths), result=RESULT_OK)
        self._publish(DocumentPrinted(job.document, len(job.lengths), RESULT_OK))
        self.refresh()

    def _journal(self, kind: str, message: Stored, *, pages: int, result: str, note: str = "") -> None:
        envelope, number = message.envelope, message.number
        kind, peer = (PRINTED, envelope.peer) if envelope.body == BINARY else (kind, envelope.sender or "<>")
        self.journal.write(
            Entry(at=self.clock.wall, kind=kind, peer=peer, document=number, pages=pages, result=result, note=note)
        )

    def printed_before(self, number: int) -> None:
        """A document whose pages lie in the tray although the memory does not know: power went in between."""
        message = self.memory.get(number)
        self.memory.finished(number, "printed", RESULT_OK)
        if message is not None:
            self._journal("RCV", message, pages=message.pages, result=RESULT_OK)
            self._publish(DocumentPrinted(number, message.pages, RESULT_OK))
        self.refresh()

    # What others see -----------------------------------------------------------------------------------------

    def open_port(self, way: str) -> Channel:
        """A new way in for a PC; `way` names it in events."""
        channel = Channel(self, way)
        self._channels.add(channel)
        return channel

    def open_usb(self, speed: Speed, watcher: Watcher | None = None) -> PrinterFunction:
        """The printer on the machine's USB plug, for one more cable, which somebody may watch."""

        def identify() -> Identity:
            model = self.model
            return Identity(model.usb_vendor, model.usb_product, "Panasonic", model.name, self.serial)

        if watcher is not None:
            return WatchedFunction(self.open_port("usb"), identify, speed, watcher)
        return PrinterFunction(self.open_port("usb"), identify, speed)

    def press(self, keys: Sequence[str]) -> None:
        """Press keys in order. CLEAR also helps the engine. Raises Misuse for a key that is not there."""
        for key in [self.panel.check_key(key) for key in keys]:
            if self.mail_update is not None and self.running:
                self.mail_update.press(key)
            if key == "CLEAR" and self.power == "on":
                self.engine.help()
                self.updates.clear_notice()
        self.refresh()

    def refresh(self) -> None:
        """Work out the state and the panel anew, and tell every way in."""
        state = self._current_state()
        if state != self.state:
            self.state = state
            self._publish(StateChanged(state))
        report.show(self)
        for channel in tuple(self._channels):
            channel.changed()

    @property
    def device_id(self) -> str:
        """The IEEE 1284 device id, without its length."""
        name = self.model.name
        return f"MFG:Panasonic;CMD:PJL,TIFF;MDL:{name};CLS:PRINTER;DES:Panasonic {name};SN:{self.serial};"

    @property
    def serial(self) -> str:
        """The serial number; `EMU` says that no factory made this machine."""
        return f"EMU{self.settings.name.upper()}"

    @property
    def receive_buffer(self) -> int:
        """Octets the host port takes before it is busy."""
        return self.model.receive_buffer

    @property
    def port_status(self) -> PortStatus:
        """The printer's status lines."""
        return PortStatus(
            paper_empty="paper-out" in self.engine.errors, selected=self.running, error=bool(self.engine.errors)
        )

    def info(self, category: str) -> list[str]:
        """The lines of `@PJL INFO category`; an unknown category has none."""
        return report.info(self, category)

    def update_lines(self) -> list[str]:
        """The lines of an unsolicited status."""
        return report.update_lines(self)

    def busy(self) -> str:
        """Why no update can be taken now: what it would interrupt. Empty if nothing."""
        if not self.engine.idle:
            return "printing"
        return "receiving" if self.receiving() or self.memory.documents else ""

    def close(self) -> None:
        """Let go of the files. The machine must be off."""
        self.updates.loader.flash.storage.close()
        self.database.close()

    # Inside --------------------------------------------------------------------------------------------------

    def _publish(self, event: Event) -> None:
        self.events.publish(event)

    def _notice(self, record: Record) -> None:
        """Count what `fauxfax wait` waits for, and show what the engine reports of its own accord."""
        match record.event:
            case DocumentPrinted() | DocumentFailed():
                self.since_start["documents"] += 1
            case PagePrinted():
                self.since_start["pages"] += 1
                self.refresh()
            case ErrorRaised() | ErrorCleared():
                self.refresh()
            case UpdateStateChanged(state=State.COMMITTED.value | State.REFUSED.value) | UpdateDeclined():
                self.since_start["updates"] += 1

    def _fault_fired(self, rule: Rule) -> None:
        """Tell it, and do at once what befalls the machine's body; an update does that in its own way."""
        self._publish(FaultFired(rule.text, rule.point))
        if rule.point in UPDATE_POINTS:
            return
        if rule.action in ERRORS:
            self.engine.fail(rule.action)
            self.refresh()
        elif rule.action == "cut":
            self.power_off(cut=True)

    def _current_state(self) -> str:
        if self.power == "off":
            return "off"
        if not self.online:
            return "starting" if self._starting is not None else "hung"
        if self.updates.active:
            return "updating"
        if self.profile is None:
            return "recovery"
        if self.engine.errors:
            return "error"
        if not self.engine.idle:
            return "printing"
        return "receiving" if self.memory.documents else "ready"
