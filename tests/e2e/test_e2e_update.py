from __future__ import annotations

import contextlib
import random
import smtplib
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fauxfax.testing import MachineProcess

CodeFile = Callable[[str], Path]


def send_raw(machine: MachineProcess, data: bytes) -> None:
    """As `nc` does: send, then wait until the machine closes. It may leave before it has read everything."""
    with (
        socket.create_connection(("127.0.0.1", machine.ports["raw"]), timeout=60) as peer,
        contextlib.suppress(OSError),
    ):
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(65536):
            pass


def banner(machine: MachineProcess) -> bytes:
    with socket.create_connection(("127.0.0.1", machine.ports["smtp"]), timeout=20) as peer:
        return peer.recv(1000)


def until_ready(machine: MachineProcess) -> dict:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status = machine.status()
        if status["state"] == "ready":
            return status
        time.sleep(0.02)
    raise AssertionError(f"not ready: {status}")


def test_banner_panel_and_versions_are_the_flashed_firmwares(fauxfax: MachineProcess, code_file: CodeFile) -> None:
    assert banner(fauxfax) == b"220 UF-8000\r\n"
    send_raw(fauxfax, code_file("UF-8000 SC V10300").read_bytes())
    fauxfax.wait("update")
    status = until_ready(fauxfax)
    assert status["firmware"]["SC"] == "V10300"
    assert status["firmware"]["PNL"] == "V10100"
    assert "V10300" in status["panel"][0]
    assert banner(fauxfax) != b"220 UF-8000\r\n"
    with smtplib.SMTP("127.0.0.1", fauxfax.ports["smtp"]) as smtp:
        smtp.ehlo()
        smtp.mail("a@b.example")
        smtp.rcpt("fax@uf-8000.local")
        assert smtp.docmd("DATA")[0] == 250, "this version answers DATA as the manual's sample dialogue does"
        smtp.send(b"Subject: short\r\n\r\n.\r\n")
        assert smtp.getreply()[0] == 250


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("UF-7000 SC V10200", lambda data: data, "UF-7000"),
        ("UF-8000 PNL V10200", lambda data: data[: len(data) // 2], "octets"),
        ("UF-8000 PNL V10200", lambda data: data[:300_000] + bytes([data[300_000] ^ 1]) + data[300_001:], "block"),
        ("UF-8000 PNL V10100", lambda data: data, "V10100"),
    ],
    ids=["wrong model", "truncated", "corrupted block", "same version"],
)
def test_a_bad_code_file_is_refused_with_a_reason_before_anything_is_erased(
    fauxfax: MachineProcess, code_file: CodeFile, name: str, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    before = fauxfax.status()
    send_raw(fauxfax, spoil(code_file(name).read_bytes()))
    fauxfax.wait("update")
    after = until_ready(fauxfax)
    assert reason in after["update"]["last"]["reason"]
    assert after["update"]["state"] == "RUNNING"
    assert (after["firmware"], after["firmware_sha256"]) == (before["firmware"], before["firmware_sha256"])
    send_raw(fauxfax, code_file("UF-8000 PNL V10200").read_bytes())
    fauxfax.wait("update", count=2)
    assert until_ready(fauxfax)["firmware"]["PNL"] == "V10200", "after any refusal the next good update passes"


def test_an_update_while_printing_is_told_that_the_machine_is_busy(
    start: Callable[..., MachineProcess], send_fax: Callable, page_tif: bytes, code_file: CodeFile
) -> None:
    machine = start(clock="real")
    send_fax(machine, page_tif)
    machine.wait("panel=PRINTING")
    with socket.create_connection(("127.0.0.1", machine.ports["raw"]), timeout=20) as peer:
        peer.sendall(b"\x1b%-12345X@PJL USTATUS DEVICE=ON\r\n" + code_file("UF-8000 SCN V10200").read_bytes())
        answer = b""
        while b"REFUSED" not in answer:
            answer += peer.recv(4096)
    assert b"busy: printing" in answer
    machine.wait("fax")


def test_while_updating_senders_are_asked_to_come_back(
    start: Callable[..., MachineProcess], code_file: CodeFile
) -> None:
    machine = start(clock="real")
    with socket.create_connection(("127.0.0.1", machine.ports["raw"]), timeout=20) as peer:
        peer.sendall(code_file("UF-8000 SCN V10200").read_bytes()[:100_000])
        machine.wait("panel=RECEIVING")
        assert banner(machine).startswith(b"421 ")
        machine.power("cut")
        machine.power("on")


@pytest.mark.parametrize("after", [0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.8], ids=lambda seconds: f"{seconds} s")
def test_power_cut_in_the_middle_leaves_the_old_or_the_new_and_a_retry_completes(
    start: Callable[..., MachineProcess], code_file: CodeFile, after: float
) -> None:
    machine = start(clock="x40")
    old, data = machine.status()["firmware_sha256"], code_file("UF-8000 FCB V10200").read_bytes()
    with socket.create_connection(("127.0.0.1", machine.ports["raw"]), timeout=20) as peer:
        peer.settimeout(after)
        with contextlib.suppress(OSError):
            peer.sendall(data)
            peer.recv(1)
        machine.power("cut")
    machine.power("on")
    machine.wait("panel=READY")
    status = until_ready(machine)
    if status["firmware"]["FCB"] == "V10100":
        assert status["firmware_sha256"] == old
        machine.stop()
        machine.start()
        send_raw(machine, data)
        machine.wait("update")
        status = until_ready(machine)
    assert status["firmware"]["FCB"] == "V10200"
    assert {name: hash_ for name, hash_ in status["firmware_sha256"].items() if name != "FCB"} == {
        name: hash_ for name, hash_ in old.items() if name != "FCB"
    }


def test_a_killed_process_finds_one_firmware_and_every_acknowledged_fax(
    start: Callable[..., MachineProcess], send_fax: Callable, page_tif: bytes, code_file: CodeFile
) -> None:
    machine, chance = start(), random.Random(20)
    data, sent = code_file("UF-8000 SCN V10200").read_bytes(), 0
    for _ in range(6):
        send_fax(machine, page_tif)
        sent += 1
        with (
            socket.create_connection(("127.0.0.1", machine.ports["raw"]), timeout=20) as peer,
            contextlib.suppress(OSError),
        ):
            peer.sendall(data)
            time.sleep(chance.random() * 0.1)
        machine.kill()
        machine.start()
        assert until_ready(machine)["firmware"]["SCN"] in ("V10100", "V10200")
    deadline = time.monotonic() + 30
    while len(machine.tray()) < sent and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [document["id"] for document in machine.tray()] == list(range(1, sent + 1))
    if machine.status()["firmware"]["SCN"] == "V10100":
        send_raw(machine, data)
        machine.wait("update")
    assert until_ready(machine)["firmware"]["SCN"] == "V10200"
