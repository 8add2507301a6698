"""Transfers that come together: answered together, then written in one go, over both servers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hostport_memory import MemoryPort, plugged
from hostport_transport import Transport

from fauxfax.clock import ManualClock
from fauxfax.hostport import usbip
from fauxfax.hostport.usbdescriptors import BULK_OUT
from fauxfax.hostport.usbredir import Wire
from fauxfax.servers.usbip import UsbipConnection, UsbipServer
from fauxfax.servers.usbredir import UsbredirConnection, UsbredirServer

WORDS = (b"one", b"two", b"three")
Feed = Callable[[bytes], None]


class Looking(MemoryPort):
    """Notes what is written, and how much had been answered by then."""

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self.ahead = 100
        self.seen: list[tuple[bytes, int]] = []
        self._transport = transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.seen.append((bytes(data), len(self._transport.said)))


def over_usbip(port: Looking, transport: Transport) -> tuple[Feed, list[bytes], bytes]:
    connection = UsbipConnection(UsbipServer([lambda: plugged(port)], ManualClock()))
    connection.connection_made(transport)

    def feed(data: bytes) -> None:
        space = connection.get_buffer(-1)
        space[: len(data)] = data
        connection.buffer_updated(len(data))

    feed(usbip.pack_import_request("1-1"))
    numbered = enumerate(WORDS, start=1)
    packets = [usbip.pack_submit(number, 0x10001, 1, usbip.OUT, len(word)) + word for number, word in numbered]
    return feed, packets, b"nonsense" * 6


def over_usbredir(port: Looking, transport: Transport) -> tuple[Feed, list[bytes], bytes]:
    connection = UsbredirConnection(UsbredirServer(lambda: plugged(port), ManualClock()))
    connection.connection_made(transport)
    wire = Wire()
    connection.data_received(wire.hello())
    wire.feed(Wire().hello())
    packets = [wire.pack_bulk(number, BULK_OUT, 0, len(word), word) for number, word in enumerate(WORDS, start=1)]
    return connection.data_received, packets, wire.pack_bulk(4, BULK_OUT, 0, 9, b"less")


@pytest.mark.parametrize("serve", [over_usbip, over_usbredir])
@pytest.mark.parametrize("drops", [False, True], ids=["alone", "before nonsense"])
def test_all_are_answered_and_then_written_in_one_go(
    serve: Callable[[Looking, Transport], tuple[Feed, list[bytes], bytes]], drops: bool
) -> None:
    transport = Transport()
    port = Looking(transport)
    feed, packets, nonsense = serve(port, transport)
    before = len(transport.said)
    feed(b"".join(packets) + (nonsense if drops else b""))
    assert len(transport.said) > before
    assert port.seen == [(b"onetwothree", len(transport.said))]
    assert transport.closed is drops
