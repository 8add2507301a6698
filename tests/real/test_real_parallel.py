"""The parallel port: QEMU's hardware and the guest's own drivers, on the data stream and on the registers."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from guest import Guest

from code_files import code_file
from fauxfax.hostport.ieee1284 import Peripheral
from fauxfax.inprocess import InProcessMachine
from fauxfax.servers.parallel import ParallelServer
from fauxfax.servers.ppdev import PpdevDevice
from fauxfax.servers.ticker import Ticker
from fauxfax.servers.umockdev import DeviceTree

sys.path.append(str(Path(__file__).parents[1] / "hostport"))
from hostport_memory import DEVICE_ID, MemoryPort

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("guest_can_be_built")]
needs_umockdev = pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="no umockdev: install-packages")
REGISTERS = "parallel,path=/dev/parport0"
Call = Callable[[Coroutine[Any, Any, Any]], Any]


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

    async def take_away() -> None:
        device.stop()
        await tree.close()

    call(take_away())


@pytest.fixture(scope="module")
def ppdev_program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The program of `ppdev.c`, for a guest."""
    program = tmp_path_factory.mktemp("ppdev") / "ppdev"
    subprocess.run(["gcc", "-static", "-O1", "-o", program, Path(__file__).with_name("ppdev.c")], check=True)
    return program.read_bytes()


def test_lp_prints_over_the_data_stream(call: Call) -> None:
    data, port = random.Random(4).randbytes(2048), MemoryPort()
    server = ParallelServer(lambda: port)
    number = call(server.start("127.0.0.1", 0))
    cable = f"socket,host=127.0.0.1,port={number},nodelay=on"
    try:
        with Guest(["parport_pc", "lp"], {"data": data}, parallel=cable) as guest:
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
    with Guest(["parport_pc", "lp"], {"data": b"hello over a cable"}, parallel=REGISTERS) as guest:
        assert "Printer, Panasonic UF-8000" in guest.run("dmesg")
        assert "MODEL:UF-8000;" in guest.run("cat /proc/sys/dev/parport/parport0/autoprobe")
        guest.run("cat /data > /dev/lp0")
    assert {1, 3, 4, 7, 10, 22, 25, 29} <= set(events)
    assert bytes(port.heard) == b"hello over a cable"


NEGOTIATION, END = {1, 3, 4}, {22, 25, 29}
REVERSE, ECP_REVERSE = {7, 10}, {30, 39, 43, 44, 47}
ECP_FORWARD = {30, 35, 36, 37} | NEGOTIATION | END
FORWARD = {0x100: {0}, 0x10: ECP_FORWARD, 0x30: ECP_FORWARD}
"""Mode to the events of a file sent in it."""


@needs_umockdev
def test_the_kernel_speaks_every_mode(registers: tuple[MemoryPort, list[int]], ppdev_program: bytes) -> None:
    port, events = registers
    data, answer = random.Random(7).randbytes(300) + bytes(300), bytes(50) + b"an answer\n"
    with Guest(["parport_pc", "ppdev"], {"data": data, "bin/ppdev": ppdev_program}, parallel=REGISTERS) as guest:
        for mode, expected in FORWARD.items():
            del events[:], port.heard[:]
            guest.run(f"ppdev send /dev/parport0 {mode} /data")
            assert bytes(port.heard) == data
            assert set(events) == expected
        for mode, expected in {0: REVERSE, 1: REVERSE, 0x10: ECP_REVERSE, 0x30: ECP_REVERSE}.items():
            del events[:]
            port.said[:] = answer
            assert guest.run(f"ppdev receive /dev/parport0 {mode} {len(answer)} | base64") == _base64(answer)
            assert set(events) == expected | NEGOTIATION | END
        for mode in (4, 5, 0x14, 0x34):
            reply = guest.run(f"ppdev receive /dev/parport0 {mode} {len(DEVICE_ID) + 2} | tail -c +3")
            assert reply == DEVICE_ID


@needs_umockdev
@pytest.mark.parametrize("mode", [0x40, 0x1000], ids=["the port's hardware", "the kernel, line by line"])
def test_epp_goes_both_ways_with_data_and_address(
    registers: tuple[MemoryPort, list[int]], ppdev_program: bytes, mode: int
) -> None:
    port, events = registers
    data, answer = random.Random(9).randbytes(300), random.Random(10).randbytes(200)
    with Guest(["parport_pc", "ppdev"], {"data": data, "bin/ppdev": ppdev_program}, parallel=REGISTERS) as guest:
        assert "[PCSPP,TRISTATE,EPP]" in guest.run("dmesg")
        del events[:]
        guest.run(f"ppdev send /dev/parport0 {mode} /data")
        assert bytes(port.heard) == data
        port.said[:] = answer
        assert guest.run(f"ppdev receive /dev/parport0 {mode} {len(answer)} | base64") == _base64(answer)
        assert guest.run(f"ppdev address /dev/parport0 {mode} 0x5a") == "0x5a"
        assert set(events) == {0} | NEGOTIATION, "EPP's cycles have no numbers"


def _base64(data: bytes) -> str:
    return base64.encodebytes(data).decode().rstrip("\n")


BEGUN, PIECE = 220_000, 20_000
"""Octets of a code file that came by a quicker way, and of each piece: strobing every octet in is slow."""


@needs_umockdev
def test_the_tools_parport_link_identifies_a_machine_and_ends_an_update_begun_elsewhere(tmp_path: Path) -> None:
    data, file = code_file("UF-8000 SCN V10200"), tmp_path / "code.pfc"
    file.write_bytes(data)

    async def tool(folder: Path, *words: str | Path) -> str:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fauxfax_tools", *words, "--port", "parport:/dev/parport0",
            env={**os.environ, "UMOCKDEV_DIR": str(folder), "LD_PRELOAD": "libumockdev-preload.so.0"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, output.decode()
        return output.decode()

    async def go() -> None:
        with InProcessMachine() as host:
            ticker, tree = Ticker(host.clock), DeviceTree(tmp_path / "tree")
            device = PpdevDevice(tree, Peripheral(host.machine.open_port("parallel")))
            begun = host.machine.open_port("raw")
            for at in range(0, BEGUN, PIECE):
                while begun.room < PIECE:
                    assert host.pump()
                begun.write(data[at : at + PIECE])
            begun.end()
            ticker.start()
            await device.start()
            try:
                assert host.machine.device_id in await tool(tree.folder, "probe")
                assert "the machine runs SCN V10200" in await tool(tree.folder, "local-update", "--yes", file)
            finally:
                device.stop()
                await tree.close()
                await ticker.stop()
            assert host.machine.versions["SCN"] == "V10200"

    asyncio.run(go())
