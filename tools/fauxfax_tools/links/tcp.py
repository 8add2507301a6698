"""tcp://HOST[:PORT] - the raw port (JetDirect style, 9100): the octets of the job and nothing around them."""

from __future__ import annotations

import contextlib
import select
import socket

from fauxfax_tools.errors import LinkLost
from fauxfax_tools.links.address import split_address

DEFAULT_PORT = 9100
CONNECT_TIMEOUT = 10.0  # seconds
SEND_BUFFER = 256 * 1024  # octets: enough for full speed, little enough to be gone soon after an interruption


def open_url(rest: str) -> TcpLink:
    """The link for `//HOST[:PORT]`. Raises ValueError if there is no host or the port is no number."""
    return TcpLink(*split_address(rest, DEFAULT_PORT))


class TcpLink:
    """One TCP connection to the raw port."""

    bidirectional = True

    def __init__(self, host: str, port: int = DEFAULT_PORT) -> None:
        self.host, self.port = host, port
        self._socket: socket.socket | None = None

    @property
    def url(self) -> str:
        """`tcp://HOST:PORT`."""
        return f"tcp://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def open(self) -> None:
        """Connect; raises OSError that says which host and port."""
        self.close()
        try:
            self._socket = socket.create_connection((self.host, self.port), CONNECT_TIMEOUT)
        except OSError as error:
            raise LinkLost(f"{self.url}: no machine answers ({error.strerror or error})") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._socket.setblocking(False)

    def close(self) -> None:
        """Shut down so that the machine sees the end of the stream, then let go."""
        connection, self._socket = self._socket, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            connection.close()

    def write(self, data: memoryview, timeout: float) -> int:
        """Send what fits the window within `timeout`."""
        connection = self._open_socket()
        if not select.select([], [connection], [], timeout)[1]:
            return 0
        try:
            return connection.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise LinkLost(f"{self.url}: the connection was lost while sending ({error.strerror or error})") from error

    def read(self, limit: int, timeout: float) -> bytes:
        """What has arrived; an orderly close by the machine is a lost link too."""
        connection = self._open_socket()
        if not select.select([connection], [], [], timeout)[0]:
            return b""
        try:
            data = connection.recv(limit)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LinkLost(f"{self.url}: the connection was lost ({error.strerror or error})") from error
        if not data:
            raise LinkLost(f"{self.url}: the machine closed the connection")
        return data

    def identify(self) -> str | None:
        """The raw port has no device id out of band."""
        return None

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise LinkLost(f"{self.url}: the link is not open")
        return self._socket
