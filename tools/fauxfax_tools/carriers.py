"""The ways to a machine that carry a whole job and bring back one answer at most: LPD and FTP.

Neither can ask who is there or follow an update, so neither can promise that the new version runs: `Receipt` says
what the machine did answer, and nothing more.
"""

from __future__ import annotations

import ftplib
import io
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from fauxfax_tools.errors import Busy, LinkLost, Refused

LPD_PORT = 515
FTP_PORT = 21
CHUNK = 256 * 1024  # octets between two reports
CONNECT_TIMEOUT = 10.0  # seconds
ANSWER_TIMEOUT = 300.0  # seconds: the last answer comes when the machine has checked, perhaps installed, the file
LPD_RECEIVE_JOB, LPD_CONTROL_FILE, LPD_DATA_FILE = b"\x02", b"\x02", b"\x03"

Report = Callable[[int, int], None]
"""Called with octets done and total."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the machine answered to a job it took."""

    text: str


def send_lpd(host: str, port: int, job: bytes, name: str, report: Report, queue: str = "lp") -> Receipt:
    """Print `job` through LPD (RFC 1179, 5.2 and 6). Raises LinkLost or Refused."""
    where = f"lpd://{host}:{port}"
    try:
        with socket.create_connection((host, port), CONNECT_TIMEOUT) as connection:
            connection.settimeout(ANSWER_TIMEOUT)
            _Lpd(connection, where).print_job(job, name, report, queue)
    except OSError as error:
        if isinstance(error, LinkLost):
            raise
        raise LinkLost(f"{where}: {_reason(error)}") from error
    return Receipt("the machine acknowledged the job")


class _Lpd:
    """One print job on one connection; each of its steps is acknowledged with a zero octet."""

    def __init__(self, connection: socket.socket, where: str) -> None:
        self._connection = connection
        self._where = where

    def print_job(self, job: bytes, name: str, report: Report, queue: str) -> None:
        host, number = socket.gethostname()[:31], f"{os.getpid() % 1000:03d}"
        control = f"H{host}\nPfauxfax\nJ{name[:99]}\nldfA{number}{host}\nUdfA{number}{host}\nN{name[:131]}\n".encode()
        self._tell(LPD_RECEIVE_JOB + queue.encode() + b"\n", "the queue")
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


def send_ftp(host: str, port: int, job: bytes, name: str, report: Report) -> Receipt:
    """Put `job` by anonymous FTP (RFC 959). Raises LinkLost, Busy or Refused with the server's line."""
    where = f"ftp://{host}:{port}"
    done = 0

    def count(block: bytes) -> None:
        nonlocal done
        done += len(block)
        report(done, len(job))

    try:
        with ftplib.FTP(timeout=CONNECT_TIMEOUT) as client:
            client.connect(host, port)
            client.login()
            if client.sock is not None:
                client.sock.settimeout(ANSWER_TIMEOUT)
            answer = client.storbinary(f"STOR {name}", io.BytesIO(job), CHUNK, count)
    except ftplib.error_temp as error:
        raise Busy(f"{where}: {error}") from error
    except ftplib.Error as error:
        raise Refused(f"{where}: {error}") from error
    except (OSError, EOFError) as error:
        raise LinkLost(f"{where}: {_reason(error)}") from error
    return Receipt(f"the machine answered: {answer}")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or "the connection was closed"
