"""The descriptors of the USB printer function: declared once as data, built once per attachment.

One configuration, one interface of class 7/1/2 (bidirectional printer), bulk OUT and bulk IN.
Source: USB 2.0, chapter 9.6; USB printer class 1.1, chapter 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum

from construct import Const, Int8ul, Int16ul, Struct

BULK_OUT = 0x01
BULK_IN = 0x82
CONFIGURATION = 1
PRINTER_CLASS, PRINTER_SUBCLASS, BIDIRECTIONAL = 7, 1, 2
ENGLISH = 0x0409


class Speed(Enum):
    """A speed of the bus, and the size of a bulk packet at it (USB 2.0, 5.8.3)."""

    FULL = 64
    HIGH = 512

    @property
    def other(self) -> Speed:
        """The speed the device is not running at."""
        return Speed.FULL if self is Speed.HIGH else Speed.HIGH


class Kind(IntEnum):
    """bDescriptorType (USB 2.0, table 9-5)."""

    DEVICE = 1
    CONFIGURATION = 2
    STRING = 3
    QUALIFIER = 6
    OTHER_SPEED = 7


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the device says it is. `release` is bcdDevice: the firmware's four digits as BCD."""

    vendor: int
    product: int
    manufacturer: str
    name: str
    serial: str
    release: int = 0x0100


_DEVICE = Struct(
    "length" / Const(18, Int8ul),
    "kind" / Const(Kind.DEVICE, Int8ul),
    "usb" / Const(0x0200, Int16ul),
    "device_class" / Const(bytes(3)),  # class, subclass, protocol: each interface says its own
    "control_packet" / Const(64, Int8ul),
    "vendor" / Int16ul,
    "product" / Int16ul,
    "release" / Int16ul,
    "strings" / Const(bytes((1, 2, 3))),  # manufacturer, product, serial number
    "configurations" / Const(1, Int8ul),
)
_QUALIFIER = Struct(
    "length" / Const(10, Int8ul),
    "kind" / Const(Kind.QUALIFIER, Int8ul),
    "usb" / Const(0x0200, Int16ul),
    "device_class" / Const(bytes(3)),
    "control_packet" / Const(64, Int8ul),
    "configurations" / Const(1, Int8ul),
    "reserved" / Const(0, Int8ul),
)
_ENDPOINT = Struct(
    "length" / Const(7, Int8ul),
    "kind" / Const(5, Int8ul),
    "address" / Int8ul,
    "attributes" / Const(2, Int8ul),  # bulk
    "packet" / Int16ul,
    "interval" / Const(0, Int8ul),
)
_CONFIGURATION = Struct(
    "length" / Const(9, Int8ul),
    "kind" / Int8ul,
    "total" / Const(32, Int16ul),
    "interfaces" / Const(1, Int8ul),
    "value" / Const(CONFIGURATION, Int8ul),
    "name" / Const(0, Int8ul),
    "attributes" / Const(0xC0, Int8ul),  # powered by itself
    "milliamperes" / Const(1, Int8ul),  # in units of 2 mA
    "interface"
    / Struct(
        "length" / Const(9, Int8ul),
        "kind" / Const(4, Int8ul),
        "number" / Const(0, Int8ul),
        "alternate" / Const(0, Int8ul),
        "endpoints" / Const(2, Int8ul),
        "interface_class" / Const(bytes((PRINTER_CLASS, PRINTER_SUBCLASS, BIDIRECTIONAL))),
        "name" / Const(0, Int8ul),
    ),
    "bulk_out" / _ENDPOINT,
    "bulk_in" / _ENDPOINT,
)


def build(identity: Identity, speed: Speed) -> Mapping[tuple[int, int], bytes]:
    """Every descriptor of the device at `speed`, by kind and index."""
    device = {"vendor": identity.vendor, "product": identity.product, "release": identity.release}
    descriptors: dict[tuple[int, int], bytes] = {
        (Kind.DEVICE, 0): _DEVICE.build(device),
        (Kind.CONFIGURATION, 0): _configuration(Kind.CONFIGURATION, speed),
        (Kind.STRING, 0): bytes((4, Kind.STRING)) + ENGLISH.to_bytes(2, "little"),
    }
    for index, text in enumerate((identity.manufacturer, identity.name, identity.serial), start=1):
        descriptors[Kind.STRING, index] = _string(text)
    if speed is Speed.HIGH:  # a full-speed device that is not capable of more stalls these (USB 2.0, 9.6.2)
        descriptors[Kind.QUALIFIER, 0] = _QUALIFIER.build({})
        descriptors[Kind.OTHER_SPEED, 0] = _configuration(Kind.OTHER_SPEED, speed.other)
    return descriptors


def _configuration(kind: Kind, speed: Speed) -> bytes:
    return bytes(
        _CONFIGURATION.build(
            {
                "kind": kind,
                "interface": {},
                "bulk_out": {"address": BULK_OUT, "packet": speed.value},
                "bulk_in": {"address": BULK_IN, "packet": speed.value},
            }
        )
    )


def _string(text: str) -> bytes:
    """A string descriptor: at most 126 characters fit its length octet."""
    body = text.encode("utf-16-le")[:252]
    return bytes((len(body) + 2, Kind.STRING)) + body
