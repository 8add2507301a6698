"""`fauxfax-tool network-update`: the Network Firmware Update Tool."""

from __future__ import annotations

import click

from fauxfax_tools.commands.options import UpdateOptions, run_update, update_options
from fauxfax_tools.errors import BadUsage


@click.command("network-update")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="Name, address, range 192.0.2.10-20 or 192.0.2.0/28; several with commas, or repeat it.",
)
@click.option("--via", type=click.Choice(["raw", "lpd", "ftp"]), default="raw", show_default=True, help="The way in.")
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port, if it is not the usual one.")
@update_options
def command(hosts: tuple[str, ...], via: str, port: int | None, options: UpdateOptions) -> int:
    """Update one or several machines with code FILEs over the network.

    Without FILE on a terminal it asks for everything. Only --via raw can follow the machine until the new version runs.
    """
    from fauxfax_tools.targets import network_targets

    if not hosts and options.files:
        raise BadUsage("--host is missing: which machine? For example --host 192.0.2.7")
    if options.files:
        return run_update(network_targets(hosts, via, port), options)
    from fauxfax_tools.wizard import network_wizard

    return network_wizard(hosts, via, port, options)
