"""What every test run begins and ends with."""

from __future__ import annotations

import signal
from typing import Any

import pytest

MARKED = {
    "real": "needs real drivers or programs of the operating system: make real",
    "sweep": "a long sweep: make sweep",
}
LEFT_OUT: pytest.StashKey[dict[str, int]] = pytest.StashKey()


def pytest_configure() -> None:
    """A shell starts what is in the background with Ctrl-C ignored, and programs inherit that: not those of tests."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Remember how many tests of each kind were left out."""
    counts = items[0].config.stash.setdefault(LEFT_OUT, dict.fromkeys(MARKED, 0))
    for item in items:
        for mark in MARKED:
            counts[mark] += mark in item.keywords


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker process hands its counts to the process that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Every worker collects everything, so one worker's counts are the run's."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The last screen names what was not run."""
    for mark, count in config.stash.get(LEFT_OUT, {}).items():
        if count:
            terminalreporter.write_line(f"not run: {count} tests marked {mark} ({MARKED[mark]})")
