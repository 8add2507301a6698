"""Three ways to show an update: a bar on a terminal, plain lines off it, one JSON object per line for scripts."""

from __future__ import annotations

import json
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from fauxfax_tools.steps import Bar, Event, Notice, Phase, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PLAIN_STEP = 10  # percent between two plain lines
JSON_STEP = 1  # percent between two JSON lines


class Display(Protocol):
    """Somewhere events and results go; used as a context manager around one machine's update."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, event: Event) -> None:
        """Draw one event."""
        ...

    def result(self, fields: dict[str, object], sentence: str) -> None:
        """How it ended: `fields` for scripts, `sentence` for people."""
        ...


class _Lines:
    """What a display of lines needs to be a context manager: nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class PlainLines(_Lines):
    """A line when a phase begins and whenever another tenth is done; notices as they come."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar = Bar()
        self._said: tuple[Phase, int] | None = None

    def show(self, event: Event) -> None:
        """One line, if there is something new to say."""
        if isinstance(event, Notice):
            self._print(event.text)
            return
        percent = self._bar.advance(event)
        said = (self._bar.phase, int(percent // PLAIN_STEP))
        if said != self._said:
            self._said = said
            self._print(f"{percent:3.0f} %  {self._bar.phase.label}")

    def result(self, fields: dict[str, object], sentence: str) -> None:  # noqa: ARG002 - fields are for scripts
        """The sentence."""
        self._print(sentence)

    def _print(self, text: str) -> None:
        print(text, file=self._out, flush=True)


class JsonLines(_Lines):
    """One object per line: `phase`, `done`, `total`, `percent`; then one with `result`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar = Bar()
        self._said: tuple[Phase, int] | None = None
        self._last = _progress_fields(Progress(Phase.CHECK, 0, 1), 0.0)

    def show(self, event: Event) -> None:
        """One object for each percent and each notice."""
        if isinstance(event, Notice):
            self._print({**self._last, "notice": event.text})
            return
        percent = self._bar.advance(event)
        said = (event.phase, int(percent // JSON_STEP))
        self._last = _progress_fields(event, percent)
        if said != self._said or event.done == event.total:
            self._said = said
            self._print(self._last)

    def result(self, fields: dict[str, object], sentence: str) -> None:
        """The last object of a machine's update: where the bar stood, and the result."""
        self._print({**self._last, **fields, "text": sentence})

    def _print(self, fields: dict[str, object]) -> None:
        self._out.write(json.dumps(fields) + "\n")  # at once: `print` may be interrupted before the end of the line
        self._out.flush()


class TerminalBar:
    """One bar that fills from left to right; the phase stands beside it."""

    def __init__(self) -> None:
        self._bar = Bar()
        self._task: TaskID | None = None
        self._rich = self._make()

    @staticmethod
    def _make() -> RichProgress:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn("{task.description:<8}"), BarColumn(None), TextColumn("{task.percentage:3.0f} %"))
        return RichProgress(*columns, TimeElapsedColumn(), transient=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rich.stop()

    def show(self, event: Event) -> None:
        """Move the bar, or print a notice above it."""
        if isinstance(event, Notice):
            self._rich.console.print(event.text, highlight=False, markup=False)
            return
        if event.phase is Phase.CHECK and not event.done:
            return  # a question may come now; a live bar would paint over it
        if self._task is None:
            self._rich.start()
            self._task = self._rich.add_task(event.phase.label, total=100)
        percent = self._bar.advance(event)
        self._rich.update(self._task, completed=percent, description=self._bar.phase.label)

    def result(self, fields: dict[str, object], sentence: str) -> None:  # noqa: ARG002 - fields are for scripts
        """Take the bar to rest, then the sentence."""
        self._rich.stop()
        self._rich.console.print(sentence, highlight=False, markup=False)


def choose_display(out: TextIO, as_json: bool) -> Display:
    """JSON if asked for, else a bar on a terminal, else lines."""
    if as_json:
        return JsonLines(out)
    return TerminalBar() if out.isatty() else PlainLines(out)


def _progress_fields(progress: Progress, percent: float) -> dict[str, object]:
    return {
        "phase": progress.phase.label,
        "done": progress.done,
        "total": progress.total,
        "percent": round(percent, 1),
        "result": None,
    }
