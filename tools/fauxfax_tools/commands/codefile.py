"""`fauxfax-tool codefile`: build, inspect and verify code files."""

from __future__ import annotations

from pathlib import Path

import click

from fauxfax_tools.errors import BadUsage, Exit

FILE = click.Path(path_type=Path)


@click.group("codefile")
def command() -> None:
    """Build, inspect and verify code files."""


@command.command("build")
@click.argument("recipes", metavar="RECIPE.toml…", nargs=-1, required=True, type=FILE)
@click.option("-o", "--output", type=FILE, help="The file to write, or a folder for all of them.")
@click.option("--model", help="Only for this model.")
@click.option("--version", help="Only this version.")
def build(recipes: tuple[Path, ...], output: Path | None, model: str | None, version: str | None) -> None:
    """Build the code files of a RECIPE, or of every recipe in a folder.

    Into a folder (the current one if -o is not given; made if several recipes need it) go all models and versions;
    -o FILE takes one, the newest for the UF-8000 unless --model and --version say otherwise. A bare name such as `sc`
    is a recipe that came with fauxfax.
    """
    from fauxfax.firmware import recipe

    found = [recipe.load(path) for given in recipes for path in _recipe_paths(given)]
    if output is not None and len(found) == 1 and not output.is_dir():
        _write(output, recipe.build(found[0], model, version)[1])
        return
    if output is not None:
        _make_folder(output)
    for one in found:
        for of_model in [model] if model else one.models:
            for of_version in [version] if version else one.versions:
                name, data = recipe.build(one, of_model, of_version)
                _write((output or Path()) / name, data)


@command.command("inspect")
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def inspect(file: Path, as_json: bool) -> None:
    """Show what FILE is: a code file as a table, anything else described.

    Exit code 5 if it is not a valid code file.
    """
    from fauxfax_tools.inspection import inspect_file

    raise click.exceptions.Exit(Exit.DONE if inspect_file(file, as_json) else Exit.BAD_FILE)


@command.command("verify")
@click.argument("files", nargs=-1, required=True, type=FILE)
def verify(files: tuple[Path, ...]) -> None:
    """Check FILEs to the last octet and name what is wrong, and where. Exit code 5 if anything is."""
    from fauxfax.firmware.verify import verify as faults_of
    from fauxfax_tools.codefiles import read_file

    bad = False
    for path in files:
        faults = faults_of(read_file(path))
        click.echo(f"{path}: {'right' if not faults else faults[0]}")
        for fault in faults[1:20]:
            click.echo(f"{' ' * len(str(path))}  {fault}")
        bad |= bool(faults)
    raise click.exceptions.Exit(Exit.BAD_FILE if bad else Exit.DONE)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadUsage(f"-o {path}: several files need a folder: {error.strerror}") from None


def _recipe_paths(given: Path) -> list[Path]:
    from fauxfax.firmware import recipe

    if given.is_dir():
        paths = sorted(given.glob("*.toml"))
        if not paths:
            raise BadUsage(f"{given}: there is no recipe (*.toml) in this folder")
        return paths
    shipped = recipe.folder() / f"{given.name.lower()}.toml"
    if not given.exists() and given.parent == Path() and shipped.is_file():
        return [shipped]
    return [given]


def _write(path: Path, data: bytes) -> None:
    """All of the file or none of it: another program may be waiting for it."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
    click.echo(f"{path}  {len(data)} octets")
