"""`fauxfax run`: one rig on a terminal, from start to signal."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from fauxfax import config as configuration
from fauxfax.events import PanelChanged, Record, SensorChanged, SessionClosed, SessionOpened, UpdateProgressed
from fauxfax.rig import Rig
from fauxfax.servers.allocator import keep_freed_memory
from fauxfax.statefolder import StateFolder

QUIET = (SensorChanged, SessionOpened, SessionClosed, UpdateProgressed)
"""Events that only --verbose shows."""
LABELS = {
    "smtp": "Internet fax",
    "raw": "raw port",
    "lpd": "LPD",
    "ftp": "FTP",
    "usbip": "USB/IP",
    "usbredir": "usbredir",
    "parallel": "parallel",
    "control": "control API",
}


def run(
    *,
    state: Path | None,
    config_file: Path | None,
    sets: list[str],
    free_ports: bool,
    announce: bool,
    verbose: bool,
) -> int:
    """Run one machine until SIGINT or SIGTERM. Returns the exit code.

    Args:
        state: the state folder; None for one that is removed at the end.
        config_file: a TOML file.
        sets: `KEY=VALUE` assignments.
        free_ports: let the system pick every port.
        announce: print one JSON line on stdout when ready, and everything else to stderr.
        verbose: show every event.
    """
    config, settings = configuration.load(config_file, os.environ, sets)
    if free_ports:
        config, settings = _with_free_ports(config, settings)
    folder = state or Path(tempfile.mkdtemp(prefix="fauxfax-"))
    keep_freed_memory()
    try:
        return asyncio.run(_serve(config, settings, folder, announce=announce, verbose=verbose))
    finally:
        if state is None:
            shutil.rmtree(folder, ignore_errors=True)


async def _serve(
    config: configuration.Config,
    settings: list[configuration.Setting],
    folder: Path,
    *,
    announce: bool,
    verbose: bool,
) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    lock = StateFolder(folder)
    try:
        rig = Rig(config, settings, lock)
    except BaseException:
        lock.close()
        raise
    output = sys.stderr if announce else sys.stdout
    announcement = await rig.start()
    if announce:
        print(json.dumps(announcement), flush=True)
    else:
        print("\n".join(_welcome(rig, announcement)), flush=True)
    rig.machine.events.subscribe(lambda record: _log(record, output, verbose))
    stopping, watching = asyncio.create_task(stop.wait()), asyncio.create_task(rig.watch())
    await asyncio.wait((stopping, watching), return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        print("fauxfax: the machine cannot go on, because of an error inside it:", file=sys.stderr)
    try:
        await rig.stop()  # raises that error, too
    finally:
        stopping.cancel()
        await asyncio.gather(stopping, watching, return_exceptions=True)
    return 0


def _with_free_ports(
    config: configuration.Config, settings: list[configuration.Setting]
) -> tuple[configuration.Config, list[configuration.Setting]]:
    import attrs

    config = attrs.evolve(config, ports=config.ports.all_free())
    ports = {f"ports.{way}": port for way, port in config.ports.listeners().items()}
    changed = [s._replace(value=ports[s.key], source="--free-ports") if s.key in ports else s for s in settings]
    return config, changed


def _welcome(rig: Rig, announcement: dict[str, Any]) -> list[str]:
    panel = rig.machine.panel.lines
    address = rig.config.ports.address
    address = f"[{address}]" if ":" in address else address
    recipient = f"fax@{rig.desk.domain}"
    return [
        f"{announcement['name']}: an emulated {announcement['model']}, firmware {announcement['firmware'] or 'none'}",
        "",
        "    +----------------------+",
        *(f"    | {line:<20} |" for line in panel),
        "    +----------------------+",
        "",
        *(f"    {LABELS[way]:14}{address}:{port}" for way, port in announcement["ports"].items()),
        f"    {'tray':14}{announcement['tray']}",
        "",
        f"Mail a TIFF to {recipient} there, or stop with Ctrl-C.",
    ]


def _log(record: Record, output: Any, verbose: bool) -> None:
    if isinstance(record.event, QUIET) and not verbose:
        return
    data = record.as_dict()
    details = {key: value for key, value in data.items() if key not in ("event", "sequence", "at")}
    if isinstance(record.event, PanelChanged):
        text = " / ".join(record.event.lines) + (f"  [{' '.join(record.event.lamps)}]" if record.event.lamps else "")
    else:
        text = "  ".join(f"{key}={_short(value)}" for key, value in details.items())
    line = f"{datetime.now():%H:%M:%S}  {data['event']:22}{text}".rstrip()  # noqa: DTZ005 - for the eye
    try:
        print(line, file=output, flush=True)
    except BrokenPipeError:  # nobody reads the log any more: the machine lives on without
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output.fileno())
        os.close(nowhere)


def _short(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."
