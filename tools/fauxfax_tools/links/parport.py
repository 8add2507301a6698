"""parport:DEVICE - IEEE 1284 through the kernel's ppdev: compatibility mode out, nibble mode back.

The kernel drives the handshake of each mode; this file claims the port and negotiates (Linux, include/uapi/linux/
ppdev.h and parport.h). The port is held exclusively while the link is open.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys

from fauxfax_tools.errors import LinkLost
from fauxfax_tools.links.base import strip_length

IOC_WRITE = 1
SIZE_OF_INT = 4


def _io(number: int) -> int:
    return ord("p") << 8 | number


def _iow_int(number: int) -> int:
    return IOC_WRITE << 30 | SIZE_OF_INT << 16 | ord("p") << 8 | number


PPCLAIM, PPRELEASE, PPEXCL = _io(0x8B), _io(0x8C), _io(0x8F)
PPNEGOT = _iow_int(0x91)
MODE_NIBBLE, MODE_COMPATIBILITY, REQUEST_DEVICE_ID = 0, 1 << 8, 1 << 2
ID_LENGTH = 1024
WRITE_CHUNK = 4096  # octets in one call, so that a busy machine is noticed soon


def open_url(rest: str) -> ParportLink:
    """The link for a ppdev device. Raises ValueError if it is empty or the system has none."""
    if not sys.platform.startswith("linux"):
        raise ValueError("ppdev is a Linux thing; use usb: or tcp:// here")
    if not rest:
        raise ValueError("no device is named")
    return ParportLink(rest)


class ParportLink:
    """One parallel port, claimed through ppdev."""

    bidirectional = True

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: int | None = None
        self._mode = MODE_COMPATIBILITY

    @property
    def url(self) -> str:
        """`parport:DEVICE`."""
        return f"parport:{self.path}"

    def open(self) -> None:
        """Open the device, claim the port, and start in compatibility mode."""
        import fcntl

        self.close()
        try:
            file = os.open(self.path, os.O_RDWR)
        except OSError as error:
            raise LinkLost(f"{self.url}: {error.strerror}; is the module ppdev loaded?") from error
        try:
            fcntl.ioctl(file, PPEXCL)
            fcntl.ioctl(file, PPCLAIM)
        except OSError as error:
            os.close(file)
            raise LinkLost(f"{self.url}: the port cannot be claimed ({error.strerror}); is `lp` loaded?") from error
        self._file, self._mode = file, MODE_COMPATIBILITY

    def close(self) -> None:
        """Go back to compatibility mode, release the port, close the device."""
        import fcntl

        file, self._file = self._file, None
        if file is None:
            return
        with contextlib.suppress(OSError):
            fcntl.ioctl(file, PPNEGOT, struct.pack("i", MODE_COMPATIBILITY))
            fcntl.ioctl(file, PPRELEASE)
        os.close(file)

    def write(self, data: memoryview, timeout: float) -> int:  # noqa: ARG002 - the kernel's own time-out rules here
        """Strobe octets out; the kernel returns early when the machine holds BUSY."""
        try:
            return os.write(self._in_mode(MODE_COMPATIBILITY), data[:WRITE_CHUNK])
        except TimeoutError:
            return 0
        except OSError as error:
            raise LinkLost(f"{self.url}: the port was lost while sending ({error.strerror})") from error

    def read(self, limit: int, timeout: float) -> bytes:  # noqa: ARG002 - as above
        """Turn the cable round and read nibbles, as many as the machine offers."""
        try:
            return os.read(self._in_mode(MODE_NIBBLE), limit)
        except OSError:
            return b""  # the machine has nothing, or knows no nibble mode

    def identify(self) -> str | None:
        """The device id by a 1284 negotiation; None from a machine of before 1994."""
        try:
            reply = os.read(self._in_mode(MODE_NIBBLE | REQUEST_DEVICE_ID), ID_LENGTH)
        except OSError:
            return None
        finally:
            self._mode = -1  # the id is read once: whatever comes next negotiates anew
        return strip_length(reply)

    def _in_mode(self, mode: int) -> int:
        """The descriptor, after a negotiation if the port is in another mode."""
        import fcntl

        if self._file is None:
            raise LinkLost(f"{self.url}: the link is not open")
        if mode != self._mode:
            fcntl.ioctl(self._file, PPNEGOT, struct.pack("i", MODE_COMPATIBILITY))
            if mode != MODE_COMPATIBILITY:
                fcntl.ioctl(self._file, PPNEGOT, struct.pack("i", mode))
            self._mode = mode
        return self._file
