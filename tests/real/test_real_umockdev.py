"""Unmodified programs on libusb, on this computer, against a machine shown to them by umockdev."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from code_files import code_file
from fauxfax.servers.umockdev import DeviceTree
from fauxfax.servers.usbfs import UsbfsDevice
from fauxfax.testing import MachineProcess

sys.path.append(str(Path(__file__).parents[1] / "hostport"))
from hostport_memory import DEVICE_ID, MemoryPort, plugged

PRELOAD = "libumockdev-preload.so.0"
needs_umockdev = pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="no umockdev: install-packages")
pytestmark = [pytest.mark.real, needs_umockdev]

PYUSB = """
import usb.core, usb.util
device = usb.core.find(idVendor=0x04DA)
print(device.serial_number, device.speed)
print(bytes(device.ctrl_transfer(0xA1, 0, 0, 0, 1024))[2:].decode())
usb.util.claim_interface(device, 0)
print(device.write(1, bytes(1 << 20)))
print(bytes(device.read(0x82, 64)).decode())
try:
    device.read(0x82, 64, 50)
except usb.core.USBTimeoutError:
    print("timeout")
try:
    device.ctrl_transfer(0xC0, 99, 0, 0, 4)
except usb.core.USBError as error:
    print("stall", error.errno)
"""

REPLUG = """
import time, usb.core, usb.util
device = usb.core.find(idVendor=0x04DA)
print(f"{device.address:03}")
try:
    device.write(1, b"never taken", 5000)
except usb.core.USBError as error:
    print("gone")
usb.util.dispose_resources(device)
for _ in range(200):
    found = usb.core.find(idVendor=0x04DA)
    if found is None and device is not None:
        print("nobody")
        device = None
    elif found is not None and device is None:
        break
    time.sleep(0.02)
print(f"{found.address:03}")
print(found.write(1, b"data"))
"""


def run(port: MemoryPort, folder: Path, *command: str, later: Callable[[], None] | None = None) -> list[str]:
    """What a program says that runs with `port` on its USB; `later` is done 0.3 s after its start."""

    async def go() -> str:
        tree = DeviceTree(folder / "tree")
        device = UsbfsDevice(tree, lambda: plugged(port))
        await device.start()
        environment = {**os.environ, "UMOCKDEV_DIR": str(tree.folder), "LD_PRELOAD": PRELOAD}
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        if later is not None:
            asyncio.get_running_loop().call_later(0.3, later)
        try:
            output, _ = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await device.stop()
            await tree.close()
        return output.decode()

    return asyncio.run(go()).splitlines()


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The C program, compiled."""
    compiler = shutil.which("gcc")
    if compiler is None or not Path("/usr/include/libusb-1.0/libusb.h").exists():
        pytest.skip("no gcc or no libusb-1.0-0-dev: install-packages")
    program = tmp_path_factory.mktemp("flight") / "flight"
    subprocess.run([compiler, "-o", program, Path(__file__).with_name("flight.c"), "-lusb-1.0"], check=True)
    return str(program)


@pytest.mark.skipif(shutil.which("lsusb") is None, reason="no lsusb: install-packages")
def test_lsusb_reads_every_descriptor(tmp_path: Path) -> None:
    lines = [" ".join(line.split()) for line in run(MemoryPort(), tmp_path, "lsusb", "-v", "-d", "04da:1500")]
    for expected in (
        "bcdUSB 2.00",
        "iManufacturer 1 Panasonic",
        "iProduct 2 UF-8000",
        "iSerial 3 EMUFAX1",
        "wTotalLength 0x0020",
        "bEndpointAddress 0x01 EP 1 OUT",
        "bEndpointAddress 0x82 EP 2 IN",
        "wMaxPacketSize 0x0200 1x 512 bytes",
        "Device Qualifier (for other device speed):",
        "Device Status: 0x0001",
    ):
        assert expected in lines, "\n".join(lines)
    assert [line for line in lines if "rror" in line or "can't" in line] == []


