"""What becomes of a job that is handed over whole, without a socket in between."""

from __future__ import annotations

import pytest

from code_files import code_file, spoilt
from fauxfax.hostport.delivery import Delivery, Verdict
from fauxfax.inprocess import InProcessMachine
from fauxfax.machine.settings import Settings

GOOD = "UF-8000 SCN V10200"
INSTALLED = Verdict(True, "firmware V10200 installed; the machine restarts")
TAKEN = Verdict(True, "taken; it was no firmware")


def delivered(host: InProcessMachine, data: bytes, password: str = "", *, first: int = 4096) -> Verdict:
    """Hand the octets over in pieces and let machine time pass until there is a verdict."""
    delivery = Delivery(host.machine.open_port("test"), password)
    chunk = first
    while data:
        size = min(delivery.room, chunk)
        delivery.write(data[:size])
        data, chunk = data[size:], 4096
        assert delivery.poll() is None, "there is none before the end"
        host.pump()
    delivery.finish()
    while (verdict := delivery.poll()) is None:
        assert host.pump(), "the machine has nothing left to do, and there is no verdict"
    return verdict


@pytest.mark.parametrize("first", [5, 4096])
@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", TAKEN), (b"text", TAKEN), (b"\x1b%-12345X", TAKEN), (b"@PJL INFO UPGRADE\r\n" * 9, TAKEN)],
    ids=["nothing", "text", "an exit", "questions"],
)
def test_what_is_no_firmware_is_taken(data: bytes, expected: Verdict, first: int) -> None:
    with InProcessMachine() as host:
        assert delivered(host, data, first=first) == expected


def test_a_good_file_is_installed_and_the_same_again_is_refused() -> None:
    with InProcessMachine() as host:
        assert delivered(host, code_file(GOOD)) == INSTALLED
        while not host.machine.online:
            host.pump()
        assert delivered(host, code_file(GOOD)) == Verdict(False, "SCN V10200: the machine has this version already")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (spoilt(code_file(GOOD), 200_000), "is damaged"),
        (code_file(GOOD)[:100_000], "the connection was lost after"),
        (code_file("UF-7000 SCN V10200"), "UF-7000"),
    ],
    ids=["damaged", "cut short", "another model"],
)
def test_a_bad_file_is_refused_with_the_loaders_reason(data: bytes, reason: str) -> None:
    with InProcessMachine() as host:
        verdict = delivered(host, data)
        assert not verdict.accepted
        assert reason in verdict.text
        assert delivered(host, code_file(GOOD)) == INSTALLED, "the next good file passes"


@pytest.mark.parametrize("first", [5, 4096], ids=["within the leading UEL", "after it"])
def test_the_service_password_goes_into_the_job_wherever_it_is_cut(first: int) -> None:
    with InProcessMachine(settings=Settings(update_password="4711")) as host:
        assert delivered(host, code_file(GOOD), "") == Verdict(False, "service password: wrong or missing")
        assert delivered(host, code_file(GOOD), "4711", first=first) == INSTALLED
