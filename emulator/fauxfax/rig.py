"""A rig: one machine with its servers plugged in, from one configuration, on one state folder."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from fauxfax import config as configuration
from fauxfax.attendant import Attendant
from fauxfax.client import RUN_FILE, control_url
from fauxfax.clock import Clock, parse_clock
from fauxfax.errors import Misuse
from fauxfax.events import FirmwareStarted, PoweredOff, Record
from fauxfax.firmware import factory
from fauxfax.hostport.ieee1284 import Peripheral
from fauxfax.hostport.usb import PrinterFunction
from fauxfax.hostport.usbdescriptors import Speed
from fauxfax.ifax.host import Limits, MessageReceived
from fauxfax.ifax.receipt import Mail
from fauxfax.machine.desk import Desk
from fauxfax.machine.machine import Machine
from fauxfax.machine.mailupdate import MailUpdate
from fauxfax.machine.outbox import Due
from fauxfax.machine.post import PostRoom
from fauxfax.machine.recorder import Recorder
from fauxfax.machine.settings import Settings
from fauxfax.models import find_model
from fauxfax.servers.capture import Capture, SignalTrace
from fauxfax.servers.control import ControlServer
from fauxfax.servers.decoder import Decoder
from fauxfax.servers.devicenodes import DeviceNodes
from fauxfax.servers.documents import DocumentRoom
from fauxfax.servers.ftp import FtpServer
from fauxfax.servers.inspector import Inspector
from fauxfax.servers.lpd import LpdServer
from fauxfax.servers.outbox import Postman
from fauxfax.servers.parallel import ParallelServer
from fauxfax.servers.rawport import RawPortServer
from fauxfax.servers.serialport import SerialServer
from fauxfax.servers.smtp import SmtpServer
from fauxfax.servers.smtpclient import Relay, Tls
from fauxfax.servers.tap import Tappable
from fauxfax.servers.ticker import Ticker
from fauxfax.servers.tray import Tray
from fauxfax.servers.usbip import UsbipServer
from fauxfax.servers.usbredir import UsbredirServer
from fauxfax.statefolder import StateFolder

log = logging.getLogger(__name__)


class Listener(Protocol):
    """What every way in offers the rig."""

    async def start(self, host: str, port: int) -> int:
        """Listen. Returns the port that is really used."""
        ...

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        ...


class LocalWay(Protocol):
    """A way in that is a file of this computer."""

    async def start(self) -> None:
        """Make it. Raises Misuse if something is in the way."""
        ...

    async def stop(self) -> None:
        """Take it away."""
        ...


class Rig:
    """One machine and its ways in. `start()` and `stop()` run on the event loop that serves it."""

    def __init__(self, config: configuration.Config, settings: list[configuration.Setting], state: StateFolder) -> None:
        relay = _relay(config.outbox)
        explicit = any(s.key == "machine.model" and s.source != "default" for s in settings)
        model = find_model(state.model(config.machine.model, explicit))
        self.config = config
        self.state = state
        self.clock: Clock = parse_clock(config.machine.clock)
        self.tray = Tray(state.path / "tray", state.path / "spool")
        self.machine = Machine(
            model,
            self.clock,
            state.path / "memory.sqlite",
            lambda publish: factory.open_loader(
                model, layout=config.update.layout, path=state.path / "flash.bin", publish=publish
            ),
            _machine_settings(config),
            self.tray.publish,
        )
        self.machine.memory.number_above(self.tray.last())  # a memory that was deleted begins anew, the tray does not
        self.desk = Desk(self.machine)
        for rule in config.machine.faults:
            self.machine.faults.arm(rule)
        self.ports: dict[str, int] = {}
        self._settings = settings
        self._decoder = Decoder(jbig=config.machine.jbig)
        self._inspector = Inspector(Decoder(jbig=config.machine.jbig)) if config.smtp.inspect else None
        post = PostRoom(self.machine)
        self._documents = DocumentRoom(self.machine, post, self.tray, self._decoder)
        self._postman = Postman(self.machine, post, self.tray, relay)
        self._ticker = Ticker(self.clock)
        self._smtp = SmtpServer(
            self.desk,
            MessageRoom(self.machine),
            self.clock,
            _limits(config.smtp),
            durable=config.smtp.durable,
            stored=self.machine.accepted,
            publish=self.machine.events.publish,
            inspector=self._inspector,
            dark=lambda: self.machine.power == "off",
        )
        if config.update.dialect == "capture":
            self.machine.recorder = Recorder(
                state.path / "recordings", model.name, lambda: self.clock.now, self.clock.wall
            )
        if config.update.by_mail:
            self.machine.mail_update = MailUpdate(self.machine, _poster(config, post))
        self.machine.receiving = lambda: self._smtp.reservations.octets > 0
        self.machine.events.subscribe(self._notice)
        self._capture = _open_capture(config.capture, self.machine)
        self._trace = _open_trace(config.capture, self.machine)
        self._attendant = Attendant(self.machine, self.tray, self._at_rest)
        self._servers: list[Listener] = []
        self._local: list[LocalWay] = []
        self._nodes = DeviceNodes(state.path.absolute() / "dev", self._plug_usb, self._plug_parallel)

    async def start(self) -> dict[str, Any]:
        """Power on and open every way in. Returns the announcement. Raises Misuse if a port is taken."""
        self.machine.power_on(at_once=True)
        self._ticker.start()
        self._documents.start()
        self._postman.start()
        ways = self._ways_in()
        try:
            for way, port in self.config.ports.listeners().items():
                if way in ways:
                    await self._open(way, port, ways[way]())
            for local in self._local_ways():
                await local.start()
                self._local.append(local)
        except BaseException:
            await self.stop()
            raise
        announcement = self._announcement()
        run = {"url": control_url(self.config.ports.address, self.ports["control"]), "pid": os.getpid()}
        (self.state.path / RUN_FILE).write_text(json.dumps(run))
        return announcement

    async def watch(self) -> None:
        """Wait for what must never happen: that the clock, the documents or the post end. Raises what ended it."""
        await asyncio.gather(self._ticker.task, self._documents.task, self._postman.task)

    async def stop(self) -> None:
        """Close every way in, switch the machine off in order, and let go of the state folder."""
        self.desk.stopping = True
        closing: list[Awaitable[None]] = [server.stop() for server in reversed(self._servers)]
        closing += [local.stop() for local in self._local]
        if self._inspector is not None:
            closing.append(self._inspector.stop())
        results = await asyncio.gather(
            *closing, self._documents.stop(), self._decoder.stop(), self._postman.stop(), return_exceptions=True
        )
        await self._attendant.settled()
        self.machine.power_off()
        results += await asyncio.gather(self._ticker.stop(), return_exceptions=True)
        self.machine.close()
        if self._capture is not None:
            self._capture.close()
        if self._trace is not None:
            self._trace.close()
        self.state.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _ways_in(self) -> dict[str, Callable[[], Listener]]:
        machine = self.machine
        return {
            "smtp": lambda: self._smtp,
            "raw": lambda: RawPortServer(lambda: machine.open_port("raw"), self.clock),
            "lpd": lambda: LpdServer(lambda: machine.open_port("lpd"), self.clock),
            "ftp": lambda: FtpServer(lambda: machine.open_port("ftp"), self.clock),
            "usbip": lambda: UsbipServer([self._plug_usb], self.clock),
            "usbredir": lambda: UsbredirServer(self._plug_usb, self.clock),
            "parallel": lambda: ParallelServer(lambda: machine.open_port("parallel")),
            "control": lambda: ControlServer(self._attendant, self.tray, self._setting_rows),
        }

    def _local_ways(self) -> list[LocalWay]:
        """The ways in that are files of this computer: device nodes, and a serial port if one is asked for."""
        ways: list[LocalWay] = [self._nodes]
        if path := self.config.ports.serial:
            ways.append(SerialServer(lambda: self.machine.open_port("serial"), Path(path)))
        return ways

    def _plug_usb(self) -> PrinterFunction:
        watcher = self._capture.usb() if self._capture is not None else None
        return self.machine.open_usb(Speed[self.config.usb.speed.upper()], watcher)

    def _plug_parallel(self) -> Peripheral:
        port = self.machine.open_port("parallel")
        analyser = self._trace.changed if self._trace is not None else None
        if self._capture is None:
            return Peripheral(port, scope=analyser)
        scope = self._capture.parallel(analyser)
        return Peripheral(port, scope.happened, scope.changed)

    async def _open(self, way: str, port: int, server: Listener) -> None:
        address = self.config.ports.address
        if self._capture is not None and isinstance(server, Tappable):
            server.tap = self._capture.tap(way)
        try:
            self.ports[way] = await server.start(address, port)
        except OSError as error:
            raise Misuse(
                f"port {port} on {address} for {way} cannot be opened ({error.strerror}): set ports.{way} to another "
                "with --set, or let the system pick with --free-ports"
            ) from None
        self._servers.append(server)

    async def _at_rest(self) -> None:
        """The machine is dark: wait until nobody writes into its memory any more."""
        self._documents.interrupt()
        await asyncio.gather(self._documents.at_rest(), self._postman.at_rest())
        if "smtp" in self.ports:
            await self._smtp.writer.drain()

    def _notice(self, record: Record) -> None:
        match record.event:
            case PoweredOff():
                self._smtp.cut()
            case FirmwareStarted(version=version) if self.desk.relays_for_everybody:
                log.warning("smtp: %s relays for everybody; set smtp.relay_domains", version)

    def _announcement(self) -> dict[str, Any]:
        return {
            "event": "ready",
            "name": self.machine.settings.name,
            "model": self.machine.model.name,
            "firmware": self.machine.versions.get("SC", ""),
            "pid": os.getpid(),
            "state": str(self.state.path),
            "tray": str(self.tray.folder),
            "ports": self.ports,
            "umockdev": str(self._nodes.folder),
        }

    def _setting_rows(self) -> list[dict[str, object]]:
        return [
            {"key": setting.key, "value": self._shown(setting), "source": setting.source} for setting in self._settings
        ]

    def _shown(self, setting: configuration.Setting) -> object:
        """A setting as it is in force: secrets hidden, ports as they really are."""
        table, _, name = setting.key.partition(".")
        if configuration.is_secret(setting.key):
            return "(set)" if setting.value else ""
        return self.ports.get(name, setting.value) if table == "ports" else setting.value


def _relay(outbox: configuration.Outbox) -> Relay:
    """The mail server. Raises Misuse for settings that do not fit together."""
    user, password = outbox.user, outbox.password
    return Relay(host=outbox.host, port=outbox.port, tls=Tls(outbox.tls), user=user, password=password, ca=outbox.ca)


def _poster(config: configuration.Config, post: PostRoom) -> Callable[[int, str, Mail], None]:
    """Sends a mail of the machine's own. Raises Misuse if an update by mail lacks what it needs."""
    for key, value in (("update.password", config.update.password), ("outbox.host", config.outbox.host)):
        if not value:
            raise Misuse(f"update.by_mail needs {key}: set it, or leave update.by_mail off")

    def send(document: int, kind: str, mail: Mail) -> None:
        post.outbox.put(document, [Due(kind, mail)])
        post.changed()

    return send


