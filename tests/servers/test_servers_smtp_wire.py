"""What a session writes to its socket, write by write."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from fauxfax.clock import RealClock
from fauxfax.ifax.host import MessageReceived
from fauxfax.ifax.standalone import StandaloneHost
from fauxfax.servers.smtp import Session, SmtpServer


class Wire(asyncio.Transport):
    """A transport that remembers each write; nothing comes from its socket."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__()
        self.end = end
        self.writes: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.end if name == "socket" else default

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))


class Shelf:
    """Where nothing is put."""

    def store(self, messages: Sequence[MessageReceived]) -> Sequence[int]:
        raise AssertionError(messages)

    def settle(self) -> None:
        pass


def test_pipelined_commands_are_answered_in_order_and_in_one_write() -> None:
    async def body() -> list[bytes]:
        server = SmtpServer(StandaloneHost(), Shelf(), RealClock())
        await server.start()
        near, far = socket.socketpair()
        with near, far:
            wire, session = Wire(near), Session(server)
            session.connection_made(wire)
            await asyncio.sleep(0)
            octets = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<fax>\r\nRCPT TO:<nobody>\r\nDATA\r\n"
            session.get_buffer(-1)[: len(octets)] = octets
            session.buffer_updated(len(octets))
            await asyncio.sleep(0)
            session.connection_lost(None)
        await server.stop()
        return wire.writes

    banner, answers = asyncio.run(body())
    assert banner == b"220 UF-8000\r\n"
    codes = [line[:3] for line in answers.splitlines() if line[3:4] == b" "]
    assert codes == [b"250", b"250", b"250", b"550", b"354"]
