"""The tools' links on a guest's own kernel: `usblp` behind `lp:`, usbfs behind `usb:`, `ppdev` behind `parport:`."""

from __future__ import annotations

import compileall
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest

import fauxfax
import fauxfax_tools
from code_files import code_file
from fauxfax.testing import MachineProcess

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("guest_can_be_built", "bytecode")]


@pytest.fixture(scope="module")
def bytecode() -> None:
    """The guest only reads this computer's files: what is not compiled here it compiles anew at each start."""
    for package in (fauxfax, fauxfax_tools):
        assert compileall.compile_dir(package.__path__[0], quiet=1)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[MachineProcess]:
    process = MachineProcess(tmp_path / "machine").start()
    yield process
    process.stop()


@pytest.mark.parametrize("link", ["lp:/dev/usb/lp0", "usb:"])
def test_an_update_goes_through_the_kernel_and_follows_the_restart(
    machine: MachineProcess, tmp_path: Path, link: str
) -> None:
    file = tmp_path / "code.pfc"
    file.write_bytes(code_file("UF-8000 SCN V10200"))
    with Guest(["xhci-pci", "usblp"], usbredir=machine.ports["usbredir"]) as guest:
        guest.wait_for("[ -e /dev/usb/lp0 ]")
        said = guest.python("-m", "fauxfax_tools", "local-update", "--yes", "--port", link, str(file))
    assert said.endswith("done, the machine runs SCN V10200, and its content is the file's")
    assert machine.status()["firmware"]["SCN"] == "V10200"


@pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="no umockdev: install-packages")
def test_the_machine_is_identified_through_ppdev(machine: MachineProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMOCKDEV_DIR", machine.announcement["umockdev"])
    monkeypatch.setenv("LD_PRELOAD", "libumockdev-preload.so.0")
    with Guest(["parport_pc", "ppdev"], parallel="parallel,path=/dev/parport0") as guest:
        said = guest.python("-m", "fauxfax_tools", "probe", "--port", "parport:/dev/parport0")
    assert "Machine      UF-8000, EMUFAX1 (emulated)" in said
    assert "PNL V10100" in said
