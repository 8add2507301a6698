from __future__ import annotations

from pathlib import Path

import pytest

from fauxfax import config
from fauxfax.models import MODELS, Status, facts


def test_without_anything_the_defaults_of_the_contract_hold() -> None:
    loaded, settings = config.load()
    assert loaded.ports.listeners() == {
        "smtp": 2525, "raw": 9100, "lpd": 5515, "ftp": 2121,
        "usbip": 3240, "usbredir": 4000, "parallel": 4001, "control": 8025,
    }  # fmt: skip
    assert loaded.ports.address == "127.0.0.1"
    assert (loaded.smtp.durable, loaded.smtp.sink) == (True, False)
    assert {setting.source for setting in settings} == {"default"}


def test_a_later_source_wins_and_is_named(tmp_path: Path) -> None:
    file = tmp_path / "fax.toml"
    file.write_text('[smtp]\ndomain = "file"\nsessions = 3\nmax_message = 1\n')
    loaded, settings = config.load(
        file, {"FAUXFAX_SMTP_SESSIONS": "4", "FAUXFAX_SMTP_MAX_MESSAGE": "2"}, ["smtp.max_message=5"]
    )
    assert (loaded.smtp.domain, loaded.smtp.sessions, loaded.smtp.max_message) == ("file", 4, 5)
    sources = {setting.key: setting.source for setting in settings}
    assert sources["smtp.domain"] == str(file)
    assert sources["smtp.sessions"] == "FAUXFAX_SMTP_SESSIONS"
    assert sources["smtp.max_message"] == "--set"


def test_a_fault_of_a_secret_does_not_tell_it(tmp_path: Path) -> None:
    file = tmp_path / "fax.toml"
    file.write_text('[outbox]\npassword = 90125\n[update]\npassword = "geheim"\n')
    with pytest.raises(config.ConfigError) as caught:
        config.load(file, sets=["smtp.relay_password=geheim"])
    assert [fault.split(": ")[1] for fault in caught.value.faults] == ["outbox.password", "update.password"]
    assert not [fault for fault in caught.value.faults if "90125" in fault or "geheim" in fault]


def test_other_variables_of_the_environment_are_left_alone() -> None:
    loaded, _ = config.load(environ={"FAUXFAX_URL": "http://127.0.0.1:1", "FAUXFAXES": "1"})
    assert loaded == config.Config()


def test_every_fault_is_reported_at_once_with_its_path(tmp_path: Path) -> None:
    file = tmp_path / "fax.toml"
    file.write_text(
        'top = 1\n[smtp]\ndomian = "x"\nsessions = 0\ndurable = "yes"\n[machine]\nmodel = "UF-9"\n'
        'faults = ["rcpt nth=0 -> drop"]\n[ports]\nsmtp = 70000\nraw = true\n'
    )
    with pytest.raises(config.ConfigError) as caught:
        config.load(file, {"FAUXFAX_ENGINE_PAGES_PER_MINUTE": "fast"}, ["smtp.colour=red", "smtp.domain"])
    text = "\n".join(caught.value.faults)
    for path in (
        "top", "smtp.domian", "smtp.sessions", "smtp.durable", "machine.model", "machine.faults", "ports.smtp",
        "ports.raw", "engine.pages_per_minute", "--set smtp.colour=red", "--set smtp.domain:",
    ):  # fmt: skip
        assert path in text, path
    assert "did you mean smtp.domain?" in text
    assert len(caught.value.faults) == 11


@pytest.mark.parametrize(("content", "complaint"), [("a = [", "not TOML"), ("\xff", "not TOML")])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "fax.toml"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(config.ConfigError) as caught:
        config.load(file)
    assert str(file) in caught.value.faults[0]
    assert complaint in caught.value.faults[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError) as caught:
        config.load(tmp_path / "none.toml")
    assert "none.toml: No such file" in caught.value.faults[0]


def test_passwords_do_not_stand_in_a_repr() -> None:
    loaded, _ = config.load(sets=["update.password=4711", "smtp.relay_password=secret"])
    assert "4711" not in repr(loaded)
    assert "secret" not in repr(loaded)


def test_free_ports_keep_the_address_and_what_was_left_out() -> None:
    loaded, _ = config.load(sets=["ports.lpd=-1", "ports.address=127.0.0.2"])
    free = loaded.ports.all_free()
    assert "lpd" not in free.listeners()
    assert set(free.listeners().values()) == {0}
    assert free.address == "127.0.0.2"


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_every_number_of_a_model_says_where_it_comes_from(model: object) -> None:
    listed = list(facts(model))
    assert {fact.status for fact in listed} == set(Status)
    assert all(fact.source for fact in listed)
