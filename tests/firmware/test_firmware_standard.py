"""The page of the fault standard names a test for each fault and each invariant, and the tests it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from firmware_faults import FAULTS
from write_fault_standard import PAGE

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def defined() -> set[str]:
    files = TESTS.rglob("test_*.py")
    return {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)}


def test_every_test_that_the_fault_standard_names_exists(defined: set[str]) -> None:
    named = set(re.findall(r"`(test_\w+)(?:\[[^`]*\])?`", PAGE.read_text()))
    assert len(named) > 60
    assert named - defined == set()


@pytest.mark.parametrize("number", [f"F{n}" for n in range(1, 19)] + [f"I{n}" for n in range(1, 11)])
def test_each_fault_and_each_invariant_has_its_tests(number: str, defined: set[str]) -> None:
    [line] = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {number} | `test_")]
    assert set(re.findall(r"`(test_\w+)`", line)) <= defined


def test_the_numbers_of_the_sweep_are_those_of_the_standard() -> None:
    numbers = {number for fault in FAULTS for number in fault.name.split()}
    assert numbers <= {f"F{n}" for n in range(1, 19)}
