"""Captures of a running machine, as tshark reads them: every way in, faults and power, after a kill and at a limit."""

from __future__ import annotations

import contextlib
import ftplib
import hashlib
import io
import itertools
import os
import random
import re
import shutil
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fauxfax.hostport.ieee1284 import Peripheral
from fauxfax.hostport.jobstream import UEL
from fauxfax.hostport.usb import Setup, Transfer
from fauxfax.hostport.usbdescriptors import Speed
from fauxfax.hostport.vcd import VcdTrace
from fauxfax.inprocess import InProcessMachine
from fauxfax.servers.capture import Capture
from fauxfax.testing import MachineProcess
from fauxfax_tools.links import find_link

sys.path.append(str(Path(__file__).parents[1] / "hostport"))
from hostport_memory import MemoryPort
from hostport_pc import IDLE, Pc

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="no tshark: install-packages"),
]
LUA = Path(__file__).parents[2] / "tools" / "fauxfax-1284.lua"
DISSECTOR = ("-X", f"lua_script:{LUA}")
PPDEV = """
import fcntl, os
port = os.open("/dev/parport0", os.O_RDWR)
fcntl.ioctl(port, 0x708B)  # PPCLAIM
fcntl.ioctl(port, 0x40017086, b"A")  # PPWDATA
for control in (0x0C, 0x0D, 0x0C):  # the strobe
    fcntl.ioctl(port, 0x40017084, bytes((control,)))
print(hex(fcntl.ioctl(port, 0x80017081, bytes(1))[0]))
"""
"""Strobes one octet into the parallel port, register by register, and prints the status register."""
Start = Callable[..., MachineProcess]


def tshark(file: Path, *words: str) -> list[str]:
    """What tshark prints about a file, line by line; it must find nothing wrong with the file."""
    done = subprocess.run(["tshark", "-r", file, *words], capture_output=True, text=True, check=False, timeout=50)
    complaints = [line for line in done.stderr.splitlines() if "Running as user" not in line]
    assert (done.returncode, complaints) == (0, [])
    return done.stdout.splitlines()


