"""LPD and FTP: what goes over the wire, and that nothing is promised which is not known."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fauxfax_tools.cli import run
from fauxfax_tools.codefiles import load
from fauxfax_tools.errors import Exit

WHO = b"UF-8000 is ready and printing\nMFG:Panasonic;MDL:UF-8000;SN:EMU0001;\n"


class Daemon:
    """A print server that takes one job at a time; `answers` are its acknowledgements in order."""

    def __init__(self, answers: bytes = b"\0" * 5, who: bytes = WHO) -> None:
        self.answers, self.who = answers, who
        self.control = b""
        self.data = b""
        self.queue = b""

    def serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        line = stream.readline()
        if line[:1] == b"\4":
            connection.sendall(self.who)
            return
        self.queue = line[1:-1]
        replies = iter(self.answers)

        def answer() -> bool:
            """Acknowledge a step; False when there is no answer left and the connection is dropped."""
            octet = next(replies, None)
            connection.sendall(b"" if octet is None else bytes([octet]))
            return octet is not None

        answer()
        while line := stream.readline():
            size = int(line[1:].split()[0])
            if not answer():
                return
            body = stream.read(size + 1)
            if line[:1] == b"\2":
                self.control = body[:-1]
            else:
                self.data = body[:-1]
            if not answer():
                return


class FtpMachine:
    """An FTP server that knows what a put needs, and answers the rest as the family does."""

    def __init__(self, final: bytes = b"226 transfer complete, UPDATE COMPLETED\r\n") -> None:
        self.final = final
        self.data = b""
        self.name = b""
        self.password = b""

    def serve(self, connection: socket.socket) -> None:
        connection.sendall(b"220 FTP server ready.\r\n")
        stream = connection.makefile("rb")
        with socket.create_server(("127.0.0.1", 0)) as passive:
            port = passive.getsockname()[1]
            answers = {
                b"USER": b"331 any password\r\n",
                b"PASS": b"230 UF-8000 SN:EMU0001 logged in\r\n",
                b"TYPE": b"200 binary\r\n",
                b"PASV": f"227 (127,0,0,1,{port >> 8},{port & 255})\r\n".encode(),
                b"EPSV": f"229 (|||{port}|)\r\n".encode(),
                b"QUIT": b"221 bye\r\n",
            }
            while line := stream.readline():
                verb, _, rest = line.strip().partition(b" ")
                if verb == b"PASS":
                    self.password = rest
                if verb != b"STOR":
                    connection.sendall(answers.get(verb, b"510 command not supported.\r\n"))
                    continue
                self.name = rest
                connection.sendall(b"150 go on\r\n")
                carrier, _ = passive.accept()
                with carrier, carrier.makefile("rb") as body:
                    self.data = body.read()
                connection.sendall(self.final)


@contextmanager
def serving(machine: Daemon | FtpMachine) -> Iterator[int]:
    """The port a machine listens on, until the test is over."""
    listener = socket.create_server(("127.0.0.1", 0))

    def loop() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                machine.serve(connection)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def update(via: str, port: int, path: Path, *options: str) -> int:
    return run(["network-update", "--host", "127.0.0.1", "--via", via, "--port", str(port), *options, str(path)])


def test_lpd_prints_the_job_with_a_control_file_that_names_it(
    code_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    daemon, path = Daemon(), code_file(size=700_000)
    with serving(daemon) as port:
        assert update("lpd", port, path) == Exit.DONE
    assert daemon.queue == b"lp"
    assert load(path).container in daemon.data
    assert daemon.data.startswith(b"\x1b%-12345X@PJL")
    assert re.search(rb"^H\S+\nPfauxfax\nJV10200\.pfc\nldfA\d{3}\S+\n", daemon.control)
    assert "sent; the machine acknowledged the job. Whether the new version runs" in capsys.readouterr().out


def test_ftp_puts_the_job_under_the_files_name(
    code_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    machine, path = FtpMachine(), code_file()
    with serving(machine) as port:
        assert update("ftp", port, path, "--json") == Exit.DONE
    assert machine.name == b"V10200.pfc"
    assert load(path).container in machine.data
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["result"] == "sent"
    assert "226 transfer complete, UPDATE COMPLETED" in last["text"]


@pytest.mark.parametrize(
    ("machine", "via", "code", "words"),
    [
        (Daemon(b"\1"), "lpd", Exit.REFUSED, "the queue was refused"),
        (Daemon(b"\0\0\0\0\1"), "lpd", Exit.REFUSED, "the code file was refused"),
        (Daemon(b"\0\0"), "lpd", Exit.NO_MACHINE, "closed the connection after the control file"),
        (Daemon(who=b"MDL:UF-7100;SN:EMU1;"), "lpd", Exit.REFUSED, "is for UF-8000, but the machine is UF-7100"),
        (Daemon(who=b"no entries\n"), "lpd", Exit.REFUSED, "does not say who it is: it does not identify itself"),
        (FtpMachine(b"550 SC is damaged\r\n"), "ftp", Exit.REFUSED, "550 SC is damaged"),
        (FtpMachine(b"450 it prints\r\n"), "ftp", Exit.BUSY, "450 it prints"),
    ],
    ids=["queue", "job", "gone", "wrong model", "unknown machine", "550", "450"],
)
def test_what_goes_wrong_has_its_own_words_and_code(
    machine: Daemon | FtpMachine,
    via: str,
    code: Exit,
    words: str,
    code_file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serving(machine) as port:
        assert update(via, port, code_file()) == code
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    ("via", "option"), [("lpd", ["--password", "1234"]), ("ftp", ["--force-downgrade"])], ids=["password", "force"]
)
def test_what_a_way_in_cannot_carry_is_said_before_anything_is_sent(
    via: str, option: list[str], code_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert update(via, 1, code_file(), *option) == Exit.USAGE
    assert f"{option[0]} has no place in a job that goes by {via.upper()}" in capsys.readouterr().out


def test_ftp_carries_the_service_password_in_its_login(code_file: Callable[..., Path]) -> None:
    machine = FtpMachine()
    with serving(machine) as port:
        assert update("ftp", port, code_file(), "--password", "1234") == Exit.DONE
    assert machine.password == b"1234"
