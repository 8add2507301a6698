"""lp:DEVICE - a printer character device of the kernel, usblp or lp.

The device is opened for reading and writing; where the kernel offers writing only, the link is one-way. The device id
comes from `LPIOC_GET_DEVICE_ID`, a fresh stream from `LPIOC_SOFT_RESET` (Linux, drivers/usb/class/usblp.c:
`_IOC(_IOC_READ, 'P', 1, length)` and `_IOC(_IOC_NONE, 'P', 7, 0)`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys

from fauxfax_tools.errors import LinkLost
from fauxfax_tools.links.base import strip_length

ID_LENGTH = 1024  # octets offered for the device id
IOC_READ = 2
LPIOC_GET_DEVICE_ID = IOC_READ << 30 | ID_LENGTH << 16 | ord("P") << 8 | 1
LPIOC_SOFT_RESET = ord("P") << 8 | 7
GONE = {errno.ENODEV, errno.EIO, errno.ENXIO, errno.EPIPE, errno.ESHUTDOWN}


def open_url(rest: str) -> LpLink:
    """The link for a device path. Raises ValueError if it is empty or the system has no such devices."""
    if sys.platform == "win32":
        raise ValueError("printer character devices are a Unix thing; use usb: or tcp:// here")
    if not rest:
        raise ValueError("no device is named")
    return LpLink(rest)


class LpLink:
    """One printer character device."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.bidirectional = True
        self._file: int | None = None

    @property
    def url(self) -> str:
        """`lp:DEVICE`."""
        return f"lp:{self.path}"

    def open(self) -> None:
        """Open the device, both ways if the kernel allows it."""
        self.close()
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
            self.bidirectional = True
            self._soft_reset()
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EINVAL):
                raise LinkLost(f"{self.url}: {_why(error)}") from error
            self._open_one_way()

    def _soft_reset(self) -> None:
        import fcntl

        with contextlib.suppress(OSError):  # the `lp` driver has none
            fcntl.ioctl(self._descriptor(), LPIOC_SOFT_RESET)

    def _open_one_way(self) -> None:
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            raise LinkLost(f"{self.url}: {_why(error)}") from error
        self.bidirectional = False

    def close(self) -> None:
        """Close the device; closing twice is fine."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def write(self, data: memoryview, timeout: float) -> int:
        """Hand octets to the kernel; 0 when the printer stayed busy for `timeout`."""
        file = self._descriptor()
        if not select.select([], [file], [], timeout)[1]:
            return 0
        try:
            return os.write(file, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._lost(error) from error

    def read(self, limit: int, timeout: float) -> bytes:
        """What the printer has to say; empty on a one-way device."""
        file = self._descriptor()
        if not self.bidirectional or not select.select([file], [], [], timeout)[0]:
            return b""
        try:
            return os.read(file, limit)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._lost(error) from error

    def identify(self) -> str | None:
        """The device id from the kernel; None where the driver has none to give."""
        import fcntl

        try:
            return strip_length(fcntl.ioctl(self._descriptor(), LPIOC_GET_DEVICE_ID, bytes(ID_LENGTH)))
        except OSError:
            return None

    def _descriptor(self) -> int:
        if self._file is None:
            raise LinkLost(f"{self.url}: the link is not open")
        return self._file

    def _lost(self, error: OSError) -> OSError:
        if error.errno in GONE:
            return LinkLost(f"{self.url}: the machine went away ({error.strerror})")
        return LinkLost(f"{self.url}: {error.strerror}")


def _why(error: OSError) -> str:
    advice = {
        errno.ENOENT: "no such device; is the machine connected and switched on?",
        errno.EACCES: "permission denied; add yourself to the group `lp` or run as root",
        errno.EBUSY: "another program has the device open",
    }
    return advice.get(error.errno or 0, str(error.strerror))
