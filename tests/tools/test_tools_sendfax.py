"""A mail as the family writes it, and any document as fax pages."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from PIL import Image

from fauxfax.imaging import tiff
from fauxfax.imaging.raster import Raster
from fauxfax.imaging.t4 import Coding
from fauxfax.imaging.tiffwriter import write, write_profile_s
from fauxfax_tools import pages as pages_module
from fauxfax_tools.errors import BadUsage
from fauxfax_tools.pages import read_pages
from fauxfax_tools.sendfax import Fax, check_address, compose

NOW = datetime(2007, 4, 1, 12, 30, 5, 678_000, tzinfo=UTC)


def drawing(height: int = 300) -> Raster:
    image = Image.new("1", (1728, height), 1)
    for place in range(0, height, 7):
        image.putpixel((place * 5 % 1728, place), 0)
    return Raster.from_image(image)


def test_the_mail_has_the_familys_headers_and_boundary() -> None:
    message_id, message = compose(Fax("me@example.org", ("fax@uf-8000.local",), [drawing()]), NOW, 0xABCDE)
    assert message_id == "<20070401123005678.ABCDE.me@example.org>"
    mail = message_from_bytes(message, policy=policy.default)
    assert mail["X-Mailer"] == "Internet FAX, Panasonic"
    assert mail["Subject"] == "IMAGE from Internet FAX"
    assert mail["Content-Transfer-Encoding"] == "7bit"
    assert mail.get_boundary() == "+-+-+-Pan-+-+"
    assert mail["Disposition-Notification-To"] is None
    assert not re.search(rb"[^\r]\n|[\x80-\xff]", message), "CRLF and 7 bit throughout"


def test_the_attachment_is_the_page_element_for_element() -> None:
    page = drawing()
    _, message = compose(Fax("me@example.org", ("a@b.example",), [page, page]), NOW, 1)
    part = next(message_from_bytes(message, policy=policy.default).iter_attachments())
    assert part.get_content_type() == "image/tiff"
    assert [found.raster.rows for found in tiff.read(part.get_content())] == [page.rows, page.rows]


def test_a_receipt_is_asked_for_by_the_sender() -> None:
    _, message = compose(Fax("me@example.org", ("a@b.example",), [drawing()], receipt=True), NOW, 1)
    assert b"\r\nDisposition-Notification-To: <me@example.org>\r\n" in message


@pytest.mark.parametrize("address", ["fax@uf-8000.local", "FAX=+12125551212@panafax.com", "FAX=+39/T33S=1@b.example"])
def test_fax_addresses_pass(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize("address", ["", "fax", "a b@c", "a@b\r\nRCPT TO:<x@y>", "<a@b>", "a@b@c", "ä@b.example"])
def test_an_address_cannot_smuggle_commands(address: str) -> None:
    with pytest.raises(BadUsage, match="is no address"):
        check_address(address)


def test_a_fax_tiff_keeps_its_picture_elements(tmp_path: Path) -> None:
    path, page = tmp_path / "fax.tif", drawing()
    for data in (write([page, page], Coding.MMR), write_profile_s([page, page])):
        path.write_bytes(data)
        assert [found.rows for found in read_pages(path, 196.0)] == [page.rows, page.rows]


@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_picture_is_scaled_to_the_paper(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.linear_gradient("L").resize((300, 400)).convert(mode).save(path)
    (page,) = read_pages(path, 196.0)
    assert page.width == 1728
    assert page.height == pytest.approx(1728 * 400 / 300 * 196 / 204, abs=2)


def test_several_frames_are_several_pages(tmp_path: Path) -> None:
    path = tmp_path / "colour.tif"
    frames = [Image.new("RGB", (60, 80), colour) for colour in ("red", "white")]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert len(read_pages(path, 98.0)) == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "neither PDF"),
        (b"\0\1\2\3" * 50, "neither PDF"),
        (b"II*\0\xff\xff\xff\x7f", "letter"),
        (b"\x89PNG\r\n\x1a\n broken", "letter"),
    ],
    ids=["empty", "noise", "broken tiff", "broken png"],
)
def test_what_is_no_document_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "letter.bin"
    path.write_bytes(data)
    with pytest.raises(BadUsage, match=words):
        read_pages(path, 196.0)


def test_a_pdf_without_its_program_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(b"%PDF-1.4\n")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(BadUsage, match="Debian: poppler-utils"):
        read_pages(path, 196.0)


def test_a_pdf_that_cannot_be_drawn_repeats_the_programs_complaint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(b"%PDF-1.4\n")
    failed = subprocess.CompletedProcess([], 1, b"", b"Syntax Error: no page\n")
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(pages_module.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(BadUsage, match="Syntax Error: no page"):
        read_pages(path, 196.0)


@pytest.mark.parametrize("y_dpi", [98.0, 196.0], ids=["standard", "fine"])
def test_a_text_has_the_resolution_that_was_asked_for_and_stays_a4(tmp_path: Path, y_dpi: float) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("hello\n")
    (page,) = read_pages(path, y_dpi)
    assert (page.width, page.y_dpi) == (1728, y_dpi)
    assert page.height / page.y_dpi * 25.4 == pytest.approx(297, abs=0.3)


@pytest.mark.parametrize(
    ("x_dpi", "y_dpi", "mode"), [(204, 98, "1"), (204, 391, "1"), (200, 100, "L"), (100, 200, "L")]
)
def test_a_tiff_of_oblong_elements_keeps_its_shape(tmp_path: Path, x_dpi: float, y_dpi: float, mode: str) -> None:
    path = tmp_path / "wide.tif"
    width, height = round(4 * x_dpi), round(6 * y_dpi)
    image = Image.new(mode, (width, height), 255 if mode == "L" else 1)
    image.paste(0, (width // 4, height // 4, width // 2, height // 2))
    image.save(path, dpi=(x_dpi, y_dpi))
    (page,) = read_pages(path, 196.0)
    assert page.height / 196 / (1728 / 204) == pytest.approx(6 / 4, rel=0.005)
    left, top, right, bottom = page.to_image().convert("L").point(lambda level: 255 - level).getbbox()
    assert (right - left) / 204 / ((bottom - top) / 196) == pytest.approx(4 / 6, rel=0.01)
