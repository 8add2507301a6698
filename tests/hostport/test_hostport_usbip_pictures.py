"""Pictures of a client that is quick: gathered, acknowledged, and only then looked into."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fauxfax.clock import ManualClock
from fauxfax.hostport import usbip
from fauxfax.hostport.jobstream import UEL
from fauxfax.hostport.usbdescriptors import Speed
from fauxfax.hostport.usbip import SubmitReply
from fauxfax.inprocess import InProcessMachine
from fauxfax.models import MIB
from fauxfax.servers.usbip import UsbipServer

INFO = UEL + b"@PJL INFO ID\r\n"


def print_and_ask(number: int, data: bytes) -> bytes:
    """In a thread: print these octets in one transfer, as fast as they go, and read what the machine says."""
    with socket.create_connection(("127.0.0.1", number), timeout=20) as connection:
        parser, replies = usbip.ReplyParser(), []
        parser.expect_data(3)

        def reply() -> usbip.Reply:
            while not replies:
                replies.extend(parser.feed(connection.recv(65536)))
            return replies.pop(0)

        connection.sendall(usbip.pack_import_request("1-1"))
        connection.recv(usbip.IMPORT_REPLY_SIZE, socket.MSG_WAITALL)
        connection.sendall(usbip.pack_submit(1, 0x10001, 1, usbip.OUT, 4) + b"II*\0")
        assert reply() == SubmitReply(1, 0, 4, b"")
        connection.sendall(usbip.pack_submit(2, 0x10001, 1, usbip.OUT, len(data)) + data)
        assert reply() == SubmitReply(2, 0, len(data), b"")
        connection.sendall(usbip.pack_submit(3, 0x10001, 2, usbip.IN, 1000))
        answer = reply()
        assert isinstance(answer, SubmitReply)
        return answer.data


@pytest.mark.parametrize("size", [MIB, 5 * MIB // 2])
@pytest.mark.parametrize("at", [0, usbip.PIECE - 4, 300_000, MIB - len(INFO)])
def test_the_end_of_a_job_is_found_wherever_it_is_in_a_large_transfer(size: int, at: int) -> None:
    async def run() -> None:
        with InProcessMachine() as host:
            server = UsbipServer([lambda: host.machine.open_usb(Speed.HIGH)], ManualClock())
            number = await server.start("127.0.0.1", 0)
            try:
                picture = bytes(range(256)) * (size // 256)
                said = await asyncio.to_thread(print_and_ask, number, picture[:at] + INFO + picture[at + len(INFO) :])
            finally:
                await server.stop()
            assert said.startswith(b'@PJL INFO ID\r\n"UF-8000"')
            first, *_ = host.machine.memory.waiting()
            assert host.machine.memory.body(first.number) == b"II*\0" + picture[:at]

    asyncio.run(run())
