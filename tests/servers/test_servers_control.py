"""The control API beside a machine that has more to do."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from fauxfax.attendant import Attendant
from fauxfax.client import Client
from fauxfax.inprocess import InProcessMachine
from fauxfax.servers.control import ControlServer
from fauxfax.servers.tray import Tray


class SlowTray(Tray):
    """A tray so full that listing it takes until it is let go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "tray", folder / "spool")
        self.listing, self.let_go = threading.Event(), threading.Event()

    def list(self) -> list[dict[str, Any]]:
        self.listing.set()
        assert self.let_go.wait(10.0)
        return super().list()


def test_the_status_is_answered_while_a_full_tray_is_listed(tmp_path: Path) -> None:
    async def all_of_it() -> tuple[str, object]:
        with InProcessMachine() as host:
            tray = SlowTray(tmp_path)
            server = ControlServer(Attendant(host.machine, tray), tray, list)
            client = Client(f"http://127.0.0.1:{await server.start('127.0.0.1', 0)}")
            listing = asyncio.create_task(asyncio.to_thread(client.get, "/v1/tray"))
            await asyncio.to_thread(tray.listing.wait, 10.0)
            async with asyncio.timeout(5.0):
                status = await asyncio.to_thread(client.get, "/v1/machine")
            tray.let_go.set()
            found = await listing
            await server.stop()
            return status["state"], found

    assert asyncio.run(all_of_it()) == ("ready", [])
