"""The tray folder, also when somebody has had a hand in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fauxfax.servers.tray import Tray


@pytest.fixture
def tray(tmp_path: Path) -> Tray:
    return Tray(tmp_path / "tray", tmp_path / "spool")


def prepare(tray: Tray, number: int) -> None:
    folder = tray.prepared(number)
    folder.mkdir()
    (folder / "document.json").write_text(json.dumps({"id": number}))


def test_a_document_is_published_once_and_may_be_published_again(tray: Tray) -> None:
    prepare(tray, 1)
    tray.publish(1)
    tray.publish(1)
    assert tray.list() == [{"id": 1}]


def test_a_tray_that_was_deleted_is_empty_and_is_made_again(tray: Tray) -> None:
    shutil.rmtree(tray.folder)
    assert (tray.list(), tray.last()) == ([], 0)
    prepare(tray, 1)
    tray.publish(1)
    assert tray.list() == [{"id": 1}]


@pytest.mark.parametrize("name", ["notes", "0007", "²", "0008/sub"])
def test_what_a_person_put_into_the_tray_is_passed_over(tray: Tray, name: str) -> None:
    (tray.folder / name).mkdir(parents=True)
    prepare(tray, 1)
    tray.publish(1)
    assert tray.list() == [{"id": 1}]


def test_the_last_number_is_the_highest_also_beyond_four_digits(tray: Tray) -> None:
    for name in ("0009", "10000", "0123"):
        (tray.folder / name).mkdir()
    assert tray.last() == 10000
