"""A PC prints through the host port, and an update meets a sender in the middle of a message."""

from __future__ import annotations

import socket
from collections.abc import Callable
from io import BytesIO

from PIL import Image

from fauxfax.testing import MachineProcess


def send_raw(machine: MachineProcess, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", machine.ports["raw"]), timeout=30) as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        return peer.recv(65536)


def test_pictures_of_a_pc_lie_in_the_tray_as_they_were_drawn(
    fauxfax: MachineProcess, page: Image.Image, page_tif: bytes
) -> None:
    drawn = BytesIO()
    page.save(drawn, "PPM")
    send_raw(fauxfax, page_tif)
    fauxfax.wait("fax")
    send_raw(fauxfax, drawn.getvalue())
    fauxfax.wait("fax", count=2)
    for document in fauxfax.tray():
        folder = fauxfax.state / "tray" / f"{document['id']:04d}"
        assert (document["result"], document["envelope"]["peer"]) == ("R-OK", "raw")
        with Image.open(folder / "document.tif") as printed:
            assert printed.convert("1").tobytes() == page.tobytes()
        assert (folder / "print.prn").is_file()
        assert not (folder / "message.eml").exists()
    assert {entry["kind"] for entry in fauxfax.client.get("/v1/journal")} == {"PRN"}


def test_a_picture_that_cannot_be_read_becomes_an_error_sheet(fauxfax: MachineProcess, page_tif: bytes) -> None:
    send_raw(fauxfax, page_tif[:200])
    fauxfax.wait("fax")
    [document] = fauxfax.tray()
    assert document["result"] == "870"
    assert document["reason"]


def test_an_update_meets_a_sender_inside_data_and_waits_its_turn(
    fauxfax: MachineProcess, code_file: Callable, page_tif: bytes
) -> None:
    ask = b"\x1b%-12345X@PJL USTATUS DEVICE=ON\r\n"
    code, offer = code_file("UF-8000 SCN V10200").read_bytes(), b"@PJL UPGRADE SIZE=100000\r\n"
    with socket.create_connection(("127.0.0.1", fauxfax.ports["smtp"]), timeout=30) as sender:
        reader = sender.makefile("rb")
        for line in (b"", b"HELO me", b"MAIL FROM:<a@b.example>", b"RCPT TO:<fax@uf-8000.local>", b"DATA"):
            if line:
                sender.sendall(line + b"\r\n")
            assert reader.readline()[:1] in b"23"
        sender.sendall(b"Subject: long\r\n\r\nthe first half of it\r\n")
        while b"busy: receiving" not in send_raw(fauxfax, ask + offer):
            pass  # the machine has not read that far yet
        sender.sendall(b"the rest\r\n.\r\n")
        assert reader.readline().startswith(b"250")
    fauxfax.wait("fax")
    assert "the first half of it" in (fauxfax.state / "tray" / "0001" / "message.eml").read_text()
    assert "busy: receiving" in fauxfax.status()["update"]["last"]["reason"]
    while fauxfax.status()["firmware"].get("SCN") != "V10200":
        send_raw(fauxfax, code)
