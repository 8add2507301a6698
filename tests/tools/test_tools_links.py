"""LINK grammar, and each driver's way of opening, reading, writing, losing and finding its machine."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted_machine import Script, ScriptedMachine

from fauxfax_tools.cli import run
from fauxfax_tools.codefiles import load
from fauxfax_tools.dialects.reference import ReferenceDialect
from fauxfax_tools.errors import BadUsage, Exit, LinkLost
from fauxfax_tools.links import DRIVERS, find_link, forms
from fauxfax_tools.links.base import reopen, strip_length
from fauxfax_tools.updater import Options, Outcome, Updater


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("tcp://192.0.2.7", "tcp://192.0.2.7:9100"),
        ("tcp://[2001:db8::1]:99", "tcp://[2001:db8::1]:99"),
        ("TCP://printer", "tcp://printer:9100"),
        ("serial:/dev/ttyUSB0?baud=38400", "serial:/dev/ttyUSB0"),
        ("serial:socket://127.0.0.1:7000", "serial:socket://127.0.0.1:7000"),
        ("usb:", "usb:"),
        ("usb:04da:1500", "usb:04da:1500"),
        ("usb:04DA:1500:EMUFAX1", "usb:04da:1500:EMUFAX1"),
        ("lp:/dev/usb/lp0", "lp:/dev/usb/lp0"),
        ("parport:/dev/parport0", "parport:/dev/parport0"),
    ],
)
def test_a_link_is_found_by_its_scheme_and_nothing_is_opened_yet(url: str, shown: str) -> None:
    assert find_link(url).url == shown


@pytest.mark.parametrize(
    "url",
    ["", "lp0", "ftp://h", "tcp:", "tcp://:1", "tcp://h:0", "tcp://h:x", "tcp://h/x", "serial:",
     "serial:/dev/x?baud=fast", "serial:/dev/x?parity=E",
     "usb:04da", "usb:04da:", "usb:1:2x", "usb:12345:1", "lp:", "parport:"],
)  # fmt: skip
def test_a_wrong_link_repeats_the_expected_form(url: str) -> None:
    scheme = url.partition(":")[0]
    form = DRIVERS[scheme][1] if scheme in DRIVERS else forms()
    with pytest.raises(BadUsage) as caught:
        find_link(url)
    assert form in str(caught.value)


def test_a_device_id_loses_its_length_prefix_and_its_padding() -> None:
    assert strip_length(b"\x00\x1aMFG:Panasonic;MDL:UF-8000;\0\0\0") == "MFG:Panasonic;MDL:UF-8000;"
    assert strip_length(b"\0\0\0\0") is None


def test_tcp_says_when_the_machine_closed_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = find_link(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        link.open()
        server.accept()[0].close()
        with pytest.raises(LinkLost, match="closed the connection"):
            link.read(10, 1.0)
        link.close()
        link.close()


def test_tcp_takes_nothing_while_the_window_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = find_link(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        link.open()
        peer, _ = server.accept()
        with peer:
            while link.write(memoryview(bytes(1 << 20)), 0.05):
                pass
            assert link.write(memoryview(b"x"), 0.05) == 0
        link.close()


def test_a_machine_that_restarts_is_found_again_within_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    link = find_link(f"tcp://127.0.0.1:{port}")
    naps: list[float] = []
    servers: list[socket.socket] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            servers.append(socket.create_server(("127.0.0.1", port)))

    try:
        reopen(link, 5.0, nap)
        assert len(naps) == 2
    finally:
        link.close()
        servers[0].close()


def test_a_machine_that_does_not_come_back_is_told_with_its_link() -> None:
    with pytest.raises(LinkLost, match=r"tcp://127\.0\.0\.1:1: the machine did not come back within 0\.01 s"):
        reopen(find_link("tcp://127.0.0.1:1"), 0.01, lambda _: None)


class Line:
    """The machine's end of a pseudo-terminal, as the scripted machine's connection."""

    def __init__(self, master: int) -> None:
        self._master = master

    def settimeout(self, _: float) -> None:
        pass

    def recv(self, size: int) -> bytes:
        if not select.select([self._master], [], [], 0.05)[0]:
            raise TimeoutError
        return os.read(self._master, size)

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._master, data) :]


@pytest.fixture
def line() -> Iterator[str]:
    """The path of a pseudo-terminal with a scripted machine at the other end."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    machine = ScriptedMachine(Script(away=False))
    thread = threading.Thread(target=machine.converse, args=(Line(master),), daemon=True)
    thread.start()
    yield os.ttyname(slave)
    machine.stop()
    thread.join(5)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("scheme", ["serial", "lp"])
def test_an_update_goes_over_a_character_device(scheme: str, line: str, code_file: Callable[..., Path]) -> None:
    link = find_link(f"{scheme}:{line}")
    image = load(code_file(size=60_000))
    result = Updater(link, ReferenceDialect(link), image, Options(lambda _: True, patience=5)).run(lambda _: None)
    assert result.outcome is Outcome.UPDATED


def test_a_device_that_only_takes_is_one_way_and_promises_nothing(
    tmp_path: Path, code_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "lp0"
    os.mkfifo(device)
    path = code_file(size=10_000)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(device.read_bytes()))
    reader.start()
    real_open = os.open

    def write_only(name: str, flags: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return real_open(name, flags & ~os.O_NONBLOCK)

    monkeypatch.setattr(os, "open", write_only)
    link = find_link(f"lp:{device}")
    image = load(path)
    result = Updater(link, ReferenceDialect(link), image, Options(lambda _: True)).run(lambda _: None)
    monkeypatch.undo()
    reader.join(5)
    assert result.outcome is Outcome.SENT
    assert image.container in received[0]


def test_a_machine_in_this_process_takes_an_update(tmp_path: Path) -> None:
    path = tmp_path / "pnl.pfc"
    assert run(["codefile", "build", "pnl", "--model", "UF-7100", "--version", "V10200", "-o", str(path)]) == Exit.DONE
    command = [sys.executable, "-m", "fauxfax_tools", "local-update", "--port", "emulated:UF-7100", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == Exit.DONE, done.stdout + done.stderr
    assert "the machine runs PNL V10200" in done.stdout


def test_a_model_nobody_knows_is_a_wrong_link() -> None:
    with pytest.raises(BadUsage, match=r"none of UF-7000.*expected emulated:\[MODEL\]"):
        find_link("emulated:UF-9999")


def test_a_scheme_without_its_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    with pytest.raises(BadUsage, match="no installed package offers 'emulated'"):
        find_link("emulated:")
