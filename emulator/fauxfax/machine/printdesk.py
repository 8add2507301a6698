"""Print data of a PC: pictures go to the print engine by the way of received documents, the rest is dropped.

What a PC prints is stored in the image memory like a message, with the way in as its peer, and decoded by the same
worker. A machine of this family accepts what it cannot use in silence; here an event says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fauxfax.events import DataDropped
from fauxfax.ifax.host import BINARY, Envelope, MemoryFullError, MessageReceived

if TYPE_CHECKING:
    from fauxfax.machine.machine import Machine

PRINTED = "PRN"
"""The kind of such a document in the journal: a project value."""


class PrintDesk:
    """Takes whole print jobs."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def room(self) -> int:
        """Octets of the longest job that would be kept now."""
        return self._machine.memory.free_bytes

    @property
    def job_timeout(self) -> float:
        """Machine seconds of silence that end a job."""
        return self._machine.model.timing.job_timeout

    def picture(self, way: str, data: bytes) -> None:
        """Print a job that begins as a TIFF, PBM or PWG raster does."""
        machine = self._machine
        if not machine.running or machine.updates.active:
            self.drop(way, len(data), f"the machine is {machine.state}")
            return
        envelope = Envelope(
            session=0, peer=way, helo="", sender="", recipients=(), received_at=machine.clock.wall, body=BINARY
        )
        try:
            number = machine.memory.keep(MessageReceived(envelope, (data,)))
        except MemoryFullError as error:
            self.drop(way, len(data), str(error))
        else:
            machine.accepted([number])

    def drop(self, way: str, octets: int, reason: str = "neither a firmware file nor a picture it can print") -> None:
        """Say that octets were accepted and dropped."""
        self._machine.events.publish(DataDropped(way, octets, reason))
