"""The capture of a run: taps for the sockets, a watcher for the USB plug, a scope for the parallel cable, one file.

    capture = Capture(path, limit=…)
    SmtpServer(…).tap = capture.tap("smtp")
    machine.open_usb(speed, capture.usb())
    Peripheral(port, capture.parallel().happened, …)
    machine.events.subscribe(capture.hear)

The file is a `BoundedFile`: a killed process leaves one that can be read.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fauxfax.capture import parallel, pcapng, urb
from fauxfax.capture.pcapng import Octets
from fauxfax.capture.tcp import Address, Conversation, End
from fauxfax.capture.urb import DIRECTION_IN, HEADER_SIZE, Recorder
from fauxfax.events import CaptureEnded, Event, FaultFired, FirmwareStarted, PoweredOff, PoweredOn, Record
from fauxfax.hostport.ieee1284 import Levels, Phase
from fauxfax.hostport.usb import Outcome, Setup, Transfer
from fauxfax.hostport.usbdescriptors import CONFIGURATION, Kind
from fauxfax.hostport.usbwatch import Sent
from fauxfax.hostport.vcd import VcdTrace
from fauxfax.servers.boundedfile import BoundedFile
from fauxfax.servers.tap import Tap
from fauxfax.servers.writerprocess import LOOK_SECONDS

SHOWN_PORTS = {"smtp": 25, "raw": 9100, "lpd": 515, "ftp": 21}
"""The port the machine's end has in the capture, so that dissectors know the protocol wherever it listened."""
DEFAULT_SNAP = 8 * 1024
"""What usblp of Linux writes at once: its transfers are kept whole. A project value."""
BUS = 1
STATUS = {Outcome.DONE: 0, Outcome.STALLED: -32, Outcome.CANCELLED: -104, Outcome.GONE: -108}
"""How a block ended, as errno of Linux has it."""
_SETUP = struct.Struct("<BBHHH")


class Capture:
    """Everything that goes over a machine's wires, in one file.

    Args:
        path: the pcapng file, made anew.
        limit: octets of it.
        snap: octets of a USB transfer that is kept whole; of a longer one only the beginning. TCP is always kept whole.
        publish: takes the event that the file ended before its time.
    """

    def __init__(
        self, path: Path, *, limit: int, snap: int = DEFAULT_SNAP, publish: Callable[[Event], object] = lambda _: None
    ) -> None:
        self._file = _bounded(path, limit, publish)
        self._writer = pcapng.Writer(self._file, time.time_ns, "fauxfax")
        self._snap = min(snap, pcapng.MAX_SNAP - HEADER_SIZE)
        self._interfaces: dict[str, int] = {}
        self._blocks = itertools.count(1)
        self._conversations = itertools.count()
        self._devices = itertools.cycle(range(1, 128))

    def close(self) -> None:
        """Say what was left unsaid, and close the file."""
        self._say_the_rest()
        self._file.close()

    def tap(self, way: str) -> Tap:
        """A tap for the server of this way in; its end is shown at the protocol's own port."""

        def begin(transport: asyncio.BaseTransport, own: End, *, main: bool) -> Conversation:
            shown = SHOWN_PORTS.get(way) if main else None
            here, there = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
            interface = self._interface(pcapng.LINK_RAW_IP, way, f"{way} on {here[0]} port {here[1]}")
            machine = Address(here[0], shown or here[1])
            other = Address(there[0], there[1]) if there else Address(here[0], 0)  # it has left already
            client, server = (other, machine) if own is End.SERVER else (machine, other)
            return Conversation(self._writer, interface, next(self._conversations), client, server)

        return begin

    def usb(self) -> UsbWatcher:
        """A watcher for one more cable in the USB plug."""
        return UsbWatcher(self._recorder, self._writer.comment, partial(urb.kept, snap=self._snap))

    def parallel(self, beside: Callable[[Levels], None] | None = None) -> ParallelScope:
        """A scope for the parallel cable; another one may look `beside` it."""
        interface = self._interface(pcapng.LINK_USER0, "parallel-lines", "the lines of the parallel cable, IEEE 1284")
        return ParallelScope(partial(self._writer.packet, interface), beside)

    def hear(self, record: Record) -> None:
        """Faults that fired and what became of the power go with the next packet as its comment."""
        match record.event:
            case FaultFired(rule):
                text = f"fault: {rule}"
            case PoweredOff(cut):
                text = "power: cut" if cut else "power: off"
            case PoweredOn():
                text = "power: on"
            case FirmwareStarted(model, version):
                text = f"firmware: {model} {version} runs"
            case _:
                return
        self._writer.comment(f"{text}, at {record.at:.3f} s of the machine's time")
        self._say_soon()

    def _say_soon(self) -> None:
        try:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._say_the_rest)
        except RuntimeError:
            self._say_the_rest()

    def _say_the_rest(self) -> None:
        """What no packet took along is said with an empty one."""
        if self._writer.comments and not self._file.ended:
            self._writer.packet(self._interface(pcapng.LINK_USER1, "events", "what happened in the machine"), b"\0")

    def _recorder(self) -> Recorder:
        interface = self._interface(pcapng.LINK_USB, "usb", "the USB plug")
        return Recorder(
            self._writer,
            interface,
            BUS,
            next(self._devices),
            self._blocks,
            self._snap,
        )

    def _interface(self, link_type: int, name: str, description: str) -> int:
        if name not in self._interfaces:
            self._interfaces[name] = self._writer.interface(link_type, name, description)
        return self._interfaces[name]


