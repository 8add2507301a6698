"""Linux' own usblp, in a guest, on the machine's USB plug: over usbredir and over USB/IP."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guest import Guest
from usb_bench import UsbBench

from fauxfax.firmware import recipe
from fauxfax.hostport.jobstream import UEL
from fauxfax.hostport.usbdescriptors import Speed
from fauxfax.testing import MachineProcess

sys.path.append(str(Path(__file__).parents[1] / "hostport"))
from hostport_memory import MemoryPort, plugged

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("guest_can_be_built")]

DEVICE_ID = "MFG:Panasonic;CMD:PJL,TIFF;MDL:UF-8000;CLS:PRINTER;DES:Panasonic UF-8000;SN:EMUFAX1;"
JOB = b"II*\0" + random.Random(4).randbytes(8 * 1024 * 1024 - 4) + UEL + b"@PJL INFO ID\r\n"
"""Print data of 8 MiB, then a question."""
CONTROLLERS = {
    # the guest's bus, the driver, and the speed of a device on it
    "xHCI": ("xhci", "xhci-pci", Speed.HIGH),
    "EHCI": ("ehci", "ehci-pci", Speed.HIGH),
    "UHCI": ("uhci", "uhci-hcd", Speed.FULL),
}
NETWORK = "ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up"


@contextmanager
def on_usbredir(port: int, controller: str = "xHCI", files: dict[str, bytes] | None = None) -> Iterator[Guest]:
    """A guest with the machine on its bus, and usblp bound to it."""
    bus, driver, _ = CONTROLLERS[controller]
    with Guest([driver, "usblp"], files, usbredir=port, bus=bus) as guest:
        guest.wait_for("[ -e /dev/usb/lp0 ]")
        yield guest


@contextmanager
def on_usbip(port: int, files: dict[str, bytes] | None = None) -> Iterator[Guest]:
    """A guest that attached the machine by `usbip attach`, and usblp bound to it."""
    with Guest(["virtio_net", "vhci-hcd", "usblp"], files) as guest:
        guest.run(NETWORK)
        attach(guest, port)
        yield guest


def attach(guest: Guest, port: int, number: int = 1) -> None:
    guest.run(f"usbip --tcp-port {port} attach -r 10.0.2.2 -b 1-{number}")
    guest.wait_for(f"[ -e /dev/usb/lp{number - 1} ]")


def check_printer(guest: Guest, bench: UsbBench) -> None:
    """Who it is, how it is, 8 MiB out, and an answer back."""
    assert guest.run("cat /sys/class/usbmisc/lp0/device/ieee1284_id") == DEVICE_ID
    assert guest.run("lp id /dev/usb/lp0") == DEVICE_ID
    assert guest.run("lp status /dev/usb/lp0") == "0x18"
    bench.forget()
    answer = guest.run("lp talk /dev/usb/lp0 /job 10")
    assert bench.octets == len(JOB)
    assert bench.digest == hashlib.sha256(JOB).hexdigest()
    assert answer.startswith("@PJL INFO ID")
    assert "UF-8000" in answer


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_usblp_drives_the_machine_over_usbredir(controller: str) -> None:
    with (
        UsbBench(CONTROLLERS[controller][2]) as bench,
        on_usbredir(bench.usbredir, controller, {"job": JOB}) as guest,
    ):
        check_printer(guest, bench)


def test_usblp_drives_the_machine_over_usbip() -> None:
    with UsbBench() as bench, on_usbip(bench.usbip, {"job": JOB}) as guest:
        check_printer(guest, bench)


def test_several_machines_of_one_server_are_attached_side_by_side() -> None:
    other = MemoryPort()
    other.device_id = DEVICE_ID.replace("8000", "7100")
    with UsbBench(beside=[lambda: plugged(other)]) as bench, on_usbip(bench.usbip, {"job": JOB[:100_000]}) as guest:
        listed = guest.run(f"usbip --tcp-port {bench.usbip} list -r 10.0.2.2")
        assert [word for word in ("1-1:", "1-2:", "1-3:") if word in listed] == ["1-1:", "1-2:"]
        attach(guest, bench.usbip, 2)
        ids = [guest.run(f"cat /sys/class/usbmisc/lp{number}/device/ieee1284_id") for number in (0, 1)]
        assert ids == [DEVICE_ID, other.device_id]
        bench.forget()
        guest.run("cat /job > /dev/usb/lp1")
        assert (bytes(other.heard), bench.octets) == (JOB[:100_000], 0)


def test_a_machine_that_loses_power_in_mid_transfer_is_unplugged_and_comes_back() -> None:
    with UsbBench() as bench, on_usbredir(bench.usbredir, files={"job": JOB}) as guest:
        bench.at[1 << 20] = lambda: bench.machine.power_off(cut=True)
        assert "lp: write: " in guest.run("lp talk /dev/usb/lp0 /job 10", expect=1)
        guest.wait_for("[ ! -e /dev/usb/lp0 ]")
        assert 1 << 20 <= bench.octets < len(JOB)
        bench.call(bench.machine.power_on)
        guest.wait_for("[ -e /dev/usb/lp0 ]")
        check_printer(guest, bench)


def test_a_machine_that_loses_power_is_detached_from_usbip_and_can_be_attached_again() -> None:
    with UsbBench() as bench, on_usbip(bench.usbip, {"job": JOB}) as guest:
        bench.at[1 << 20] = lambda: bench.machine.power_off(cut=True)
        guest.run("lp talk /dev/usb/lp0 /job 10", expect=1)
        guest.wait_for("[ ! -e /dev/usb/lp0 ]")
        guest.run(f"usbip --tcp-port {bench.usbip} attach -r 10.0.2.2 -b 1-1", expect=1)
        bench.call(bench.machine.power_on)
        attach(guest, bench.usbip)
        check_printer(guest, bench)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[MachineProcess]:
    process = MachineProcess(tmp_path / "machine").start()
    yield process
    process.stop()


def check_update(guest: Guest, machine: MachineProcess, come_back: Callable[[], None]) -> None:
    """`cat` installs a code file; the machine enumerates again and is the new version."""
    device = "/sys/class/usbmisc/lp0/device/.."
    before = guest.run(f"cat {device}/devnum")
    guest.run("cat /code-file > /dev/usb/lp0")
    machine.wait("update")
    guest.wait_for(f"[ ! -e {device}/devnum ] || [ $(cat {device}/devnum) != {before} ]")
    come_back()
    guest.wait_for("[ -e /dev/usb/lp0 ]")
    assert guest.run(f"cat {device}/devnum") != before
    guest.run(r"printf '@PJL INFO FIRMWARE\r\n' > /question")
    assert "V10200" in guest.run("lp talk /dev/usb/lp0 /question 10")
    assert machine.status()["firmware"]["SC"] == "V10200"


@pytest.fixture(scope="module")
def code_file() -> bytes:
    return recipe.build(recipe.load_all()["SC"], "UF-8000", "V10200")[1]


def test_cat_installs_a_code_file_over_usbredir(machine: MachineProcess, code_file: bytes) -> None:
    with on_usbredir(machine.ports["usbredir"], files={"code-file": code_file}) as guest:
        check_update(guest, machine, come_back=lambda: None)


def test_cat_installs_a_code_file_over_usbip(machine: MachineProcess, code_file: bytes) -> None:
    with on_usbip(machine.ports["usbip"], {"code-file": code_file}) as guest:
        check_update(guest, machine, come_back=lambda: attach(guest, machine.ports["usbip"]))
