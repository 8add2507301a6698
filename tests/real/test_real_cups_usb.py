"""CUPS' own `usb` backend, run by hand on a machine that umockdev shows it: found, printed to, read from, updated.

A printer with nothing to say keeps the backend's reading thread waiting. At its end the backend waits seven seconds
for that thread (CUPS' own WAIT_EOF_DELAY); a test that reads does not wait for that. With CUPS' option `usb-unidir`
there is no such thread.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from code_files import code_file
from fauxfax.hostport.usbdescriptors import Speed
from fauxfax.inprocess import InProcessMachine
from fauxfax.machine.machine import Machine
from fauxfax.servers.ticker import Ticker
from fauxfax.servers.umockdev import DeviceTree
from fauxfax.servers.usbfs import UsbfsDevice

BACKEND = Path("/usr/lib/cups/backend/usb")
URI = "usb://Panasonic/UF-8000?serial=EMUFAX1"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not BACKEND.exists(), reason="CUPS' usb backend is not installed (package cups)"),
    pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="umockdev is not installed (package umockdev)"),
]
Backend = Callable[..., Coroutine[Any, Any, tuple[str, str]]]
"""What it prints, and what it says while it works: to its end, or to a line with `until`, when it is ended."""


def on_usb(folder: Path, use: Callable[[Machine, Backend], Coroutine[Any, Any, None]]) -> None:
    """Give `use` a machine and a way to run the backend with that machine on its bus."""

    async def go() -> None:
        with InProcessMachine() as host:
            ticker, tree = Ticker(host.clock), DeviceTree(folder / "tree")
            device = UsbfsDevice(tree, lambda: host.machine.open_usb(Speed.HIGH))
            ticker.start()
            await device.start()
            environment = {
                **os.environ, "UMOCKDEV_DIR": str(tree.folder), "LD_PRELOAD": "libumockdev-preload.so.0",
                "DEVICE_URI": URI,
            }  # fmt: skip

            async def backend(*words: str, until: str = "") -> tuple[str, str]:
                process = await asyncio.create_subprocess_exec(
                    str(BACKEND),
                    *words,
                    env=environment,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )
                assert process.stdout is not None
                assert process.stderr is not None
                said = []
                try:
                    async with asyncio.timeout(30):
                        async for line in process.stderr:
                            said.append(line.decode())
                            if until and until in said[-1]:
                                return "", "".join(said)
                        output = await process.stdout.read()
                        assert await process.wait() == 0, said
                finally:
                    if process.returncode is None:
                        process.kill()
                        await process.wait()
                return output.decode(), "".join(said)

            try:
                await use(host.machine, backend)
            finally:
                await device.stop()
                await tree.close()
                await ticker.stop()

    asyncio.run(go())


def test_it_is_found_by_its_device_id(tmp_path: Path) -> None:
    async def use(machine: Machine, backend: Backend) -> None:
        printed, _ = await backend()
        assert printed == f'direct {URI} "Panasonic UF-8000" "Panasonic UF-8000" "{machine.device_id}" ""\n'

    on_usb(tmp_path, use)


def test_a_job_is_taken_and_a_code_file_is_installed(tmp_path: Path) -> None:
    job, code = tmp_path / "job", tmp_path / "code.pfc"
    job.write_bytes(b"%!PS\nshowpage\n" * 5_000)
    code.write_bytes(code_file("UF-8000 PNL V10200"))

    async def use(machine: Machine, backend: Backend) -> None:
        _, said = await backend("1", "me", "a job", "1", "usb-unidir", str(job))
        assert f"Sent {job.stat().st_size} bytes" in said
        assert (machine.state, machine.updates.loader.status().last) == ("ready", None)
        await backend("2", "me", "a code file", "1", "usb-unidir", str(code))
        async with asyncio.timeout(20):
            while machine.versions.get("PNL") != "V10200":
                await asyncio.sleep(0.02)

    on_usb(tmp_path, use)


def test_what_the_machine_answers_comes_back(tmp_path: Path) -> None:
    question, answer = tmp_path / "question", b'@PJL INFO ID\r\n"UF-8000"\r\nSERIAL=EMUFAX1\r\n\f'
    question.write_bytes(b"\x1b%-12345X@PJL INFO ID\r\n\x1b%-12345X")

    async def use(_: Machine, backend: Backend) -> None:
        heard = f"Read {len(answer)} bytes of back-channel data"
        _, said = await backend("1", "me", "a question", "1", "", str(question), until=heard)
        assert heard in said

    on_usb(tmp_path, use)
