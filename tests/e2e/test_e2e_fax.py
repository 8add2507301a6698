from __future__ import annotations

import json
import smtplib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from fauxfax.testing import MachineProcess


def tray_folder(machine: MachineProcess, number: int = 1) -> Path:
    return Path(machine.announcement["tray"]) / f"{number:04d}"


def same_pixels(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and ImageChops.difference(one.convert("L"), other.convert("L")).getbbox() is None


@pytest.mark.parametrize(
    ("compression", "options", "coding"),
    [("group3", 0, "MH"), ("group3", 1, "MR"), ("group3", 4, "MH"), ("group3", 5, "MR"), ("group4", 0, "MMR")],
    ids=["MH", "MR", "MH byte-aligned", "MR byte-aligned", "MMR"],
)
def test_the_pixels_of_every_coding_arrive(
    fauxfax: MachineProcess,
    send_fax: Callable,
    page: Image.Image,
    tmp_path: Path,
    compression: str,
    options: int,
    coding: str,
) -> None:
    path = tmp_path / "page.tif"
    page.save(path, compression=compression, dpi=(204, 196), tiffinfo={292: options} if options else {})
    send_fax(fauxfax, path.read_bytes())
    fauxfax.wait("fax")
    folder = tray_folder(fauxfax)
    assert sorted(file.name for file in folder.iterdir()) == [
        "document.json", "document.pdf", "document.tif", "message.eml",
    ]  # fmt: skip
    with Image.open(folder / "document.tif") as printed:
        assert same_pixels(printed, page)
    document = json.loads((folder / "document.json").read_text())
    (listed,) = document["pages"]
    assert (listed["coding"], listed["damaged_rows"], listed["dpi"]) == (coding, 0, [204.0, 196.0])
    assert document["envelope"]["sender"] == "me@example.org"
    assert (document["id"], document["result"]) == (1, "R-OK")
    assert (folder / "document.pdf").read_bytes().startswith(b"%PDF-")


def test_a_page_that_is_no_picture_prints_an_error_sheet_and_says_so(
    fauxfax: MachineProcess, send_fax: Callable
) -> None:
    send_fax(fauxfax, b"this is no TIFF")
    fauxfax.wait("fax")
    (document,) = fauxfax.tray()
    assert document["result"] != "R-OK"
    (entry,) = [entry for entry in fauxfax.client.get("/v1/journal") if entry["kind"] == "RCV"]
    assert (entry["result"], entry["pages"]) == ("870", 0)
    assert "TIFF" in entry["note"] or "tiff" in entry["note"]


def test_a_recipient_nobody_knows_is_refused_without_failing_the_transaction(
    fauxfax: MachineProcess, page_tif: bytes
) -> None:
    with smtplib.SMTP("127.0.0.1", fauxfax.ports["smtp"]) as smtp:
        refused = smtp.sendmail(
            "me@example.org", ["nobody@uf-8000.local", "fax@uf-8000.local"], b"Subject: x\r\n\r\ntext\r\n"
        )
    assert list(refused) == ["nobody@uf-8000.local"]
    assert refused["nobody@uf-8000.local"][0] == 550
    fauxfax.wait("fax")


def test_an_armed_fault_fires_once_and_the_fax_arrives_at_the_second_try(
    fauxfax: MachineProcess, send_fax: Callable, page_tif: bytes
) -> None:
    fauxfax.arm("dot nth=1 -> reply 451 try later")
    with pytest.raises(smtplib.SMTPDataError) as caught:
        send_fax(fauxfax, page_tif)
    assert caught.value.smtp_code == 451
    send_fax(fauxfax, page_tif)
    fauxfax.wait("fax")
    assert len(fauxfax.tray()) == 1
    assert fauxfax.status()["faults"][0]["fired"] == 1


def test_a_jam_keeps_the_fax_until_somebody_helps(fauxfax: MachineProcess, send_fax: Callable, page_tif: bytes) -> None:
    fauxfax.arm("page nth=1 -> jam")
    send_fax(fauxfax, page_tif)
    fauxfax.wait("panel=PAPER JAM")
    assert fauxfax.status()["errors"] == ["jam"]
    assert fauxfax.tray() == []
    fauxfax.client.post("/v1/panel/keys", {"keys": ["CLEAR"]})
    fauxfax.wait("fax")


def test_a_sink_counts_and_keeps_nothing(
    start: Callable[..., MachineProcess], send_fax: Callable, page_tif: bytes
) -> None:
    machine = start("--set", "smtp.sink=true")
    for _ in range(3):
        send_fax(machine, page_tif)
    status = machine.status()
    assert status["since_start"]["sunk"] == 3
    assert status["memory"]["documents"] == 0
    assert machine.tray() == []


def test_with_real_time_a_page_takes_as_long_as_the_machine(
    start: Callable[..., MachineProcess], send_fax: Callable, page_tif: bytes
) -> None:
    machine = start(clock="x4")
    send_fax(machine, page_tif)
    machine.wait("panel=PRINTING")
    machine.wait("fax")
    events = [event for event in machine.client.events(0, 0.5) if event["event"] in ("sensor-changed", "page-printed")]
    fed, out = events[0]["at"], events[-1]["at"]
    length = 600 / 196 * 25.4
    assert out - fed == pytest.approx((330 + length) / 120, rel=0.2)
