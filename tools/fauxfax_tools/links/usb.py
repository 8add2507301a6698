"""usb:[VID:PID[:SERIAL]] - the bulk endpoints of the printer interface, through pyusb and libusb.

Without ids the first device of Panasonic (0x04DA) with a printer interface is taken. After the first `open()` the link
keeps the serial number, so that a machine which restarts is found again wherever it enumerates.
Source: USB printer class 1.1, 4.2 (requests) and 5.2 (endpoints).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fauxfax_tools.errors import LinkLost
from fauxfax_tools.links.base import strip_length

if TYPE_CHECKING:
    import usb.backend
    import usb.core

PANASONIC = 0x04DA
PRINTER_CLASS = 7
GET_DEVICE_ID, SOFT_RESET = 0, 2
CLASS_INTERFACE_IN, CLASS_INTERFACE_OUT = 0xA1, 0x21
ID_LENGTH = 1024
WRITE_CHUNK = 256 * 1024  # octets in one bulk transfer
READ_CHUNK = 4096
LEAST_TIMEOUT = 1  # milliseconds; libusb takes 0 for "for ever"


def open_url(rest: str) -> UsbLink:
    """The link for `[VID:PID[:SERIAL]]`, ids in hex. Raises ValueError on anything else."""
    if not rest:
        return UsbLink(PANASONIC, None, None)
    vendor, colon, more = rest.partition(":")
    product, _, serial = more.partition(":")
    if not colon or not product:
        raise ValueError("both ids are needed")
    return UsbLink(_number(vendor), _number(product), serial or None)


def _number(text: str) -> int:
    try:
        number = int(text, 16)
    except ValueError:
        raise ValueError(f"{text!r} is no hexadecimal id") from None
    if not 0 <= number <= 0xFFFF:
        raise ValueError(f"{text!r} is no id of 16 bits")
    return number


class UsbLink:
    """One printer interface of one USB device."""

    def __init__(
        self, vendor: int, product: int | None, serial: str | None, backend: usb.backend.IBackend | None = None
    ) -> None:
        self.vendor, self.product, self.serial = vendor, product, serial
        self._backend = backend  # None: libusb
        self._contexts: list[usb.backend.IBackend | None] = []  # of libusb; each outlives the devices it gave
        self.bidirectional = True
        self._device: usb.core.Device | None = None
        self._interface: usb.core.Interface | None = None
        self._out: usb.core.Endpoint | None = None
        self._in: usb.core.Endpoint | None = None

    @property
    def url(self) -> str:
        """`usb:VID:PID:SERIAL` as far as it is known."""
        ids = f"{self.vendor:04x}:{self.product:04x}" if self.product is not None else ""
        return f"usb:{ids}{f':{self.serial}' if self.serial else ''}"

    def open(self) -> None:
        """Find the device, take the interface from the kernel, and claim it."""
        import usb.core
        import usb.util

        self.close()
        try:
            device, interface = self._find()
            number = interface.bInterfaceNumber
            with contextlib.suppress(NotImplementedError):
                if device.is_kernel_driver_active(number):
                    device.detach_kernel_driver(number)
            _configure(device)
            usb.util.claim_interface(device, number)
        except usb.core.NoBackendError as error:
            raise LinkLost(f"{self.url}: libusb is not installed (Debian: libusb-1.0-0)") from error
        except usb.core.USBError as error:
            raise LinkLost(f"{self.url}: {error.strerror or error}; is it in use, or do you lack the right?") from error
        self._take(device, interface)
        with contextlib.suppress(usb.core.USBError):
            device.ctrl_transfer(CLASS_INTERFACE_OUT, SOFT_RESET, 0, number)

    def _find(self) -> tuple[usb.core.Device, usb.core.Interface]:
        import usb.core

        backend = self._backend or _fresh_context()
        for device in usb.core.find(find_all=True, backend=backend, **self._ids()):
            for interface in _printer_interfaces(device):
                if self.serial is None or _serial(device) == self.serial:
                    self._contexts.append(backend)
                    return device, interface
        raise LinkLost(f"{self.url}: no USB printer with these ids; is the machine connected and switched on?")

    def _ids(self) -> dict[str, int]:
        ids = {"idVendor": self.vendor}
        if self.product is not None:
            ids["idProduct"] = self.product
        return ids

    def _take(self, device: usb.core.Device, interface: usb.core.Interface) -> None:
        import usb.util

        def is_in(endpoint: usb.core.Endpoint) -> bool:
            return bool(usb.util.endpoint_direction(endpoint.bEndpointAddress) == usb.util.ENDPOINT_IN)

        self._device, self._interface = device, interface
        self._out = next((e for e in interface if not is_in(e)), None)
        self._in = next((e for e in interface if is_in(e)), None)
        self.bidirectional = self._in is not None
        self.product, self.serial = device.idProduct, _serial(device) or self.serial

    def close(self) -> None:
        """Release the interface and give it back to the kernel's driver, as far as the device still exists."""
        device, interface = self._device, self._interface
        self._device = self._interface = self._out = self._in = None
        if device is None or interface is None:
            return
        import usb.core
        import usb.util

        with contextlib.suppress(usb.core.USBError, NotImplementedError):
            usb.util.release_interface(device, interface.bInterfaceNumber)
            device.attach_kernel_driver(interface.bInterfaceNumber)
        usb.util.dispose_resources(device)

    def write(self, data: memoryview, timeout: float) -> int:
        """One bulk transfer; 0 when the machine answered NAK for `timeout`."""
        import usb.core

        if self._out is None:
            raise LinkLost(f"{self.url}: the link is not open")
        try:
            return int(self._out.write(data[:WRITE_CHUNK].tobytes(), _milliseconds(timeout)))
        except usb.core.USBTimeoutError:
            return 0
        except usb.core.USBError as error:
            raise LinkLost(f"{self.url}: the machine went away while sending ({error.strerror or error})") from error

    def read(self, limit: int, timeout: float) -> bytes:
        """One bulk transfer back; empty when the machine has nothing."""
        import usb.core

        if self._device is None:
            raise LinkLost(f"{self.url}: the link is not open")
        if self._in is None:
            return b""
        try:
            return bytes(self._in.read(max(READ_CHUNK, limit), _milliseconds(timeout)))
        except usb.core.USBTimeoutError:
            return b""
        except usb.core.USBError as error:
            raise LinkLost(f"{self.url}: the machine went away ({error.strerror or error})") from error

    def identify(self) -> str | None:
        """GET_DEVICE_ID of the printer class (4.2.1)."""
        import usb.core

        if self._device is None or self._interface is None:
            return None
        index = self._interface.bInterfaceNumber << 8 | self._interface.bAlternateSetting
        try:
            reply = self._device.ctrl_transfer(CLASS_INTERFACE_IN, GET_DEVICE_ID, 0, index, ID_LENGTH)
        except usb.core.USBError:
            return None
        return strip_length(bytes(reply))


def _fresh_context() -> usb.backend.IBackend | None:
    """Libusb looks at the bus when a context begins; of what comes later only udev tells it, which may not run."""
    import usb.backend.libusb1

    shared = usb.backend.libusb1.get_backend()
    return shared and type(shared)(shared.lib)


def _configure(device: usb.core.Device) -> None:
    """Choose the configuration if nobody has: one that is chosen again would reset the device."""
    import usb.core

    try:
        device.get_active_configuration()
    except usb.core.USBError:
        device.set_configuration()


def _printer_interfaces(device: usb.core.Device) -> Iterator[usb.core.Interface]:
    for configuration in device:
        for interface in configuration:
            if interface.bInterfaceClass == PRINTER_CLASS:
                yield interface


def _serial(device: usb.core.Device) -> str | None:
    import usb.core

    try:
        return str(device.serial_number) if device.serial_number else None
    except (usb.core.USBError, ValueError):  # not readable without the right to the device
        return None


def _milliseconds(seconds: float) -> int:
    return max(LEAST_TIMEOUT, int(seconds * 1000))
