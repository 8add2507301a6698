"""The `fauxfax` command: parse, call, print. Everything heavy is imported by the command that needs it.

Exit codes: 0 done · 1 refused, failed or not seen in time · 2 usage · 3 no machine.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fauxfax.client import Client

FAILED, USAGE, NO_MACHINE = 1, 2, 3
CLOCK_HELP = "real, fast (nothing is waited for), manual, or a factor such as x10"


def default_state() -> Path:
    """The user's data folder for fauxfax."""
    from platformdirs import user_data_path

    return user_data_path("fauxfax", appauthor=False)


def main() -> None:
    """Entry point: one place that turns errors into a sentence and an exit code."""
    from fauxfax.errors import FauxfaxError, Misuse

    try:
        cli(prog_name="fauxfax")
    except FauxfaxError as error:
        for line in (str(error), *getattr(error, "faults", ())):
            click.echo(f"fauxfax: {line}", err=True)
        no_machine = type(error).__name__ == "NoMachine"
        sys.exit(
            NO_MACHINE if no_machine else USAGE if isinstance(error, Misuse) or hasattr(error, "faults") else FAILED
        )
    except BrokenPipeError:
        sys.exit(FAILED)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fauxfax", message="%(package)s %(version)s")
def cli() -> None:
    """A Panasonic Panafax UF-7000/8000 network fax machine that lives in a process."""


