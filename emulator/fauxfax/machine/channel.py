"""One way in, as the machine sees it: a job stream whose requests the machine answers.

Implements `hostport.port.Port`. What arrives is interpreted as it arrives; what it asks for is in the answer of the
next `read()`. An unsolicited status goes to every way in that asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from fauxfax.clock import Clock, Watchdog
from fauxfax.errors import Misuse
from fauxfax.hostport.jobstream import (
    Echo,
    JobEnded,
    JobStream,
    PrintData,
    Query,
    StatusWanted,
    TextIgnored,
    UpgradeAborted,
    UpgradeData,
    UpgradeEnded,
    UpgradeOffered,
)
from fauxfax.hostport.port import PortStatus
from fauxfax.machine.picture import Picture
from fauxfax.machine.printdesk import PrintDesk
from fauxfax.machine.recorder import Recorder
from fauxfax.machine.updates import UpdateDesk
from fauxfax.models import MIB

MAX_OUTPUT = 64 * 1024
"""Octets that wait for a PC. Beyond it the way in is busy until the PC reads, and says no more of its own accord."""

AHEAD = MIB
"""Octets of a picture that a way in acknowledges before the machine has looked into them. A project value."""


class Device(Protocol):
    """What a way in needs of the machine it leads to."""

    clock: Clock
    updates: UpdateDesk
    prints: PrintDesk
    recorder: Recorder | None

    @property
    def online(self) -> bool: ...  # noqa: D102
    @property
    def device_id(self) -> str: ...  # noqa: D102
    @property
    def serial(self) -> str: ...  # noqa: D102
    @property
    def port_status(self) -> PortStatus: ...  # noqa: D102
    @property
    def receive_buffer(self) -> int: ...  # noqa: D102
    def info(self, category: str) -> Sequence[str]: ...  # noqa: D102
    def update_lines(self) -> Sequence[str]: ...  # noqa: D102


class Channel:
    """A `Port` of one machine. `way` names it in events: `raw`, `usb`, `parallel`, …"""

    def __init__(self, device: Device, way: str) -> None:
        self._device = device
        self.way = way
        self._stream = JobStream()
        self._output = bytearray()
        self._wants_status = False
        self._last_status: Sequence[str] = ()
        self._picture = Picture()
        self._dropped = 0
        self._silence: Watchdog | None = None
        self._listener: Callable[[], None] | None = None
        self._recorder = device.recorder
        self._number = self._recorder.connection() if self._recorder is not None else 0

    @property
    def online(self) -> bool:
        """See Port."""
        return self._device.online

    @property
    def device_id(self) -> str:
        """See Port."""
        return self._device.device_id

    @property
    def serial(self) -> str:
        """See Port."""
        return self._device.serial

    @property
    def status(self) -> PortStatus:
        """See Port."""
        return self._device.port_status

    @property
    def report(self) -> Sequence[str]:
        """See Port."""
        return [line for category in ("ID", "FIRMWARE", "UPGRADE") for line in self._device.info(category)]

    @property
    def room(self) -> int:
        """See Port: the loader's room while this way in sends a code file, else the receive buffer."""
        device = self._device
        if len(self._output) >= MAX_OUTPUT or not device.online:
            return 0
        return device.updates.room() if device.updates.owns(self) else device.receive_buffer

    @property
    def ahead(self) -> int:
        """See Port."""
        return AHEAD if self._stream.printing and self.room else 0

    @property
    def pending(self) -> int:
        """See Port."""
        return len(self._output)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See Port."""
        if len(data) > self.room:
            raise Misuse(f"port {self.way}: {len(data)} octets written, room for {self.room}")
        if self._recorder is not None:
            self._recorder.note(self.way, self._number, "in", bytes(data))
            return
        octets = bytes(data)
        if self.keep(octets):
            return
        for event in self._stream.feed(octets):
            self._handle(event)
        self._collect()

    def keep(self, data: bytes) -> bool:
        """See Port."""
        if self._recorder is None and self._stream.passes(data):
            self._print(data)
            return True
        return False

    def read(self, limit: int) -> bytes:
        """See Port."""
        data = bytes(self._output[:limit])
        del self._output[:limit]
        return data

    def reset(self) -> None:
        """See Port."""
        self._end("reset")
        self._output.clear()

    def end(self) -> None:
        """See Port."""
        self._end("end")

    def _end(self, how: str) -> None:
        if self._recorder is not None:
            self._recorder.note(self.way, self._number, how)
        if self._device.updates.owns(self):
            self._device.updates.end("the connection was lost")
        for event in self._stream.end():
            self._handle(event)
        self._stream = JobStream()
        self._wants_status = False

    def on_change(self, listener: Callable[[], None] | None) -> None:
        """See Port."""
        self._listener = listener

    def changed(self) -> None:
        """The machine's state, room or output may have changed: tell the PC's side."""
        if self._wants_status:
            self._report()
        if self._listener is not None:
            self._listener()

    def _handle(self, event: object) -> None:
        match event:
            case Query(category):
                self._stream.reply_info(category, self._device.info(category))
            case Echo(text):
                self._stream.reply_echo(text)
            case UpgradeOffered():
                reason = self._device.updates.offer(self, event)
                if reason and self.online:  # whose power went away says nothing
                    self._refuse(reason)
            case StatusWanted(mode):
                self._wants_status = mode != "OFF"
                self._last_status = ()
                if self._wants_status:
                    self._report()
            case PrintData(data):
                self._print(data)
            case TextIgnored(octets):
                self._dropped += octets
            case JobEnded():
                self._print_end()
            case _ if self._device.updates.owns(self):
                self._handle_upgrade(event)

    def _handle_upgrade(self, event: object) -> None:
        """What belongs to the code file this way in is sending; that of a refused one is let pass."""
        updates = self._device.updates
        match event:
            case UpgradeData(data):
                updates.data(data)
            case UpgradeEnded(complete):
                updates.end("complete" if complete else "the code file ended early")
            case UpgradeAborted():
                updates.end("aborted by the sender")

    def _print(self, data: bytes) -> None:
        """Keep a picture until its end; one that the image memory cannot hold is dropped."""
        prints, picture = self._device.prints, self._picture
        if self._silence is None:
            self._silence = self._device.clock.watchdog(prints.job_timeout, self._silent)
        else:
            self._silence.kick()
        picture.spoilt = picture.spoilt or len(picture) + len(data) > prints.room
        picture.add(data)

    def _silent(self) -> None:
        """A PC that only copies a file to a printer says no end: silence is one."""
        self._silence = None
        for event in self._stream.end():
            self._handle(event)

    def _print_end(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        dropped, self._dropped = self._dropped, 0
        if self._picture.spoilt:
            dropped += len(self._picture)
        picture = self._picture.take()
        if dropped:
            self._device.prints.drop(self.way, dropped)
        if picture:
            self._device.prints.picture(self.way, picture)

    def _refuse(self, reason: str) -> None:
        """Say no to whoever listens; who cannot listen finds it in INFO UPGRADE and on the panel."""
        if self._wants_status:
            self._stream.unsolicited_status(["STATE=REFUSED", f"REASON={reason}"])

    def _report(self) -> None:
        lines = self._device.update_lines()
        if lines != self._last_status and self.pending < MAX_OUTPUT:
            self._last_status = lines
            self._stream.unsolicited_status(lines)
            self._collect()

    def _collect(self) -> None:
        self._output += self._stream.data_to_send()
