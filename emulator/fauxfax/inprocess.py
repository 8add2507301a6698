"""A whole machine in the caller's process, without an event loop: for tests, and for the `emulated:` link.

Nothing is waited for: machine time passes as fast as the work is done, in the calls that wait for it.
"""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

from fauxfax.clock import Clock, FastClock
from fauxfax.errors import Misuse
from fauxfax.firmware import factory
from fauxfax.hostport.usbdescriptors import Speed
from fauxfax.machine.channel import Channel
from fauxfax.machine.machine import Machine
from fauxfax.machine.settings import Settings
from fauxfax.models import DEFAULT_MODEL, find_model
from fauxfax.servers.pyusb_backend import EmulatedBackend, SameThread


class InProcessMachine:
    """A machine of its own, kept in a folder that is removed with it. A context manager."""

    def __init__(
        self, model: str = DEFAULT_MODEL, *, clock: Clock | None = None, settings: Settings | None = None
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fauxfax-")
        self.clock = clock or FastClock()
        found, chosen = find_model(model), settings or Settings()
        self.machine = Machine(
            found,
            self.clock,
            Path(self._folder.name) / "memory.sqlite",
            lambda publish: factory.open_loader(found, layout=chosen.update_layout, publish=publish),
            chosen,
            publish_document=lambda _: None,  # it has no tray: documents are not decoded here
        )
        self.machine.power_on(at_once=True)

    def pump(self) -> bool:
        """Let machine time pass to the next thing due. Returns whether there was anything."""
        return self.clock.run_due() > 0

    def usb_backend(self, speed: Speed = Speed.HIGH) -> EmulatedBackend:
        """A PyUSB backend with this machine on its bus: `usb.core.find(backend=machine.usb_backend())`."""
        return EmulatedBackend([lambda: self.machine.open_usb(speed)], SameThread(self.pump))

    def close(self) -> None:
        """Switch it off and forget it."""
        if self.machine.power == "on":
            self.machine.power_off()
        self.machine.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EmulatedLink:
    """The link `emulated:[MODEL]`: a tool's stream straight into a machine. See `fauxfax_tools.links.base.Link`."""

    bidirectional = True

    def __init__(self, model: str) -> None:
        self._model = find_model(model).name
        self._host: InProcessMachine | None = None
        self._port: Channel | None = None

    @property
    def url(self) -> str:
        """See Link."""
        return f"emulated:{self._model}"

    def open(self) -> None:
        """See Link. The machine is made by the first call and is the same one after a restart."""
        if self._host is None:
            self._host = InProcessMachine(self._model)
            weakref.finalize(self, self._host.close)  # a link has no last close: the machine goes when it does
        while not self._host.machine.online and self._host.pump():
            pass
        self._port = self._host.machine.open_port("emulated")

    def close(self) -> None:
        """See Link."""
        if self._port is not None:
            self._port.end()
            self._port = None

    def write(self, data: memoryview, timeout: float) -> int:  # noqa: ARG002 - nothing is waited for
        """See Link."""
        host, port = self._opened()
        while not port.room and port.online and host.pump():
            pass
        self._check_online(port)
        size = min(port.room, len(data))
        port.write(data[:size])
        return size

    def read(self, limit: int, timeout: float) -> bytes:  # noqa: ARG002 - nothing is waited for
        """See Link."""
        host, port = self._opened()
        while not port.pending and port.online and host.pump():
            pass
        self._check_online(port)
        return port.read(limit)

    def identify(self) -> str | None:
        """See Link."""
        return self._port.device_id if self._port is not None else None

    def _opened(self) -> tuple[InProcessMachine, Channel]:
        if self._host is None or self._port is None:
            raise Misuse(f"{self.url} is not open")
        return self._host, self._port

    def _check_online(self, port: Channel) -> None:
        if not port.online:
            raise ConnectionResetError(f"{self.url}: the machine restarts")


def emulated_link(rest: str) -> EmulatedLink:
    """The factory behind `emulated:[MODEL]`. Raises Misuse for a model nobody knows."""
    return EmulatedLink(rest or DEFAULT_MODEL)
