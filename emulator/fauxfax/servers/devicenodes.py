"""One machine as device nodes for unmodified programs on this computer, by umockdev: its USB plug, its parallel port.

UMOCKDEV_DIR=FOLDER LD_PRELOAD=libumockdev-preload.so.0 lsusb
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from fauxfax.hostport.ieee1284 import Peripheral
from fauxfax.hostport.usb import PrinterFunction
from fauxfax.servers.ppdev import PpdevDevice
from fauxfax.servers.umockdev import DeviceTree
from fauxfax.servers.usbfs import UsbfsDevice

LONGEST_FOLDER = 64
"""Octets of the folder's name: the path of a socket below it has room for 107."""


class DeviceNodes:
    """`/dev/bus/usb/001/NNN` and `/dev/parport0` below `folder`, or below a temporary one if its name is too long."""

    def __init__(
        self, folder: Path, plug: Callable[[], PrinterFunction], plug_parallel: Callable[[], Peripheral]
    ) -> None:
        self.folder = folder
        self._plug = plug
        self._plug_parallel = plug_parallel

    async def start(self) -> None:
        """Make them. What an earlier process left is removed first."""
        if len(str(self.folder).encode()) > LONGEST_FOLDER:
            self.folder = Path(tempfile.mkdtemp(prefix="fauxfax-"))
        shutil.rmtree(self.folder, ignore_errors=True)
        self._tree = DeviceTree(self.folder)
        self._usb = UsbfsDevice(self._tree, self._plug)
        self._parport = PpdevDevice(self._tree, self._plug_parallel())
        await self._usb.start()
        await self._parport.start()

    async def stop(self) -> None:
        """Pull both cables, and take the folder away."""
        self._parport.stop()
        await self._usb.stop()
        await self._tree.close()
        shutil.rmtree(self.folder, ignore_errors=True)
