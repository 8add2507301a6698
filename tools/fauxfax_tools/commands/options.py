"""What the two update commands have in common: their options, and the run over machines and files."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fauxfax_tools.errors import BadUsage, ToolError

if TYPE_CHECKING:
    from fauxfax_tools.targets import Target


@dataclass(frozen=True, slots=True)
class UpdateOptions:
    """The options both update commands take."""

    files: tuple[Path, ...]
    yes: bool
    real: bool
    json: bool
    password: str
    force: bool
    patience: float


def update_options(command: Callable[..., int]) -> Callable[..., int]:
    """Declare the common options and hand them to the command as one `options`."""

    @click.argument("files", nargs=-1, type=click.Path(path_type=Path))
    @click.option("--yes", "-y", is_flag=True, help="Ask nothing.")
    @click.option("--real", is_flag=True, help="Allow writing to a machine that is not an emulated one.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
    @click.option("--password", default="", metavar="N", help="The machine's service password.")
    @click.option("--force-downgrade", "force", is_flag=True, help="Install an older or the same version.")
    @click.option(
        "--patience", default=120.0, show_default=True, help="Seconds without progress until it counts as lost."
    )
    @functools.wraps(command)
    def wrapped(
        *,
        files: tuple[Path, ...],
        yes: bool,
        real: bool,
        as_json: bool,
        password: str,
        force: bool,
        patience: float,
        **own: object,
    ) -> int:
        if password and not password.isdigit():
            raise BadUsage(f"--password {password!r}: the service password is a number")
        return command(options=UpdateOptions(files, yes, real, as_json, password, force, patience), **own)

    return wrapped


def run_update(targets: Sequence[Target], options: UpdateOptions) -> int:
    """Check every file first, then install them on every target."""
    from fauxfax_tools.campaign import run_campaign
    from fauxfax_tools.codefiles import load
    from fauxfax_tools.progress import JsonLines
    from fauxfax_tools.targets import Consent, Settings

    try:
        images = [load(path) for path in options.files]
    except ToolError as error:
        if not options.json:
            raise
        JsonLines(sys.stdout).result({"result": error.exit_code.word, "exit": error.exit_code}, str(error))
        return error.exit_code
    consent = Consent(options.yes, options.real, ask if on_terminal() else None)
    settings = Settings(options.password, options.force, options.patience)
    return run_campaign(targets, images, consent, settings, as_json=options.json)


def on_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str) -> bool:
    """A question on the terminal; on standard error, so that standard output stays clean."""
    return click.confirm(question, err=True)
