"""A machine as a device of usbfs, `/dev/bus/usb/001/NNN`, for programs on libusb under umockdev.

Everything libusb does comes down to a few ioctls: claim, submit a request block, reap it, discard it. Descriptors that
are open at a restart see ENODEV; the machine is back under the next device number.
Source: Linux, include/uapi/linux/usbdevice_fs.h and Documentation/driver-api/usb/usb.rst (64-bit layout).
"""

from __future__ import annotations

import asyncio
import errno
import struct
from collections import deque
from collections.abc import Callable

from fauxfax.hostport.usb import Outcome, PrinterFunction, Setup, Transfer
from fauxfax.hostport.usbdescriptors import BULK_IN, Kind, Speed
from fauxfax.servers import uevent
from fauxfax.servers.umockdev import DeviceTree, Memory

MAJOR = 189
BUS = 1
CONTROL_URB, BULK_URB = 2, 3
CAPABILITIES = 0x01 | 0x04 | 0x10
"""Zero packets, no limit of a packet's size, request blocks can be reaped after a disconnect."""
IDLE_SECONDS = 0.0005
"""How long the second and later empty looks for a finished block take: libusb, whose poll() sees a plain file that is
always ready, would else ask without a pause. The first look is instant. A project value."""
MAX_WAITING = 1024
"""Request blocks one program may have under way. A project value."""
STATUS = {
    Outcome.DONE: 0,
    Outcome.STALLED: -errno.EPIPE,
    Outcome.CANCELLED: -errno.ENOENT,
    Outcome.GONE: -errno.ESHUTDOWN,
}
MEGABITS = {Speed.FULL: "12", Speed.HIGH: "480"}
_URB = struct.Struct("<BBxxiIxxxxQiiiIiIQ")
_CONTROL = struct.Struct("<8sIxxxxQ")
_BULK = struct.Struct("<IIIxxxxQ")
_WORD = struct.Struct("<I")
_PAIR = struct.Struct("<II")
_POINTER = struct.Struct("<Q")


class Block:
    """A request block (URB) of the program, by its address there."""

    def __init__(self, address: int, buffer: int, transfer: Transfer) -> None:
        self.address = address
        self.buffer = buffer
        self.transfer = transfer


