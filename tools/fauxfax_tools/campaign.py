"""One call of an update tool: every file to every machine, one result each, and a report at the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fauxfax_tools.codefiles import CodeImage
from fauxfax_tools.errors import Exit, ToolError
from fauxfax_tools.progress import choose_display
from fauxfax_tools.targets import Consent, Settings, Target
from fauxfax_tools.updater import Outcome, Result


@dataclass(frozen=True, slots=True)
class Line:
    """One machine and one file: how it ended, as a word for scripts, a sentence for people, and an exit code."""

    target: str
    file: str
    title: str
    result: str
    text: str
    code: int

    def as_dict(self) -> dict[str, object]:
        """The last JSON object of this update."""
        return {
            "result": self.result,
            "target": self.target,
            "file": self.file,
            "image": self.title,
            "text": self.text,
            "exit": self.code,
        }


def run_campaign(
    targets: Sequence[Target], images: Sequence[CodeImage], consent: Consent, settings: Settings, *, as_json: bool
) -> int:
    """Install each image on each target, in order. A machine that fails one file gets no further ones.

    Returns the exit code: 0 if everything went well, else that of the first thing that did not.
    """
    lines: list[Line] = []
    for target in targets:
        for image in images:
            line = _install(target, image, consent, settings, as_json)
            lines.append(line)
            if line.code:
                break
        if lines[-1].code == Exit.INTERRUPTED:
            break
    if len(targets) * len(images) > 1 and not as_json:
        _report(lines, len(targets) * len(images))
    return next((line.code for line in lines if line.code), Exit.DONE)


def _install(target: Target, image: CodeImage, consent: Consent, settings: Settings, as_json: bool) -> Line:
    display = choose_display(sys.stdout, as_json)
    with display:
        try:
            line = _line(target, image, target.install(image, consent, settings, display.show))
        except ToolError as error:
            line = Line(target.url, str(image.path), image.title, error.exit_code.word, str(error), error.exit_code)
        except KeyboardInterrupt:  # on a way that cannot be asked, or at the very end
            text = f"{target.url}: interrupted; look at the machine's panel, then run the same command again to go on"
            line = Line(target.url, str(image.path), image.title, Exit.INTERRUPTED.word, text, Exit.INTERRUPTED)
        display.result(line.as_dict(), line.text)
    return line


def _line(target: Target, image: CodeImage, result: Result) -> Line:
    name = result.machine.title if result.machine else target.url
    versions = ", ".join(f"{part} {result.firmware[part].version}" for part in image.hashes if part in result.firmware)
    sentences = {
        Outcome.UPDATED: f"{name}: done, the machine runs {versions}, and its content is the file's",
        Outcome.ALREADY: f"{name}: it runs {versions} already, with this content; nothing was sent",
        Outcome.SENT: f"{name}: sent; {result.answer or 'the machine cannot answer here'}. Whether the new version "
        "runs is shown by its panel and by `fauxfax-tool probe`",
    }
    return Line(target.url, str(image.path), image.title, result.outcome.value, sentences[result.outcome], Exit.DONE)


def _report(lines: Sequence[Line], planned: int) -> None:
    good = sum(1 for line in lines if not line.code)
    print(f"\nReport: {good} of {planned} done")
    for line in lines:
        print(f"  {line.result:<18} {line.target:<32} {line.title:<12} {line.text if line.code else ''}".rstrip())
    if planned > len(lines):
        print(f"  {planned - len(lines)} not tried, because of what failed before them")
