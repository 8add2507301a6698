"""Recipes: the text a code file is built from, octet for octet the same each time.

A recipe is one TOML file for one component, or for a set, and holds every version there is of it, for every model:

    component = "SC"             # left out in a set, whose versions have `members` instead
    size = "8 MiB"               # of the payload
    lowest = "V10100"            # the lowest version it may be installed over
    models = ["UF-8000", …]      # all four if left out

    [versions.V10200]
    note = "what changed"
    requires = { FCB = "V10200" }
    [versions.V10200.profile]    # SC only: what this version behaves like

After the profile a payload is filler: a SHAKE-256 stream seeded with model, component and version.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

import fauxfax
from fauxfax.errors import FormatError, Misuse
from fauxfax.firmware import codefile, profiles
from fauxfax.firmware.codefile import Component, Requirement, Source
from fauxfax.models import DEFAULT_MODEL, KIB, MIB, MODELS, find_model

FACTORY_VERSION = "V10100"
_UNITS = {"KiB": KIB, "MiB": MIB}


@attrs.frozen(kw_only=True)
class Version:
    """One version in a recipe. `members` are the versions a set brings together."""

    note: str = ""
    requires: Mapping[Component, str] = attrs.field(factory=dict)
    members: Mapping[Component, str] = attrs.field(factory=dict)
    profile: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Recipe:
    """A recipe that was read. `name` is the component's, or `SET`."""

    path: Path
    name: str
    size: int
    lowest: str
    models: tuple[str, ...]
    versions: Mapping[str, Version]


def folder() -> Path:
    """Where the recipes are: beside the sources, or inside the installed package. Raises Misuse if nowhere."""
    package = Path(fauxfax.__file__).parent
    for place in (package / "firmware_images", package.parents[1] / "firmware_images"):
        if (place / "sc.toml").is_file():
            return place
    raise Misuse(f"recipes: no folder firmware_images beside {package} or in it; install fauxfax again")


def load(path: Path | str) -> Recipe:
    """Read a recipe. Raises FormatError that names the file and the key."""
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"no TOML: {error}", str(path)) from None
    try:
        return _recipe(path, table)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"key {error}: see the head of fauxfax/firmware/recipe.py", str(path)) from None


def load_all(place: Path | None = None) -> dict[str, Recipe]:
    """Every recipe of a folder, by name."""
    recipes = (load(path) for path in sorted((place or folder()).glob("*.toml")))
    return {recipe.name: recipe for recipe in recipes}


def build(recipe: Recipe, model: str | None = None, version: str | None = None) -> tuple[str, bytes]:
    """One code file: its name and its octets, job and all.

    Without `model` it is for the UF-8000 (or the recipe's first model), without `version` the newest. Raises Misuse.
    """
    name = find_model(model).name if model else _usual_model(recipe)
    version = (version or max(recipe.versions)).upper()
    if name not in recipe.models or version not in recipe.versions:
        raise Misuse(
            f"recipe {recipe.path.name}: it has {', '.join(recipe.versions)} for {', '.join(recipe.models)}, "
            f"not {version} for {name}"
        )
    sources = list(_sources(recipe, name, version))
    container = codefile.build([name], sources)
    comment = f"{name} {recipe.name} {version}. {recipe.versions[version].note}".strip()
    return codefile.file_name(find_model(name).code, recipe.name, version), codefile.wrap(container, comment)


def build_all(place: Path | None = None) -> Iterator[tuple[str, bytes]]:
    """Every code file there is, one at a time."""
    for recipe in load_all(place).values():
        for model in recipe.models:
            for version in recipe.versions:
                yield build(recipe, model, version)


@functools.lru_cache(maxsize=len(MODELS))
def factory_sources(model: str) -> tuple[Source, ...]:
    """What the factory puts into a machine of this model."""
    recipes = load_all()
    return tuple(next(_sources(recipes[component.value], model, FACTORY_VERSION)) for component in Component)


def _sources(recipe: Recipe, model: str, version: str) -> Iterator[Source]:
    found = recipe.versions[version]
    for component, member in found.members.items():
        yield from _sources(load(recipe.path.with_name(f"{component.value.lower()}.toml")), model, member)
    if found.members:
        return
    component = Component(recipe.name)
    yield Source(
        component=component,
        version=version,
        lowest=recipe.lowest,
        requires=tuple(Requirement(other, lowest) for other, lowest in found.requires.items()),
        payload=_payload(recipe, model, version),
    )


def _payload(recipe: Recipe, model: str, version: str) -> bytes:
    head = b""
    if recipe.name == Component.SC.value:
        table = dict(recipe.versions[version].profile)
        quirks = table.get("smtp", {})
        if isinstance(quirks, dict):
            banner = str(quirks.get("banner", "{model}")).replace("{model}", model)
            table["smtp"] = {**quirks, "banner": banner}
        head = profiles.structure({**table, "version": version, "model": model}).to_payload()
    filler = hashlib.shake_256(f"{model} {recipe.name} {version}".encode())
    return head + filler.digest(recipe.size - len(head))


def _recipe(path: Path, table: dict[str, object]) -> Recipe:
    shared = table.pop("profile", {})
    versions = {name: _version(entry, shared) for name, entry in _table(table.pop("versions"), "versions").items()}
    recipe = Recipe(
        path=path,
        name=str(table.pop("component", "SET")),
        size=_size(str(table.pop("size", "0 KiB"))),
        lowest=str(table.pop("lowest", FACTORY_VERSION)),
        models=tuple(find_model(str(name)).name for name in _list(table.pop("models", list(MODELS)))),
        versions=versions,
    )
    if table:
        raise ValueError(f"{', '.join(table)} is not known")
    if recipe.name != "SET":
        Component(recipe.name)
    return recipe


def _version(entry: object, shared: object) -> Version:
    table = _table(entry, "version")
    profile = {**_table(shared, "profile"), **_table(table.pop("profile", {}), "profile")}
    version = Version(
        note=str(table.pop("note", "")),
        requires=_versions(table.pop("requires", {})),
        members=_versions(table.pop("members", {})),
        profile=profile,
    )
    if table:
        raise ValueError(f"{', '.join(table)} is not known")
    return version


def _versions(value: object) -> dict[Component, str]:
    return {Component(name): str(version) for name, version in _table(value, "components").items()}


def _table(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"{what} must be a table")
    return dict(value)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("models must be a list")
    return value


def _size(text: str) -> int:
    number, _, unit = text.partition(" ")
    return int(number) * _UNITS[unit]


def _usual_model(recipe: Recipe) -> str:
    return DEFAULT_MODEL if DEFAULT_MODEL in recipe.models else recipe.models[0]
