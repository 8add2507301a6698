"""The device tree for umockdev, spoken to as the preload library does it; its own programs are in tests/real."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hostport_memory import MemoryPort, plugged

from fauxfax.hostport.ieee1284 import Peripheral
from fauxfax.servers.ppdev import PpdevDevice
from fauxfax.servers.uevent import string_hash
from fauxfax.servers.umockdev import DeviceTree
from fauxfax.servers.usbfs import UsbfsDevice

PACKET = struct.Struct("<QQQ")
IOCTL, DONE, RUN, SEND, TAKE, READ, WRITE = 1, 3, 4, 5, 6, 7, 8
PPCLAIM, PPRSTATUS, PPWCONTROL, PPFCONTROL = 0x708B, 0x80017081, 0x40017084, 0x4002708E
PPNEGOT = 0x40047091
CLAIM, REAP_NOW, RESET, CAPABILITIES = 0x8004550F, 0x4008550D, 0x5514, 0x8004551A


class Program:
    """A program with a little memory, that has opened a node."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.memory = bytearray(4096)

    async def call(self, kind: int, first: int, second: int) -> tuple[int, int]:
        """A system call: its result and errno."""
        self.writer.write(PACKET.pack(kind, first, second))
        while True:
            answer, address, size = PACKET.unpack(await asyncio.wait_for(self.reader.readexactly(24), 5))
            if answer == SEND:
                self.writer.write(self.memory[address : address + size])
            elif answer == TAKE:
                self.memory[address : address + size] = await self.reader.readexactly(size)
            elif answer == RUN:
                self.writer.write(PACKET.pack(2, 18, 0))
            else:
                assert answer == DONE
                return (-1 if address == (1 << 64) - 1 else address), size


class Folder(DeviceTree):
    """A tree that remembers the programs, to end them with it."""

    programs: list[Program]

    async def close(self) -> None:
        for program in self.programs:
            program.writer.close()
            with contextlib.suppress(ConnectionError):
                await program.writer.wait_closed()
        await super().close()


async def opened(tree: Folder, name: str) -> Program:
    program = Program(*await asyncio.open_unix_connection(tree.folder / "ioctl" / "dev" / name))
    tree.programs.append(program)
    return program


def with_tree(folder: Path, case: Callable[[Folder], Awaitable[None]]) -> None:
    async def run() -> None:
        tree = Folder(folder)
        tree.programs = []
        try:
            await case(tree)
        finally:
            await tree.close()

    asyncio.run(run())


def test_a_port_is_claimed_by_one_descriptor_and_shows_its_registers(tmp_path: Path) -> None:
    async def case(tree: Folder) -> None:
        port = MemoryPort()
        await PpdevDevice(tree, Peripheral(port)).start()
        first, second = await opened(tree, "parport0"), await opened(tree, "parport0")
        assert await first.call(IOCTL, PPRSTATUS, 0) == (-1, errno.EINVAL)
        assert await first.call(IOCTL, PPCLAIM, 0) == (0, 0)
        assert await second.call(IOCTL, PPCLAIM, 0) == (-1, errno.EBUSY)
        assert await first.call(IOCTL, PPRSTATUS, 0) == (0, 0)
        assert first.memory[0] == 0xD8
        first.memory[:2] = b"\x02\x02"
        assert await first.call(IOCTL, PPFCONTROL, 0) == (0, 0)
        assert await first.call(IOCTL, 0x400470FF, 0) == (-1, errno.ENOTTY)
        first.memory[:8] = b"\x08\0\0\0data"
        assert await first.call(IOCTL, PPNEGOT, 0) == (-1, errno.ENXIO)
        assert await first.call(WRITE, 4, 4) == (4, 0)
        assert await second.call(WRITE, 4, 4) == (-1, errno.EINVAL)
        assert bytes(port.heard) == b"data"
        first.writer.close()
        while (await second.call(IOCTL, PPCLAIM, 0))[0]:
            await asyncio.sleep(0.001)

    with_tree(tmp_path, case)


def test_an_interface_is_claimed_by_one_descriptor_and_released_with_it(tmp_path: Path) -> None:
    async def case(tree: Folder) -> None:
        await UsbfsDevice(tree, lambda: plugged(MemoryPort())).start()
        first, second = [await opened(tree, "bus/usb/001/001") for _ in range(2)]
        assert await first.call(IOCTL, CLAIM, 0) == (0, 0)
        assert await second.call(IOCTL, CLAIM, 0) == (-1, errno.EBUSY)
        assert await first.call(IOCTL, CAPABILITIES, 0) == (0, 0)
        assert await first.call(IOCTL, RESET, 0) == (0, 0)
        assert await first.call(READ, 0, 18) == (18, 0), "the file itself answers"
        assert await first.call(IOCTL, REAP_NOW, 0) == (-1, errno.EAGAIN)
        assert await first.call(IOCTL, 0x12345678, 0) == (-1, errno.ENOTTY)

    with_tree(tmp_path, case)


