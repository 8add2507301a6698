"""The update tools without arguments, on a terminal: the steps of the service manual, asked one after the other.

Choose the port, see which machine answers, choose the code files, "Firmware Code File selection is completed",
confirm, watch, read the result. The wizard only collects; what happens then is the same as with flags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from fauxfax_tools.codefiles import load, models_named
from fauxfax_tools.commands.options import UpdateOptions, on_terminal, run_update
from fauxfax_tools.dialects.base import Machine
from fauxfax_tools.errors import BadUsage, LinkLost, ToolError
from fauxfax_tools.links import find_link
from fauxfax_tools.probing import probe
from fauxfax_tools.targets import LinkTarget, Target, network_targets

CHOICES = {
    # what a person picks, the LINK it stands for, and what is asked to complete it
    "1": ("USB", "usb:", ""),
    "2": ("USB printer device", "lp:", "/dev/usb/lp0"),
    "3": ("Parallel", "parport:", "/dev/parport0"),
    "4": ("Serial", "serial:", "/dev/ttyUSB0"),
    "5": ("USB over the network (usbip)", "usbip://", "127.0.0.1:3240"),
    "6": ("TCP raw port", "tcp://", "127.0.0.1:9100"),
    "7": ("A machine in this process, to practise", "emulated:", ""),
}
SUFFIX = ".pfc"


def network_wizard(hosts: tuple[str, ...], via: str, port: int | None, options: UpdateOptions) -> int:
    """Network Firmware Update Tool."""
    _begin("Network Firmware Update Tool")
    while True:
        names = hosts or tuple(_ask("Machines (name, address, range 192.0.2.10-20; several with blanks)").split())
        try:
            targets = network_targets(names, via, port)
            break
        except BadUsage as error:
            hosts = ()
            _say(str(error))
    found = [_show(target.url) for target in targets] if via == "raw" else []
    return _finish(targets, options, {one.model for one in found if one is not None})


def local_wizard(link: str | None, options: UpdateOptions) -> int:
    """Local Firmware Update Tool (Parallel/USB Port)."""
    _begin("Local Firmware Update Tool (Parallel/USB Port)")
    while link is None or (found := _show(link)) is None:
        link = _choose_link()
    return _finish([LinkTarget(link)], options, {found.model})


def _begin(title: str) -> None:
    if not on_terminal():
        raise BadUsage("FILE is missing: which code file? (Without FILE this is a wizard, and that needs a terminal.)")
    _say(f"\n{title}\n{'=' * len(title)}")


def _choose_link() -> str:
    _say("\nStep 1: the port the machine is on")
    for number, (name, _, _) in CHOICES.items():
        _say(f"  {number}  {name}")
    picked = click.prompt("Port", type=click.Choice(list(CHOICES)), default="1", show_choices=False, err=True)
    _, scheme, example = CHOICES[picked]
    return scheme + (_ask("Which one", example) if example else "")


def _show(url: str) -> Machine | None:
    """Say which machine answers; None if none does."""
    try:
        link = find_link(url)
        link.open()
        try:
            found = probe(link)
        finally:
            link.close()
    except (BadUsage, LinkLost, OSError) as error:
        _say(f"\n  {error}")
        return None
    _say("")
    for line in found.lines():
        _say(f"  {line}")
    return found.machine


def _finish(targets: Sequence[Target], options: UpdateOptions, models: set[str]) -> int:
    _say("\nStep 2: the code files")
    files = _choose_files(models - {""})
    _say("\nFirmware Code File selection is completed.")
    _say("Do not switch the machine off until it has restarted.\n")
    return run_update(targets, replace(options, files=files))


def _choose_files(models: set[str]) -> tuple[Path, ...]:
    """Code files of this folder by number, or any by path; asked until there is at least one and each is right.

    Offered are those for the models that answered; if none did, all.
    """
    offered = [path for path in sorted(Path().glob(f"*{SUFFIX}")) if not models or models & {*models_named(path)}]
    for number, path in enumerate(offered, 1):
        _say(f"  {number}  {path.name}")
    while True:
        answer = _ask("Code files (numbers or paths, several with blanks)", "1" if len(offered) == 1 else None)
        chosen = tuple(_pick(word, offered) for word in answer.split())
        if chosen and all(_describe(path) for path in chosen):
            return chosen


def _pick(word: str, offered: list[Path]) -> Path:
    return offered[int(word) - 1] if word.isdigit() and 0 < int(word) <= len(offered) else Path(word).expanduser()


def _describe(path: Path) -> bool:
    try:
        image = load(path)
    except ToolError as error:
        _say(f"  {error}")
        return False
    _say(f"  {image.path.name}: {image.title} for {', '.join(image.header.models)}")
    return True


def _ask(question: str, default: str | None = None) -> str:
    answer: str = click.prompt(question, default=default, err=True)
    return answer.strip()


def _say(text: str) -> None:
    click.echo(text, err=True)
