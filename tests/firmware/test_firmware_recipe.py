"""The recipes: each makes the code file its digest promises, and the factory flash is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fauxfax.errors import FormatError, Misuse
from fauxfax.firmware import codefile, digests, factory, recipe
from fauxfax.firmware.codefile import Component
from fauxfax.firmware.layout import CAPACITIES
from fauxfax.firmware.loader import State
from fauxfax.firmware.profiles import Profile
from fauxfax.models import MODELS, find_model


def test_every_code_file_has_its_digest() -> None:
    assert list(digests.lines()) == (recipe.folder() / "digests.txt").read_text().split("\n")[:-1]


def test_every_code_file_is_read_and_built_again_octet_for_octet() -> None:
    for name, data in recipe.build_all():
        read = codefile.parse(data)
        assert codefile.wrap(codefile.rebuild(read), read.comment) == data, name


def test_a_code_file_is_named_read_and_for_its_model_only() -> None:
    name, data = recipe.build(recipe.load(recipe.folder() / "sc.toml"), "UF-7100", "V10200")
    read = codefile.parse(data)
    assert name == "UF-71K_SC_AAV10200YC.pfc"
    assert (read.header.models, read.header.version) == (("UF-7100",), "V10200")
    assert len(read.payloads[0]) == CAPACITIES[Component.SC]


def test_the_versions_of_the_system_control_differ_in_what_a_sender_sees() -> None:
    recipes = recipe.load_all()
    profiles = {}
    for version in recipes["SC"].versions:
        payload = codefile.parse(recipe.build(recipes["SC"], None, version)[1]).payloads[0]
        profiles[version] = Profile.from_payload(payload)
    assert profiles["V10100"].smtp.banner == "UF-8000"
    assert (profiles["V10100"].smtp.data_code, profiles["V10300"].smtp.data_code) == (354, 250)
    assert profiles["V10300"].smtp.lock_step
    assert profiles["V10200"].panel_texts() != profiles["V10100"].panel_texts()
    assert {spec.number for spec in profiles["V10100"].parameters} >= {36, 142, 143}
    assert Profile.from_payload(profiles["V10300"].to_payload()) == profiles["V10300"]


def test_the_set_carries_every_board_in_an_order_its_rules_allow() -> None:
    header = codefile.parse(recipe.build(recipe.load_all()["SET"])[1]).header
    order = [part.component for part in header.parts]
    assert set(order) == set(Component)
    assert order.index(Component.FCB) < order.index(Component.G3B)


@pytest.mark.parametrize("model", list(MODELS))
@pytest.mark.parametrize("layout", ["staged", "dual"])
def test_every_machine_leaves_the_factory_running(model: str, layout: str) -> None:
    boot = factory.open_loader(find_model(model), layout=layout).boot()
    assert boot.state is State.RUNNING
    assert set(boot.versions.values()) == {"V10100"}
    assert boot.profile is not None
    assert boot.profile.model == model


def test_a_flash_file_is_made_once_and_opened_after(tmp_path: Path) -> None:
    path = tmp_path / "flash"
    model = find_model("UF-8000")
    first = factory.open_loader(model, path=path)
    first.flash.erase(first.layout.slots[Component.PNL][0].address)
    assert factory.open_loader(model, path=path).boot().state is State.RECOVERY
    with pytest.raises(FormatError, match="layout staged"):
        factory.open_loader(model, path=path, layout="dual")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("component = ", "no TOML"),
        ('component = "XYZ"\nsize = "1 KiB"\n[versions.V10100]', "XYZ"),
        ('component = "PNL"\nsize = "1 KB"\n[versions.V10100]', "KB"),
        ('component = "PNL"', "versions"),
        ('colour = "red"\n[versions.V10100]', "colour"),
    ],
    ids=["no TOML", "no component", "no unit", "no versions", "an unknown key"],
)
def test_a_recipe_that_cannot_be_read_is_refused_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as error:
        recipe.load(path)
    assert str(path) in str(error.value)


def test_a_version_that_is_not_in_the_recipe_is_named() -> None:
    with pytest.raises(Misuse, match="V10900"):
        recipe.build(recipe.load_all()["SC"], None, "V10900")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"UFPROFIL",
        b"UFPROFIL\xff\xff\xff\xff{}",
        b"UFPROFIL\2\0\0\0{}",
        b"UFPROFIL\2\0\0\0[[",
        b"no profile at all",
    ],
)
def test_a_payload_without_a_profile_is_refused(payload: bytes) -> None:
    with pytest.raises(FormatError):
        Profile.from_payload(payload)
