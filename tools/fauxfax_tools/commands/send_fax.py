"""`fauxfax-tool send-fax`: a document to a fax, by mail."""

from __future__ import annotations

import getpass
import json
import socket
from datetime import datetime
from pathlib import Path

import click

SMTP_PORT = 25
RESOLUTIONS = {"standard": 98.0, "fine": 196.0}


@click.command("send-fax")
@click.option(
    "--to", "recipients", multiple=True, required=True, metavar="ADDRESS", help="The fax; repeat it for several."
)
@click.option(
    "--via", metavar="HOST[:PORT]", help="The mail server; without it, the domain of the first address, port 25."
)
@click.option("--from", "sender", metavar="ADDRESS", help="Who sends; receipts go there.")
@click.option(
    "--receipt", is_flag=True, help="Ask for a notice when it is printed, and for one if it is not delivered."
)
@click.option("--resolution", type=click.Choice(list(RESOLUTIONS)), default="fine", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(
    recipients: tuple[str, ...],
    via: str | None,
    sender: str | None,
    receipt: bool,
    resolution: str,
    as_json: bool,
    files: tuple[Path, ...],
) -> int:
    """Send FILEs (PDF, PNG, TIFF or text) as one fax: TIFF-F of profile S, attached to a mail.

    A PDF needs the program pdftoppm.
    """
    from fauxfax_tools.errors import BadUsage
    from fauxfax_tools.links.address import split_address
    from fauxfax_tools.pages import read_pages
    from fauxfax_tools.sendfax import Fax, check_address, send

    checked = tuple(check_address(recipient) for recipient in recipients)
    origin = check_address(sender or f"{getpass.getuser()}@{socket.gethostname()}")
    try:
        host, port = split_address(via or checked[0].rpartition("@")[2], SMTP_PORT)
    except ValueError as error:
        raise BadUsage(f"--via {via}: {error}") from error
    pages = [page for path in files for page in read_pages(path, RESOLUTIONS[resolution])]
    done = send(Fax(origin, checked, pages, receipt), host, port, datetime.now().astimezone())
    fields = {"result": "sent", "pages": len(pages), "octets": done.octets, "message_id": done.message_id}
    if as_json:
        click.echo(json.dumps({**fields, "reply": done.reply, "refused": done.refused}))
        return 1 if done.refused else 0
    click.echo(f"{host}:{port} took {len(pages)} page{'s' * (len(pages) != 1)}, {done.octets} octets: {done.reply}")
    for recipient, complaint in done.refused.items():
        click.echo(f"fauxfax-tool: {recipient} was refused: {complaint}", err=True)
    return 1 if done.refused else 0