class UsbfsDevice:
    """One machine on the bus, present in `tree` while it is switched on."""

    def __init__(self, tree: DeviceTree, plug: Callable[[], PrinterFunction], port: int = 1) -> None:
        self.function = plug()
        self.claimed: UsbfsHandle | None = None
        self._tree = tree
        self._port = port
        self._number = port
        self._present = False
        self._events = 0
        self._work: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Appear on the bus, and follow the machine from now on."""
        self.function.on_attachment(self._attachment)
        await self._follow()

    async def stop(self) -> None:
        """Pull the cable."""
        self.function.unplug()
        await self._follow()

    def _attachment(self) -> None:
        self._work = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        if self._present is self.function.attached:
            return
        self._present = self.function.attached
        if self._present:
            await self._appear()
            self._announce("add")
        else:
            self._tree.remove_node(self._node)
            self._tree.remove_attributes(self._path, f"bus/usb/devices/{self._name}", f"dev/char/{self._device}")
            self._announce("remove")
            self._number += 1

    def _announce(self, action: str) -> None:
        self._events += 1
        begin = {"ACTION": action, "DEVPATH": f"/{self._path}", "SUBSYSTEM": "usb", "SEQNUM": str(self._events)}
        uevent.send(self._tree.folder, {**begin, **self._properties, "DEVNAME": f"/dev/{self._node}"})

    @property
    def _name(self) -> str:
        return f"{BUS}-{self._port}"

    @property
    def _path(self) -> str:
        return f"devices/usb{BUS}/{self._name}"

    @property
    def _node(self) -> str:
        return f"bus/usb/{BUS:03}/{self._number:03}"

    @property
    def _device(self) -> str:
        return f"{MAJOR}:{self._number - 1}"

    @property
    def _properties(self) -> dict[str, str]:
        """What the kernel says of the device in an event, and in the attribute `uevent`."""
        return {
            "MAJOR": str(MAJOR),
            "MINOR": str(self._number - 1),
            "DEVNAME": self._node,
            "DEVTYPE": "usb_device",
            "DRIVER": "usb",
            "BUSNUM": f"{BUS:03}",
            "DEVNUM": f"{self._number:03}",
        }

    async def _appear(self) -> None:
        function = self.function
        function.control(Setup(0x00, 9, 1, 0, 0))  # the kernel chooses the first configuration
        descriptors = function.descriptor(Kind.DEVICE) + function.descriptor(Kind.CONFIGURATION)
        identity = function.identity
        texts = {
            "idVendor": f"{identity.vendor:04x}",
            "idProduct": f"{identity.product:04x}",
            "bcdDevice": f"{identity.release:04x}",
            "manufacturer": identity.manufacturer,
            "product": identity.name,
            "serial": identity.serial,
            "busnum": str(BUS),
            "devnum": str(self._number),
            "devpath": str(self._port),
            "speed": MEGABITS[function.speed],
            "bConfigurationValue": "1",
            "bNumConfigurations": "1",
            "bDeviceClass": "00",
            "version": " 2.00",
            "maxchild": "0",
            "dev": self._device,
            "uevent": "\n".join(f"{key}={value}" for key, value in self._properties.items()),
        }
        files = {name: f"{text}\n".encode() for name, text in texts.items()}
        links = {
            f"bus/usb/devices/{self._name}": f"../../../{self._path}",
            f"dev/char/{self._device}": f"../../{self._path}",
            f"{self._path}/subsystem": "../../../bus/usb",
        }
        self._tree.add_attributes(self._path, {**files, "descriptors": descriptors}, links)
        await self._tree.add_node(self._node, self._device, descriptors, lambda: UsbfsHandle(self))


class UsbfsHandle:
    """One open descriptor: the blocks under way, and those that wait to be reaped."""

    longest = 0

    def __init__(self, device: UsbfsDevice) -> None:
        self._device = device
        self._function = device.function
        self._waiting: dict[int, Block] = {}
        self._ended: deque[Block] = deque()
        self._news = asyncio.Event()
        self._looked = False
        self._gone = False
        self._ioctls = {
            0x8038550A: self._submit,
            0x4008550D: self._reap_now,
            0x4008550C: self._reap,
            0x0000550B: self._discard,
            0x8004550F: self._claim,
            0x8108551B: self._claim,  # and take it from the kernel's driver, of which there is none
            0x80045510: self._release,
            0xC0185500: self._control,
            0xC0185502: self._bulk,
            0x80045505: self._set_configuration,
            0x80085504: self._set_interface,
            0x80045515: self._clear_halt,
            0x80045503: self._clear_halt,
            0x00005514: self._reset,
            0x8004551A: self._capabilities,
            0x41045508: self._driver,
            0xC0105512: self._driver,
        }

    async def ioctl(self, memory: Memory, request: int, argument: int) -> int:
        """See Handle."""
        call = self._ioctls.get(request)
        if call is None:
            raise OSError(errno.ENOTTY, f"ioctl 0x{request:08x}")
        if not self._function.attached:
            self._gone = True
        if self._gone and request not in (0x4008550D, 0x4008550C):
            raise OSError(errno.ENODEV, "the machine went away")
        return await call(memory, argument)

    async def read(self, limit: int) -> bytes | None:  # noqa: ARG002 - the file holds the descriptors
        """See Handle."""
        return None

    async def write(self, data: bytes) -> int:  # noqa: ARG002
        """See Handle."""
        raise OSError(errno.EINVAL, "usbfs takes no write()")

    def close(self) -> None:
        """See Handle."""
        for block in tuple(self._waiting.values()):
            self._function.cancel(block.transfer)
        if self._device.claimed is self:
            self._device.claimed = None

    # Request blocks -----------------------------------------------------------------------------------------------

    async def _submit(self, memory: Memory, address: int) -> int:
        kind, endpoint, _, _, buffer, length, *_ = _URB.unpack(await memory.read(address, _URB.size))
        if length < 0 or len(self._waiting) + len(self._ended) >= MAX_WAITING:
            raise OSError(errno.ENOMEM, f"{len(self._waiting)} blocks wait")
        if kind not in (CONTROL_URB, BULK_URB) or address in self._waiting:
            raise OSError(errno.EINVAL, f"block type {kind}")
        sent = b"" if endpoint == BULK_IN else await memory.read(buffer, length)

        def done(_: Transfer) -> None:
            self._waiting.pop(address, None)
            self._ended.append(block)
            self._news.set()

        transfer = Transfer(endpoint, sent, length, done)
        block = Block(address, buffer, transfer)
        self._waiting[address] = block
        if kind == CONTROL_URB:
            self._control_block(block)
        else:
            self._function.submit(transfer)
        return 0

    def _control_block(self, block: Block) -> None:
        """SETUP stands in front of the data, in the same buffer; `actual` does not count it."""
        transfer, setup = block.transfer, Setup.parse(bytes(block.transfer.data[:8]).ljust(8, b"\0"))
        reply = self._function.control(setup)
        block.buffer += 8
        transfer.data = b"" if reply is None or not setup.reads else reply
        transfer.actual = len(transfer.data) if setup.reads else max(0, transfer.length - 8)
        transfer.end(Outcome.STALLED if reply is None else Outcome.DONE)

    async def _reap_now(self, memory: Memory, address: int) -> int:
        if not self._ended and not self._gone:
            if not self._looked:
                self._looked = True
                raise OSError(errno.EAGAIN, "nothing has ended")
            await self._wait(IDLE_SECONDS)
        return self._take_ended(memory, address)

    async def _reap(self, memory: Memory, address: int) -> int:
        while not self._ended and not self._gone:
            await self._wait(None)
        return self._take_ended(memory, address)

    async def _wait(self, seconds: float | None) -> None:
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            pass

    def _take_ended(self, memory: Memory, address: int) -> int:
        if not self._ended:
            if self._gone:
                raise OSError(errno.ENODEV, "the machine went away")
            raise OSError(errno.EAGAIN, "nothing has ended")
        self._looked = False
        block = self._ended.popleft()
        transfer = block.transfer
        if transfer.endpoint in (0, BULK_IN):
            memory.write(block.buffer, bytes(transfer.data[: transfer.actual]))
        memory.write(block.address + 4, struct.pack("<i", STATUS[transfer.outcome or Outcome.GONE]))
        memory.write(block.address + 28, _WORD.pack(transfer.actual))
        memory.write(address, _POINTER.pack(block.address))
        return 0

    async def _discard(self, _: Memory, address: int) -> int:
        block = self._waiting.get(address)
        if block is None or not self._function.cancel(block.transfer):
            raise OSError(errno.EINVAL, "the block had ended")
        return 0

    # Calls that wait ----------------------------------------------------------------------------------------------

    async def _control(self, memory: Memory, address: int) -> int:
        octets, _, buffer = _CONTROL.unpack(await memory.read(address, _CONTROL.size))
        setup = Setup.parse(octets)
        if not setup.reads:
            await memory.read(buffer, setup.length)
        reply = self._request(setup)
        if not setup.reads:
            return setup.length
        memory.write(buffer, reply)
        return len(reply)

    async def _bulk(self, memory: Memory, address: int) -> int:
        endpoint, length, milliseconds, buffer = _BULK.unpack(await memory.read(address, _BULK.size))
        data = b"" if endpoint == BULK_IN else await memory.read(buffer, length)
        ended = asyncio.Event()
        transfer = Transfer(endpoint, data, length, lambda _: ended.set())
        self._function.submit(transfer)
        try:
            await asyncio.wait_for(ended.wait(), milliseconds / 1000 if milliseconds else None)
        except TimeoutError:
            self._function.cancel(transfer)
        if transfer.outcome is not Outcome.DONE:
            cancelled = transfer.outcome is Outcome.CANCELLED
            raise OSError(errno.ETIMEDOUT if cancelled else -STATUS[transfer.outcome or Outcome.GONE], "bulk transfer")
        if endpoint == BULK_IN:
            memory.write(buffer, bytes(transfer.data))
        return transfer.actual

    def _request(self, setup: Setup) -> bytes:
        reply = self._function.control(setup)
        if reply is None:
            raise OSError(errno.EPIPE, "stalled")
        return reply

    # The interface and the device ---------------------------------------------------------------------------------

    async def _claim(self, memory: Memory, address: int) -> int:
        (number,) = _WORD.unpack(await memory.read(address, _WORD.size))
        if number:
            raise OSError(errno.ENOENT, f"interface {number}")
        if self._device.claimed not in (None, self):
            raise OSError(errno.EBUSY, "another descriptor has claimed it")
        self._device.claimed = self
        return 0

    async def _release(self, memory: Memory, address: int) -> int:
        (number,) = _WORD.unpack(await memory.read(address, _WORD.size))
        if number or self._device.claimed is not self:
            raise OSError(errno.EINVAL, f"interface {number} is not claimed")
        self._device.claimed = None
        return 0

    async def _set_configuration(self, memory: Memory, address: int) -> int:
        (value,) = _WORD.unpack(await memory.read(address, _WORD.size))
        if self._device.claimed is not None:
            raise OSError(errno.EBUSY, "an interface is claimed")
        self._request(Setup(0x00, 9, value & 0xFFFF, 0, 0))
        return 0

    async def _set_interface(self, memory: Memory, address: int) -> int:
        number, alternate = _PAIR.unpack(await memory.read(address, _PAIR.size))
        self._request(Setup(0x01, 11, alternate & 0xFFFF, number & 0xFFFF, 0))
        return 0

    async def _clear_halt(self, memory: Memory, address: int) -> int:
        (endpoint,) = _WORD.unpack(await memory.read(address, _WORD.size))
        self._request(Setup(0x02, 1, 0, endpoint & 0xFFFF, 0))
        return 0

    async def _reset(self, _: Memory, __: int) -> int:
        self._function.reset()
        self._request(Setup(0x00, 9, 1, 0, 0))
        return 0

    async def _capabilities(self, memory: Memory, address: int) -> int:
        memory.write(address, _WORD.pack(CAPABILITIES))
        return 0

    async def _driver(self, _: Memory, __: int) -> int:
        raise OSError(errno.ENODATA, "no driver of the kernel is bound")
