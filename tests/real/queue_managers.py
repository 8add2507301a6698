"""Postfix and Exim of a test's own, each with its queue in a folder and nothing of the computer's."""

from __future__ import annotations

import contextlib
import email
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path

import pytest

RECIPIENT = "fax@uf-8000.local"
EXIM = Path(__file__).parents[2] / ".cache/exim/usr/sbin/exim4"


def program(name: str) -> str:
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@contextlib.contextmanager
def postfix(folder: Path, port: int) -> Iterator[Callable[[bytes], None]]:
    """A Postfix of its own that hands everything to one port. Gives the function that puts a mail into its queue."""
    command = program("postfix")
    if os.geteuid() != 0:
        pytest.skip("a queue manager of its own can only be started by root")
    folder.chmod(0o755)
    config, queue, data = folder / "etc", folder / "queue", folder / "data"
    for one in (config, queue, data):
        one.mkdir()
    shutil.chown(data, "postfix")
    settings = {
        "compatibility_level": "3.6",
        "queue_directory": queue,
        "data_directory": data,
        "maillog_file": folder / "log",
        "maillog_file_prefixes": folder,
        "myhostname": "queue.example",
        "mydestination": "",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "relayhost": f"[127.0.0.1]:{port}",
        "minimal_backoff_time": "1s",
        "maximal_backoff_time": "2s",
        "queue_run_delay": "1s",
        "alias_maps": "",
        "alternate_config_directories": config,
    }
    (config / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    services = [
        "postlog unix-dgram n - n - 1 postlogd", "pickup unix n - n 1 1 pickup", "cleanup unix n - n - 0 cleanup",
        "qmgr unix n - n 1 1 qmgr", "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
        "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "smtp unix - - n - - smtp",
        "error unix - - n - - error", "retry unix - - n - - error", "anvil unix - - n - 1 anvil",
        "scache unix - - n - 1 scache", "proxymap unix - - n - - proxymap", "tlsmgr unix - - n 1000? 1 tlsmgr",
        "flush unix n - n 1000? 0 flush", "showq unix n - n - - showq", "verify unix - - n - 1 verify",
    ]  # fmt: skip
    (config / "master.cf").write_text("".join(f"{service}\n" for service in services))
    started = subprocess.run([command, "-c", config, "start"], timeout=60, capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    sendmail = [program("sendmail"), "-C", str(config), "-i", "-f", "jane@example.org", "-N", "success,failure",
                "-R", "hdrs", "-V", "QQ314", RECIPIENT]  # fmt: skip

    def post(mail: bytes) -> None:
        subprocess.run(sendmail, input=mail, check=True, timeout=60)

    try:
        yield post
    finally:
        subprocess.run([command, "-c", config, "stop"], check=False, timeout=60, capture_output=True)


EXIM_USER = 65533
"""Exim looks its user up by name; it is given one in a mount namespace of its own."""
EXIM_SETTINGS = """
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
primary_hostname = queue.example
qualify_domain = example.org
keep_environment =
{more}
begin routers
everything:
  driver = manualroute
  route_list = * 127.0.0.1 byname
  self = send
  transport = fax
begin transports
fax:
  driver = smtp
  port = {port}
  allow_localhost
  user = {user}
  group = {user}
begin retry
* * F,1h,1s
"""


SUBMISSION = """
tls_advertise_hosts = *
tls_certificate = {folder}/mail.pem
tls_privatekey = {folder}/mail.key
acl_smtp_rcpt = known
queue_only
begin acl
known:
  accept authenticated = *
  deny message = log in first
begin authenticators
plain:
  driver = plaintext
  public_name = {mechanism}
  server_prompts = {prompts}
  server_condition = ${{if and{{{{eq{{{user}}}{{jane}}}}{{eq{{{password}}}{{geheim}}}}}}}}
  server_set_id = {user}
  server_advertise_condition = ${{if def:tls_in_cipher}}
"""
"""What makes the same Exim an ordinary outgoing server: nobody sends without a login, and none is offered in clear."""


class Exim:
    """An Exim of its own with a queue in a folder; it is run for each thing it has to do."""

    def __init__(self, folder: Path, port: int, more: str = "") -> None:
        if not EXIM.exists():
            pytest.skip("tests/real/fetch-exim has not fetched Exim")
        if os.geteuid() != 0:
            pytest.skip("a queue of its own can only be run by root")
        folder.chmod(0o755)
        (folder / "conf").write_text(EXIM_SETTINGS.format(folder=folder, port=port, user=EXIM_USER, more=more))
        (folder / "spool").mkdir()
        os.chown(folder / "spool", EXIM_USER, EXIM_USER)
        os.chown(folder, EXIM_USER, EXIM_USER)
        account = f"Debian-exim:x:{EXIM_USER}:"
        (folder / "passwd").write_text(f"{Path('/etc/passwd').read_text()}{account}{EXIM_USER}::/:/usr/sbin/nologin\n")
        (folder / "group").write_text(f"{Path('/etc/group').read_text()}{account}\n")
        binds = " && ".join(f"mount --bind {folder}/{name} /etc/{name}" for name in ("passwd", "group"))
        script = f'{binds} && exec {EXIM} -C {folder}/conf "$@"'
        self._command = ["unshare", "--mount", "sh", "-c", script, "exim"]
        self._log = folder / "mainlog"

    def post(self, mail: bytes) -> None:
        self._run("-f", "jane@example.org", "-odq", "-i", RECIPIENT, mail=mail)

    def run_queue(self) -> None:
        self._run("-qff")

    def waiting(self) -> bytes:
        return self._run("-bp")

    def talk(self, connection: socket.socket) -> None:
        """Be the server of one connection, as inetd would have it."""
        command = [*self._command, "-bs"]
        subprocess.run(command, stdin=connection, stdout=connection, stderr=subprocess.PIPE, timeout=60, check=False)

    def queued(self) -> list[Message]:
        """The mails in the queue."""
        numbers = [line.split()[2].decode() for line in self.waiting().splitlines() if b"<" in line]
        return [email.message_from_bytes(self._run("-Mvc", number)) for number in numbers]

    def _run(self, *options: str, mail: bytes = b"") -> bytes:
        command = [*self._command, *options]
        done = subprocess.run(command, input=mail, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (done.stderr, self._log.read_text() if self._log.exists() else "")
        return done.stdout


@contextlib.contextmanager
def listening(exim: Exim) -> Iterator[int]:
    """An Exim started for each connection to a port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        exim.talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)
