from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from fauxfax.events import DocumentPrinted, MessageAccepted, Record
from fauxfax.ifax.host import Envelope, MessageReceived, Recipient
from fauxfax.inprocess import InProcessMachine
from fauxfax.machine.engine import Job
from fauxfax.machine.post import PostRoom
from fauxfax.servers import documents
from fauxfax.servers.documents import DocumentRoom
from fauxfax.servers.tray import Tray


class SlowDecoder:
    """Writes a one-page document when it is let go; stands in for the worker process."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.let_go = asyncio.Event()
        self.decoded: list[int] = []

    async def decode(self, number: int, message: bytes, envelope: Envelope, folder: Path) -> None:
        self.started.set()
        await self.let_go.wait()
        self.decoded.append(number)
        folder.mkdir()
        pages = [{"height": 1100, "dpi": [204, 98]}]
        (folder / "document.json").write_text(json.dumps({"id": number, "result": "R-OK", "pages": pages}))


class Room:
    """A machine with a document room around it, and what it printed."""

    def __init__(self, folder: Path) -> None:
        self.host = InProcessMachine()
        self.machine = self.host.machine
        self.tray = Tray(folder / "tray", folder / "spool")
        self.machine._publish_document = self.tray.publish
        self.decoder = SlowDecoder()
        self.room = DocumentRoom(self.machine, PostRoom(self.machine), self.tray, self.decoder)
        self.printed: list[int] = []
        self.machine.events.subscribe(self._notice)

    def _notice(self, record: Record) -> None:
        if isinstance(record.event, DocumentPrinted):
            self.printed.append(record.event.document)

    def receive(self) -> int:
        recipient = Recipient(address="fax@uf-8000.local", mailbox="fax")
        envelope = Envelope(session=1, peer="", helo="", sender="", recipients=(recipient,), received_at=0.0)
        (number,) = self.machine.memory.store([MessageReceived(envelope, (b"Subject: x\r\n\r\n",))])
        return number

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0.001)
            while self.host.pump():
                pass

    def power_cycle(self) -> None:
        self.machine.power_off(cut=True)
        self.machine.power_on(at_once=True)


async def run(room: Room, *steps: str) -> None:
    room.room.start()
    for step in steps:
        match step:
            case "receive":
                room.machine.accepted([room.receive()])
                await room.decoder.started.wait()
            case "store unannounced":
                room.receive()
            case "announce":
                room.machine.accepted(room.machine.memory.waiting_numbers())
            case "power cycle":
                room.power_cycle()
            case "power off":
                room.machine.power_off(cut=True)
            case "power on":
                room.machine.power_on(at_once=True)
            case "decoded":
                room.decoder.let_go.set()
                await room.settle()
    await room.settle()
    await room.room.stop()


@pytest.mark.parametrize(
    "steps",
    [
        ("receive", "decoded"),
        ("receive", "power cycle", "decoded"),
        ("receive", "power off", "decoded", "power on"),
        ("receive", "decoded", "power cycle"),
        ("store unannounced", "power cycle", "announce", "decoded"),
        ("store unannounced", "power cycle", "decoded", "announce"),
        ("receive", "power cycle", "power cycle", "decoded"),
    ],
    ids=", ".join,
)
def test_a_document_is_printed_once_whenever_power_goes(tmp_path: Path, steps: tuple[str, ...]) -> None:
    async def all_of_it() -> Room:
        room = Room(tmp_path)
        await run(room, *steps)
        return room

    room = asyncio.run(all_of_it())
    assert room.printed == [1]
    assert room.tray.holds(1)
    assert room.machine.memory.documents == 0
    assert len(room.machine.journal.read()) == 1
    room.host.close()


def test_a_message_accepted_twice_by_mistake_is_one_document(tmp_path: Path) -> None:
    async def all_of_it() -> Room:
        room = Room(tmp_path)
        room.decoder.let_go.set()
        room.room.start()
        number = room.receive()
        room.machine.accepted([number])
        room.machine.events.publish(MessageAccepted(number, "", (), 0))
        await room.settle()
        await room.room.stop()
        return room

    room = asyncio.run(all_of_it())
    assert room.printed == [1]
    assert room.decoder.decoded == [1]
    room.host.close()


@pytest.mark.parametrize("spool_too", [False, True], ids=["the tray", "the tray and the spool"])
def test_a_document_printed_while_somebody_deleted_its_folder_comes_into_the_tray_without_new_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spool_too: bool
) -> None:
    monkeypatch.setattr(documents, "DISK_PATIENCE", 0.01)

    async def all_of_it() -> Room:
        room = Room(tmp_path)

        keep_count = room.machine.engine._page_done

        def delete(job: Job) -> None:
            keep_count(job)
            shutil.rmtree(room.tray.folder)
            if spool_too:
                shutil.rmtree(room.tray.prepared(1))

        room.machine.engine._page_done = delete
        await run(room, "receive", "decoded")
        return room

    room = asyncio.run(all_of_it())
    assert room.printed == [1]
    assert room.machine.since_start["pages"] == 1
    assert room.tray.holds(1)
    room.host.close()
