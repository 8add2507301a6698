"""The project's own dialect: PJL with UPGRADE, as printers of that time took firmware. A project value throughout.

@PJL INFO ID | FIRMWARE | UPGRADE      answered with the line itself, `KEY=VALUE` lines, and a form feed
@PJL USTATUS DEVICE=VERBOSE            then progress comes unasked, in the same form
@PJL JOB PASSWORD=<n>
@PJL UPGRADE SIZE=<n> [OFFSET=<k> SHA256=<hex>] [FORCE=ON], then n - k octets and UEL
"""

from __future__ import annotations

from collections.abc import Sequence

from fauxfax.firmware.codefile import UEL, Component
from fauxfax.firmware.states import State
from fauxfax_tools.conversation import ANSWER_TIMEOUT, Conversation
from fauxfax_tools.dialects.base import Installed, Job, LastAttempt, Machine, Status, read_machine
from fauxfax_tools.links.base import Link

NEWS = "@PJL USTATUS DEVICE"


class ReferenceDialect:
    """PJL over one link; see the module's table."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._news: Status | None = None
        self._conversation = Conversation(link, self._hear)

    @property
    def conversation(self) -> Conversation:
        """The stream below."""
        return self._conversation

    def forget(self) -> None:
        """Drop the half-read reply and the last news."""
        self._conversation.forget()
        self._news = None

    def identify(self) -> Machine:
        """Device id if the link has one, then INFO ID and INFO FIRMWARE."""
        self.forget()
        device_id = self._link.identify() or ""
        text = "\n".join((device_id, *self._info("ID")))
        return read_machine(text, device_id, self.firmware())

    def firmware(self) -> dict[str, Installed]:
        """INFO FIRMWARE."""
        return read_firmware(self._info("FIRMWARE"))

    def status(self) -> Status:
        """INFO UPGRADE."""
        return read_status(self._info("UPGRADE"))

    def news(self) -> Status | None:
        """The newest USTATUS since the last call."""
        self._conversation.listen()
        news, self._news = self._news, None
        return news

    def opening(self, job: Job) -> bytes:
        """The job's commands, up to the line that UPGRADE's octets follow."""
        lines = [b"@PJL USTATUS DEVICE=VERBOSE"]
        if job.password:
            lines.append(b"@PJL JOB PASSWORD=" + job.password.encode("ascii", "replace"))
        upgrade = f"@PJL UPGRADE SIZE={len(job.container)}"
        if job.offset:
            upgrade += f" OFFSET={job.offset} SHA256={job.prefix_sha256}"
        if job.force:
            upgrade += " FORCE=ON"
        return UEL + b"\r\n".join([*lines, upgrade.encode("ascii"), b""])

    def closing(self) -> bytes:
        """The UEL that ends the job."""
        return UEL

    def _info(self, subject: str) -> list[str]:
        head = f"@PJL INFO {subject}"
        question = UEL + head.encode("ascii") + b"\r\n"
        answer = self._conversation.ask(question, lambda reply: reply.split("\n", 1)[0].strip() == head, ANSWER_TIMEOUT)
        return [line.strip() for line in answer.splitlines()[1:]]

    def _hear(self, reply: str) -> None:
        lines = reply.splitlines()
        if lines and lines[0].strip() == NEWS and not (self._news and self._news.refused):
            self._news = read_status(lines[1:])


def read_firmware(lines: Sequence[str]) -> dict[str, Installed]:
    """What runs, from the lines of INFO FIRMWARE; others among them are passed over."""
    fields = _fields(lines)
    names = [component.value for component in Component if component.value in fields]
    return {name: Installed(fields[name], fields.get(f"{name}.SHA256", "").lower()) for name in names}


def _fields(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line.partition("=") for line in lines)
    return {key.strip().upper(): value.strip().strip('"') for key, equals, value in pairs if equals}


def read_status(lines: Sequence[str]) -> Status:
    """Where the loader is, from the lines of INFO UPGRADE or of an unasked status; others are passed over."""
    fields = _fields(lines)
    try:
        state = State(fields.get("STATE", "RUNNING").upper())
    except ValueError:
        state = State.RUNNING
    last = LastAttempt(
        fields.get("LASTVERSION", ""),
        fields.get("LASTSTAGE", ""),
        fields.get("LASTREASON", ""),
        _number(fields, "LASTOFFSET"),
        fields.get("LASTFORCED", "") == "ON",
    )
    return Status(
        state=state,
        version=fields.get("VERSION", ""),
        received=_number(fields, "RECEIVED"),
        next_offset=_number(fields, "NEXT"),
        sha256=fields.get("SHA256", "").lower(),
        done=_number(fields, "DONE"),
        total=_number(fields, "TOTAL"),
        reason=fields.get("REASON", ""),
        on_trial=fields.get("TRIAL", "") == "ON",
        last=last if last.version or last.reason else None,
    )


def _number(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else 0
