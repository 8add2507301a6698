"""The newcomer's path with programs nobody here wrote: swaks, smtp-source, smtplib, nc, tiffcp, fax2tiff, pyusb."""

from __future__ import annotations

import shutil
import smtplib
import subprocess
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest
import usb.core
from PIL import Image, ImageChops, ImageDraw

from fauxfax.firmware import recipe
from fauxfax.inprocess import InProcessMachine
from fauxfax.testing import MachineProcess

pytestmark = pytest.mark.real


@pytest.fixture
def program() -> Callable[[str], str]:
    """The path of a program, wherever the system keeps it; the test is skipped where it is missing."""

    def find(name: str) -> str:
        path = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        if path is None:
            pytest.skip(f"{name} is not installed (make real installs it when it runs as root)")
        return path

    return find


def run(*command: str, data: bytes | None = None) -> str:
    done = subprocess.run(command, input=data or b"", capture_output=True, timeout=50, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-600:]!r} {done.stderr[-600:]!r}"
    return done.stdout.decode("utf-8", "replace")


@pytest.fixture(scope="module")
def page() -> Image.Image:
    image = Image.new("1", (1728, 1100), 1)
    draw = ImageDraw.Draw(image)
    for step in range(40):
        draw.line((10 + 40 * step, 10, 1700 - 20 * step, 1090), fill=0, width=1 + step % 5)
    return image


def printed(machine: MachineProcess, page: int = 1) -> Image.Image:
    with Image.open(Path(machine.announcement["tray"]) / "0001" / "document.tif") as image:
        image.seek(page - 1)
        return image.convert("1")


