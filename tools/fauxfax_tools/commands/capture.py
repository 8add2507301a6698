"""`fauxfax-tool capture`: look at what an unknown tool sent to a machine that runs with update.dialect = "capture"."""

from __future__ import annotations

from pathlib import Path

import click

FILE = click.Path(path_type=Path)
CONNECTION = click.option("--connection", type=int, help="Only this one; else the one that said most.")


@click.group("capture")
def command() -> None:
    """Show, analyse and replay what an unknown tool sent.

    FILE is a recording of a machine that was started with --set update.dialect=capture.
    """


@command.command("show")
@click.argument("file", type=FILE)
@click.option("--connection", type=int, help="Only this one.")
@click.option("--all", "whole", is_flag=True, help="All octets, however many.")
def show(file: Path, connection: int | None, whole: bool) -> None:
    """Print every piece of FILE with its time, its direction and its octets."""
    from fauxfax_tools import recordings

    found = recordings.load(file)
    chosen = found if connection is None else [recordings.choose(found, connection)]
    for line in recordings.show(chosen, whole=whole):
        click.echo(line)


@command.command("analyse")
@click.argument("file", type=FILE)
@CONNECTION
def analyse(file: Path, connection: int | None) -> None:
    """Say what can be told of the protocol: framing, block sizes, counters, checksums that fit."""
    from fauxfax_tools import recordings

    for line in recordings.analyse(recordings.choose(recordings.load(file), connection)):
        click.echo(line)


@command.command("replay")
@click.argument("file", type=FILE)
@click.option("--port", "link_url", required=True, metavar="LINK", help="Where to say it again; as for local-update.")
@CONNECTION
@click.option("--pace", default=1.0, show_default=True, help="So many times as fast; 0 leaves no pauses.")
@click.option("--real", is_flag=True, help="Allow writing to a machine that is not an emulated one.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing.")
def replay(file: Path, link_url: str, connection: int | None, pace: float, real: bool, yes: bool) -> int:
    """Send what the tool sent to another machine, with its pauses, and print what comes back."""
    from fauxfax_tools import recordings
    from fauxfax_tools.commands.options import ask, on_terminal
    from fauxfax_tools.dialects.base import read_machine
    from fauxfax_tools.errors import LinkLost, Refused
    from fauxfax_tools.links import find_link
    from fauxfax_tools.targets import Consent

    chosen, link = recordings.choose(recordings.load(file), connection), find_link(link_url)
    try:
        link.open()
        machine = read_machine(link.identify() or "")
        if not Consent(yes, real, ask if on_terminal() else None).given(machine, f"what {file.name} says", link.url):
            raise Refused(f"{link.url}: not confirmed, nothing was sent")
        answer = recordings.replay(chosen, link, pace=pace)
    except OSError as error:
        raise LinkLost(f"{link.url}: {error}") from error
    finally:
        link.close()
    click.echo(f"{len(chosen.said())} octets sent, {len(answer)} came back")
    if answer:
        click.echo(answer.hex(" ", 4))
    return 0
