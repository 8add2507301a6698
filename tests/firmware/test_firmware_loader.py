"""The loader: the way of an image, what is refused and why, resuming, the card, the trial, and worn-out cells."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from firmware_refusals import NEWER, OTHER_MODEL, REFUSED, spoil
from firmware_small import MODEL, SmallMachine, both, image, source

from fauxfax.errors import Misuse
from fauxfax.events import Event, UpdateProgressed, UpdateStateChanged
from fauxfax.firmware import codefile, factory, recipe
from fauxfax.firmware.codefile import Component, Source
from fauxfax.firmware.flash import CellDefect, Flash, Geometry, Kind
from fauxfax.firmware.loader import TRIAL_STARTS, Loader, State
from fauxfax.firmware.states import TRANSITIONS, Cause, following
from fauxfax.firmware.storage import MemoryStorage

# The way of an image -------------------------------------------------------------------------------------------


def test_an_image_is_received_checked_written_verified_committed_and_runs(machine: SmallMachine) -> None:
    assert machine.send(NEWER) == ""
    rewriting = [State.REWRITING] if machine.layout.kind.value == "staged" else []
    assert machine.states[-1] is State.RESTARTING
    assert [state for state in machine.states if state is State.REWRITING] == rewriting
    boot = machine.boot()
    assert boot.versions == {"SC": "V10200", "PNL": "V10100"}
    assert boot.hashes["SC"] == hashlib.sha256(source().payload).hexdigest()
    assert boot.profile is not None
    assert boot.profile.smtp.banner == "UF-8000 V10200"


def test_a_set_installs_its_components_together(machine: SmallMachine) -> None:
    assert machine.send(both()) == ""
    assert machine.boot().versions == {"SC": "V10200", "PNL": "V10200"}


def test_nothing_that_runs_is_touched_before_the_image_is_whole_and_checked() -> None:
    machine = SmallMachine("staged")
    slot = machine.layout.slots[Component.SC][0]
    before = machine.flash.read(slot.address, slot.size)
    machine.loader.begin(len(NEWER))
    for _ in machine.feeding(NEWER):
        pass
    while machine.loader.state in (State.RECEIVING, State.CHECKING, State.STAGED):
        assert machine.flash.read(slot.address, slot.size) == before
        machine.loader.step()
    assert machine.loader.state is State.REWRITING


def test_the_loader_takes_octets_only_as_it_has_room(machine: SmallMachine) -> None:
    with pytest.raises(Misuse, match="room for 0"):
        machine.loader.feed(b"x")
    machine.loader.begin(len(NEWER))
    assert 0 < machine.loader.room <= len(NEWER)
    with pytest.raises(Misuse):
        machine.loader.feed(bytes(machine.loader.room + 1))


def test_each_operation_takes_the_time_of_the_hardware() -> None:
    machine = SmallMachine("staged")
    machine.loader.begin(len(NEWER))
    seconds = sum(filter(None, (machine.loader.step() for _ in machine.feeding(NEWER)))) + machine.run()
    erases = machine.flash.operations / 2.6
    assert seconds > erases * MODEL.timing.erase_sector * 4096 / 65536 * 0.5
    assert machine.loader.step() is None


def test_another_update_is_told_that_the_loader_is_busy(machine: SmallMachine) -> None:
    assert machine.loader.begin(len(NEWER)) is None
    refusal = machine.loader.begin(len(NEWER))
    assert refusal is not None
    assert refusal.reason == "busy: the loader is RECEIVING"


def test_the_table_leads_from_each_state_to_an_open_one() -> None:
    for state in State:
        seen, ahead = set(), {state}
        while ahead:
            seen |= ahead
            ahead = {to for (start, _), to in TRANSITIONS.items() if start in ahead} - seen
        assert seen & {State.RUNNING, State.RESTARTING}
    with pytest.raises(Misuse, match="RUNNING"):
        following(State.RUNNING, Cause.WRITTEN)


# What is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("container", "reason"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_with_a_reason_and_the_next_good_update_passes(
    machine: SmallMachine, container: bytes, reason: str
) -> None:
    assert reason in machine.send(container)
    assert State.REFUSED in machine.states
    assert machine.loader.state is State.RUNNING
    boot = machine.boot()
    assert (boot.state, boot.versions["SC"]) == (State.RUNNING, "V10100")
    last = machine.loader.status().last
    assert last is not None
    assert reason in last.reason
    assert machine.send(NEWER) == ""
    assert machine.boot().versions["SC"] == "V10200"


def test_what_is_left_of_a_refused_container_is_dropped_so_that_no_sender_is_stuck(machine: SmallMachine) -> None:
    machine.loader.begin(len(OTHER_MODEL))
    left = OTHER_MODEL
    while left:
        room = machine.loader.room
        assert room > 0
        machine.loader.feed(left[: min(room, 500)])
        left = left[min(room, 500) :]
        machine.run()
    assert (machine.loader.state, machine.loader.room) == (State.RUNNING, 0)
    assert machine.send(NEWER) == ""


@pytest.mark.parametrize("size", [0, -1, codefile.PREFIX_SIZE, 10**6, 2**40])
def test_a_size_that_cannot_be_is_refused_before_the_first_erase(machine: SmallMachine, size: int) -> None:
    refusal = machine.loader.begin(size)
    assert refusal is not None
    assert "it takes up to" in refusal.reason
    assert machine.flash.operations == 0


@pytest.mark.parametrize(("version", "reason"), [("V10100", "already"), ("V10000", "downgrade")])
def test_force_lifts_the_version_rules_and_is_kept_in_the_last_attempt(
    machine: SmallMachine, version: str, reason: str
) -> None:
    older = image(Source(component=Component.PNL, version=version, payload=b"older"))
    assert reason in machine.send(older)
    assert machine.send(older, force=True) == ""
    assert machine.boot().versions["PNL"] == version
    last = machine.loader.status().last
    assert last is not None
    assert last.forced


def test_events_say_each_state_its_version_and_why_it_was_refused(machine: SmallMachine) -> None:
    events: list[Event] = []
    machine.loader = Loader(machine.flash, MODEL, machine.layout, publish=events.append)
    machine.loader.boot()
    machine.send(image(source(version="V10000")))
    changes = [event for event in events if isinstance(event, UpdateStateChanged)]
    assert [event.state for event in changes] == ["RUNNING", "RECEIVING", "REFUSED", "RUNNING"]
    assert (changes[2].version, "downgrade" in changes[2].reason) == ("V10000", True)
    machine.send(NEWER)
    progress = [(event.done, event.total) for event in events if isinstance(event, UpdateProgressed)]
    assert progress[0][0] > 0
    assert all(done <= total for done, total in progress)


def test_force_does_not_lift_the_rule_of_the_lowest_version(machine: SmallMachine) -> None:
    container = image(Source(component=Component.PNL, version="V10300", payload=b"x", lowest="V10200"))
    assert "over V10200 or later" in machine.send(container, force=True)


def test_a_wrong_model_is_refused_before_anything_is_erased_for_it(machine: SmallMachine) -> None:
    staged = machine.layout.header.address
    machine.loader.begin(len(OTHER_MODEL))
    for _ in machine.feeding(OTHER_MODEL):
        pass
    machine.run()
    assert machine.flash.read(staged, 4) == b"\xff" * 4


# Interrupted and resumed ---------------------------------------------------------------------------------------


def interrupted(machine: SmallMachine, container: bytes, at: int) -> None:
    """The link is lost when `at` octets have been sent."""
    machine.loader.begin(len(container))
    for _ in machine.feeding(container[:at]):
        pass
    machine.run()
    machine.loader.end("the link was lost")
    machine.run()


@pytest.mark.parametrize("powered_off", [False, True], ids=["link lost", "power lost"])
@pytest.mark.parametrize("at", [0, 50, 300, 5000, 9000, 14_000])
def test_an_update_goes_on_where_its_stored_octets_end(machine: SmallMachine, at: int, powered_off: bool) -> None:
    interrupted(machine, NEWER, at)
    assert machine.loader.state is State.RUNNING
    if powered_off:
        machine.boot()
    status = machine.loader.status()
    assert status.last is not None
    assert status.last.reason == f"the link was lost after {at} of {len(NEWER)} octets"
    assert status.next_offset <= at
    if status.next_offset:
        assert status.sha256 == hashlib.sha256(NEWER[: status.next_offset]).hexdigest()
    assert machine.send(NEWER, status.next_offset, status.sha256) == ""
    assert machine.boot().versions["SC"] == "V10200"


def test_most_of_what_was_sent_need_not_be_sent_again(machine: SmallMachine) -> None:
    interrupted(machine, NEWER, 14_000)
    assert machine.loader.status().next_offset > 12_000


@pytest.mark.parametrize(
    ("offset", "digest"),
    [(4000, "right"), (None, "0" * 64), (None, None)],
    ids=["another offset", "another file", "no hash"],
)
def test_it_does_not_go_on_unless_offset_and_hash_match(
    machine: SmallMachine, offset: int | None, digest: str | None
) -> None:
    interrupted(machine, NEWER, 14_000)
    status = machine.loader.status()
    sha256 = status.sha256 if digest == "right" else digest
    assert "start at 0" in machine.send(NEWER, offset or status.next_offset, sha256)
    assert machine.send(NEWER) == ""


def test_a_sender_that_stops_is_waited_for_with_a_deadline(machine: SmallMachine) -> None:
    assert machine.loader.patience is None
    machine.loader.begin(len(NEWER))
    assert machine.loader.patience == 120.0
    machine.loader.end("no octets for 120 s")
    machine.run()
    assert machine.loader.state is State.RUNNING


def test_an_end_after_the_last_octet_is_no_interruption(machine: SmallMachine) -> None:
    machine.loader.begin(len(NEWER))
    for _ in machine.feeding(NEWER):
        pass
    machine.loader.end("the connection was closed")
    machine.run()
    assert machine.loader.state is State.RESTARTING


# The card, the trial -------------------------------------------------------------------------------------------


def test_what_does_not_fit_the_staging_area_goes_to_the_memory_card_or_is_refused_before_the_first_erase() -> None:
    machine = SmallMachine("staged", staging=8192)
    assert "it takes up to" in machine.send(NEWER)
    assert machine.flash.operations == 0
    card = Flash(MemoryStorage(Geometry.parse("16x8k/2/00")))
    machine = SmallMachine("staged", staging=8192, card=card)
    assert machine.send(both()) == ""
    assert machine.boot().versions == {"SC": "V10200", "PNL": "V10200"}


def test_a_card_taken_out_while_rewriting_leads_to_recovery_and_its_return_to_the_end() -> None:
    card = Flash(MemoryStorage(Geometry.parse("16x8k/2/00")))
    machine = SmallMachine("staged", staging=8192, card=card)
    machine.loader.begin(len(NEWER))
    for _ in machine.feeding(NEWER):
        pass
    while machine.loader.status().done < 4096 or machine.loader.state is not State.REWRITING:
        machine.loader.step()
    machine.card = None
    boot = machine.boot()
    assert (boot.state, boot.versions) == (State.RECOVERY, {"PNL": "V10100"})
    machine.card = card
    assert machine.boot().state is State.REWRITING
    machine.run()
    assert machine.boot().versions["SC"] == "V10200"


def test_a_new_image_is_on_trial_until_it_is_confirmed() -> None:
    machine = SmallMachine("dual")
    machine.send(NEWER)
    assert machine.boot().on_trial
    assert "not confirmed" in machine.send(image(source(version="V10300")))
    machine.loader.confirm()
    for _ in range(TRIAL_STARTS + 2):
        boot = machine.boot()
        assert (boot.versions["SC"], boot.on_trial) == ("V10200", False)


def test_an_image_that_is_never_confirmed_gives_way_to_the_one_before() -> None:
    machine = SmallMachine("dual")
    machine.send(NEWER)
    for _ in range(TRIAL_STARTS):
        assert machine.boot().versions["SC"] == "V10200"
    boot = machine.boot()
    assert (boot.state, boot.versions["SC"], boot.on_trial) == (State.RUNNING, "V10100", False)
    last = machine.loader.status().last
    assert last is not None
    assert last.reason == "it was not confirmed in 3 starts; the firmware before it runs again"
    assert machine.send(NEWER) == ""


def test_a_new_image_that_decays_on_trial_gives_way_at_once() -> None:
    machine = SmallMachine("dual")
    machine.send(NEWER)
    machine.flash.erase(machine.layout.slots[Component.SC][1].address)
    assert machine.boot().versions["SC"] == "V10100"


# Worn-out cells ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [False, True], ids=["reported", "silent"])
@pytest.mark.parametrize("kind", [Kind.ERASE, Kind.PROGRAM])
@pytest.mark.parametrize("where", ["marks", "header", "image", "record"])
def test_an_update_over_a_worn_out_cell_is_refused_and_passes_once_it_is_mended(
    machine: SmallMachine, where: str, kind: Kind, silent: bool
) -> None:
    dual = machine.layout.kind.value == "dual"
    area = {
        "marks": machine.layout.marks,
        "header": machine.layout.header,
        "image": machine.layout.slots[Component.SC][1] if dual else machine.layout.staging,
        "record": machine.layout.records[1],
    }[where]
    machine.send(spoil(NEWER, len(NEWER) - 1))  # so that no cell there is blank
    machine.boot()
    machine.flash.defects.append(CellDefect(kind, area.address, area.address + area.size, silent=silent))
    reason = machine.send(NEWER) or machine.send(NEWER)
    assert "flash:" in reason
    assert machine.boot().versions["SC"] == "V10100"
    machine.flash.defects.clear()
    assert machine.send(NEWER) == ""
    assert machine.boot().versions["SC"] == "V10200"


def test_a_cell_that_wears_out_under_the_rewriting_leads_to_recovery_with_the_reason_kept() -> None:
    machine = SmallMachine("staged")
    slot = machine.layout.slots[Component.SC][0]
    machine.flash.defects.append(CellDefect(Kind.PROGRAM, slot.address + 4096, slot.address + 4100))
    assert f"program failed at {slot.address + 4096:#x}" in machine.send(NEWER)
    assert machine.loader.state is State.RECOVERY
    boot = machine.boot()
    assert (boot.state, boot.versions, boot.profile) == (State.REWRITING, {"PNL": "V10100"}, None)
    machine.run()
    assert machine.loader.state is State.RECOVERY
    machine.flash.defects.clear()
    assert machine.send(NEWER) == ""
    assert machine.boot().versions["SC"] == "V10200"


@pytest.mark.parametrize("kind", list(Kind))
def test_a_cell_that_fails_once_is_tried_again(machine: SmallMachine, kind: Kind) -> None:
    area = machine.layout.slots[Component.SC][-1]
    machine.flash.defects.append(CellDefect(kind, area.address, area.address + area.size, times=1))
    if kind is not Kind.READ:
        assert machine.send(NEWER) == ""
        assert machine.boot().versions["SC"] == "V10200"
    else:
        assert machine.boot().state is State.RECOVERY or machine.layout.kind.value == "dual"
        assert machine.boot().state is State.RUNNING


def test_without_a_commit_record_the_loader_waits_and_a_set_brings_it_back(machine: SmallMachine) -> None:
    for record in machine.layout.records:
        machine.flash.erase(record.address)
    boot = machine.boot()
    assert (boot.state, dict(boot.versions)) == (State.RECOVERY, {})
    assert machine.send(both()) == ""
    assert machine.boot().versions == {"SC": "V10200", "PNL": "V10200"}


# The whole machine ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["staged", "dual"])
def test_a_machine_of_full_size_installs_the_set_of_its_recipes(layout: str) -> None:
    loader = factory.open_loader(MODEL, layout=layout)
    loader.boot()
    data = recipe.build(recipe.load_all()["SET"])[1]
    start, size, _ = codefile.container_at(data)
    assert loader.begin(size) is None
    drive(loader, data[start : start + size], lambda _: None)
    assert loader.state is State.RESTARTING
    assert set(loader.boot().versions.values()) == {"V10200"}


def drive(loader: Loader, container: bytes, watch: Callable[[Loader], None]) -> None:
    view, position = memoryview(container), 0
    while True:
        room = loader.room
        if room and position < len(view):
            loader.feed(view[position : position + room])
            position = min(len(view), position + room)
        if loader.step() is None and loader.state is not State.RECEIVING:
            return
        watch(loader)
