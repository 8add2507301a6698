"""What a rig says when it is made or when its firmware starts."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from fauxfax import config
from fauxfax.errors import Misuse
from fauxfax.events import FirmwareStarted
from fauxfax.rig import Rig
from fauxfax.statefolder import StateFolder

MakeRig = Callable[..., Rig]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[MakeRig]:
    """Makes a rig that is never started."""
    state = StateFolder(tmp_path / "machine")
    made: list[Rig] = []

    def make(*sets: str) -> Rig:
        made.append(Rig(*config.load(sets=sets), state))
        return made[-1]

    yield make
    for one in made:
        one.machine.close()
    state.close()


RELAY = "outbox.host=mail.example"


@pytest.mark.parametrize(
    ("quirk", "sets", "warned"),
    [
        (True, (RELAY,), True),
        (False, (RELAY,), False),
        (True, (), False),
        (True, (RELAY, "smtp.relay_domains=['g3.example']"), False),
        (True, (RELAY, "smtp.relay_password=secret"), False),
    ],
    ids=["open", "not its way", "no way out", "a domain is set", "a password is set"],
)
def test_a_firmware_that_relays_for_everybody_is_warned_of(
    rig: MakeRig, caplog: pytest.LogCaptureFixture, quirk: bool, sets: tuple[str, ...], warned: bool
) -> None:
    made = rig(*sets)
    made.machine.power_on(at_once=True)
    profile = made.machine.profile
    assert profile is not None
    smtp = dataclasses.replace(profile.smtp, open_relay_when_blank=quirk)
    made.machine.profile = attrs.evolve(profile, smtp=smtp)
    with caplog.at_level(logging.WARNING):
        made.machine.events.publish(FirmwareStarted("UF-8000", profile.version))
    assert [record.getMessage() for record in caplog.records] == (
        [f"smtp: {profile.version} relays for everybody; set smtp.relay_domains"] if warned else []
    )
    made.machine.power_off()


@pytest.mark.parametrize(
    ("sets", "complaint"),
    [
        (("outbox.user=jane", "outbox.password=geheim"), "outbox.tls"),
        (("outbox.tls=tls", "outbox.user=jane"), "outbox.password"),
        (("outbox.tls=tls", "outbox.ca=/nowhere"), "outbox.ca"),
    ],
)
def test_a_mail_server_that_cannot_be_talked_to_as_set_is_refused_at_the_start(
    tmp_path: Path, sets: tuple[str, ...], complaint: str
) -> None:
    state = StateFolder(tmp_path / "machine")
    with pytest.raises(Misuse, match=complaint) as caught:
        Rig(*config.load(sets=sets), state)
    assert "geheim" not in str(caught.value)
    state.close()
