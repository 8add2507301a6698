"""Power is lost at every flash operation, and everything that must hold holds; and the sweep is not blind."""

from __future__ import annotations

import firmware_mutants as mutants
import pytest
from firmware_faults import COLUMNS, FAULTS, all_sequences, card_changes
from firmware_graph import Graph
from firmware_small import GEOMETRIES, MODEL, UNIFORM, SmallMachine, image, source
from firmware_sweep import OLD, Result, Sweep, every_cut, main_cuts
from write_fault_standard import all_cells, cells, measure

from fauxfax.firmware.codefile import Component
from fauxfax.firmware.flash import CellDefect, Cut, Kind, Operation
from fauxfax.firmware.loader import Loader, State


def assert_held(result: Result, at_least: int) -> None:
    assert result.violations == []
    assert result.cuts >= at_least


# The loader ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["sc", "set"])
@pytest.mark.parametrize("layout", COLUMNS)
def test_every_cut_of_every_operation_is_survived(layout: str, content: str) -> None:
    assert_held(Sweep(UNIFORM, layout, content).run(every_cut), 150)


@pytest.mark.parametrize("geometry", GEOMETRIES[1:])
@pytest.mark.parametrize("layout", COLUMNS)
def test_the_main_cuts_are_survived_on_every_geometry(layout: str, geometry: str) -> None:
    assert_held(Sweep(geometry, layout).run(main_cuts), 40)


@pytest.mark.parametrize("layout", COLUMNS)
def test_every_pair_of_main_cuts_is_survived(layout: str) -> None:
    found = list(all_sequences(Sweep(UNIFORM, layout), main_cuts, main_cuts))
    assert [what for what in found if what] == []
    assert len(found) > 2500


def test_states_followed_once_stand_for_all_sequences_of_cuts() -> None:
    sweep = Sweep(UNIFORM, "dual")
    graph = Graph(sweep, (main_cuts, main_cuts))
    assert graph.walk().sequences == sweep.run(main_cuts, depth=2).cuts > 3 * graph.states


def test_a_walk_over_states_sees_what_a_sweep_over_sequences_sees() -> None:
    sweep = Sweep(UNIFORM, "staged", "set", mutants.ForgetsToGoOn)
    graph = Graph(sweep, (main_cuts,))
    assert graph.walk().broken == len(sweep.run(main_cuts).violations) > 0
    assert graph.violations[0] in sweep.replay(graph.violations[0].replay)


@pytest.mark.parametrize("layout", COLUMNS)
def test_a_cut_after_the_last_operation_does_not_happen(layout: str) -> None:
    sweep = Sweep(UNIFORM, layout)
    last = sweep.run(lambda _: ()).operations
    beyond = sweep.run(lambda operation: [Cut()] if operation.number > last else [])
    at_last = sweep.run(lambda operation: [Cut()] if operation.number == last else [])
    assert (beyond.cuts, at_last.cuts) == (0, 1)


# The sweep itself ----------------------------------------------------------------------------------------------

CAUGHT = {
    "commit before verify": (mutants.CommitBeforeVerify, "staged", {"I1", "I2"}),
    "success before store": (mutants.SuccessBeforeStore, "staged", {"I4"}),
    "loader erased": (mutants.LoaderErased, "staged", {"I1"}),
    "version written first": (mutants.VersionWrittenFirst, "staged", {"I2"}),
    "both commit records written": (mutants.BothCommitRecordsWritten, "dual", {"I1"}),
    "settings erased": (mutants.SettingsErased, "dual", {"I8"}),
    "rewrites while receiving": (mutants.RewritesWhileReceiving, "staged", {"I1"}),
    "a record without checksum": (mutants.RecordWithoutChecksum, "dual", {"I1"}),
    "forgets to go on": (mutants.ForgetsToGoOn, "staged", {"I1"}),
}


@pytest.mark.parametrize(("mutant", "layout", "invariants"), CAUGHT.values(), ids=CAUGHT)
def test_the_sweep_catches_an_updater_that_is_wrong(mutant: type[Loader], layout: str, invariants: set[str]) -> None:
    sweep = Sweep(UNIFORM, layout, "set", mutant, unprotected=True)
    violations = sweep.run(main_cuts).violations
    assert invariants & {violation.invariant for violation in violations}
    first = violations[0]
    assert first in sweep.replay(first.replay)


