"""The `fauxfax-tool` command: which commands there are, and the one place where an error becomes an exit code.

A command's module is imported when the command runs, so `--help` is instant and `probe` never loads the fax sender.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from fauxfax.errors import FauxfaxError, FormatError, Misuse
from fauxfax_tools.errors import Exit, ToolError

COMMANDS = {
    # name: (module in commands/, what --help says)
    "network-update": ("network_update", "Update machines over the network."),
    "local-update": ("local_update", "Update the machine on a cable."),
    "probe": ("probe", "Say which machine answers on a link, and how its last update ended."),
    "codefile": ("codefile", "Build, inspect and verify code files."),
    "capture": ("capture", "Show, analyse and replay what an unknown tool sent."),
    "send-fax": ("send_fax", "Send a document to a fax by mail."),
}
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"fauxfax_tools.commands.{COMMANDS[name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(package_name="fauxfax", message="fauxfax-tool %(version)s")
def cli() -> None:
    """What a technician or a sender holds: update tools, code files, and a fax sender.

    Exit codes: 0 done, 1 refused or failed, 2 usage, 3 no machine or link lost, 4 busy, 5 not a valid code file.
    """


def main() -> None:
    """Entry point of the script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """One call: returns its exit code, and never lets a traceback out."""
    try:
        code = cli.main(list(arguments), prog_name="fauxfax-tool", standalone_mode=False)
        return code if isinstance(code, int) else Exit.DONE
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted", Exit.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), 1
        )  # whoever read us is gone; the interpreter's last flush must not fail
        return Exit.REFUSED
    except Exception as error:
        if os.environ.get("FAUXFAX_DEBUG"):
            raise
        return _say(*_explain(error))


def _explain(error: Exception) -> tuple[str, int]:
    if isinstance(error, ToolError):
        return str(error), error.exit_code
    if isinstance(error, FormatError):
        return str(error), Exit.BAD_FILE
    if isinstance(error, Misuse):
        return str(error), Exit.USAGE
    if isinstance(error, FauxfaxError):
        return str(error), Exit.REFUSED
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return f"{error.filename}: {error.strerror}", Exit.USAGE
    if isinstance(error, OSError):
        return f"{error.filename or 'the system'}: {error.strerror or error}", Exit.REFUSED
    return f"a fault of this program: {error!r} (FAUXFAX_DEBUG=1 shows where)", Exit.REFUSED


def _say(text: str, code: int) -> int:
    click.echo(f"fauxfax-tool: {text}", err=True)
    return code
