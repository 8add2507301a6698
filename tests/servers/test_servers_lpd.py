from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_files import code_file, spoilt
from fauxfax.testing import MachineProcess

YES, NO = b"\0", b"\1"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineProcess]:
    """One machine for the tests that leave it as it was."""
    machine = MachineProcess(tmp_path_factory.mktemp("lpd") / "machine").start()
    yield machine
    machine.stop()


@contextlib.contextmanager
def lpd(machine: MachineProcess) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", machine.ports["lpd"]), timeout=20) as peer:
        yield peer


def ask(peer: socket.socket, octets: bytes) -> bytes:
    peer.sendall(octets)
    return peer.recv(1)


def send_file(peer: socket.socket, data: bytes) -> bytes:
    """A job of one data file; what the machine says to it."""
    assert ask(peer, b"\2fax\n") == YES
    assert ask(peer, b"\3%d dfA001host\n" % len(data)) == YES
    return ask(peer, data + b"\0")


def test_the_acknowledgement_of_a_code_file_is_the_result_of_the_update(fauxfax: MachineProcess) -> None:
    good = code_file("UF-8000 PNL V10200")
    with lpd(fauxfax) as peer:
        assert send_file(peer, spoilt(good)) == NO
        assert "block" in fauxfax.status()["update"]["last"]["reason"]
    with lpd(fauxfax) as peer:
        assert send_file(peer, good) == YES
        assert ask(peer, b"\0024 cfA001host\n") == YES, "the control file may come after the data"
        assert ask(peer, b"Pme\n\0") == YES
    fauxfax.wait("panel=READY")
    assert fauxfax.status()["firmware"]["PNL"] == "V10200"


def test_a_file_whose_end_comes_after_the_restart_is_acknowledged_all_the_same(fauxfax: MachineProcess) -> None:
    data = code_file("UF-8000 PNL V10200")
    with lpd(fauxfax) as peer:
        ask(peer, b"\2fax\n")
        ask(peer, b"\3%d dfA001host\n" % len(data))
        peer.sendall(data[:-4])
        fauxfax.wait("update")
        fauxfax.wait("panel=READY")
        assert ask(peer, data[-4:] + b"\0") == YES


def test_print_data_is_taken_and_dropped(shared: MachineProcess) -> None:
    with lpd(shared) as peer:
        assert send_file(peer, b"%!PS\nshowpage\n" * 5_000) == YES
    assert shared.status()["state"] == "ready"


def test_a_code_file_whose_connection_breaks_is_refused_and_says_where(shared: MachineProcess) -> None:
    data = code_file("UF-8000 PNL V10200")
    with lpd(shared) as peer:
        ask(peer, b"\2fax\n")
        ask(peer, b"\3%d dfA001host\n" % len(data))
        peer.sendall(data[:200_000])
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == NO
        assert peer.recv(1) == b""
    assert "the connection was lost after" in shared.status()["update"]["last"]["reason"]


def test_another_ways_update_is_not_taken_for_this_one(tmp_path: Path) -> None:
    machine = MachineProcess(tmp_path / "machine", clock="real").start()
    try:
        with socket.create_connection(("127.0.0.1", machine.ports["raw"]), timeout=20) as raw, lpd(machine) as peer:
            raw.sendall(code_file("UF-8000 PNL V10200")[:100_000])
            machine.wait("panel=RECEIVING")
            assert send_file(peer, b"plain text") == YES
            with lpd(machine) as second:
                assert send_file(second, code_file("UF-8000 SCN V10200")) == NO
    finally:
        machine.kill()


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 100_000], ids=["browser", "noise"])
def test_an_octet_it_does_not_know_is_answered_and_the_connection_closed(shared: MachineProcess, octets: bytes) -> None:
    with lpd(shared) as peer:
        with contextlib.suppress(OSError):
            peer.sendall(octets)
        assert peer.recv(100) == b"It is not being supported.\n"


def test_lpq_hears_how_the_machine_is(shared: MachineProcess) -> None:
    with lpd(shared) as peer:
        peer.sendall(b"\3fax\n")
        assert peer.recv(200) == b"fax on EMUFAX1 is ready\nno entries\n"


def test_a_crowd_is_turned_away_and_leaves_the_machine_at_work(shared: MachineProcess) -> None:
    crowd = []
    try:
        for _ in range(200):
            crowd.append(socket.create_connection(("127.0.0.1", shared.ports["lpd"]), timeout=20))
            crowd[-1].sendall(b"\2fax\n\0029 cfA\nhalf")
        turned_away = 0
        for peer in crowd:
            with contextlib.suppress(ConnectionResetError):
                turned_away += peer.recv(1) != YES
                continue
            turned_away += 1
        assert turned_away == 200 - 64
    finally:
        for peer in crowd:
            peer.close()
    with lpd(shared) as peer:
        assert send_file(peer, b"text") == YES


@pytest.mark.parametrize("way", ["lpd", "ftp", "raw"])
def test_a_silent_client_is_cut_after_a_while(tmp_path: Path, way: str) -> None:
    machine = MachineProcess(tmp_path / "machine", clock="x1000").start()
    try:
        with socket.create_connection(("127.0.0.1", machine.ports[way]), timeout=20) as peer:
            start = time.monotonic()
            with contextlib.suppress(ConnectionResetError):
                while peer.recv(100):
                    pass
            assert 0.25 < time.monotonic() - start < 3, "300 to 600 machine seconds, a thousand in one"
    finally:
        machine.kill()


def test_a_power_cut_breaks_the_connection_without_an_answer(fauxfax: MachineProcess) -> None:
    with lpd(fauxfax) as peer:
        ask(peer, b"\2fax\n")
        ask(peer, b"\x03100000 dfA001host\n")
        peer.sendall(b"x" * 1000)
        fauxfax.power("cut")
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b""
