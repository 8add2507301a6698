"""`fauxfax-tool probe`: who answers on a link."""

from __future__ import annotations

import json as json_module

import click


@click.command("probe")
@click.option(
    "--port", "link_url", required=True, metavar="LINK", help="As for local-update; tcp://HOST for the network."
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def command(link_url: str, as_json: bool) -> int:
    """Say which machine answers: device id, model, versions, state, and how its last update ended."""
    from fauxfax_tools.errors import LinkLost
    from fauxfax_tools.links import find_link
    from fauxfax_tools.probing import probe

    link = find_link(link_url)
    try:
        link.open()
        found = probe(link)
    except OSError as error:
        raise LinkLost(str(error)) from error
    finally:
        link.close()
    click.echo(json_module.dumps(found.as_dict()) if as_json else "\n".join(found.lines()))
    return 0
