"""A machine's parallel port as `/dev/parportN` of ppdev, register by register, for programs under umockdev.

A program, or QEMU's `-chardev parallel,path=/dev/parport0`, sets and reads the lines; whoever drives the port that way
negotiates IEEE 1284 with the machine itself. PPNEGOT, and reading or writing the descriptor, leave the handshake to the
kernel, whose part `hostport/ieee1284host.py` plays. One descriptor has the port claimed at a time.
Source: Linux, include/uapi/linux/ppdev.h and Documentation/driver-api/parport-lowlevel.rst.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable

from fauxfax.hostport.ieee1284 import Peripheral
from fauxfax.hostport.ieee1284host import COMPATIBILITY, Host
from fauxfax.servers.umockdev import DeviceTree, Memory

MAJOR = 99
MODES = 0x01 | 0x02
"""PARPORT_MODE_PCSPP and TRISTATE: a plain port whose data lines can be turned round."""
CHUNK = 4096
"""Octets of one write or read at most, so that a long one does not keep the machine waiting."""
PPCLAIM, PPRELEASE, PPYIELD, PPEXCL = 0x708B, 0x708C, 0x708D, 0x708F
_INT = struct.Struct("<I")
Register = Callable[[Peripheral], int]


class PpdevDevice:
    """One parallel port in `tree`, with the machine's `cable` in it."""

    def __init__(self, tree: DeviceTree, cable: Peripheral, number: int = 0) -> None:
        self.cable = cable
        self.host = Host(cable)
        self.claimed: PpdevHandle | None = None
        self._tree = tree
        self._number = number

    async def start(self) -> None:
        """Make the node."""
        await self._tree.add_node(f"parport{self._number}", f"{MAJOR}:{self._number}", b"", lambda: PpdevHandle(self))

    def stop(self) -> None:
        """Pull the cable, and take the node away."""
        self._tree.remove_node(f"parport{self._number}")
        self.cable.unplug()


class PpdevHandle:
    """One open descriptor."""

    longest = CHUNK

    def __init__(self, device: PpdevDevice) -> None:
        self._device = device
        self._reads: dict[int, Register] = {
            0x80017081: Peripheral.read_status,
            0x80017083: Peripheral.read_control,
            0x80017085: Peripheral.read_data,
        }
        self._writes: dict[int, Callable[[Peripheral, int], None]] = {
            0x40017084: Peripheral.write_control,
            0x40017086: Peripheral.write_data,
        }
        self._numbers: dict[int, Callable[[], int]] = {
            0x80047097: lambda: MODES,
            0x80047098: lambda: device.host.mode,
            0x80047093: lambda: 0,
        }

    async def ioctl(self, memory: Memory, request: int, argument: int) -> int:
        """See Handle. The registers are there for the descriptor that has claimed the port."""
        device = self._device
        if request in (PPCLAIM, PPEXCL):
            if device.claimed not in (None, self):
                raise OSError(errno.EBUSY, "another descriptor has claimed the port")
            if request == PPCLAIM:
                device.claimed = self
            return 0
        if request in self._numbers:
            memory.write(argument, _INT.pack(self._numbers[request]()))
            return 0
        if device.claimed is not self:
            raise OSError(errno.EINVAL, "the port is not claimed")
        return await self._claimed_ioctl(memory, request, argument)

    async def _claimed_ioctl(self, memory: Memory, request: int, argument: int) -> int:
        cable = self._device.cable
        if request in self._reads:
            memory.write(argument, bytes((self._reads[request](cable),)))
        elif request in self._writes:
            self._writes[request](cable, (await memory.read(argument, 1))[0])
        elif request == 0x4002708E:  # PPFCONTROL: a mask, and the levels of what it names
            mask, levels = await memory.read(argument, 2)
            cable.write_control(cable.read_control() & ~mask | levels & mask)
        elif request == 0x40047080:  # PPSETMODE: the program has negotiated it itself
            (self._device.host.mode,) = _INT.unpack(await memory.read(argument, _INT.size))
        elif request == 0x40047091:  # PPNEGOT
            (mode,) = _INT.unpack(await memory.read(argument, _INT.size))
            if not self._device.host.negotiate(mode):
                raise OSError(errno.ENXIO, f"the machine does not serve mode 0x{mode:x}")
        elif request == 0x40047090:  # PPDATADIR
            cable.turn_data(reverse=bool(*_INT.unpack(await memory.read(argument, _INT.size))))
        elif request in (PPRELEASE, PPYIELD):
            self._device.claimed = None
        else:
            raise OSError(errno.ENOTTY, f"ioctl 0x{request:08x}")
        return 0

    async def read(self, limit: int) -> bytes:
        """See Handle. Nothing to read is EAGAIN, as for a descriptor that does not block."""
        data = self._claimed_host().read(limit)
        if not data and limit:
            raise OSError(errno.EAGAIN, "the machine has nothing to say")
        return data

    async def write(self, data: bytes) -> int:
        """See Handle. A busy machine takes less, or nothing."""
        return self._claimed_host().write(data)

    def _claimed_host(self) -> Host:
        if self._device.claimed is not self:
            raise OSError(errno.EINVAL, "the port is not claimed")
        return self._device.host

    def close(self) -> None:
        """See Handle. The kernel ends a mode that the program has left on."""
        if self._device.claimed is self:
            self._device.claimed = None
            self._device.host.negotiate(COMPATIBILITY)
            self._device.cable.turn_data(reverse=False)
