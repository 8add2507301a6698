"""Machines as USB devices of PyUSB, in this process: `usb.core.find(backend=EmulatedBackend([plug]))`.

No kernel, no root, no socket. A program written for PyUSB runs unchanged. Where the machine lives decides the runner:

    SameThread(pump)    the machine is in this thread; `pump()` lets machine time pass while a transfer waits
    OtherThread(loop)   the machine is served by an event loop in another thread
"""

from __future__ import annotations

import array
import asyncio
import errno
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import usb.backend
import usb.core

from fauxfax.hostport.usb import Outcome, PrinterFunction, Setup, Transfer
from fauxfax.hostport.usbdescriptors import Kind, Speed

LIBUSB_SPEED = {Speed.FULL: 2, Speed.HIGH: 3}
ERRORS = {
    Outcome.STALLED: (errno.EPIPE, "Pipe error"),
    Outcome.GONE: (errno.ENODEV, "No such device (it may have been disconnected)"),
}
T = TypeVar("T")


class Runner(Protocol):
    """How calls reach the machine, and how one waits for it."""

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` where the machine lives."""
        ...

    def wait(self, transfer: Transfer, seconds: float | None) -> None:
        """Return when the transfer has ended, or after `seconds`; None is for ever."""
        ...


class SameThread:
    """The machine is in this thread. `pump()` does what is due and says whether anything may still happen."""

    def __init__(self, pump: Callable[[], bool] = lambda: False) -> None:
        self._pump = pump

    def call(self, function: Callable[[], T]) -> T:
        """See Runner."""
        return function()

    def wait(self, transfer: Transfer, seconds: float | None) -> None:
        """See Runner. Waiting ends early when nothing is left that could end the transfer."""
        end = None if seconds is None else time.monotonic() + seconds
        while transfer.outcome is None and self._pump():
            if end is not None and time.monotonic() >= end:
                return


class OtherThread:
    """The machine is served by `loop`, which runs in another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call(self, function: Callable[[], T]) -> T:
        """See Runner."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def wait(self, transfer: Transfer, seconds: float | None) -> None:
        """See Runner."""
        ended = threading.Event()

        def watch() -> None:
            transfer.done = lambda _: ended.set()
            if transfer.outcome is not None:
                ended.set()

        self.call(watch)
        ended.wait(seconds)


class Descriptor:
    """A descriptor as PyUSB wants it: an attribute for each field (0 beyond its length), and what else there is."""

    def __init__(self, octets: bytes, names: str) -> None:
        at, octets = 0, octets[: octets[0]]
        for name in ("bLength", "bDescriptorType", *names.split()):
            size = 2 if name.startswith(("w", "id", "bcd")) else 1
            setattr(self, name, int.from_bytes(octets[at : at + size], "little"))
            at += size
        self.extra_descriptors: list[int] = []


_DEVICE = """bcdUSB bDeviceClass bDeviceSubClass bDeviceProtocol bMaxPacketSize0 idVendor idProduct bcdDevice
             iManufacturer iProduct iSerialNumber bNumConfigurations"""
_CONFIGURATION = "wTotalLength bNumInterfaces bConfigurationValue iConfiguration bmAttributes bMaxPower"
_INTERFACE = """bInterfaceNumber bAlternateSetting bNumEndpoints bInterfaceClass bInterfaceSubClass bInterfaceProtocol
                iInterface"""
_ENDPOINT = "bEndpointAddress bmAttributes wMaxPacketSize bInterval bRefresh bSynchAddress"
_OFFSETS = {0: 18, 1: 25}
"""Where the endpoint descriptors stand in the configuration: behind 9 octets of its own and 9 of the interface."""


class EmulatedBackend(usb.backend.IBackend):  # type: ignore[misc] # PyUSB has no types
    """A bus with one machine at each address. Handles and devices are the functions themselves."""

    def __init__(self, plugs: Sequence[Callable[[], PrinterFunction]], runner: Runner | None = None) -> None:
        super().__init__()
        self._runner = runner or SameThread()
        self._functions = [self._runner.call(plug) for plug in plugs]
        self._claimed: set[int] = set()

    def enumerate_devices(self) -> Iterator[PrinterFunction]:
        """The machines that are switched on."""
        return (function for function in self._functions if function.attached)

    def get_parent(self, dev: PrinterFunction) -> None:  # noqa: ARG002 - PyUSB's signature
        """No hub is between."""
        return

    def get_device_descriptor(self, dev: PrinterFunction) -> Descriptor:
        """The device descriptor, and where on the bus it is."""
        descriptor = Descriptor(dev.descriptor(Kind.DEVICE), _DEVICE)
        address = self._functions.index(dev) + 1
        where = {"bus": 1, "address": address, "port_number": address, "port_numbers": (address,)}
        vars(descriptor).update(where, speed=LIBUSB_SPEED[dev.speed])
        return descriptor

    def get_configuration_descriptor(self, dev: PrinterFunction, config: int) -> Descriptor:
        """The one configuration; IndexError for another, as PyUSB wants it."""
        if config:
            raise IndexError(f"configuration {config}: there is one")
        return Descriptor(dev.descriptor(Kind.CONFIGURATION), _CONFIGURATION)

    def get_interface_descriptor(self, dev: PrinterFunction, intf: int, alt: int, config: int) -> Descriptor:
        """The one interface; IndexError for another."""
        if intf or alt or config:
            raise IndexError(f"interface {intf}, alternate {alt}: there is one")
        return Descriptor(dev.descriptor(Kind.CONFIGURATION)[9:], _INTERFACE)

    def get_endpoint_descriptor(self, dev: PrinterFunction, ep: int, intf: int, alt: int, config: int) -> Descriptor:
        """Bulk OUT, bulk IN; IndexError for others."""
        if intf or alt or config or ep not in _OFFSETS:
            raise IndexError(f"endpoint {ep}: there are two")
        return Descriptor(dev.descriptor(Kind.CONFIGURATION)[_OFFSETS[ep] :], _ENDPOINT)

    def open_device(self, dev: PrinterFunction) -> PrinterFunction:
        """The handle is the function."""
        return dev

    def close_device(self, dev_handle: PrinterFunction) -> None:
        """The cable stays in; interfaces are let go."""
        self._claimed.discard(id(dev_handle))

    def set_configuration(self, dev_handle: PrinterFunction, config_value: int) -> None:
        """SET_CONFIGURATION."""
        self._control(dev_handle, Setup(0x00, 9, config_value, 0, 0))

    def get_configuration(self, dev_handle: PrinterFunction) -> int:
        """The configuration now; 0 is none."""
        return self._control(dev_handle, Setup(0x80, 8, 0, 0, 1))[0]

    def set_interface_altsetting(self, dev_handle: PrinterFunction, intf: int, altsetting: int) -> None:
        """SET_INTERFACE."""
        self._control(dev_handle, Setup(0x01, 11, altsetting, intf, 0))

    def claim_interface(self, dev_handle: PrinterFunction, intf: int) -> None:
        """Claim it; a kernel would configure the device at the latest now."""
        if intf:
            raise _error(errno.ENOENT, "Entity not found")
        if id(dev_handle) in self._claimed:
            raise _error(errno.EBUSY, "Resource busy")
        self._claimed.add(id(dev_handle))

    def release_interface(self, dev_handle: PrinterFunction, intf: int) -> None:  # noqa: ARG002
        """Let it go."""
        self._claimed.discard(id(dev_handle))

    def bulk_write(self, dev_handle: PrinterFunction, ep: int, intf: int, data: array.array[int], timeout: int) -> int:  # noqa: ARG002
        """A bulk OUT transfer. Returns the octets that went before a time-out, unless none did."""
        return self._bulk(dev_handle, Transfer(ep, data.tobytes(), len(data), _nobody), timeout).actual

    def bulk_read(self, dev_handle: PrinterFunction, ep: int, intf: int, buff: array.array[int], timeout: int) -> int:  # noqa: ARG002
        """A bulk IN transfer into `buff`. Returns how many octets came."""
        transfer = self._bulk(dev_handle, Transfer(ep, b"", len(buff), _nobody), timeout)
        buff[: transfer.actual] = array.array("B", transfer.data)
        return transfer.actual

    def ctrl_transfer(
        self,
        dev_handle: PrinterFunction,
        bmRequestType: int,  # noqa: N803 - PyUSB's names
        bRequest: int,  # noqa: N803
        wValue: int,  # noqa: N803
        wIndex: int,  # noqa: N803
        data: array.array[int],
        timeout: int,  # noqa: ARG002 - a control transfer is answered at once
    ) -> int:
        """A control transfer; IN fills `data`."""
        setup = Setup(bmRequestType, bRequest, wValue, wIndex, len(data))
        reply = self._control(dev_handle, setup)
        if not setup.reads:
            return len(data)
        data[: len(reply)] = array.array("B", reply)
        return len(reply)

    def clear_halt(self, dev_handle: PrinterFunction, ep: int) -> None:
        """CLEAR_FEATURE of the endpoint's halt."""
        self._control(dev_handle, Setup(0x02, 1, 0, ep, 0))

    def reset_device(self, dev_handle: PrinterFunction) -> None:
        """Bus reset, after which the host restores the configuration."""
        before = dev_handle.configuration
        self._runner.call(dev_handle.reset)
        self.set_configuration(dev_handle, before)

    def is_kernel_driver_active(self, dev_handle: PrinterFunction, intf: int) -> bool:  # noqa: ARG002
        """No kernel is between."""
        return False

    def unplug(self) -> None:
        """Pull every cable."""
        for function in self._functions:
            self._runner.call(function.unplug)

    def _control(self, function: PrinterFunction, setup: Setup) -> bytes:
        reply = self._runner.call(lambda: function.control(setup))
        if reply is None:
            raise _error(*ERRORS[Outcome.STALLED if function.attached else Outcome.GONE])
        return reply

    def _bulk(self, function: PrinterFunction, transfer: Transfer, timeout: int) -> Transfer:
        self._runner.call(lambda: function.submit(transfer))
        if transfer.outcome is None:
            self._runner.wait(transfer, timeout / 1000 if timeout else None)
            self._runner.call(lambda: function.cancel(transfer))
        if transfer.outcome is Outcome.CANCELLED and not transfer.actual:
            raise usb.core.USBTimeoutError("Operation timed out", errno=errno.ETIMEDOUT)
        if transfer.outcome in ERRORS:
            raise _error(*ERRORS[transfer.outcome])
        return transfer


def _nobody(_: Transfer) -> None:
    """Nobody waits to be told: the runner looks."""


def _error(number: int, text: str) -> usb.core.USBError:
    return usb.core.USBError(text, errno=number)
