"""The replies: the manual's list of codes, the texts of RFC 821, and how they are written on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache


class Code(IntEnum):
    """Every reply code the receiver gives (DP-3510 service manual p.455), and 252, which RFC 1123 added."""

    HELP = 211
    GREETING = 220
    CLOSING = 221
    OK = 250
    WILL_FORWARD = 251
    CANNOT_VERIFY = 252
    START_INPUT = 354
    NOT_AVAILABLE = 421
    MAILBOX_BUSY = 450
    LOCAL_ERROR = 451
    NO_STORAGE = 452
    UNRECOGNIZED = 500
    BAD_ARGUMENT = 501
    NOT_IMPLEMENTED = 502
    BAD_SEQUENCE = 503
    BAD_PARAMETER = 504
    MAILBOX_UNAVAILABLE = 550
    NOT_LOCAL = 551
    TOO_LARGE = 552
    BAD_MAILBOX_NAME = 553
    FAILED = 554


TEXTS = {
    Code.GREETING: "Service ready",
    Code.CLOSING: "Service closing transmission channel",
    Code.OK: "OK",
    Code.START_INPUT: "Start mail input; end with <CRLF>.<CRLF>",
    Code.NOT_AVAILABLE: "Service not available, closing transmission channel",
    Code.MAILBOX_BUSY: "Requested mail action not taken: mailbox unavailable",
    Code.LOCAL_ERROR: "Requested action aborted: local error in processing",
    Code.NO_STORAGE: "Requested action not taken: insufficient system storage",
    Code.UNRECOGNIZED: "Syntax error, command unrecognized",
    Code.BAD_ARGUMENT: "Syntax error in parameters or arguments",
    Code.NOT_IMPLEMENTED: "Command not implemented",
    Code.BAD_SEQUENCE: "Bad sequence of commands",
    Code.BAD_PARAMETER: "Command parameter not implemented",
    Code.MAILBOX_UNAVAILABLE: "Requested action not taken: mailbox unavailable",
    Code.NOT_LOCAL: "User not local",
    Code.TOO_LARGE: "Requested mail action aborted: exceeded storage allocation",
    Code.BAD_MAILBOX_NAME: "Requested action not taken: mailbox name not allowed",
    Code.FAILED: "Transaction failed",
}
"""RFC 821 4.2.1, where the receiver has nothing better to say."""

STATUS = {
    Code.CLOSING: "2.0.0",
    Code.OK: "2.0.0",
    Code.WILL_FORWARD: "2.1.5",
    Code.CANNOT_VERIFY: "2.5.0",
    Code.NOT_AVAILABLE: "4.3.2",
    Code.MAILBOX_BUSY: "4.2.0",
    Code.LOCAL_ERROR: "4.3.0",
    Code.NO_STORAGE: "4.3.1",
    Code.UNRECOGNIZED: "5.5.2",
    Code.BAD_ARGUMENT: "5.5.4",
    Code.NOT_IMPLEMENTED: "5.5.1",
    Code.BAD_SEQUENCE: "5.5.1",
    Code.BAD_PARAMETER: "5.5.4",
    Code.MAILBOX_UNAVAILABLE: "5.1.1",
    Code.NOT_LOCAL: "5.1.6",
    Code.TOO_LARGE: "5.3.4",
    Code.BAD_MAILBOX_NAME: "5.1.3",
    Code.FAILED: "5.0.0",
}
"""RFC 3463, for a profile that announces ENHANCEDSTATUSCODES. Codes that are not here carry none (RFC 2034)."""


@lru_cache(maxsize=1024)
def render(code: int, text: str, status: str = "") -> bytes:
    """One reply of one line. Whatever is not printable ASCII in the text becomes `?`, so no text can forge a line."""
    words = f"{code} {status} {text}" if status else f"{code} {text}"
    if not (words.isascii() and words.isprintable()):
        words = "".join(character if character.isascii() and character.isprintable() else "?" for character in words)
    return words.encode() + b"\r\n"


def render_lines(code: int, lines: Sequence[str]) -> bytes:
    """One reply of one line or more: `250-` before all but the last."""
    *first, last = (render(code, line) for line in lines)
    return b"".join(line[:3] + b"-" + line[4:] for line in first) + last