def same_pixels(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and ImageChops.difference(one.convert("L"), other.convert("L")).getbbox() is None


def swaks(program: Callable[[str], str], machine: MachineProcess, tif: Path) -> str:
    """Send the file; what swaks said, with the whole dialogue."""
    return run(
        program("swaks"), "--server", f"127.0.0.1:{machine.ports['smtp']}", "--to", "fax@uf-8000.local",
        "--from", "me@example.org", "--attach-type", "image/tiff", "--attach", f"@{tif}",
    )  # fmt: skip


@pytest.mark.parametrize("coding", ["g3", "g3:2d", "g3:fill", "g3:2d:fill", "g4"])
def test_swaks_delivers_what_tiffcp_made_and_the_pixels_are_the_inputs(
    fauxfax: MachineProcess, program: Callable[[str], str], page: Image.Image, tmp_path: Path, coding: str
) -> None:
    plain, tif = tmp_path / "plain.tif", tmp_path / "page.tif"
    page.save(plain, dpi=(204, 196))
    run(program("tiffcp"), "-c", coding, str(plain), str(tif))
    assert "220 UF-8000" in swaks(program, fauxfax, tif)
    fauxfax.wait("fax")
    assert same_pixels(printed(fauxfax, page=2), page), "page 1 is the text that swaks writes"
    described = run(program("tiffinfo"), str(Path(fauxfax.announcement["tray"]) / "0001" / "document.tif"))
    assert "CCITT Group 4" in described


def jbig_document(program: Callable[[str], str], page: Image.Image, folder: Path) -> Path:
    """Two pages that tiffcp made: the first MMR, the second JBIG."""
    plain, tif = folder / "plain.tif", folder / "page.tif"
    page.save(plain, dpi=(204, 196))
    run(program("tiffcp"), "-c", "g4", str(plain), str(tif))
    run(program("tiffcp"), "-a", "-c", "jbig", str(plain), str(tif))
    return tif


def test_a_machine_with_the_setting_prints_jbig_beside_mmr(
    request: pytest.FixtureRequest, tmp_path: Path, program: Callable[[str], str], page: Image.Image
) -> None:
    machine = MachineProcess(tmp_path / "state", ["--set", "machine.jbig=true"]).start()
    request.addfinalizer(machine.stop)
    swaks(program, machine, jbig_document(program, page, tmp_path))
    machine.wait("fax")
    (document,) = machine.tray()
    assert [one["coding"] for one in document["pages"]] == ["uncompressed", "MMR", "JBIG"]
    assert document["result"] == "R-OK"
    assert same_pixels(printed(machine, page=2), page)
    assert same_pixels(printed(machine, page=3), page)
    tray = Path(machine.announcement["tray"]) / "0001"
    drawn = tmp_path / "drawn"
    command = ["-mono", "-rx", "204", "-ry", "196", "-f", "3", "-singlefile"]
    run(program("pdftoppm"), *command, str(tray / "document.pdf"), str(drawn))
    with Image.open(drawn.with_suffix(".pbm")) as image:
        assert same_pixels(image.convert("1"), page)


def test_a_machine_without_the_setting_prints_an_error_sheet_that_names_it(
    fauxfax: MachineProcess, tmp_path: Path, program: Callable[[str], str], page: Image.Image
) -> None:
    swaks(program, fauxfax, jbig_document(program, page, tmp_path))
    end = time.monotonic() + 20
    while not fauxfax.tray() and time.monotonic() < end:
        time.sleep(0.05)
    (document,) = fauxfax.tray()
    assert document["result"] == "870"
    assert (
        "IFD 2, tag 259: compression 34661 (JBIG) is printed only with the setting machine.jbig" in document["reason"]
    )
    assert len(document["pages"]) == 1


def test_a_raw_fax_wrapped_by_fax2tiff_arrives(
    fauxfax: MachineProcess, program: Callable[[str], str], page: Image.Image, tmp_path: Path
) -> None:
    from fauxfax.imaging import t4
    from fauxfax.imaging.raster import Raster

    raw, tif = tmp_path / "page.g3", tmp_path / "page.tif"
    raw.write_bytes(t4.encode(Raster.from_image(page), t4.Coding.MH))
    run(program("fax2tiff"), "-M", "-o", str(tif), str(raw))
    mail = EmailMessage()
    mail["From"], mail["To"] = "me@example.org", "fax@uf-8000.local"
    mail.add_attachment(tif.read_bytes(), maintype="image", subtype="tiff", filename="page.tif")
    with smtplib.SMTP("127.0.0.1", fauxfax.ports["smtp"]) as smtp:
        assert smtp.send_message(mail) == {}
    fauxfax.wait("fax")
    assert same_pixels(printed(fauxfax), page)


def test_smtp_source_delivers_two_hundred_messages_on_ten_sessions(
    fauxfax: MachineProcess, program: Callable[[str], str]
) -> None:
    run(
        program("smtp-source"), "-s", "10", "-m", "200", "-l", "1024", "-f", "me@example.org",
        "-t", "fax@uf-8000.local", f"127.0.0.1:{fauxfax.ports['smtp']}",
    )  # fmt: skip
    fauxfax.wait("fax", count=200, timeout=50)
    assert len(fauxfax.tray()) == 200


def test_nc_installs_a_code_file(fauxfax: MachineProcess, program: Callable[[str], str]) -> None:
    _, data = recipe.build(recipe.load_all()["SC"], "UF-8000", "V10200")
    run(program("nc"), "-N", "127.0.0.1", str(fauxfax.ports["raw"]), data=data)
    fauxfax.wait("update")
    deadline = time.monotonic() + 20
    while fauxfax.status()["state"] != "ready" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert fauxfax.status()["firmware"]["SC"] == "V10200"


def test_a_pyusb_program_installs_a_code_file_on_the_backend_in_process() -> None:
    _, data = recipe.build(recipe.load_all()["PNL"], "UF-8000", "V10200")
    with InProcessMachine() as host:
        device = usb.core.find(idVendor=0x04DA, idProduct=0x1500, backend=host.usb_backend())
        assert device.serial_number.startswith("EMU")
        device.set_configuration()
        for start in range(0, len(data), 65536):
            device.write(0x01, data[start : start + 65536], timeout=5000)
        while host.pump():
            pass
        assert host.machine.versions["PNL"] == "V10200"
