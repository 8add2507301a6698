"""Fuzzes the parallel cable: any order of register accesses, then any order of what a kernel does with a port.

Each pair of octets is one access: which, and the value. The machine follows, and nInit always brings it back.
"""

from __future__ import annotations

import atheris
from harness import SPACE, start

with atheris.instrument_imports(include=["fauxfax.hostport"]):
    from hostport_memory import MemoryPort

    from fauxfax.hostport.ieee1284 import Peripheral, Phase
    from fauxfax.hostport.ieee1284host import ADDRESS, COMPATIBILITY, Host

RESET, IDLE = 0x08, 0x0C
"""The control register with nInit and 1284Active low, and at rest."""
MODES = (COMPATIBILITY, 0x00, 0x01, 0x10, 0x30, 0x40, 0x04, 0x34, 0x02, 0x80)


def access(cable: Peripheral, port: MemoryPort, what: int, value: int) -> None:
    """A program on the registers, or something that happens in the machine."""
    match what % 8:
        case 0:
            cable.write_data(value)
            assert cable.read_data() in range(256)
        case 1 | 2 | 3:
            cable.write_control(value)
            assert cable.read_control() == value & 0x0F
        case 4:
            assert cable.read_status() & 0x07 == 0
        case 5:
            port.change(space=value, say=bytes((value,)) * (value & 7))
        case 6:
            port.change(online=bool(value & 1))
        case 7:
            cable.turn_data(reverse=bool(value & 1))


def reset(cable: Peripheral) -> None:
    """NInit, as a host that is at its wit's end."""
    cable.turn_data(reverse=False)
    cable.write_control(RESET)
    cable.write_control(IDLE)
    assert cable.phase is Phase.FORWARD_IDLE


def drive(host: Host, port: MemoryPort, what: int, value: int) -> None:
    """A kernel that keeps to the standard: what the machine took is what it has heard."""
    match what % 4:
        case 0:
            mode = MODES[value % len(MODES)]
            served = host.negotiate(mode)
            assert served or host.mode == COMPATIBILITY
        case 1:
            heard, data = len(port.heard), bytes((value,)) * (what >> 2)
            count = host.write(data)
            if not host.mode & ADDRESS:
                assert port.heard[heard:] == data[:count]
        case 2:
            assert len(host.read(value)) <= value
        case 3:
            port.change(space=value, say=bytes((value,)) * (what >> 4))


def test_one_input(data: bytes) -> None:
    port = MemoryPort(SPACE)
    cable = Peripheral(port)
    half = len(data) // 2
    for what, value in zip(data[:half:2], data[1:half:2], strict=False):
        access(cable, port, what, value)
    reset(cable)
    port.change(online=True)
    host = Host(cable)
    for what, value in zip(data[half::2], data[half + 1 :: 2], strict=False):
        drive(host, port, what, value)


if __name__ == "__main__":
    start(test_one_input)
