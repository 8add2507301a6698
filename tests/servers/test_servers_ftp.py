from __future__ import annotations

import ftplib
import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from code_files import code_file, spoilt
from fauxfax.testing import MachineProcess


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineProcess]:
    """One machine for the tests that leave it as it was."""
    machine = MachineProcess(tmp_path_factory.mktemp("ftp") / "machine").start()
    yield machine
    machine.stop()


def client(machine: MachineProcess, password: str = "me@example.org") -> ftplib.FTP:
    ftp = ftplib.FTP(timeout=20)
    assert ftp.connect("127.0.0.1", machine.ports["ftp"]) == "220 FTP server ready."
    ftp.login("me", password)
    return ftp


def refused(ftp: ftplib.FTP, data: bytes) -> str:
    """The reply to a file that must not be taken."""
    with pytest.raises(ftplib.Error) as caught:
        ftp.storbinary("STOR code.pfc", io.BytesIO(data))
    return str(caught.value)


@pytest.mark.parametrize("passive", [True, False], ids=["passive", "active"])
def test_the_reply_at_the_end_is_the_result_of_the_update(fauxfax: MachineProcess, passive: bool) -> None:
    good = code_file("UF-8000 PNL V10200")
    with client(fauxfax) as ftp:
        ftp.set_pasv(passive)
        assert refused(ftp, spoilt(good)).startswith("550 block 5 of 8 of PNL")
        reply = ftp.storbinary("STOR code.pfc", io.BytesIO(good))
        assert reply == "226 firmware V10200 installed; the machine restarts"
    fauxfax.wait("panel=READY")
    assert fauxfax.status()["firmware"]["PNL"] == "V10200"


def test_print_data_is_taken_and_every_folder_is_empty(shared: MachineProcess) -> None:
    with client(shared) as ftp:
        reply = ftp.storbinary("STOR page.ps", io.BytesIO(b"%!PS\nshowpage\n" * 5_000))
        assert reply == "226 taken; it was no firmware"
        assert ftp.nlst() == []
        assert ftp.pwd() == "/"
        ftp.cwd("/any/where")


def test_a_file_that_breaks_off_is_refused_and_the_machine_goes_on(shared: MachineProcess) -> None:
    with client(shared) as ftp:
        reply = refused(ftp, code_file("UF-8000 PNL V10200")[:200_000])
        assert reply.startswith("550 the connection was lost after")
        assert ftp.voidcmd("NOOP") == "200 OK."


def test_an_aborted_transfer_gives_the_update_up(shared: MachineProcess) -> None:
    with client(shared) as ftp, ftp.transfercmd("STOR code.pfc") as data:
        data.sendall(code_file("UF-8000 PNL V10200")[:100_000])
        shared.wait("panel=RECEIVING")
        with pytest.raises(ftplib.error_temp, match="426"):
            ftp.sendcmd("ABOR")
        assert shared.status()["state"] == "ready"


def test_without_a_data_connection_nothing_is_stored(shared: MachineProcess) -> None:
    with client(shared) as ftp, pytest.raises(ftplib.error_temp, match="425"):
        ftp.sendcmd("STOR code.pfc")


def test_data_that_nobody_asked_for_is_not_read(shared: MachineProcess) -> None:
    with client(shared) as ftp, socket.create_connection(ftp.makepasv(), timeout=20) as data:
        data.settimeout(0.3)
        with pytest.raises(TimeoutError):
            data.sendall(bytes(64 << 20))
        data.shutdown(socket.SHUT_WR)
        assert ftp.sendcmd("STOR page").startswith("150")
        assert ftp.voidresp().startswith("226")


def test_a_stranger_at_the_data_port_is_cut(shared: MachineProcess) -> None:
    with client(shared) as ftp:
        host, port = ftp.makepasv()
        with socket.create_connection((host, port), source_address=("127.0.0.2", 0), timeout=20) as stranger:
            assert stranger.recv(1) == b""
        with socket.create_connection((host, port), timeout=20) as data:
            assert ftp.sendcmd("STOR page").startswith("150")
            data.sendall(b"text")
        assert ftp.voidresp().startswith("226")


def test_the_service_password_is_the_logins(tmp_path: Path) -> None:
    machine = MachineProcess(tmp_path / "machine", ["--set", "update.password=4711"]).start()
    try:
        good = code_file("UF-8000 SCN V10200")
        for password in ("me@example.org", "1234"):
            with client(machine, password) as ftp:
                assert refused(ftp, good) == "550 service password: wrong or missing"
        with client(machine, "4711") as ftp:
            assert ftp.storbinary("STOR code.pfc", io.BytesIO(good)).startswith("226 firmware V10200")
    finally:
        machine.kill()


def test_a_power_cut_breaks_the_connections(fauxfax: MachineProcess) -> None:
    ftp = client(fauxfax)
    with ftp.transfercmd("STOR code.pfc") as data:
        data.sendall(b"x" * 1000)
        fauxfax.power("cut")
        with pytest.raises((EOFError, OSError)):
            ftp.voidresp()
    ftp.close()
