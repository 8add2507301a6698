from __future__ import annotations

import socket
import time

from code_files import code_file, spoilt
from fauxfax.testing import MachineProcess


def cable(machine: MachineProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", machine.ports["parallel"]), timeout=20)


def test_a_code_file_on_a_one_way_cable_is_installed_and_the_cable_stays(fauxfax: MachineProcess) -> None:
    with cable(fauxfax) as peer:
        peer.sendall(b"\x1b%-12345X@PJL USTATUS DEVICE=ON\r\n" + spoilt(code_file("UF-8000 PNL V10200")))
        fauxfax.wait("update")
        assert "block" in fauxfax.status()["update"]["last"]["reason"]
        peer.sendall(code_file("UF-8000 PNL V10200"))
        fauxfax.wait("update", count=2)
        fauxfax.wait("panel=READY")
        peer.sendall(code_file("UF-8000 SCN V10200"))
        fauxfax.wait("update", count=3)
        fauxfax.wait("panel=READY")
        assert {"PNL": "V10200", "SCN": "V10200"}.items() <= fauxfax.status()["firmware"].items()
        peer.settimeout(0)
        try:
            answer = peer.recv(1)
        except BlockingIOError:
            answer = b"nothing"
        assert answer == b"nothing", "nobody can answer on a one-way cable, and nobody has pulled it"


def test_there_is_one_cable(fauxfax: MachineProcess) -> None:
    with cable(fauxfax), cable(fauxfax) as second:
        try:
            heard = second.recv(1)
        except ConnectionResetError:
            heard = b""
        assert heard == b""


def test_pulling_the_cable_in_the_middle_ends_the_update(fauxfax: MachineProcess) -> None:
    with cable(fauxfax) as peer:
        peer.sendall(code_file("UF-8000 PNL V10200")[:100_000])
        fauxfax.wait("panel=RECEIVING")
    fauxfax.wait("update")
    assert "the connection was lost after" in fauxfax.status()["update"]["last"]["reason"]


def test_the_stream_takes_at_least_a_megabyte_a_second(fauxfax: MachineProcess) -> None:
    data = code_file("UF-8000 SC V10200")
    with cable(fauxfax) as peer:
        start = time.monotonic()
        peer.sendall(data)
        fauxfax.wait("update")
        assert len(data) / (time.monotonic() - start) > 1e6