def test_a_restart_moves_the_machine_to_the_next_device_number(tmp_path: Path) -> None:
    async def case(tree: Folder) -> None:
        port = MemoryPort()
        await UsbfsDevice(tree, lambda: plugged(port)).start()
        program = await opened(tree, "bus/usb/001/001")
        bus = tree.folder / "dev/bus/usb/001"
        port.change(online=False)
        while any(bus.iterdir()):
            await asyncio.sleep(0.001)
        assert not (tree.folder / "sys/bus/usb/devices/1-1").is_symlink()
        assert await program.call(IOCTL, CLAIM, 0) == (-1, errno.ENODEV)
        assert await program.call(IOCTL, REAP_NOW, 0) == (-1, errno.ENODEV)
        port.change(online=True)
        while not (bus / "002").exists():
            await asyncio.sleep(0.001)
        assert (tree.folder / "sys/bus/usb/devices/1-1/devnum").read_text() == "2\n"

    with_tree(tmp_path, case)


def test_listeners_hear_of_a_restart_in_the_form_of_udev(tmp_path: Path) -> None:
    async def case(tree: Folder) -> None:
        port = MemoryPort()
        await UsbfsDevice(tree, lambda: plugged(port)).start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, socket.socket(socket.AF_UNIX) as gone:
            listener.bind(str(tmp_path / "event7"))
            gone.bind(str(tmp_path / "event8"))
            listener.setblocking(False)
            loop = asyncio.get_running_loop()
            port.change(online=False)
            left = await asyncio.wait_for(loop.sock_recv(listener, 4096), 5)
            port.change(online=True)
            back = await asyncio.wait_for(loop.sock_recv(listener, 4096), 5)
        assert left[:12] == b"libudev\0\xfe\xed\xca\xfe"
        header, begin, length = struct.unpack("=III", left[12:24])
        assert (header, begin, length) == (40, 40, len(left) - 40)
        assert properties(left) == properties(back) | {
            "ACTION": "remove", "SEQNUM": "2", "MINOR": "0", "DEVNUM": "001", "DEVNAME": "/dev/bus/usb/001/001"
        }  # fmt: skip
        assert properties(back)["ACTION"] == "add"
        assert properties(back)["DEVPATH"] == "/devices/usb1/1-1"

    with_tree(tmp_path, case)


def properties(message: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in message[40:].decode().split("\0") if line)


@pytest.mark.parametrize(("text", "value"), [("", 0), ("usb", 0x0577C5E5), ("usb_device", 0x27F8F50C)])
def test_the_hash_is_that_of_udev(text: str, value: int) -> None:
    assert string_hash(text) == value


@pytest.mark.parametrize(
    "data", [bytes(24), PACKET.pack(99, 0, 0), b"half"], ids=["zeroes", "an unknown request", "half a packet"]
)
def test_a_hostile_peer_is_dropped_and_the_next_is_served(data: bytes, tmp_path: Path) -> None:
    async def case(tree: Folder) -> None:
        await UsbfsDevice(tree, lambda: plugged(MemoryPort())).start()
        peer = await opened(tree, "bus/usb/001/001")
        peer.writer.write(data)
        peer.writer.write_eof()
        assert await asyncio.wait_for(peer.reader.read(), 5) == b""
        program = await opened(tree, "bus/usb/001/001")
        assert await program.call(IOCTL, CLAIM, 0) == (0, 0)

    with_tree(tmp_path, case)


def test_a_block_of_two_gigabytes_is_refused_before_its_memory_is_read(tmp_path: Path) -> None:
    async def case(tree: Folder) -> None:
        await UsbfsDevice(tree, lambda: plugged(MemoryPort())).start()
        program = await opened(tree, "bus/usb/001/001")
        urb = struct.pack("<BBxxiIxxxxQiiiIiIQ", 3, 1, 0, 0, 512, 0x7FFFFFFF, 0, 0, 0, 0, 0, 0)
        program.memory[: len(urb)] = urb
        assert await program.call(IOCTL, 0x8038550A, 0) == (-1, errno.ENOMEM)

    with_tree(tmp_path, case)
