"""`fauxfax-tool local-update`: the Local Firmware Update Tool (parallel, USB, serial)."""

from __future__ import annotations

import click

from fauxfax_tools.commands.options import UpdateOptions, run_update, update_options
from fauxfax_tools.errors import BadUsage


@click.command("local-update")
@click.option(
    "--port",
    "link",
    metavar="LINK",
    help="usb:, usbip://HOST, tcp://HOST, serial:URL, lp:DEVICE, parport:DEVICE, emulated:",
)
@update_options
def command(link: str | None, options: UpdateOptions) -> int:
    """Update the machine on a cable with code FILEs.

    Without FILE on a terminal it asks for everything.
    """
    from fauxfax_tools.links import find_link, forms
    from fauxfax_tools.targets import LinkTarget

    if link is None and options.files:
        raise BadUsage(f"--port is missing: which link? It is one of {forms()}")
    if link is not None:
        find_link(link)
        if options.files:
            return run_update([LinkTarget(link)], options)
    from fauxfax_tools.wizard import local_wizard

    return local_wizard(link, options)
