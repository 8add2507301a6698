"""Fuzzes usbredir: the device's end answers or drops, and says the same however the octets are cut."""

from __future__ import annotations

import atheris
from harness import SPACE, Served, Transport, check_same, pieces, start

with atheris.instrument_imports(include=["fauxfax.hostport", "fauxfax.servers.usbredir"]):
    from hostport_memory import MemoryPort, plugged

    from fauxfax.clock import ManualClock
    from fauxfax.servers.usbredir import UsbredirConnection, UsbredirServer


def serve(stream: list[bytes], *, ahead: int = 0) -> Served:
    port, transport = MemoryPort(SPACE, echo=True), Transport()
    port.ahead = ahead
    connection = UsbredirConnection(UsbredirServer(lambda: plugged(port), ManualClock()))
    connection.connection_made(transport)
    for piece in stream:
        if not transport.closed:
            connection.data_received(piece)
    served = Served(bytes(transport.said), bytes(port.heard), transport.closed)
    transport.closed = True
    connection.connection_lost(None)
    return served


def test_one_input(data: bytes) -> None:
    serve([data[1:]], ahead=SPACE)  # not compared: what is answered first is a matter of time
    check_same(*map(serve, pieces(data)))


if __name__ == "__main__":
    start(test_one_input)
