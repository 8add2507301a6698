"""A job handed to a port by a sender that reads no PJL, and what became of it.

LPD and FTP have one answer for a whole file. The machine is asked in its own language on the same port: unsolicited
status is switched on before the job, and `INFO UPGRADE` tells the reason of a refusal. Rests on one property of a
port: what the machine says within `write()` is about the octets being written, so that another way in's update,
which also shows in the status, is never taken for this one.
"""

from __future__ import annotations

from dataclasses import dataclass

from fauxfax.hostport.jobstream import UEL
from fauxfax.hostport.port import Port

STATUS_ON = UEL + b"@PJL USTATUS DEVICE=ON\r\n"
ASK_UPGRADE = b"@PJL INFO UPGRADE\r\n"
IDLE_STATES = ("RUNNING", "RECOVERY")
"""States in which no update is under way (`firmware/states.py`)."""
INSTALLED_STATE = "RESTARTING"
"""The commit record is written: what was sent is what runs next."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a job: `accepted` if it was installed or simply taken; `text` is for a person."""

    accepted: bool
    text: str


class Delivery:
    """One job on one port. `write()` up to `room`, `finish()`, then `poll()` until there is a verdict.

    Args:
        port: the way in; nobody else uses it meanwhile.
        password: the service password, put into the job after its leading UEL; empty to put in none.
    """

    def __init__(self, port: Port, password: str = "") -> None:
        self._port = port
        self._login = f"@PJL JOB PASSWORD={password}\r\n".encode("ascii") if password else b""
        self._head = bytearray()
        self._headed = False
        self._replies = bytearray()
        self._state = ""
        self._ours = False
        self._finished = False
        self._verdict: Verdict | None = None
        self._write(STATUS_ON)

    @property
    def room(self) -> int:
        """Octets that `write()` takes now."""
        return self._port.room

    @property
    def installed(self) -> bool:
        """Whether the firmware in the job is installed already; the machine restarts while the sender still sends."""
        return self._verdict is not None and self._verdict.accepted

    def write(self, data: bytes) -> None:
        """The next octets of the job."""
        if self._headed:
            self._write(data)
            return
        self._head += data
        if len(self._head) >= len(UEL):
            self._flush_head()

    def finish(self) -> None:
        """The sender has sent all it will; a code file that is not whole ends here."""
        self._flush_head()
        self._port.end()
        self._collect(own=True)
        self._finished = True
        if self._verdict is None and self._port.online:
            self._write(STATUS_ON)  # end() forgot who wanted to know

    def poll(self) -> Verdict | None:
        """What became of the job; None while it is under way. To be called whenever the port changed."""
        self._collect(own=False)
        if not self._finished:
            return None
        if not self._ours:
            self._decide(Verdict(True, "taken; it was no firmware"))
        elif self._state in IDLE_STATES and self._verdict is None and self._port.room >= len(ASK_UPGRADE):
            self._write(ASK_UPGRADE)  # not before the job is over: within a code file it would be part of it
        return self._verdict

    def _flush_head(self) -> None:
        head, self._headed = bytes(self._head), True
        self._head.clear()
        if self._login and head.startswith(UEL):
            self._write(UEL + self._login)
            head = head[len(UEL) :]
        if head:
            self._write(head)

    def _write(self, data: bytes) -> None:
        self._collect(own=False)
        self._port.write(data)
        self._collect(own=True)

    def _collect(self, *, own: bool) -> None:
        """Read what the machine says; `own` if it said it about what was just written."""
        while octets := self._port.read(65536):
            self._replies += octets
        *replies, rest = bytes(self._replies).split(b"\x0c")
        self._replies[:] = rest
        for reply in replies:
            head, *lines = reply.decode("latin-1").splitlines() or [""]
            values = dict(line.partition("=")[::2] for line in lines)
            if head == "@PJL USTATUS DEVICE":
                self._status(values, own=own)
            elif head == "@PJL INFO UPGRADE" and self._ours:
                self._decide(Verdict(False, values.get("LASTREASON") or "refused"))

    def _status(self, values: dict[str, str], *, own: bool) -> None:
        before, self._state = self._state, values.get("STATE", "")
        if own and self._state == "REFUSED" and not self._ours:
            self._decide(Verdict(False, values.get("REASON") or "refused"))
        elif own and self._state == "RECEIVING" and before in IDLE_STATES:
            self._ours = True
        elif self._ours and self._state == INSTALLED_STATE:
            self._decide(Verdict(True, f"firmware {values.get('VERSION', '')} installed; the machine restarts"))

    def _decide(self, verdict: Verdict) -> None:
        self._verdict = self._verdict or verdict