class MessageRoom:
    """The receiver's store: keeps messages in the machine's memory, several in one commit, in the writer's thread."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def store(self, messages: Sequence[MessageReceived]) -> Sequence[int]:
        """See `servers.writer.MessageStore`. A sink that need not be durable keeps nothing at all."""
        machine = self._machine
        if not machine.settings.sink:
            return machine.memory.store(messages)
        if machine.settings.durable:
            machine.memory.sink(messages)
        machine.sunk += len(messages)
        return ()

    def settle(self) -> None:
        """See `servers.writer.MessageStore`."""
        self._machine.memory.settle()


def _open_capture(config: configuration.Capture, machine: Machine) -> Capture | None:
    if not config.file:
        return None
    publish = machine.events.publish
    capture = Capture(Path(config.file), limit=config.limit, snap=config.snap, publish=publish)
    machine.events.subscribe(capture.hear)
    return capture


def _open_trace(config: configuration.Capture, machine: Machine) -> SignalTrace | None:
    if not config.trace:
        return None
    return SignalTrace(Path(config.trace), config.limit, lambda: machine.clock.now, machine.events.publish)


def _machine_settings(config: configuration.Config) -> Settings:
    machine, smtp = config.machine, config.smtp
    return Settings(
        name=machine.name,
        fax_number=machine.fax_number,
        jbig=machine.jbig,
        domain=smtp.domain,
        aliases=smtp.aliases,
        groups=smtp.groups,
        address_book=smtp.address_book,
        relay_domains=smtp.relay_domains,
        relay_password=smtp.relay_password,
        outbox=bool(config.outbox.host),
        sink=smtp.sink,
        durable=smtp.durable,
        pages_per_minute=config.engine.pages_per_minute,
        update_password=config.update.password,
        update_layout=config.update.layout,
    )


def _limits(smtp: configuration.Smtp) -> Limits:
    limits = Limits(
        sessions=smtp.sessions,
        sessions_per_address=smtp.sessions_per_address,
        text_line=smtp.text_line,
        repair_line_ends=smtp.repair_bare_line_ends,
    )
    return replace(limits, message=smtp.max_message) if smtp.max_message else limits