def fields(file: Path, chosen: str, *names: str, options: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Fields of the packets that a display filter chooses."""
    wanted = [word for name in names for word in ("-e", name)]
    return [tuple(row.split("\t")) for row in tshark(file, *options, "-Y", chosen, "-T", "fields", *wanted)]


def stream(file: Path, number: int) -> tuple[bytes, bytes]:
    """What the client and the machine said in one TCP stream, as tshark follows it."""
    said: tuple[bytearray, bytearray] = (bytearray(), bytearray())
    lines = tshark(file, "-q", "-z", f"follow,tcp,raw,{number}")
    octets = [line for line in lines if line.strip() and all(char in "0123456789abcdef\t" for char in line)]
    for line in octets:
        said[line.startswith("\t")].extend(bytes.fromhex(line.strip()))
    return bytes(said[0]), bytes(said[1])


def streams(file: Path, port: int) -> list[int]:
    return sorted({int(number) for (number,) in fields(file, f"tcp.port == {port}", "tcp.stream")})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.pcapng"


@pytest.fixture
def captured(tmp_path: Path, file: Path) -> Iterator[Start]:
    """Starts a machine that captures; it is stopped by the test, or at its end."""

    def begin(*options: str) -> MachineProcess:
        machine = MachineProcess(tmp_path / "machine", ("--capture", str(file), *options))
        stack.callback(machine.kill)
        return machine.start()

    with contextlib.ExitStack() as stack:
        yield begin


def send_mail(machine: MachineProcess, text: str = "no picture") -> None:
    with smtplib.SMTP("127.0.0.1", machine.ports["smtp"], timeout=20) as smtp:
        smtp.sendmail("jane@example.org", ["fax@uf-8000.local"], f"Subject: a fax\r\n\r\n{text}\r\n")


def send_raw(port: int, data: bytes, *, answer: bytes = b"") -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(data)
        heard = bytearray()
        while answer not in heard:
            heard += client.recv(65536)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass


def test_mail_is_dissected_as_smtp(captured: Start, file: Path) -> None:
    machine = captured()
    send_mail(machine)
    machine.stop()
    commands = [command.upper() for (command,) in fields(file, "smtp.req.command", "smtp.req.command")]
    assert [command for command in commands if command in ("EHLO", "MAIL", "RCPT", "DATA", "QUIT")] == [
        "EHLO", "MAIL", "RCPT", "DATA", "QUIT",
    ]  # fmt: skip
    assert ("220",) in fields(file, "smtp.response.code", "smtp.response.code")
    assert fields(file, "imf", "imf.subject") == [("a fax",)]


def test_the_raw_port_can_be_followed_to_the_octet(captured: Start, file: Path) -> None:
    machine, data = captured(), UEL + b"@PJL INFO ID\r\n" + UEL + b"II*\0" + random.Random(9).randbytes(300_000)
    send_raw(machine.ports["raw"], data, answer=b"\x0c")
    machine.stop()
    (number,) = streams(file, 9100)
    asked, answered = stream(file, number)
    assert hashlib.sha256(asked).digest() == hashlib.sha256(data).digest()
    assert answered.startswith(b"@PJL INFO ID\r\n")
    assert fields(file, "tcp.analysis.flags", "frame.number") == []
    assert [flags for (flags,) in fields(file, "tcp.flags.fin == 1", "tcp.flags")] == ["0x0011", "0x0011"]


def test_ftp_shows_commands_and_the_file_itself(captured: Start, file: Path) -> None:
    machine, data = captured(), random.Random(3).randbytes(100_000)
    for passive in (True, False):
        with ftplib.FTP() as ftp:
            ftp.connect("127.0.0.1", machine.ports["ftp"], timeout=20)
            ftp.login()
            ftp.set_pasv(passive)
            ftp.storbinary("STOR page.prn", io.BytesIO(data))
    machine.stop()
    commands = {command for (command,) in fields(file, "ftp.request.command", "ftp.request.command")}
    assert {"USER", "STOR"} <= commands
    files = [b"".join(stream(file, n)) for n in set(streams_of_all(file)) - set(streams(file, 21))]
    assert files == [data, data]


def streams_of_all(file: Path) -> list[int]:
    return sorted({int(number) for (number,) in fields(file, "tcp", "tcp.stream")})


def test_lpd_and_the_parallel_stream_are_there(captured: Start, file: Path) -> None:
    machine = captured()
    with socket.create_connection(("127.0.0.1", machine.ports["lpd"]), timeout=20) as client:
        client.sendall(b"\x03lp\n")
        while client.recv(4096):
            pass
    with socket.create_connection(("127.0.0.1", machine.ports["parallel"]), timeout=20) as client:
        client.sendall(b"II*\0 octets on a cable")
        client.shutdown(socket.SHUT_WR)
        client.recv(1)
    machine.stop()
    assert fields(file, "lpd", "tcp.dstport")
    (number,) = streams(file, machine.ports["parallel"])
    assert stream(file, number)[0] == b"II*\0 octets on a cable"
    assert {name for (name,) in fields(file, "frame", "frame.interface_name")} >= {"lpd", "parallel"}


def test_usb_is_dissected_from_the_descriptors_to_the_device_id(captured: Start, file: Path) -> None:
    machine = captured()
    link = find_link(f"usbip://127.0.0.1:{machine.ports['usbip']}")
    link.open()
    assert link.identify()
    job = UEL + b"@PJL INFO ID\r\n"
    assert link.write(memoryview(job), 5.0) == len(job)
    answer = b""
    while not answer.endswith(b"\x0c"):
        answer += link.read(4096, 5.0)
    link.close()
    machine.stop()
    check_usb(file, answer)


def check_usb(file: Path, answer: bytes) -> None:
    assert ("0x04da", "0x1500") in fields(file, "usb.idVendor", "usb.idVendor", "usb.idProduct")
    assert ("0x07",) in fields(file, "usb.bInterfaceClass", "usb.bInterfaceClass")
    (device_id,) = set(fields(file, "usbprinter.device_id", "usbprinter.device_id"))
    assert "MDL:UF-8000" in device_id[0]
    transferred = [bytes.fromhex(data.replace(":", "")) for (data,) in fields(file, "usb.capdata", "usb.capdata")]
    assert transferred == [UEL + b"@PJL INFO ID\r\n", answer]
    assert answer.startswith(b"@PJL INFO ID")


def test_a_machine_in_this_process_is_captured_too(file: Path) -> None:
    capture, answers = Capture(file, limit=1 << 20), []
    with InProcessMachine() as host:
        function = host.machine.open_usb(Speed.HIGH, capture.usb())
        function.control(Setup(0xA1, 0, 0, 0, 1024))
        function.submit(Transfer(0x01, UEL + b"@PJL INFO ID\r\n", 23, lambda _: None))
        function.submit(Transfer(0x82, b"", 512, lambda transfer: answers.append(bytes(transfer.data))))
        capture.close()
    check_usb(file, answers[0])


def test_faults_and_power_are_comments(captured: Start, file: Path) -> None:
    machine = captured()
    machine.arm("rcpt nth=1 -> reply 451 try later")
    with contextlib.suppress(smtplib.SMTPRecipientsRefused):
        send_mail(machine)
    machine.power("cut")
    time.sleep(0.1)
    machine.power("on")
    machine.stop()
    comments = fields(file, "frame.comment", "frame.comment", "smtp.response.code")
    texts = " ".join(text for text, *_ in comments)
    assert [code for text, code in comments if text.startswith("fault: rcpt nth=1 -> reply 451")] == ["451"]
    assert "power: cut, at " in texts
    assert "power: on, at " in texts


def test_the_lines_of_the_cable_are_dissected(file: Path) -> None:
    capture = Capture(file, limit=1 << 20)
    scope = capture.parallel()
    pc = Pc(port := MemoryPort())
    pc.cable = Peripheral(port, scope.happened, scope.changed)
    pc.cable.write_control(IDLE)
    assert pc.negotiate(0x04)
    pc.read_nibble()
    capture.close()
    rows = fields(file, "ieee1284", "ieee1284.event", "ieee1284.phase", "ieee1284.nselectin", options=DISSECTOR)
    events = [int(event) for event, *_ in rows if event]
    assert events == [1, 3, 4, 7, 10]
    assert [phase for event, phase, _ in rows if event == "1"] == ["SETUP"]
    assert {"FORWARD_IDLE", "REQUEST", "HOST_BUSY", "REVERSE_DATA"} <= {phase for _, phase, _ in rows}


@pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="no umockdev: install-packages")
def test_a_program_at_the_registers_is_captured_and_traced(captured: Start, file: Path, tmp_path: Path) -> None:
    trace = tmp_path / "cable.vcd"
    machine = captured("--trace", str(trace))
    nodes = {"UMOCKDEV_DIR": machine.announcement["umockdev"], "LD_PRELOAD": "libumockdev-preload.so.0"}
    asked = subprocess.run(
        [sys.executable, "-c", PPDEV],
        env={**os.environ, **nodes},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    machine.stop()
    assert asked.stdout == "0xd8\n"
    seen = fields(file, "ieee1284.event", "ieee1284.event", "ieee1284.phase", options=DISSECTOR)
    assert seen == [("0", "FORWARD_DATA"), ("0", "FORWARD_IDLE")]
    dump = trace.read_text()
    assert dump.startswith("$timescale 1 us $end")
    assert "b01000001 D" in dump
    assert dump.count("sFORWARD_DATA P") == 1


@pytest.mark.skipif(shutil.which("vcd2fst") is None, reason="no vcd2fst (package gtkwave): install-packages")
def test_gtkwave_reads_the_trace_with_every_change_in_it(tmp_path: Path) -> None:
    trace, packed = tmp_path / "cable.vcd", tmp_path / "cable.fst"
    ticks = itertools.count()
    with trace.open("w") as file:
        pc = Pc(MemoryPort(), VcdTrace(file.write, lambda: next(ticks) / 1e6))
        assert pc.negotiate(0x04)
        pc.read_nibble()
        pc.terminate()
        pc.put(b"\x41")
    subprocess.run(["vcd2fst", trace, packed], check=True, capture_output=True, timeout=20)
    read = subprocess.run(["fst2vcd", packed], check=True, capture_output=True, text=True, timeout=20).stdout
    assert changes(read) == changes(trace.read_text())
    assert ("phase", "sREVERSE_DATA") in {(name, value) for _, name, value in changes(read)}


def changes(dump: str) -> list[tuple[int, str, str]]:
    """Each change of a dump: when, of which line, to what; the reader may name and order lines its own way."""
    head, _, body = dump.partition("$enddefinitions $end")
    names = dict(re.findall(r"\$var \w+ \d+ (\S+) (\w+)[^$]*\$end", head))
    found, tick = [], 0
    for line in body.splitlines():
        if line.startswith("#"):
            tick = int(line[1:])
        elif match := re.fullmatch(r"(b[01]+|s\S+) (\S+)|([01])(\S+)", line):
            value, code = (match[1], match[2]) if match[1] else (match[3], match[4])
            found.append((tick, names[code], value))
    return sorted(found)


def test_a_killed_process_leaves_a_file_that_can_be_read(captured: Start, file: Path) -> None:
    machine = captured()
    send_mail(machine)
    with socket.create_connection(("127.0.0.1", machine.ports["raw"]), timeout=20) as client:
        client.sendall(b"II*\0" + os.urandom(1_000_000))
        time.sleep(0.2)
        machine.kill()
    assert fields(file, "smtp.req.command == QUIT", "tcp.stream")
    assert streams(file, 9100)


def test_a_file_ends_at_its_limit_and_the_machine_goes_on(captured: Start, file: Path, tmp_path: Path) -> None:
    machine = captured("--set", "capture.limit=100000")
    send_raw(machine.ports["raw"], b"II*\0" + bytes(400_000))
    send_mail(machine)
    machine.stop()
    assert 1000 < file.stat().st_size <= 100_000
    assert tshark(file)
    assert (tmp_path / "machine.log").read_text().count(f"capture: {file} ends at") == 1