def test_a_pyusb_program_writes_reads_times_out_and_sees_a_stall(tmp_path: Path) -> None:
    port = MemoryPort()
    port.said += b"answer"
    lines = run(port, tmp_path, sys.executable, "-c", PYUSB)
    assert lines == ["EMUFAX1 3", DEVICE_ID, str(1 << 20), "answer", "timeout", "stall 32"]
    assert len(port.heard) == 1 << 20


def test_a_c_program_keeps_eight_transfers_in_flight(flight: str, tmp_path: Path) -> None:
    port = MemoryPort()
    port.said += b"answer"
    lines = run(port, tmp_path, flight, "8")
    assert lines == [f"written {8 << 20}", "cancelled 0", "failed 0", "answer answer"]
    assert port.heard == b"x" * (8 << 20)


def test_a_busy_machine_holds_the_transfers_until_there_is_room(flight: str, tmp_path: Path) -> None:
    port = MemoryPort(space=100_000)
    lines = run(port, tmp_path, flight, "1", later=lambda: port.change(space=1 << 30, say=b"late"))
    assert lines == [f"written {1 << 20}", "cancelled 0", "failed 0", "answer late"]


def test_transfers_are_taken_back_while_the_machine_is_busy(flight: str, tmp_path: Path) -> None:
    port = MemoryPort(space=100_000)
    lines = run(port, tmp_path, flight, "1", "cancel")
    assert lines[:3] == ["written 100000", "cancelled 7", "failed 0"]
    assert len(port.heard) == 100_000


def test_a_machine_that_goes_away_fails_the_transfers(flight: str, tmp_path: Path) -> None:
    port = MemoryPort(space=100_000)
    lines = run(port, tmp_path, flight, "1", later=lambda: port.change(online=False))
    assert lines[:2] == ["written 100000", "cancelled 0"]
    assert lines[2] in ("failed 5", "failed 1"), "LIBUSB_TRANSFER_NO_DEVICE or _ERROR"


def test_a_libusb_program_hears_of_the_restart_and_finds_the_machine_again_in_the_same_context(tmp_path: Path) -> None:
    port = MemoryPort(space=0)
    lines = run(port, tmp_path, sys.executable, "-u", "-c", REPLUG, later=lambda: replug(port))
    assert lines == ["001", "gone", "nobody", "002", "4"]
    assert port.heard == b"data"


def replug(port: MemoryPort) -> None:
    port.change(online=False)
    asyncio.get_running_loop().call_later(0.3, lambda: port.change(online=True, space=1 << 30))


def test_the_tool_updates_over_usb_and_follows_the_machine_through_its_restart(
    fauxfax: MachineProcess, tmp_path: Path
) -> None:
    path = tmp_path / "UF-8K_SC_AAV10200YC.pfc"
    path.write_bytes(code_file("UF-8000 SC V10200"))
    environment = {**os.environ, "UMOCKDEV_DIR": fauxfax.announcement["umockdev"], "LD_PRELOAD": PRELOAD}
    command = [sys.executable, "-m", "fauxfax_tools", "local-update", "--port", "usb:", "--yes", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("done, the machine runs SC V10200, and its content is the file's\n")


def test_a_running_machine_announces_where_programs_find_it(fauxfax: MachineProcess) -> None:
    folder = fauxfax.announcement["umockdev"]
    environment = {**os.environ, "UMOCKDEV_DIR": folder, "LD_PRELOAD": PRELOAD}
    listed = subprocess.run(["lsusb", "-d", "04da:1500"], env=environment, capture_output=True, text=True, check=True)
    assert listed.stdout.endswith("ID 04da:1500 Panasonic UF-8000\n")
    assert (Path(folder) / "dev" / "parport0").exists()
    fauxfax.stop()
    assert not Path(folder).exists()
