"""A snapshot is written and put back while every other way in is answered."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import smtplib
import socket
import sqlite3
import threading
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from fauxfax import config
from fauxfax.client import Client
from fauxfax.errors import FauxfaxError
from fauxfax.events import DocumentPrinted, Record
from fauxfax.machine import snapshot
from fauxfax.rig import Rig
from fauxfax.statefolder import StateFolder


class Gate:
    """Holds up a function that runs in a thread until it is let go."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._reached, self._open = threading.Event(), threading.Event()

    def held(self) -> Callable[..., Any]:
        def held(*values: Any) -> Any:
            self._reached.set()
            assert self._open.wait(30.0)
            return self._function(*values)

        return held

    async def reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, 30.0)

    def let_go(self) -> None:
        self._open.set()


class House:
    """A rig on this loop, and somebody in other threads who uses its ways in."""

    def __init__(self, folder: Path) -> None:
        loaded, settings = config.load(sets=["machine.clock=fast"])
        loaded = config.Config(machine=loaded.machine, ports=loaded.ports.all_free())
        self.rig = Rig(loaded, settings, StateFolder(folder))
        self.printed = asyncio.Event()
        self.rig.machine.events.subscribe(self._notice)

    def _notice(self, record: Record) -> None:
        if isinstance(record.event, DocumentPrinted):
            self.printed.set()

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        client = Client(f"http://127.0.0.1:{self.rig.ports['control']}")
        return await asyncio.to_thread(client.request, method, path, body or None)

    async def state(self) -> str:
        return str(json.loads(await self.ask("GET", "/v1/machine"))["state"])

    async def mail(self, text: str) -> int:
        """The reply to the dot."""

        def send() -> int:
            with smtplib.SMTP("127.0.0.1", self.rig.ports["smtp"], timeout=20) as smtp:
                smtp.ehlo()
                smtp.mail("me@example.org")
                smtp.rcpt("fax@uf-8000.local")
                return smtp.data(f"Subject: {text}\r\n\r\n{text}\r\n")[0]

        return await asyncio.to_thread(send)

    async def raw(self) -> bytes:
        def talk() -> bytes:
            with socket.create_connection(("127.0.0.1", self.rig.ports["raw"]), timeout=20) as cable:
                cable.sendall(b"\x1b%-12345X@PJL\r\n@PJL INFO ID\r\n")
                return cable.recv(1000)

        return await asyncio.to_thread(talk)

    def subjects(self) -> list[str]:
        return [document["headers"]["Subject"] for document in self.rig.tray.list()]


@contextlib.asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    there = House(folder)
    await there.rig.start()
    try:
        async with asyncio.timeout(50.0):
            yield there
    finally:
        await there.rig.stop()


def messages(archive: bytes, folder: Path) -> int:
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        found.extract("memory.sqlite", folder)
    with contextlib.closing(sqlite3.connect(folder / "memory.sqlite")) as memory:
        return int(memory.execute("SELECT COUNT(*) FROM messages").fetchone()[0])


def test_while_a_snapshot_is_written_every_way_in_is_answered_and_what_comes_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(snapshot.Frozen.write)
    monkeypatch.setattr(snapshot.Frozen, "write", gate.held())

    async def all_of_it() -> None:
        async with house(tmp_path / "machine") as there:
            saving = asyncio.create_task(there.ask("GET", "/v1/snapshot"))
            await gate.reached()
            assert await there.state() == "ready"
            assert await there.mail("meanwhile") == 250
            assert b"UF-8000" in await there.raw()
            await there.printed.wait()
            gate.let_go()
            archive = await saving
            assert messages(archive, tmp_path) == 0
            assert there.subjects() == ["meanwhile"]
            assert [name for name in zipfile.ZipFile(io.BytesIO(archive)).namelist() if "tray" in name] == []
            while list(there.rig.tray.spool.iterdir()):  # nothing is left behind once it has been sent
                await asyncio.sleep(0)

    asyncio.run(all_of_it())


def test_while_a_snapshot_is_looked_into_the_machine_goes_on_and_while_it_is_put_back_the_machine_is_dark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, putting = Gate(snapshot.check), Gate(snapshot.replace)
    monkeypatch.setattr(snapshot, "check", looking.held())
    monkeypatch.setattr(snapshot, "replace", putting.held())

    async def all_of_it() -> None:
        async with house(tmp_path / "machine") as there:
            assert await there.mail("before") == 250
            await there.printed.wait()
            archive = await there.ask("GET", "/v1/snapshot")
            restoring = asyncio.create_task(there.ask("PUT", "/v1/snapshot", archive))
            await looking.reached()
            assert await there.mail("after") == 250
            assert b"UF-8000" in await there.raw()
            looking.let_go()
            await putting.reached()
            assert await there.state() == "off"
            with pytest.raises(FauxfaxError, match="being put back"):
                await there.ask("POST", "/v1/power", b'{"action": "on"}')
            with pytest.raises(smtplib.SMTPServerDisconnected):
                await there.mail("never")
            putting.let_go()
            await restoring
            there.printed.clear()
            while await there.state() != "ready":
                await asyncio.sleep(0)
            assert await there.mail("in the end") == 250
            await there.printed.wait()
            assert there.subjects() == ["before", "in the end"]
            assert list(there.rig.tray.spool.iterdir()) == []

    asyncio.run(all_of_it())


def test_what_was_in_the_decoder_is_not_taken_for_a_document_of_the_machine_that_is_put_back(tmp_path: Path) -> None:
    async def all_of_it() -> None:
        async with house(tmp_path / "machine") as there:
            archive = await there.ask("GET", "/v1/snapshot")
            decode, stuck = there.rig._decoder.decode, asyncio.Event()

            async def never(*_: object) -> Any:
                stuck.set()
                await asyncio.Event().wait()

            there.rig._decoder.decode = never  # type: ignore[method-assign]
            assert await there.mail("old") == 250
            await stuck.wait()
            await there.ask("PUT", "/v1/snapshot", archive)
            there.rig._decoder.decode = decode  # type: ignore[method-assign]
            while await there.state() != "ready":
                await asyncio.sleep(0)
            assert await there.mail("new") == 250
            await there.printed.wait()
            assert there.subjects() == ["new"]
            assert [line.document for line in there.rig.machine.journal.read()] == [1]

    asyncio.run(all_of_it())


def test_a_machine_that_is_stopped_while_a_snapshot_is_put_back_stops_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(snapshot.replace)
    monkeypatch.setattr(snapshot, "replace", gate.held())

    async def all_of_it() -> None:
        there = House(tmp_path / "machine")
        await there.rig.start()
        assert await there.mail("before") == 250
        await there.printed.wait()
        archive = await there.ask("GET", "/v1/snapshot")
        assert await there.mail("after") == 250
        restoring = asyncio.create_task(there.ask("PUT", "/v1/snapshot", archive))
        await gate.reached()
        settled, waited_for = there.rig._attendant.settled, asyncio.Event()

        async def noted() -> None:
            waited_for.set()
            await settled()

        there.rig._attendant.settled = noted  # type: ignore[method-assign]
        stopping = asyncio.create_task(there.rig.stop())
        await waited_for.wait()
        gate.let_go()
        await stopping
        await asyncio.wait([restoring])
        restoring.exception()  # whoever asked may have been answered, or cut off
        again = House(tmp_path / "machine")
        assert again.rig.machine.memory.documents == 0
        assert again.subjects() == ["before"]
        again.rig.machine.close()
        again.rig.state.close()

    asyncio.run(all_of_it())
