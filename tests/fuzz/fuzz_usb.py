"""Fuzzes the USB function: any order of requests, transfers, cancels, resets and restarts; every transfer ends once.

The input is a row of steps: the first octet says which, the next eight are its SETUP or its numbers.
"""

from __future__ import annotations

import atheris
from harness import start

with atheris.instrument_imports(include=["fauxfax.hostport"]):
    from hostport_memory import MemoryPort, plugged

    from fauxfax.hostport.usb import Outcome, Setup, Transfer

STEP = 9
ENDPOINTS = (0x01, 0x82, 0x02, 0x81)


class Host:
    """Does what the input says, and keeps count."""

    def __init__(self) -> None:
        self.port = MemoryPort(1000)
        self.function = plugged(self.port)
        self.submitted: list[Transfer] = []
        self.ended: list[Transfer] = []
        self.steps = (self.control, self.submit, self.cancel, self.reset, self.restart, self.change)

    def step(self, octets: bytes) -> None:
        self.steps[octets[0] % len(self.steps)](octets[1:].ljust(8, b"\0"))

    def control(self, octets: bytes) -> None:
        setup = Setup.parse(octets)
        reply = self.function.control(setup)
        assert reply is None or len(reply) <= setup.length

    def submit(self, octets: bytes) -> None:
        endpoint, length = ENDPOINTS[octets[0] % 4], octets[1] * 4
        data = b"" if endpoint >= 0x80 else bytes(length)
        transfer = Transfer(endpoint, data, length, self.ended.append)
        self.submitted.append(transfer)
        self.function.submit(transfer)

    def cancel(self, octets: bytes) -> None:
        for transfer in self.submitted[octets[0] % 8 :: 8]:
            had_ended = transfer.outcome is not None
            assert self.function.cancel(transfer) is not had_ended

    def reset(self, _: bytes) -> None:
        self.function.reset()

    def restart(self, octets: bytes) -> None:
        self.port.change(online=bool(octets[0] & 1))

    def change(self, octets: bytes) -> None:
        self.port.change(space=octets[0] * 8, say=octets[2 : 2 + octets[1] % 7])


def check(host: Host) -> None:
    host.function.unplug()
    assert sorted(map(id, host.ended)) == sorted(map(id, host.submitted)), "every transfer ends, and once"
    for transfer in host.submitted:
        assert transfer.outcome is not Outcome.DONE or transfer.endpoint >= 0x80 or transfer.actual == transfer.length
    out = sum(transfer.actual for transfer in host.submitted if transfer.endpoint == 0x01)
    assert out == len(host.port.heard)


def test_one_input(data: bytes) -> None:
    host = Host()
    for at in range(0, min(len(data), 200 * STEP), STEP):
        host.step(data[at : at + STEP])
    check(host)


if __name__ == "__main__":
    start(test_one_input)
