"""The device of the package usbip for benchmarks/ports.py: a vendor interface that drops what it is sent."""

from __future__ import annotations

import sys
import time
from typing import Any

from usbip import USBIP, In, Interface, Out, USBDevice


class Sink(Interface):  # type: ignore[misc]
    bulk_out = Out(0x01, "bulk", mps=512)
    bulk_in = In(0x82, "bulk", mps=512)

    def on_out(self, ep: Any, data: bytes) -> None:
        """Instead of queueing it."""


device = USBDevice(0x1209, 0x0004, product="sink")
device.add(Sink())
device.plug(via=USBIP("127.0.0.1", int(sys.argv[1])))
while True:
    time.sleep(60)
