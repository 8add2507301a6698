"""The update procedure against machines that do right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_machine import ScriptedMachine

from fauxfax.firmware.codefile import UEL
from fauxfax_tools import updater as updater_module
from fauxfax_tools.codefiles import load
from fauxfax_tools.dialects import reference as reference_module
from fauxfax_tools.dialects.base import Installed, Machine
from fauxfax_tools.dialects.reference import ReferenceDialect
from fauxfax_tools.errors import Busy, Interrupted, LinkLost, Refused
from fauxfax_tools.links import find_link
from fauxfax_tools.links.base import Link
from fauxfax_tools.links.tcp import TcpLink
from fauxfax_tools.steps import Bar, Event, Notice, Phase, Progress
from fauxfax_tools.targets import Consent
from fauxfax_tools.updater import RESUMES, Options, Outcome, Result, Updater

StartMachine = Callable[..., ScriptedMachine]
WriteFile = Callable[..., Path]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updater_module, "POLL", 0.005)
    monkeypatch.setattr(updater_module, "CHUNK", 16 * 1024)


def run(
    where: str | Link,
    path: Path,
    report: Callable[[Event], None] = lambda _: None,
    *,
    confirm: Callable[[Machine], bool] = lambda _: True,
    force: bool = False,
    patience: float = 2.0,
) -> Result:
    link = find_link(where) if isinstance(where, str) else where
    options = Options(confirm, force=force, patience=patience)
    return Updater(link, ReferenceDialect(link), load(path), options).run(report)


def test_an_update_succeeds_when_the_new_version_and_its_content_run(
    machine: StartMachine, code_file: WriteFile
) -> None:
    target, path = machine(), code_file()
    result = run(target.link, path)
    assert result.outcome is Outcome.UPDATED
    assert result.firmware["SC"].version == "V10200"
    assert result.firmware["SC"].sha256 == load(path).header.parts[0].sha256.hex()


def test_the_phases_come_in_order_and_the_bar_never_goes_backwards(machine: StartMachine, code_file: WriteFile) -> None:
    events: list[Event] = []
    run(machine().link, code_file(), events.append)
    bar, percents, phases = Bar(), [], []
    for event in events:
        if isinstance(event, Progress):
            percents.append(bar.advance(event))
            phases.append(event.phase)
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert list(dict.fromkeys(phases)) == list(Phase)


def test_a_machine_that_claims_the_version_without_the_content_is_no_success(
    machine: StartMachine, code_file: WriteFile
) -> None:
    with pytest.raises(Refused, match="is not the file's content"):
        run(machine(lie=True).link, code_file())


def test_a_file_for_another_model_is_refused_before_anything_is_sent(
    machine: StartMachine, code_file: WriteFile
) -> None:
    target = machine(model="UF-7100")
    with pytest.raises(Refused, match=r"is for UF-8000, but the machine is UF-7100.*nothing was sent"):
        run(target.link, code_file())
    assert target.offers == []


def test_nothing_is_sent_without_consent(machine: StartMachine, code_file: WriteFile) -> None:
    target, asked = machine(), []

    def confirm(who: Machine) -> bool:
        asked.append(who.described())
        return False

    with pytest.raises(Refused, match="not confirmed"):
        run(target.link, code_file(), confirm=confirm)
    assert asked == ["UF-8000 EMU0001, which runs SC V10100"]
    assert target.offers == []


def test_the_question_names_what_runs_of_that_which_is_to_be_replaced() -> None:
    firmware = {name: Installed(f"V1010{number}", "") for number, name in enumerate(("SC", "PNL", "SCN"))}
    machine, asked = Machine("UF-8000", "", "EMU0001", firmware), []
    consent = Consent(yes=False, real=False, question=lambda question: asked.append(question) is None)
    assert consent.given(machine, "PNL+SCN V10200", "usb:", ("PNL", "SCN"))
    assert asked == ["Install PNL+SCN V10200 on UF-8000 EMU0001, which runs PNL V10101 and SCN V10102?"]


@pytest.mark.parametrize("reason", ["this would be a downgrade, the machine has V10300", "SC is damaged"])
def test_a_refusal_carries_the_machines_own_reason(machine: StartMachine, code_file: WriteFile, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        run(machine(refuse=reason).link, code_file())


def test_a_refusal_in_the_middle_stops_the_sending(machine: StartMachine, code_file: WriteFile) -> None:
    target = machine(refuse="block 2 of SC is damaged", refuse_at=70_000)
    path = code_file(size=20_000_000)
    with pytest.raises(Refused, match="block 2 of SC is damaged"):
        run(target.link, path)
    assert target.received < 20_000_000


def test_a_busy_machine_is_told_apart_from_one_that_refuses(machine: StartMachine, code_file: WriteFile) -> None:
    with pytest.raises(Busy, match="busy: it prints"):
        run(machine(refuse="busy: it prints").link, code_file())


def test_another_writer_is_busy(machine: StartMachine, code_file: WriteFile) -> None:
    with pytest.raises(Busy, match="busy with another update, RECEIVING"):
        run(machine(busy="RECEIVING").link, code_file(), patience=0.2)


@pytest.mark.parametrize("drops", [[100_000], [50_000, 150_000], [1, 2, 3]], ids=["once", "twice", "three times"])
def test_a_broken_transfer_is_taken_up_where_it_broke(
    machine: StartMachine, code_file: WriteFile, drops: list[int]
) -> None:
    target, events = machine(drop_at=list(drops)), list[Event]()
    assert run(target.link, code_file(), events.append).outcome is Outcome.UPDATED
    assert [offer.offset > 0 for offer in target.offers] == [False] + [True] * len(drops)
    assert any(isinstance(event, Notice) and "going on from there" in event.text for event in events)


def test_a_machine_that_loses_power_in_the_middle_is_waited_for(machine: StartMachine, code_file: WriteFile) -> None:
    target = machine(drop_at=[100_000], dark=RESUMES + 2)
    assert run(target.link, code_file()).outcome is Outcome.UPDATED
    assert target.script.dark == 0


def test_a_transfer_that_breaks_again_and_again_is_given_up(machine: StartMachine, code_file: WriteFile) -> None:
    with pytest.raises(Refused, match="the stream ended"):
        run(machine(drop_at=[1, 2, 3, 4, 5, 6]).link, code_file())


def test_what_the_machine_kept_of_another_file_is_not_resumed(machine: StartMachine, code_file: WriteFile) -> None:
    target = machine()
    target.stored += b"of another file"
    assert run(target.link, code_file()).outcome is Outcome.UPDATED
    assert [offer.offset for offer in target.offers] == [0]


def test_the_same_content_is_not_sent_again(machine: StartMachine, code_file: WriteFile) -> None:
    target, path = machine(), code_file()
    run(target.link, path)
    assert run(target.link, path).outcome is Outcome.ALREADY
    assert len(target.offers) == 1


def test_force_reaches_the_machine(machine: StartMachine, code_file: WriteFile) -> None:
    target = machine()
    run(target.link, code_file(), force=True)
    assert target.offers[0].force


@pytest.mark.parametrize("force", [False, True])
def test_a_machine_that_restarts_before_the_last_write_returns_is_done(
    machine: StartMachine, code_file: WriteFile, force: bool
) -> None:
    target, path = machine(), code_file()
    link = LostAfter(target.port, load(path).container[-16:])
    assert run(link, path, force=force).outcome is Outcome.UPDATED
    assert len(target.offers) == 1


@pytest.mark.parametrize("lost", ["reading after the last octets", "writing the closing UEL"])
def test_a_quick_restart_does_not_make_the_tool_install_the_same_again_and_again(
    machine: StartMachine, code_file: WriteFile, lost: str
) -> None:
    target, path = machine(), code_file()
    run(target.link, path)
    reading = lost.startswith("reading")
    link = LostAfter(target.port, load(path).container[-16:] if reading else UEL, reading=reading)
    assert run(link, path, force=True).outcome is Outcome.UPDATED
    assert len(target.offers) == 2


def test_what_was_cut_short_is_not_taken_for_what_ran_before(machine: StartMachine, code_file: WriteFile) -> None:
    target, path = machine(), code_file()
    run(target.link, path)
    link = LosesItsBuffer(target.port, load(path).container[-1000:])
    assert run(link, path, force=True).outcome is Outcome.UPDATED
    assert [offer.offset > 0 for offer in target.offers] == [False, False, True]
    assert target.stored == b"", "all of it was installed"


class LosesItsBuffer(TcpLink):
    """A connection that takes these octets, and is lost, once, with them at the next write."""

    def __init__(self, port: int, end: bytes) -> None:
        super().__init__("127.0.0.1", port)
        self._end, self._held, self._lost = end, False, False

    def write(self, data: memoryview, timeout: float) -> int:
        if self._held:
            self._held, self._lost = False, True
            self.close()
            raise LinkLost("the machine went away while sending")
        if self._lost or not bytes(data).endswith(self._end):
            return super().write(data, timeout)
        self._held = True
        rest = data[: -len(self._end)]
        while rest:
            rest = rest[super().write(rest, timeout) :]
        return len(data)


class LostAfter(TcpLink):
    """A connection that is lost, once, in the write that brought these octets, or in the first read after it."""

    def __init__(self, port: int, end: bytes, *, reading: bool = False) -> None:
        super().__init__("127.0.0.1", port)
        self._end, self._reading, self._lost = end, reading, False

    def write(self, data: memoryview, timeout: float) -> int:
        taken = super().write(data, timeout)
        if not self._lost and bytes(data[:taken]).endswith(self._end):
            self._lost = True
            if not self._reading:
                raise LinkLost("the machine went away while sending")
        return taken

    def read(self, limit: int, timeout: float) -> bytes:
        if self._lost and self._reading:
            self._reading = False
            raise LinkLost("the machine went away")
        return super().read(limit, timeout)


def test_a_machine_that_stays_in_a_state_is_named_with_it(machine: StartMachine, code_file: WriteFile) -> None:
    with pytest.raises(LinkLost, match=r"still REWRITING after 0\.3 s"):
        run(machine(stuck="REWRITING").link, code_file(), patience=0.3)


def test_a_machine_that_does_not_close_its_port_while_it_restarts_is_followed(
    machine: StartMachine, code_file: WriteFile
) -> None:
    assert run(machine(away=False).link, code_file()).outcome is Outcome.UPDATED


def test_nobody_there_is_said_with_host_and_port(code_file: WriteFile) -> None:
    with pytest.raises(LinkLost, match=r"tcp://127\.0\.0\.1:1: no machine answers"):
        run("tcp://127.0.0.1:1", code_file())


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (Phase.SEND, "octets of the update are kept; run the same command again"),
        (Phase.REWRITE, "goes on by itself: leave it on"),
    ],
    ids=["sending", "rewriting"],
)
def test_an_interruption_names_the_state_and_the_way_on(
    machine: StartMachine, code_file: WriteFile, phase: Phase, words: str
) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and event.phase is phase and event.done:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=words):
        run(machine().link, code_file(), interrupt)


def test_an_interrupted_update_that_the_machine_finished_by_itself_is_a_success(
    machine: StartMachine, code_file: WriteFile
) -> None:
    path = code_file()
    target = machine()
    part = load(path).header.parts[0]

    def confirm(_: Machine) -> bool:
        target.script.firmware["SC"] = (part.version, part.sha256.hex())
        target.script.trials = 5
        return True

    assert run(target.link, path, confirm=confirm).outcome is Outcome.UPDATED
    assert target.offers == []
    assert target.script.trials == 0, "it was sure of it"


def test_a_machine_that_is_still_starting_is_waited_for(machine: StartMachine, code_file: WriteFile) -> None:
    target, heard = machine(dark=3), list[Event]()
    target.received = 1  # an update before this one, after which it restarts
    assert run(target.link, code_file(), heard.append).outcome is Outcome.UPDATED
    notices = [event.text for event in heard if isinstance(event, Notice)]
    assert notices[0].startswith("the machine is there but does not answer")


def test_a_machine_that_takes_connections_and_never_answers_is_given_up(
    machine: StartMachine, code_file: WriteFile
) -> None:
    target = machine(dark=10_000)
    target.received = 1
    with pytest.raises(LinkLost, match="the connection"):
        run(target.link, code_file(), patience=0.3)


def test_a_machine_that_is_there_but_never_answers_ends_in_time(
    machine: StartMachine, code_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_module, "ANSWER_TIMEOUT", 0.05)
    target = machine()

    def fall_silent(event: Event) -> None:
        target.script.silent |= isinstance(event, Progress) and event.phase is Phase.REWRITE

    with pytest.raises(LinkLost, match="did not come back within"):
        run(target.link, code_file(), fall_silent, patience=0.4)
