"""Fuzzes USB/IP: a server answers or drops, the same however the octets are cut; a client reads replies or fails."""

from __future__ import annotations

import atheris
from harness import SPACE, Served, Transport, check_same, pieces, start

with atheris.instrument_imports(include=["fauxfax.hostport", "fauxfax.servers.usbip"]):
    from hostport_memory import MemoryPort, plugged

    from fauxfax.clock import ManualClock
    from fauxfax.errors import FormatError
    from fauxfax.hostport.usbip import ReplyParser
    from fauxfax.servers.usbip import UsbipConnection, UsbipServer


ANSWER = bytes(range(256))


def serve(stream: list[bytes], *, by_time: bool = False) -> Served:
    port, transport = MemoryPort(SPACE, echo=by_time), Transport()
    port.said += b"" if by_time else ANSWER
    port.ahead = SPACE if by_time else 0
    connection = UsbipConnection(UsbipServer([lambda: plugged(port)], ManualClock()))
    connection.connection_made(transport)
    for piece in stream:
        rest = memoryview(piece)
        while rest and not transport.closed:
            space = connection.get_buffer(-1)
            count = min(len(space), len(rest))
            space[:count] = rest[:count]
            connection.buffer_updated(count)
            rest = rest[count:]
    served = Served(bytes(transport.said), bytes(port.heard), transport.closed)
    transport.closed = True
    connection.connection_lost(None)
    return served


def read(stream: list[bytes]) -> object:
    parser, replies = ReplyParser(), []
    for seqnum in range(1, 9):
        parser.expect_data(seqnum)
    try:
        for piece in stream:
            replies += parser.feed(piece)
    except FormatError:
        return "dropped"
    return replies


def test_one_input(data: bytes) -> None:
    serve([data[1:]], by_time=True)  # not compared: what is answered first, and how much at once, is a matter of time
    check_same(*map(serve, pieces(data)))
    whole, cut = map(read, pieces(data))
    assert whole == cut, (whole, cut)


if __name__ == "__main__":
    start(test_one_input)
