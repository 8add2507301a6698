"""The ways to a machine that carry a whole job and bring back one answer to it: LPD and FTP.

What the machine says of itself is asked on a connection of its own, before and after (LPD: the long state of the
queue; FTP: its greeting, the answers to the login, to SYST and to STAT). An emulated machine tells there what runs; of
one that does not, nothing is known but its answer.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fauxfax_tools.errors import Busy, LinkLost, Refused

if TYPE_CHECKING:
    import ftplib  # brings TLS along, a sixth of what an update on a cable imports: loaded by FTP alone

LPD_PORT = 515
FTP_PORT = 21
CHUNK = 256 * 1024  # octets between two reports
CONNECT_TIMEOUT = 10.0  # seconds
ANSWER_TIMEOUT = 300.0  # seconds: the last answer comes when the machine has checked, perhaps installed, the file
QUEUE = b"lp"
STATE_LIMIT = 4096  # octets
LPD_RECEIVE_JOB, LPD_LONG_STATE = b"\x02", b"\x04"
LPD_CONTROL_FILE, LPD_DATA_FILE = b"\x02", b"\x03"

Report = Callable[[int, int], None]
"""Called with octets done and total."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A job and where it goes."""

    host: str
    port: int
    job: bytes
    name: str
    password: str = ""  # the service password; only FTP has a place for it


@dataclass(frozen=True, slots=True)
class Carrier:
    """Both halves of a way. Each raises LinkLost if the machine does not answer, Busy or Refused if it says no."""

    state: Callable[[Parcel], str]
    """What the machine says of itself."""
    send: Callable[[Parcel, Report], str]
    """Hands the job over. Returns the machine's answer, for a person."""


def send_lpd(parcel: Parcel, report: Report) -> str:
    """Print the job through LPD (RFC 1179, 5.2 and 6). Raises LinkLost or Refused."""
    host, port = parcel.host, parcel.port
    where = f"lpd://{host}:{port}"
    try:
        with socket.create_connection((host, port), CONNECT_TIMEOUT) as connection:
            connection.settimeout(ANSWER_TIMEOUT)
            _Lpd(connection, where).print_job(parcel.job, parcel.name, report)
    except LinkLost:
        raise
    except OSError as error:
        raise LinkLost(f"{where}: {_reason(error)}") from error
    return "the machine acknowledged the job"


def lpd_state(parcel: Parcel) -> str:
    """The long state of the queue (RFC 1179, 5.4), at most a few kilobytes. Raises LinkLost."""
    try:
        with socket.create_connection((parcel.host, parcel.port), CONNECT_TIMEOUT) as connection:
            connection.settimeout(CONNECT_TIMEOUT)
            connection.sendall(LPD_LONG_STATE + QUEUE + b"\n")
            answer = b""
            while len(answer) < STATE_LIMIT and (data := connection.recv(STATE_LIMIT)):
                answer += data
    except OSError as error:
        raise LinkLost(f"lpd://{parcel.host}:{parcel.port}: {_reason(error)}") from error
    return answer.decode("ascii", "replace")


class _Lpd:
    """One print job on one connection; each of its steps is acknowledged with a zero octet."""

    def __init__(self, connection: socket.socket, where: str) -> None:
        self._connection = connection
        self._where = where

    def print_job(self, job: bytes, name: str, report: Report) -> None:
        host, number = socket.gethostname()[:31], f"{os.getpid() % 1000:03d}"
        control = f"H{host}\nPfauxfax\nJ{name[:99]}\nldfA{number}{host}\nUdfA{number}{host}\nN{name[:131]}\n".encode()
        self._tell(LPD_RECEIVE_JOB + QUEUE + b"\n", "the queue")
        self._tell(LPD_CONTROL_FILE + f"{len(control)} cfA{number}{host}\n".encode(), "the control file's announcement")
        self._tell(control + b"\0", "the control file")
        self._tell(LPD_DATA_FILE + f"{len(job)} dfA{number}{host}\n".encode(), "the data file's announcement")
        for start in range(0, len(job), CHUNK):
            self._connection.sendall(memoryview(job)[start : start + CHUNK])
            report(min(start + CHUNK, len(job)), len(job))
        self._tell(b"\0", "the code file")

    def _tell(self, data: bytes, what: str) -> None:
        self._connection.sendall(data)
        answer = self._connection.recv(512)
        if not answer:
            raise LinkLost(f"{self._where}: the machine closed the connection after {what}")
        if answer[0]:
            words = answer.decode("ascii", "replace").strip()
            raise Refused(
                f"{self._where}: {what} was refused ({words if words.isprintable() else f'code {answer[0]}'})"
            )


def send_ftp(parcel: Parcel, report: Report) -> str:
    """Put the job by FTP (RFC 959), as anonymous with the service password if there is one.

    Raises LinkLost, Busy or Refused with the server's line.
    """
    done = 0

    def count(block: bytes) -> None:
        nonlocal done
        done += len(block)
        report(done, len(parcel.job))

    with _ftp(parcel) as client:
        client.connect(parcel.host, parcel.port)
        client.login(passwd=parcel.password)
        if client.sock is not None:
            client.sock.settimeout(ANSWER_TIMEOUT)
        answer = client.storbinary(f"STOR {parcel.name}", io.BytesIO(parcel.job), CHUNK, count)
    return f"the machine answered: {answer}"


def ftp_state(parcel: Parcel) -> str:
    """Greeting, login, SYST and STAT. Raises LinkLost, Busy or Refused with the server's line."""
    with _ftp(parcel) as client:
        greeting = client.connect(parcel.host, parcel.port)
        login = client.login(passwd=parcel.password)
        return "\n".join((greeting, login, _answer(client, "SYST"), _answer(client, "STAT")))


@contextlib.contextmanager
def _ftp(parcel: Parcel) -> Iterator[ftplib.FTP]:
    """A client whose errors are the tools' own."""
    import ftplib

    where = f"ftp://{parcel.host}:{parcel.port}"
    try:
        with ftplib.FTP(timeout=CONNECT_TIMEOUT) as client:
            yield client
    except ftplib.error_temp as error:
        raise Busy(f"{where}: {error}") from error
    except ftplib.Error as error:
        raise Refused(f"{where}: {error}") from error
    except (OSError, EOFError) as error:
        raise LinkLost(f"{where}: {_reason(error)}") from error


def _answer(client: ftplib.FTP, question: str) -> str:
    """What the machine answers; not every server knows the question."""
    import ftplib

    try:
        return client.sendcmd(question)
    except (ftplib.error_perm, ftplib.error_temp):
        return ""


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or "the connection was closed"


CARRIERS = {"lpd": Carrier(lpd_state, send_lpd), "ftp": Carrier(ftp_state, send_ftp)}
