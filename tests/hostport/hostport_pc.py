"""The host's end of a parallel cable: what a PC's driver does with the registers, by the standard's figures.

Each wait is a check, because the machine answers at once.
"""

from __future__ import annotations

from collections.abc import Callable

from hostport_memory import MemoryPort

from fauxfax.hostport.ieee1284 import Levels, Peripheral, Phase

STROBE, AUTO_FD, INIT, SELECT_IN = 1, 2, 4, 8
FAULT, SELECT, PAPER, ACK, NOT_BUSY = 0x08, 0x10, 0x20, 0x40, 0x80
IDLE = INIT | SELECT_IN


class Pc:
    """Compatibility, negotiation, nibble and byte mode."""

    def __init__(self, port: MemoryPort, scope: Callable[[Levels], None] | None = None) -> None:
        self.events: list[int] = []
        self.cable = Peripheral(port, lambda event, _: self.events.append(event), scope)
        self.cable.write_control(IDLE)

    def wait(self, mask: int, value: int) -> None:
        assert self.cable.read_status() & mask == value, f"{self.cable.phase}: {self.cable.read_status():#04x}"

    def put(self, data: bytes) -> int:
        for count, octet in enumerate(data):
            if not self.cable.read_status() & NOT_BUSY:
                return count
            self.cable.write_data(octet)
            self.cable.write_control(IDLE | STROBE)
            self.wait(NOT_BUSY, 0)
            self.cable.write_control(IDLE)
        return len(data)

    def negotiate(self, request: int) -> bool:
        self.cable.write_data(request)
        self.cable.write_control(INIT | AUTO_FD)
        self.wait(PAPER | SELECT | FAULT | ACK, PAPER | SELECT | FAULT)
        self.cable.write_control(INIT | AUTO_FD | STROBE)
        self.cable.write_control(INIT)
        self.wait(ACK, ACK)
        return not request or bool(self.cable.read_status() & SELECT)

    def read_nibble(self) -> int:
        self.cable.write_control(INIT | AUTO_FD)
        self.wait(ACK, 0)
        status = self.cable.read_status()
        self.cable.write_control(INIT)
        self.wait(ACK, ACK)
        return status >> 3 & 7 | (0 if status & NOT_BUSY else 8)

    def read_octet(self, request: int) -> int:
        if not request & 1:
            return self.read_nibble() | self.read_nibble() << 4
        self.cable.write_control(INIT | AUTO_FD)
        self.wait(ACK, 0)
        octet = self.cable.read_data()
        self.cable.write_control(INIT)
        self.wait(ACK, ACK)
        self.cable.write_control(INIT | STROBE)
        self.cable.write_control(INIT)
        return octet

    def read(self, request: int, limit: int = 1 << 16) -> bytes:
        data = bytearray()
        while len(data) < limit and not self.cable.read_status() & FAULT:
            data.append(self.read_octet(request))
        return bytes(data)

    def terminate(self) -> None:
        self.cable.write_control(IDLE)
        self.wait(ACK, 0)
        self.cable.write_control(IDLE | AUTO_FD)
        self.wait(ACK, ACK)
        self.cable.write_control(IDLE)
        assert self.cable.phase is Phase.FORWARD_IDLE

    def control(self, *, low: int = 0, high: int = 0) -> None:
        """Drive lines to a level: the register inverts all but nInit."""
        value = self.cable.read_control() ^ (STROBE | AUTO_FD | SELECT_IN)
        self.cable.write_control((value & ~low | high) ^ (STROBE | AUTO_FD | SELECT_IN))


class EcpPc(Pc):
    """ECP by software, as in figures 20 to 23 of the standard."""

    def begin(self, *, runs: bool = False, device_id: bool = False) -> None:
        assert self.negotiate(0x10 | 0x20 * runs | 0x04 * device_id)
        self.wait(PAPER, 0)
        self.control(low=AUTO_FD)
        self.wait(PAPER, PAPER)

    def send(self, octet: int, *, command: bool = False) -> bool:
        """One octet; False, and taken back, if the machine does not take it."""
        self.control(low=AUTO_FD * command, high=AUTO_FD * (not command))
        self.cable.write_data(octet)
        self.control(low=STROBE)
        taken = not self.cable.read_status() & NOT_BUSY
        if not taken:
            self.control(low=INIT)
            self.wait(PAPER, 0)
            self.control(high=STROBE)
            self.control(high=INIT)
            self.wait(PAPER, PAPER)
            return False
        self.control(high=STROBE)
        return True

    def reverse(self) -> None:
        self.control(low=AUTO_FD)
        self.control(low=INIT)
        self.wait(PAPER, 0)

    def forward(self) -> None:
        self.control(high=INIT)
        self.wait(PAPER | ACK, PAPER | ACK)
        self.control(high=AUTO_FD)

    def receive(self) -> list[tuple[bool, int]]:
        """What the machine has to say: data or not, and the octet."""
        heard = []
        while not self.cable.read_status() & ACK:
            heard.append((not self.cable.read_status() & NOT_BUSY, self.cable.read_data()))
            self.control(high=AUTO_FD)
            self.wait(ACK, ACK)
            self.control(low=AUTO_FD)
        return heard


class EppPc(Pc):
    """EPP by software: each method is a cycle; None or False if the machine does not end it."""

    def begin(self) -> None:
        assert self.negotiate(0x40)
        self.wait(NOT_BUSY, NOT_BUSY)

    def write(self, octet: int, strobe: int = AUTO_FD) -> bool:
        self.control(low=STROBE)
        self.cable.write_data(octet)
        self.control(low=strobe)
        ended = not self.cable.read_status() & NOT_BUSY
        self.control(high=strobe)
        self.wait(NOT_BUSY, NOT_BUSY)
        self.control(high=STROBE)
        return ended

    def read_cycle(self, strobe: int = AUTO_FD) -> int | None:
        self.control(low=strobe)
        octet = None if self.cable.read_status() & NOT_BUSY else self.cable.read_data()
        self.control(high=strobe)
        self.wait(NOT_BUSY, NOT_BUSY)
        return octet
