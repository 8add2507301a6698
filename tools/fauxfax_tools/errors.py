"""What goes wrong for the person who holds a tool, and the exit code each kind has.

Every message names the object, what was tried and what to do next. `cli.main` prints it and exits with `exit_code`;
nothing else in the package decides an exit code.
"""

from __future__ import annotations

from enum import IntEnum

from fauxfax.errors import FauxfaxError


class Exit(IntEnum):
    """Exit codes of `fauxfax-tool`."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NO_MACHINE = 3
    BUSY = 4
    BAD_FILE = 5
    INTERRUPTED = 130

    @property
    def word(self) -> str:
        """For scripts: `no-machine`."""
        return self.name.lower().replace("_", "-")


class ToolError(FauxfaxError):
    """Root of what the tools raise on purpose."""

    exit_code: Exit = Exit.REFUSED


class Refused(ToolError):  # noqa: N818 - the word of the contract
    """The machine, or the tool on its behalf, refused; the message carries the reason."""


class BadUsage(ToolError):  # noqa: N818
    """The command line asks for something that cannot be; the message repeats the expected form."""

    exit_code = Exit.USAGE


class LinkLost(ToolError, ConnectionError):  # noqa: N818 - also an OSError: links raise nothing else
    """No machine answers on a link, or it went away in the middle."""

    exit_code = Exit.NO_MACHINE


class Busy(ToolError):  # noqa: N818
    """The machine does something else now: it prints, receives, or another tool updates it."""

    exit_code = Exit.BUSY


class BadCodeFile(ToolError):  # noqa: N818
    """The file is not a valid code file; the message says where it stops being one."""

    exit_code = Exit.BAD_FILE


class Interrupted(ToolError):  # noqa: N818
    """The person pressed Ctrl-C; the message says in which state the machine is and how to go on."""

    exit_code = Exit.INTERRUPTED