class UsbWatcher:
    """See `hostport.usbwatch.Watcher`. Each attachment is a device of its own."""

    def __init__(
        self, recorder: Callable[[], Recorder], comment: Callable[[str], object], keeps: Callable[[int], int]
    ) -> None:
        self.now: Callable[[], int] = time.time_ns
        self.keeps = keeps
        self._make_recorder = recorder
        self._comment = comment
        self._recorder: Recorder | None = None
        self.sent: Sent = lambda *_: None  # nothing is, before it is attached

    def attached(self, device: bytes, configuration: bytes) -> None:
        """Most ways in tell the host what the device is by themselves; a dissector has to be told, too."""
        self._recorder = self._make_recorder()
        self.sent = self._recorder.sent
        self._comment("enumeration, as this program tells it")
        at = self.now()
        for kind, descriptor in ((Kind.DEVICE, device), (Kind.CONFIGURATION, configuration)):
            self.controlled(Setup(0x80, 6, kind << 8, 0, len(descriptor)), descriptor, at)
        self.controlled(Setup(0x00, 9, CONFIGURATION, 0, 0), b"", at)

    def controlled(self, setup: Setup, reply: bytes | None, at: int) -> None:
        """See Watcher."""
        if self._recorder is not None:
            self._recorder.control(_SETUP.pack(*setup), reply, STATUS[Outcome.STALLED] if reply is None else 0, at)

    def submitted(self, transfer: Transfer, data: Octets, at: int) -> object:
        """See Watcher."""
        recorder = self._recorder
        if recorder is None:
            return None
        outgoing = b"" if transfer.endpoint & DIRECTION_IN else data
        return recorder, recorder.submit(transfer.endpoint, transfer.length, outgoing, at)

    def ended(self, token: object, transfer: Transfer, at: int) -> None:
        """See Watcher."""
        if isinstance(token, tuple):
            recorder, number = token
            data = transfer.data if transfer.endpoint & DIRECTION_IN else b""
            recorder.complete(number, transfer.endpoint, _status(transfer), transfer.actual, data, at)


def _status(transfer: Transfer) -> int:
    return STATUS[transfer.outcome or Outcome.GONE]


class ParallelScope:
    """Both hooks of a `Peripheral`: `happened` is its trace, `changed` its scope."""

    def __init__(self, write: Callable[[bytes], object], beside: Callable[[Levels], None] | None = None) -> None:
        self._write = write
        self._beside = beside
        self._event = parallel.NO_EVENT
        self._last: Levels | None = None

    def happened(self, event: int, _: Phase) -> None:
        """An event of the standard; the levels it led to come next."""
        self._event = event

    def changed(self, levels: Levels) -> None:
        """All levels, after a change or a look."""
        if levels != self._last or self._event != parallel.NO_EVENT:
            control, status, data, phase = levels
            self._write(parallel.levels(self._event, control, status, data, phase.name))
            self._last, self._event = levels, parallel.NO_EVENT
        if self._beside is not None:
            self._beside(levels)


def _bounded(path: Path, limit: int, publish: Callable[[Event], object]) -> BoundedFile:
    def ended(octets: int, reason: str) -> None:
        publish(CaptureEnded(str(path), octets, reason))

    return BoundedFile(path, limit, "capture.limit", ended)


class SignalTrace:
    """A logic analyser on the parallel cable, `hostport.vcd`, with a file that ends at a limit.

    Args:
        path: the VCD file, made anew.
        limit: octets of it.
        now: the time of the trace, in seconds.
        publish: see Capture.
    """

    def __init__(
        self,
        path: Path,
        limit: int,
        now: Callable[[], float],
        publish: Callable[[Event], object] = lambda _: None,
    ) -> None:
        self._file = _bounded(path, limit, publish)
        self.changed = VcdTrace(self._write, now)

    def close(self) -> None:
        """Write the rest, and let go of the file."""
        self._file.close()

    def _write(self, text: str) -> None:
        octets = text.encode("ascii")
        self._file.write(len(octets), (octets,))
