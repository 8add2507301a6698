"""Hostile peers on every socket of one running machine: they are dropped, everybody else and the machine go on."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import selectors
import smtplib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fauxfax.hostport import usbip
from fauxfax.hostport.jobstream import UEL
from fauxfax.testing import MachineProcess

WAYS = ("smtp", "raw", "lpd", "ftp", "usbip", "usbredir", "parallel", "control", "usb node", "parport node")
NODES = {"usb node": "bus/usb/001/001", "parport node": "parport0"}
"""The device nodes, which a program under umockdev reaches by a socket in the file system."""
CONNECTIONS = 1000
ENDLESS = 16 * 1024 * 1024
GROWTH, CROWD_GROWTH = 12 * 1024 * 1024, 32 * 1024 * 1024
"""Octets by which a machine may grow under one attack, and under a thousand connections."""
SECONDS, SOON = 8.0, 0.3
"""How long anything may take; how long to wait for a machine that says no more."""
NOISE = random.Random(1284).randbytes(64 * 1024)
IMPORT = usbip.pack_import_request("1-1")
HELLO = struct.pack("<III", 0, 64, 0) + bytes(64)


class Attack(NamedTuple):
    """What a hostile peer sends, and whether the machine has to be the one who ends it, and what its log then says."""

    way: str
    sent: bytes
    dropped: bool = True
    logged: str = ""


ATTACKS = {
    "smtp: noise": Attack("smtp", NOISE, dropped=False),
    "smtp: a line without an end": Attack("smtp", b"A" * ENDLESS, dropped=False),
    "smtp: half a message": Attack(
        "smtp", b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<fax@x>\r\nDATA\r\nSub", dropped=False
    ),
    "raw: noise": Attack("raw", NOISE, dropped=False),
    "raw: a line without an end": Attack("raw", b"@PJL " + b"A" * ENDLESS, dropped=False),
    "raw: an upgrade too big for any flash": Attack(
        "raw", UEL + b"@PJL UPGRADE SIZE=999999999999\r\n" + NOISE, dropped=False
    ),
    "raw: half a command": Attack("raw", UEL + b"@PJL UPG", dropped=False),
    "lpd: an unknown command": Attack("lpd", b"\x7fnoise\n", logged="lpd"),
    "lpd: a line without an end": Attack("lpd", b"\x02" + b"A" * ENDLESS, logged="lpd"),
    "lpd: half a command": Attack("lpd", b"\x02l", dropped=False),
    "lpd: a file of negative length": Attack("lpd", b"\x02lp\n\x03-5 dfA001host\n", logged="lpd"),
    "ftp: noise": Attack("ftp", NOISE, dropped=False),
    "ftp: a line without an end": Attack("ftp", b"A" * ENDLESS, dropped=False),
    "ftp: half a command": Attack("ftp", b"USE", dropped=False),
    "usbip: an unknown operation": Attack("usbip", struct.pack(">HHI", 0x0111, 0x7777, 0), logged="usbip"),
    "usbip: no such device": Attack("usbip", struct.pack(">HHI", 0x0111, 0x8003, 0) + b"9" * 32),
    "usbip: half a header": Attack("usbip", b"\x01\x11\x80", dropped=False),
    "usbip: an unknown block": Attack("usbip", IMPORT + b"\xff" * 48, logged="usbip"),
    "usbip: a transfer of 4 GiB": Attack(
        "usbip", IMPORT + struct.pack(">12I", 1, 1, 65537, 0, 1, 0, 0xFFFFFFFF, *bytes(5)), logged="usbip"
    ),
    "usbredir: an unknown type": Attack("usbredir", HELLO + struct.pack("<III", 9999, 0, 0), logged="usbredir"),
    "usbredir: a packet of 4 GiB": Attack("usbredir", struct.pack("<III", 0, 0xFFFFFFFF, 0) + NOISE, logged="usbredir"),
    "usbredir: half a header": Attack("usbredir", b"\0\0\0", dropped=False),
    "usbredir: noise": Attack("usbredir", NOISE, logged="usbredir"),
    "parallel: noise": Attack("parallel", NOISE, dropped=False),
    "parallel: a line without an end": Attack("parallel", b"@PJL " + b"A" * ENDLESS, dropped=False),
    "usb node: noise": Attack("usb node", NOISE, logged="umockdev"),
    "usb node: half a request": Attack("usb node", b"\1\0\0", dropped=False),
    "usb node: an unknown request": Attack("usb node", struct.pack("<QQQ", 99, 0, 0), logged="umockdev"),
    "usb node: a block of 4 GiB": Attack(
        "usb node", struct.pack("<QQQ", 1, 0x8038550A, 0) + b"\3\1" + b"\xff" * 54, dropped=False
    ),
    "parport node: noise": Attack("parport node", NOISE, logged="umockdev"),
    "parport node: a write of 8 EiB": Attack(
        "parport node", struct.pack("<QQQQQQ", 1, 0x708B, 0, 8, 0, 2**63) + bytes(ENDLESS), dropped=False
    ),
    "control: noise": Attack("control", NOISE),
    "control: a header without an end": Attack("control", b"GET / HTTP/1.1\r\nX: " + b"A" * ENDLESS),
    "control: half a header": Attack("control", b"GET /v1/mach", dropped=False),
    "control: a body of a length that is none": Attack(
        "control", b"POST /v1/power HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n{}"
    ),
    "control: a body without an end": Attack(
        "control", b"POST /v1/power HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" + b"A" * ENDLESS
    ),
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineProcess]:
    machine = MachineProcess(tmp_path_factory.mktemp("hostile") / "machine").start()
    try:
        yield machine
    finally:
        machine.stop()


def log_of(machine: MachineProcess) -> str:
    return (machine.state.parent / f"{machine.state.name}.log").read_text()


def resident(machine: MachineProcess) -> int:
    assert machine.process is not None
    pages = Path(f"/proc/{machine.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


Address = tuple[str, int] | str


def address(machine: MachineProcess, way: str) -> Address:
    """Where a way in listens: host and port, or a path."""
    if way in NODES:
        return f"{machine.announcement['umockdev']}/ioctl/dev/{NODES[way]}"
    return "127.0.0.1", machine.ports[way]


def dial(where: Address) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
    peer.settimeout(SECONDS)
    peer.connect(where)
    return peer


def attack(where: Address, sent: bytes) -> bool:
    """Send it all, or as much as is taken. Returns whether the machine ended the connection soon after."""
    with dial(where) as peer, selectors.DefaultSelector() as ready:
        peer.setblocking(False)
        ready.register(peer, selectors.EVENT_READ | selectors.EVENT_WRITE)
        view, end = memoryview(sent), time.monotonic() + SECONDS
        while (events := ready.select(SOON)) and time.monotonic() < end:
            try:
                if events[0][1] & selectors.EVENT_READ and not peer.recv(65536):
                    return True
                if events[0][1] & selectors.EVENT_WRITE:
                    view = view[peer.send(view[:65536]) :]
            except ConnectionError:
                return True
            if not view:
                ready.modify(peer, selectors.EVENT_READ)
    return False


def check_everybody_is_served(machine: MachineProcess) -> None:
    """One ordinary exchange on every way in."""
    for way, exchange in EXCHANGES.items():
        exchange(address(machine, way))


def _mail(where: Address) -> None:
    with smtplib.SMTP(*where, timeout=SECONDS) as smtp:
        assert smtp.noop()[0] == 250


def _raw(where: Address) -> None:
    asked(where, UEL + b"@PJL INFO ID\r\n", b"UF-8000")


def _lpd(where: Address) -> None:
    asked(where, b"\x03lp\n", b"no entries")


def _ftp(where: Address) -> None:
    asked(where, b"NOOP\r\n", b"220")


def _usbip(where: Address) -> None:
    asked(where, usbip.pack_devlist_request(), b"1-1")


def _usbredir(where: Address) -> None:
    asked(where, b"", b"fauxfax")


def _parallel(where: Address) -> None:
    with dial(where) as peer:
        peer.sendall(UEL)
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""


def _usb_node(where: Address) -> None:
    asked(where, struct.pack("<QQQ", 1, 0x8004551A, 0), struct.pack("<QQQI", 6, 0, 4, 0x15))  # the capabilities


def _parport_node(where: Address) -> None:
    asked(where, struct.pack("<QQQ", 1, 0x80047097, 0), struct.pack("<QQQI", 6, 0, 4, 0x03))  # the modes


def _control(where: Address) -> None:
    connection = http.client.HTTPConnection(*where, timeout=SECONDS)
    connection.request("GET", "/v1/machine")
    assert connection.getresponse().status == 200
    connection.close()


def asked(where: Address, question: bytes, answer: bytes) -> None:
    """Ask until the answer comes: a cable may still be in for a moment after the last peer."""
    end, heard = time.monotonic() + SECONDS, b""
    while answer not in heard:
        assert time.monotonic() < end, heard
        with contextlib.suppress(OSError), dial(where) as peer:
            peer.sendall(question)
            heard = b""
            while answer not in heard and (more := peer.recv(65536)):
                heard += more


EXCHANGES: dict[str, Callable[[Address], None]] = {
    "smtp": _mail, "raw": _raw, "lpd": _lpd, "ftp": _ftp, "usbip": _usbip, "usbredir": _usbredir,
    "parallel": _parallel, "control": _control, "usb node": _usb_node, "parport node": _parport_node,
}  # fmt: skip


@pytest.mark.parametrize("case", ATTACKS)
def test_a_hostile_peer_is_dropped_and_nobody_else_notices(machine: MachineProcess, case: str) -> None:
    way, sent, dropped, logged = ATTACKS[case]
    before, lines = resident(machine), len(log_of(machine))
    with dial(address(machine, "smtp")) as bystander:
        assert bystander.recv(1000).startswith(b"220")
        ended = attack(address(machine, way), sent)
        bystander.sendall(b"NOOP\r\n")
        assert bystander.recv(1000).startswith(b"250")
    assert ended or not dropped
    assert logged in log_of(machine)[lines:]
    check_everybody_is_served(machine)
    assert resident(machine) - before < GROWTH


@pytest.mark.parametrize("way", WAYS)
def test_a_thousand_connections_keep_nobody_out_for_long(machine: MachineProcess, way: str) -> None:
    before = resident(machine)
    with contextlib.ExitStack() as crowd:
        for _ in range(CONNECTIONS):
            crowd.enter_context(dial(address(machine, way)))
        for other, exchange in EXCHANGES.items():
            if other != way:
                exchange(address(machine, other))
        assert resident(machine) - before < CROWD_GROWTH
    end = time.monotonic() + SECONDS
    while True:
        try:
            return EXCHANGES[way](address(machine, way))
        except OSError:  # it is still letting them go
            if time.monotonic() > end:
                raise
