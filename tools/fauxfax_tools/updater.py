"""The one update procedure, over any link and in any dialect.

check - who answers, does the file fit it - ask - send, from where the machine left off - follow it through staging,
rewriting and its restart - and only when the new version runs *and* its content's SHA-256 is the file's: success. A
failure carries the machine's own reason. Whatever interrupts, the procedure ends by saying in which state the machine
is and how to go on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from fauxfax.firmware.states import State
from fauxfax_tools.codefiles import CodeImage
from fauxfax_tools.dialects.base import WORKING, Dialect, Installed, Job, LastAttempt, Machine, Status, read_machine
from fauxfax_tools.errors import Busy, Interrupted, LinkLost, Refused
from fauxfax_tools.links.base import Deadline, Link, reopen
from fauxfax_tools.steps import Event, Notice, Phase, Progress

CHUNK = 256 * 1024  # octets between two looks at what the machine says
OTHER_TOOL = 10.0  # seconds that a machine may receive from somebody else before it is called busy
STARTING = 20.0  # seconds that a machine which takes a connection and closes it may still be starting
REOPEN = 5.0  # seconds to find a machine again that has not restarted
POLL = 0.25  # seconds between two questions while the machine works
RESUMES = 3  # how often a broken transfer is taken up again before giving up
PHASES = {
    State.RECEIVING: Phase.SEND,
    State.CHECKING: Phase.VERIFY_STAGED,
    State.STAGED: Phase.VERIFY_STAGED,
    State.REWRITING: Phase.REWRITE,
    State.VERIFYING: Phase.VERIFY_WRITTEN,
    State.COMMITTED: Phase.VERIFY_WRITTEN,
    State.RESTARTING: Phase.RESTART,
}


class Outcome(Enum):
    """How an update ended if nothing went wrong; everything else is raised. SENT: what became of it is not known."""

    UPDATED = "updated"
    ALREADY = "already-installed"
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class Result:
    """An update that did not fail. `machine` is None where the way there cannot ask who it is."""

    outcome: Outcome
    machine: Machine | None = None
    firmware: dict[str, Installed] = field(default_factory=dict)
    answer: str = ""  # what the machine said at the end, where that is all there is to know


@dataclass(frozen=True, slots=True)
class Options:
    """What the person decided. Times are seconds of real time.

    `confirm` is asked with the machine that answers, before anything is written; False ends the update.
    """

    confirm: Callable[[Machine], bool]
    password: str = ""
    force: bool = False
    patience: float = 120.0  # without any progress, before the machine counts as lost


class _TransferBroken(Exception):  # noqa: N818 - control flow, never leaves this file
    """The transfer broke before the machine had everything: take it up again."""


class Updater:
    """One update of one machine with one code file. Use once."""

    def __init__(self, link: Link, dialect: Dialect, image: CodeImage, options: Options) -> None:
        self._link = link
        self._dialect = dialect
        self._image = image
        self._options = options
        self._report: Callable[[Event], None] = lambda _: None
        self._title = link.url
        self._reinstall = False  # by force what the machine ran before

    def run(self, report: Callable[[Event], None]) -> Result:
        """Do it. Raises Refused, Busy, LinkLost or Interrupted; events go to `report` as they happen."""
        self._report = report
        try:
            return self._run()
        except KeyboardInterrupt:
            raise Interrupted(self._after_interrupt()) from None
        except LinkLost:
            raise
        except OSError as error:  # a link of another package knows no LinkLost
            raise LinkLost(f"{self._link.url}: {error}") from error
        finally:
            self._link.close()

    def _run(self) -> Result:
        self._report(Progress(Phase.CHECK, 0, 1))
        try:
            self._link.open()
            return self._update() if self._link.bidirectional else self._send_blind()
        finally:
            self._link.close()

    # The procedure ---------------------------------------------------------------------------------------------------

    def _update(self) -> Result:
        machine = self._identify()
        self._title = machine.title
        self._reinstall = self._image.runs_in(machine.firmware)
        if self._reinstall and not self._options.force:
            return Result(Outcome.ALREADY, machine, machine.firmware)
        self._check_model(machine)
        if not self._options.confirm(machine):
            raise Refused(f"{machine.title}: not confirmed, nothing was sent")
        self._report(Progress(Phase.CHECK, 1, 1))
        for _ in range(RESUMES + 1):
            try:
                return Result(Outcome.UPDATED, machine, self._attempt())
            except _TransferBroken as broken:
                self._report(Notice(f"{broken}; taking the transfer up again"))
                self._await_answer()
        if reason := self._last_reason():
            raise self._refusal(reason)
        raise LinkLost(f"{self._title}: the transfer broke {RESUMES + 1} times; check the cable and run this again")

    def _identify(self) -> Machine:
        """Who answers. A machine that closes the connection at once may be starting, after a power cut or an update."""
        deadline, told = Deadline(min(STARTING, self._options.patience)), False
        while True:
            try:
                return self._dialect.identify()
            except ConnectionError:
                if deadline.passed:
                    raise
            if not told:
                self._report(Notice("the machine is there but does not answer; it may be starting, waiting for it"))
                told = True
            time.sleep(POLL)
            self._reopen(deadline.left)

    def _check_model(self, machine: Machine) -> None:
        models = self._image.header.models
        if machine.model in models:
            return
        raise Refused(
            f"{self._image.path.name} is for {', '.join(models)}, but the machine is {machine.title}; nothing was sent"
        )

    def _attempt(self) -> dict[str, Installed]:
        """Send the container from where the machine left off, and follow it. Returns what runs afterwards."""
        status = self._idle()
        if self._image.runs_in(self._dialect.firmware()) and not self._reinstall:
            return self._follow()  # an interrupted update, which the machine has finished by itself meanwhile
        offset = self._resume_offset(status)
        job = Job(
            self._image.container,
            offset,
            self._image.prefix_sha256(offset) if offset else "",
            self._options.password,
            self._options.force,
        )
        if offset:
            self._report(Notice(f"the machine has {offset} of {len(job.container)} octets; going on from there"))
        try:
            self._send_job(job)
        except OSError as error:
            raise _TransferBroken(str(error)) from error
        with contextlib.suppress(OSError):  # a quick machine that has everything restarts before it has read this
            self._dialect.conversation.send(self._dialect.closing())
        return self._follow()

    def _idle(self) -> Status:
        """The status of a machine that is free to take an update. Raises Busy if it stays occupied.

        A machine may still be taking in what an interrupted tool had sent: that is waited for, another tool is not.
        """
        patience = {State.RECEIVING: min(OTHER_TOOL, self._options.patience)}
        start = time.monotonic()
        while (status := self._status_after_restart()).state in (*WORKING, State.RESTARTING):
            waited = time.monotonic() - start
            if waited > patience.get(status.state, self._options.patience):
                raise Busy(f"{self._title}: busy with another update, {status.state.value} since {waited:.0f} s")
            time.sleep(POLL)
        return status

    def _status_after_restart(self) -> Status:
        """The status, of a machine that may finish an interrupted update by itself, and restart, while it is asked."""
        try:
            return self._dialect.status()
        except OSError:
            self._report(Notice("the machine restarts"))
            self._await_answer()
            return self._dialect.status()

    def _resume_offset(self, status: Status) -> int:
        offset = status.next_offset
        if not 0 < offset < len(self._image.container) or not status.sha256:
            return 0
        return offset if self._image.prefix_sha256(offset) == status.sha256 else 0

    def _send_job(self, job: Job) -> None:
        talk, total = self._dialect.conversation, len(job.container)
        talk.send(self._dialect.opening(job))
        rest, sent, stored = memoryview(job.container)[job.offset :], job.offset, None
        while rest:
            news = self._dialect.news()
            if news is not None and news.refused:
                raise self._refusal(news.reason or self._last_reason())
            if news is not None and news.state is State.RECEIVING:
                stored = news.done  # what the machine has says more than what is on its way
            taken = talk.send_some(rest[:CHUNK])
            rest, sent = rest[taken:], sent + taken
            self._report(Progress(Phase.SEND, sent if stored is None else stored, total))

    # Following the machine ---------------------------------------------------------------------------------------

    def _follow(self) -> dict[str, Installed]:
        """Watch until the new firmware runs. Raises Refused with the machine's reason, LinkLost when it stays away."""
        watch = _Watch(self._options.patience)
        while True:
            try:
                status = self._dialect.news() or self._dialect.status()
                done = self._judge(status, watch)
            except OSError as error:
                self._await_restart(error, watch)
                continue
            if done is not None:
                self._report(Progress(Phase.RESTART, 1, 1))
                return done
            if watch.stale(status):
                raise LinkLost(
                    f"{self._title}: still {status.state.value} after {self._options.patience:g} s without progress; "
                    "leave it on, and ask it again with `fauxfax-tool probe`"
                )
            time.sleep(POLL if watch.unchanged else 0.0)

    def _judge(self, status: Status, watch: _Watch) -> dict[str, Installed] | None:
        """What runs if the update succeeded, None while it is under way. Raises what it failed of."""
        if status.state in PHASES:
            self._report(Progress(PHASES[status.state], status.done, status.total))
            watch.worked |= status.state is not State.RECEIVING
            return None
        if status.refused:
            raise self._refusal(status.reason or self._last_reason())
        firmware, status = self._dialect.firmware(), self._dialect.status()
        cut_short = watch.lost and status.last is not None and status.last.stage == State.RECEIVING.value
        if self._image.runs_in(firmware) and not cut_short:
            if not status.on_trial:
                return firmware
            if not watch.trial:
                self._report(Notice("the new firmware runs, on trial: waiting until the machine is sure of it"))
            watch.trial = True
            return None
        if status.state not in (State.RUNNING, State.RECOVERY):
            return None
        self._explain(status, firmware, watch)
        return None

    def _explain(self, status: Status, firmware: dict[str, Installed], watch: _Watch) -> None:
        """The machine is idle and the new firmware does not run: say why, or try again."""
        last = status.last
        ours = last is not None and last.version == self._image.header.version
        stage = last.stage if last is not None else ""
        if watch.lost and (stage == State.RECEIVING.value or not (stage or watch.worked)):
            raise _TransferBroken("the link was lost before the machine had everything")
        if last is not None and last.reason and (ours or not last.version):
            raise self._refusal(last.reason)
        wrong = [name for name, (version, _) in self._image.hashes.items() if _version(firmware, name) == version]
        if ours and wrong:
            raise self._refusal(f"it reports the new version, but what runs as {wrong[0]} is not the file's content")
        if status.state is State.RECOVERY:
            raise self._refusal("it waits in recovery for a code file")

    def _await_restart(self, error: OSError, watch: _Watch) -> None:
        if not watch.lost:
            self._report(Notice("the machine restarts"))
        self._report(Progress(Phase.RESTART, 0, 1))
        watch.lost = True
        try:
            if watch.deadline.passed:  # it is there, but does not answer
                raise error
            self._reopen(watch.deadline.left)
        except OSError as gone:
            raise LinkLost(
                f"{self._title}: the link was lost ({error}) and the machine did not come back within "
                f"{self._options.patience:g} s; switch it on and run this again"
            ) from gone

    def _reopen(self, seconds: float) -> None:
        """Find the machine again. What was half read of the old connection would spoil the first answer of the new."""
        reopen(self._link, seconds)
        self._dialect.forget()

    def _await_answer(self) -> None:
        """Find the machine again after a broken transfer; one without power may be reached and yet say nothing."""
        deadline = Deadline(self._options.patience)
        while True:
            self._reopen(deadline.left)
            try:
                self._dialect.status()
            except OSError:
                if deadline.passed:
                    raise
                time.sleep(POLL)
            else:
                return

    def _last_reason(self) -> str:
        """Why the last attempt failed, asked on a fresh stream: the old one may still wait for octets of the file."""
        with contextlib.suppress(OSError):
            self._reopen(REOPEN)
            last: LastAttempt | None = self._dialect.status().last
            return last.reason if last else ""
        return ""

    def _refusal(self, reason: str) -> Refused | Busy:
        text = f"{self._title}: {reason or 'refused, without a reason'}"
        return Busy(text) if reason.lower().startswith("busy") else Refused(text)

    # Ways that cannot ask, and interruptions -------------------------------------------------------------------------

    def _send_blind(self) -> Result:
        """A one-way link: everything is sent, nothing is known."""
        machine = read_machine(self._link.identify() or "")
        if machine.model:
            self._check_model(machine)
        if not self._options.confirm(machine):
            raise Refused(f"{self._link.url}: not confirmed, nothing was sent")
        self._report(Progress(Phase.CHECK, 1, 1))
        self._send_job(Job(self._image.container, password=self._options.password, force=self._options.force))
        self._dialect.conversation.send(self._dialect.closing())
        return Result(Outcome.SENT)

    def _after_interrupt(self) -> str:
        """Let go of the machine, ask it once more where it stands, and say how to go on."""
        again = "run the same command again to go on"
        if not self._link.bidirectional:
            return (
                f"{self._link.url}: interrupted; this link cannot read back: look at the machine's panel, then {again}"
            )
        try:
            self._reopen(REOPEN)
            status = self._dialect.status()
        except (OSError, KeyboardInterrupt):
            return f"{self._title}: interrupted, and it does not answer now; wait for its panel, then {again}"
        if status.state in (State.RUNNING, State.RECOVERY, State.RECEIVING, State.REFUSED):
            kept = f", {status.next_offset} octets of the update are kept" if status.next_offset else ""
            return f"{self._title}: interrupted; the machine is {status.state.value}{kept}; {again}"
        return (
            f"{self._title}: interrupted; the machine is {status.state.value} and goes on by itself: leave it on, and "
            "ask it with `fauxfax-tool probe` how it ended"
        )


class _Watch:
    """Whether the machine still gets on: `lost`, `worked` and `trial` say what has been seen of it."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._seen: tuple[State, int, int] | None = None
        self.deadline = Deadline(patience)
        self.unchanged = False
        self.lost = self.worked = self.trial = False

    def stale(self, status: Status) -> bool:
        """Take a status in; True if nothing has changed for the whole patience."""
        seen = (status.state, status.done, status.received)
        self.unchanged = seen == self._seen
        if not self.unchanged:
            self._seen, self.deadline = seen, Deadline(self._patience)
        return self.deadline.passed


def _version(firmware: dict[str, Installed], name: str) -> str:
    return firmware[name].version if name in firmware else ""
