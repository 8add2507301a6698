"""The parallel port: QEMU's hardware and the guest's own drivers, on the data stream and on the registers."""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from guest import Guest, Missing, build

from fauxfax.hostport.ieee1284 import Peripheral
from fauxfax.servers.parallel import ParallelServer
from fauxfax.servers.ppdev import PpdevDevice
from fauxfax.servers.umockdev import DeviceTree

sys.path.append(str(Path(__file__).parents[1] / "hostport"))
from hostport_memory import MemoryPort

pytestmark = pytest.mark.real
needs_umockdev = pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="no umockdev: install-packages")
Call = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(scope="module", autouse=True)
def _guest_can_be_built() -> None:
    try:
        build()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def call() -> Iterator[Call]:
    """Runs a coroutine on an event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def registers(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[MemoryPort, list[int]]]:
    """A port behind /dev/parport0 for the programs that are started from now on, and the events on its cable."""
    port, events = MemoryPort(), []
    tree = DeviceTree(tmp_path / "tree")
    device = PpdevDevice(tree, Peripheral(port, lambda event, _: events.append(event)))
    call(device.start())
    monkeypatch.setenv("UMOCKDEV_DIR", str(tree.folder))
    monkeypatch.setenv("LD_PRELOAD", "libumockdev-preload.so.0")
    yield port, events
    device.stop()
    call(tree.close())


def test_lp_prints_over_the_data_stream(call: Call) -> None:
    data, port = random.Random(4).randbytes(2048), MemoryPort()
    server = ParallelServer(lambda: port)
    number = call(server.start("127.0.0.1", 0))
    chardev = f"socket,id=cable,host=127.0.0.1,port={number},nodelay=on"
    try:
        with Guest(
            ["parport_pc", "lp"], ["-chardev", chardev, "-device", "isa-parallel,chardev=cable"], {"data": data}
        ) as guest:
            guest.wait_for("[ -e /dev/lp0 ]")
            guest.run("cat /data > /dev/lp0")
            end = time.monotonic() + 5
            while len(port.heard) < len(data) and time.monotonic() < end:
                time.sleep(0.01)
    finally:
        call(server.stop())
    assert bytes(port.heard) == data


@needs_umockdev
def test_the_kernel_negotiates_and_knows_the_printer(registers: tuple[MemoryPort, list[int]]) -> None:
    port, events = registers
    devices = ["-chardev", "parallel,id=cable,path=/dev/parport0", "-device", "isa-parallel,chardev=cable"]
    with Guest(["parport_pc", "lp"], devices, {"data": b"hello over a cable"}) as guest:
        assert "Printer, Panasonic UF-8000" in guest.run("dmesg")
        assert "MODEL:UF-8000;" in guest.run("cat /proc/sys/dev/parport/parport0/autoprobe")
        guest.run("cat /data > /dev/lp0")
    assert {1, 3, 4, 7, 10, 22, 25, 29} <= set(events)
    assert bytes(port.heard) == b"hello over a cable"