def test_two_cuts_catch_an_updater_that_trusts_what_it_reads_once() -> None:
    def seal_or_sector(operation: Operation) -> list[Cut]:
        torn = operation.size if operation.kind is Kind.PROGRAM else operation.size // 2
        return [Cut(torn, unstable=True)] if operation.kind is Kind.ERASE or operation.data.startswith(b"SEAL") else []

    sweep = Sweep(UNIFORM, "staged", "sc", mutants.TrustsWhatItReadsOnce)
    assert "I1" in {violation.invariant for violation in sweep.run(seal_or_sector, depth=2).violations}
    assert Sweep(UNIFORM, "staged", "sc").run(seal_or_sector, depth=2).violations == []


def test_an_updater_that_writes_the_protected_loader_is_stopped_by_the_flash() -> None:
    violations = Sweep(UNIFORM, "staged", "sc", mutants.LoaderErased).run(main_cuts).violations
    assert {violation.invariant for violation in violations} == {"I7"}


def silent_cell(loader_type: type[Loader]) -> str:
    """What runs after an update over a cell that takes nothing and says nothing."""
    machine = SmallMachine("staged")
    slot = machine.layout.slots[Component.SC][0]
    machine.flash.defects.append(CellDefect(Kind.PROGRAM, slot.address, slot.address + 4096, silent=True, times=1))
    machine.loader = loader_type(machine.flash, MODEL, machine.layout)
    machine.loader.boot()
    machine.send(image())
    announced = machine.loader.state is State.RESTARTING
    boot = machine.boot()
    return f"announced={announced} runs={boot.versions.get('SC')}"


def test_an_updater_that_does_not_read_back_announces_a_success_that_is_none() -> None:
    assert silent_cell(mutants.NoReadBack) == "announced=True runs=None"
    assert silent_cell(Loader) == "announced=True runs=V10200"


def resumed_with_another_file(loader_type: type[Loader]) -> str:
    """The answer when the rest of another file of the same size is offered with that file's own hash."""
    machine = SmallMachine("dual")
    machine.loader = loader_type(machine.flash, MODEL, machine.layout)
    machine.loader.boot()
    container = image()
    machine.loader.begin(len(container))
    for _ in machine.feeding(container[:9000]):
        pass
    machine.run()
    machine.loader.end("the link was lost")
    machine.run()
    offset = machine.loader.status().next_offset
    assert offset > 4000
    return machine.send(image(source(seed=9)), offset, "0" * 64)


def test_an_updater_that_resumes_without_the_hash_takes_half_of_another_file() -> None:
    assert "damaged" in resumed_with_another_file(mutants.ResumeWithoutHash)
    assert resumed_with_another_file(Loader) == "the stored octets are of another file; start at 0"


def staging_decays(loader_type: type[Loader]) -> str:
    """What runs when a staged cell loses its charge between being stored and being used."""
    machine = SmallMachine("staged")
    machine.loader = loader_type(machine.flash, MODEL, machine.layout)
    machine.loader.boot()
    container = image()
    machine.loader.begin(len(container))
    for _ in machine.feeding(container):
        pass
    while machine.loader.state is State.RECEIVING and machine.loader.status().next_offset < len(container):
        machine.loader.step()
    machine.flash.storage.write(machine.layout.staging.address + 100, b"\0\0\0\0")
    machine.run()
    return str(machine.boot().versions.get("SC"))


def test_an_updater_that_reuses_staging_unverified_gives_up_what_ran_for_nothing() -> None:
    assert staging_decays(mutants.StagingReusedUnverified) == "None"
    assert staging_decays(Loader) == OLD


def test_an_updater_that_believes_a_card_it_has_not_looked_at_gives_up_what_ran_for_nothing() -> None:
    def broken(loader_type: type[Loader]) -> list[str]:
        return [what for what in card_changes(Sweep(UNIFORM, "card", loader_type=loader_type)) if what]

    assert any(what.startswith("I2") for what in broken(mutants.BelievesTheCard))
    assert broken(Loader) == []


# The long sweep ------------------------------------------------------------------------------------------------


@pytest.mark.sweep
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("geometry", "layout", "number"), all_cells())
def test_the_fault_standard_is_what_the_sweep_finds(geometry: str, layout: str, number: int) -> None:
    held, cases = measure(geometry, layout, number)
    assert cells()[geometry, layout, number] == f"{held}/{cases}"
    assert held == cases


@pytest.mark.parametrize(
    ("layout", "number"), [(k, n) for g, k, n in all_cells() if g == UNIFORM and FAULTS[n].name not in ("F1", "F2")]
)
def test_the_other_faults_hold_on_the_small_geometry(layout: str, number: int) -> None:
    cases = list(FAULTS[number].cases(UNIFORM, layout))
    assert [what for what in cases if what] == []
    assert len(cases) > 2