@cli.command()
@click.option("--model", help="UF-7000, UF-7100, UF-8000 or UF-8100.")
@click.option("--name", help="The machine's name.")
@click.option("--state", type=click.Path(path_type=Path), help="Folder that keeps flash, memory and tray.")
@click.option("--ephemeral", is_flag=True, help="Keep nothing: the state folder is removed at the end.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="A TOML file.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set one key, as in the file.")
@click.option("--free-ports", is_flag=True, help="Let the system pick every port.")
@click.option("--announce", is_flag=True, help="Print one JSON line when every listener is ready; log to stderr.")
@click.option("--clock", help=CLOCK_HELP)
@click.option("--capture", type=click.Path(path_type=Path), help="Write what goes over the wires into FILE.pcapng.")
@click.option("--trace", type=click.Path(path_type=Path), help="Trace the parallel cable's lines into FILE.vcd.")
@click.option("--verbose", is_flag=True, help="Show every event, sensors and sessions too.")
def run(
    model: str | None,
    name: str | None,
    state: Path | None,
    ephemeral: bool,
    config_file: Path | None,
    sets: tuple[str, ...],
    free_ports: bool,
    announce: bool,
    clock: str | None,
    capture: Path | None,
    trace: Path | None,
    verbose: bool,
) -> None:
    """Start one machine and every way in, on loopback."""
    if ephemeral and state is not None:
        raise click.UsageError("--ephemeral keeps no state, so --state has no meaning with it")
    from fauxfax import console

    options = {
        "machine.model": model and model.upper(),
        "machine.name": name,
        "machine.clock": clock,
        "capture.file": capture and str(capture),
        "capture.trace": trace and str(trace),
    }
    sys.exit(
        console.run(
            state=None if ephemeral else state or default_state(),
            config_file=config_file,
            sets=[*(f"{key}={value}" for key, value in options.items() if value), *sets],
            free_ports=free_ports,
            announce=announce,
            verbose=verbose,
        )
    )


def remote(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that name a running machine; the command gets a `client` and `as_json`."""

    @click.option("--state", type=click.Path(path_type=Path), help="State folder of the machine.")
    @click.option("--url", help="Address of its control API; or FAUXFAX_URL.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @functools.wraps(function)
    def command(*args: Any, state: Path | None, url: str | None, as_json: bool, **options: Any) -> Any:
        from fauxfax.client import Client

        return function(*args, client=Client.find(url, state or default_state()), as_json=as_json, **options)

    return command


def show(value: Any, as_json: bool, lines: Callable[[Any], list[str]]) -> None:
    """Print a value as JSON, or as lines for a person."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False) if as_json else "\n".join(lines(value)))


def _status_lines(status: dict[str, Any]) -> list[str]:
    update, last = status["update"], status["update"]["last"]
    dark = status["state"] in ("off", "starting", "hung")  # then nothing runs, and the loader has not looked yet
    firmware = {} if dark else status["firmware"]
    lines = [
        f"{status['name']}: {status['model']} (emulated), power {status['power']}, {status['state']}",
        "firmware  " + ("  ".join(f"{name} {version}" for name, version in firmware.items()) or "none runs"),
        f"update    {'-' if dark else update['state']}"
        + (f", {update['received']} octets received" if update["received"] else ""),
        f"memory    {status['memory']['documents']} documents, {status['memory']['free_bytes']} octets free",
        *(f"panel     | {line:<20} |" for line in status["panel"]),
    ]
    if last and status["state"] != "updating":
        forced = ", by force" if last["forced"] else ""
        what = f"{last['version'] or 'an offer'} at {last['stage']}"
        lines.insert(3, f"          last: {what}: {last['reason'] or 'done'}{forced}")
    return (
        lines
        + [f"error     {error}" for error in status["errors"]]
        + [f"fault     {rule['rule']}" for rule in status["faults"]]
    )


@cli.command()
@remote
def status(client: Client, as_json: bool) -> None:
    """Show model, versions, state, memory and panel."""
    show(client.get("/v1/machine"), as_json, _status_lines)


@cli.command()
@remote
def panel(client: Client, as_json: bool) -> None:
    """Show what the display says and which lamps are lit."""
    show(
        client.get("/v1/panel"), as_json, lambda p: [*(f"| {line:<20} |" for line in p["lines"]), " ".join(p["lamps"])]
    )


@cli.command()
@click.argument("keys", nargs=-1, required=True, metavar="KEY…")
@remote
def press(client: Client, as_json: bool, keys: tuple[str, ...]) -> None:
    """Press keys of the panel, in order."""
    answer = client.post("/v1/panel/keys", {"keys": list(keys)})
    show(answer, as_json, lambda p: [f"| {line:<20} |" for line in p["lines"]])


class _ListByDefault(click.Group):
    """A group whose `list` may be left out: `fauxfax tray --json` is `fauxfax tray list --json`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@cli.group(cls=_ListByDefault)
def tray() -> None:
    """Printed documents: list, show N, export N DIR."""


def _summary(document: dict[str, Any]) -> str:
    pages = document.get("pages", [])
    sender = (document.get("envelope") or {}).get("sender") or "<>"
    return f"{document['id']:04d}  {len(pages):3d} pages  {document.get('result', ''):6}  {sender}"


@tray.command("list")
@remote
def tray_list(client: Client, as_json: bool) -> None:
    """List the documents in the tray."""
    show(client.get("/v1/tray"), as_json, lambda found: [_summary(one) for one in found] or ["The tray is empty."])


@tray.command("show")
@click.argument("number", type=int)
@remote
def tray_show(client: Client, as_json: bool, number: int) -> None:
    """Show one document: envelope, headers, pages."""
    show(client.get(f"/v1/tray/{number}"), as_json, _document_lines)


def _document_lines(document: dict[str, Any]) -> list[str]:
    pages = [
        f"  page {place}: {page['width']} x {page['height']}, {page['dpi'][0]:g} x {page['dpi'][1]:g} dpi, "
        f"{page['coding']}, {page['damaged_rows']} damaged rows"
        for place, page in enumerate(document["pages"], 1)
    ]
    reason = [f"  failed: {why}"] if (why := document.get("reason")) else []
    headers = [f"  {name}: {value}" for name, value in document["headers"].items()]
    return [_summary(document), *reason, *headers, *pages]


@tray.command("export")
@click.argument("number", type=int)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@remote
def tray_export(client: Client, as_json: bool, number: int, folder: Path) -> None:
    """Copy a document's files into a folder, with a PNG of each page."""
    document = client.get(f"/v1/tray/{number}")
    names = ["document.json", "document.pdf", "document.tif", "message.eml"]
    names += [f"page-{page}.png" for page in range(1, len(document["pages"]) + 1)]
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(client.request("GET", f"/v1/tray/{number}/{name}"))
    show([str(folder / name) for name in names], as_json, list)


@cli.command()
@remote
def journal(client: Client, as_json: bool) -> None:
    """Print the communication journal."""

    def line(entry: dict[str, Any]) -> str:
        from datetime import UTC, datetime

        at = datetime.fromtimestamp(entry["at"], UTC)
        result = f"{entry['pages']:3d} {entry['result']:5}"
        return f"{entry['number']:04d} {at:%m-%d %H:%M} {entry['kind']:4} {result} {entry['peer']} {entry['note']}"

    show(
        client.get("/v1/journal"), as_json, lambda entries: [line(one) for one in entries] or ["The journal is empty."]
    )


@cli.command()
@remote
def memory(client: Client, as_json: bool) -> None:
    """Show what waits in the image memory."""

    def lines(found: dict[str, Any]) -> list[str]:
        waiting = [
            f"{one['number']:04d} {one['state']:9} {one['octets']:9d} octets, "
            f"{one['printed']}/{one['pages']} pages out, {one['sender'] or '<>'}"
            for one in found["documents"]
        ]
        return [f"{found['free_bytes']} of {found['capacity']} octets free", *waiting]

    show(client.get("/v1/memory"), as_json, lines)


@cli.command()
@click.argument("action", type=click.Choice(["on", "off", "cut"]))
@remote
def power(client: Client, as_json: bool, action: str) -> None:
    """Switch on or off; `cut` pulls the plug, now."""
    show(
        client.post("/v1/power", {"action": action}),
        as_json,
        lambda status: [f"power {status['power']}, {status['state']}"],
    )


@cli.group(cls=_ListByDefault)
def fault() -> None:
    """Make the machine misbehave: arm RULE…, list, clear."""


def _rule_lines(rules: list[dict[str, Any]]) -> list[str]:
    return [f"{r['number']}: {r['rule']}  (fired {r['fired']} of {r['matched']})" for r in rules] or [
        "No fault is armed."
    ]


@fault.command("arm")
@click.argument("rules", nargs=-1, required=True, metavar="RULE…")
@remote
def fault_arm(client: Client, as_json: bool, rules: tuple[str, ...]) -> None:
    """Arm rules such as 'rcpt nth=2 -> reply 451 try later'."""
    armed: Any = [client.post("/v1/faults", {"rule": rule}) for rule in rules][-1]
    show(armed, as_json, _rule_lines)


@fault.command("list")
@remote
def fault_list(client: Client, as_json: bool) -> None:
    """List the armed rules and how often each fired."""
    show(client.get("/v1/faults"), as_json, _rule_lines)


@fault.command("clear")
@remote
def fault_clear(client: Client, as_json: bool) -> None:
    """Disarm every rule."""
    show(json.loads(client.request("DELETE", "/v1/faults")), as_json, _rule_lines)


@cli.command()
@click.option("--for", "what", required=True, metavar="fax|page|update|panel=TEXT", help="What to wait for.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="How many, since the start.")
@click.option("--new", is_flag=True, help="Count from now on, not from the start of the machine.")
@click.option("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds.")
@remote
def wait(client: Client, as_json: bool, what: str, count: int, new: bool, timeout: float) -> None:
    """Wait until it has happened; exit 0 if seen, 1 if not seen in time."""
    from fauxfax.waiting import wait_for

    seen = wait_for(client, what, count=count, new=new, timeout=timeout)
    show(
        {"for": what, "seen": seen},
        as_json,
        lambda _: [f"{what}: " + ("seen" if seen else f"not seen in {timeout:g} s")],
    )
    sys.exit(0 if seen else FAILED)


@cli.command()
@click.option("--timeout", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Seconds.")
@click.option("--state", type=click.Path(path_type=Path), help="State folder of the machine.")
@click.option("--url", help="Address of its control API; or FAUXFAX_URL.")
def ready(timeout: float, state: Path | None, url: str | None) -> None:
    """Wait until a machine answers and is ready; exit 0 if it is, 1 if not in time."""
    from fauxfax.waiting import wait_until_ready

    seen = wait_until_ready(url, state or default_state(), timeout)
    click.echo("ready" if seen else f"not ready in {timeout:g} s", err=not seen)
    sys.exit(0 if seen else FAILED)


@cli.group()
def config() -> None:
    """The running machine's configuration."""


@config.command("show")
@remote
def config_show(client: Client, as_json: bool) -> None:
    """Every setting, its value, and where it came from."""
    show(
        client.get("/v1/config"),
        as_json,
        lambda rows: [f"{r['key']:28} {json.dumps(r['value'])}  ({r['source']})" for r in rows],
    )


@cli.group()
def snapshot() -> None:
    """The whole machine as one file."""


@snapshot.command("save")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@remote
def snapshot_save(client: Client, as_json: bool, file: Path) -> None:
    """Save flash, memory, journal, parameters and tray."""
    file.write_bytes(client.request("GET", "/v1/snapshot"))
    show({"file": str(file), "octets": file.stat().st_size}, as_json, lambda v: [f"{v['file']}: {v['octets']} octets"])


@snapshot.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@remote
def snapshot_restore(client: Client, as_json: bool, file: Path) -> None:
    """Become the machine of the file; it starts as after a power cycle."""
    answer = json.loads(client.request("PUT", "/v1/snapshot", file.read_bytes()))
    show(answer, as_json, _status_lines)
