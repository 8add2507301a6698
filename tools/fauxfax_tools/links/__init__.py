"""The registry of links: a LINK of the command line becomes a :class:`~fauxfax_tools.links.base.Link`.

LINK is one URL, scheme first:

    usb:[VID:PID[:SERIAL]]      libusb through pyusb; without ids the first Panasonic printer found
                                usb:04da:1500:EMU0001
    usbip://HOST[:PORT][/BUSID] USB over TCP, spoken by this program itself; port 3240, first exported device
                                usbip://127.0.0.1:3240/1-1
    tcp://HOST[:PORT]           the raw port; 9100
                                tcp://192.0.2.7
    serial:URL[?baud=N]         any pyserial URL: a device, socket://, rfc2217://; 115200 baud, RTS/CTS
                                serial:/dev/ttyUSB0?baud=38400
    lp:DEVICE                   a printer character device
                                lp:/dev/usb/lp0
    parport:DEVICE              IEEE 1284 through ppdev, compatibility mode out and nibble mode back
                                parport:/dev/parport0
    emulated:[MODEL]            a machine in this process
                                emulated:UF-7100

A scheme is a module here with `open_url(rest) -> Link`, `rest` being what follows the first colon; or an entry point of
the group `fauxfax_tools.links` with the same signature. Neither opens anything yet: `Link.open()` does.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from fauxfax_tools.errors import BadUsage
from fauxfax_tools.links.base import Link

LinkFactory = Callable[[str], Link]

ENTRY_POINTS = "fauxfax_tools.links"
DRIVERS = {
    # scheme: (module, the form that errors repeat)
    "usb": ("usb", "usb:[VID:PID[:SERIAL]]"),
    "usbip": ("usbip", "usbip://HOST[:PORT][/BUSID]"),
    "tcp": ("tcp", "tcp://HOST[:PORT]"),
    "serial": ("serialport", "serial:URL[?baud=N]"),
    "lp": ("lp", "lp:/dev/usb/lp0"),
    "parport": ("parport", "parport:/dev/parport0"),
    "emulated": ("", "emulated:[MODEL]"),
}


def find_link(url: str) -> Link:
    """The link for a LINK; nothing is opened yet. Raises BadUsage that repeats the expected forms."""
    scheme, colon, rest = url.partition(":")
    if not colon:
        raise BadUsage(f"LINK {url!r} has no scheme; it is written like one of: {forms()}")
    factory = _factory(scheme.lower(), url)
    try:
        return factory(rest)
    except ValueError as error:  # Misuse, and int() on a bad number
        form = DRIVERS.get(scheme.lower(), ("", f"{scheme}:…"))[1]
        raise BadUsage(f"LINK {url!r}: {error}; expected {form}") from error


def forms() -> str:
    """The forms of LINK on one line, for messages."""
    return ", ".join(form for _, form in DRIVERS.values())


def _factory(scheme: str, url: str) -> LinkFactory:
    module = DRIVERS.get(scheme, ("", ""))[0]
    if module:
        driver: LinkFactory = import_module(f"{__name__}.{module}").open_url
        return driver
    from importlib.metadata import entry_points  # takes a third as long as all the other imports

    for plugin in entry_points(group=ENTRY_POINTS, name=scheme):
        try:
            factory: LinkFactory = plugin.load()
        except (ImportError, AttributeError) as error:
            raise BadUsage(f"LINK {url!r}: the plug-in {plugin.value} cannot be loaded ({error})") from error
        return factory
    known = f"no installed package offers {scheme!r}" if scheme in DRIVERS else f"{scheme!r} is no scheme"
    raise BadUsage(f"LINK {url!r}: {known}; it is written like one of: {forms()}")
