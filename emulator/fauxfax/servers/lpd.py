"""LPD (RFC 1179): every data file of a job goes to the host port; its acknowledgement tells what became of it.

A code file is acknowledged when it is installed and refused when the machine refuses it; print data is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from fauxfax.clock import Clock
from fauxfax.hostport.delivery import Delivery
from fauxfax.hostport.lpd import ControlFile, Data, DataEnded, DataOffered, Event, JobOffered, Session, StateWanted
from fauxfax.hostport.port import Port
from fauxfax.servers.streams import Connection, StreamServer

CHUNK = 64 * 1024
log = logging.getLogger(__name__)


class LpdConnection(Connection):
    """One client, one port, one data file at a time."""

    def __init__(self, open_port: Callable[[], Port], clock: Clock, connections: set[Connection]) -> None:
        super().__init__(open_port, clock, connections)
        self._session = Session()
        self._delivery: Delivery | None = None
        self._deciding = False
        self._restarting = False

    def data_received(self, data: bytes) -> None:
        """Octets from the client."""
        self._session.receive(data)
        self.touch()
        self.pump()

    def eof_received(self) -> bool:
        """The client has said all; the answers still go out."""
        self._session.receive_end()
        self.pump()
        return True

    def move(self) -> None:
        """See Connection."""
        self._decide()
        installed = self._restarting or (self._delivery is not None and self._delivery.installed)
        if not self._port.online and not installed:
            self.abort()
            return
        while (event := self._session.next_event(min(self._room, CHUNK))) is not None:
            self._handle(event)
        if output := self._session.data_to_send():
            self.transport.write(output)
        self._throttle()
        if self._session.over:
            if self._session.complaint:
                log.warning("lpd: %s dropped: %s", self.transport.get_extra_info("peername"), self._session.complaint)
            self.transport.close()

    @property
    def _room(self) -> int:
        return self._delivery.room if self._delivery is not None else 0

    def _handle(self, event: Event) -> None:
        match event:
            case Data(octets):
                assert self._delivery is not None
                self._delivery.write(octets)
            case DataOffered() if not self._port.online:
                self.abort()
            case DataOffered():
                self._delivery = Delivery(self._port)
                self._session.acknowledge()
            case DataEnded():
                assert self._delivery is not None
                self._delivery.finish()
                self._deciding = True
                self.rest()
                self._decide()
            case JobOffered() | ControlFile():
                self._session.acknowledge()
            case StateWanted(queue, long):
                self._session.tell(_state_text(queue, self._port, long=long))

    def _decide(self) -> None:
        """Poll for what became of the file; a machine that installed it restarts, and may still say so."""
        if self._delivery is None:
            return
        verdict = self._delivery.poll()
        if verdict is None or not self._deciding:
            return
        self._delivery, self._deciding = None, False
        self._restarting = not self._port.online
        if verdict.accepted:
            self._session.acknowledge()
        else:
            self._session.refuse()
        self.touch()

    def _throttle(self) -> None:
        if self._session.stalled:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()


class LpdServer(StreamServer):
    """Listens and gives every client a port of its own."""

    def __init__(self, open_port: Callable[[], Port], clock: Clock) -> None:
        super().__init__(lambda connections: LpdConnection(open_port, clock, connections))


def _state_text(queue: str, port: Port, *, long: bool) -> str:
    """What `lpq` shows: which machine it is, and how it is; nothing ever waits in its queue. The long form has more."""
    status = port.status
    states = (("out of paper", status.paper_empty), ("in error", status.error), ("ready", status.selected))
    state = next((text for text, holds in states if holds), "not ready")
    lines = [f"{queue} on {port.serial} is {state}", "no entries", *(port.report if long else ())]
    return "\n".join([*lines, ""])
