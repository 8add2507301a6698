"""serial:URL[?baud=N] - any pyserial URL. 115200 baud, 8N1 with RTS/CTS: the lines are the back-pressure."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from fauxfax_tools.errors import LinkLost

if TYPE_CHECKING:
    import serial

DEFAULT_BAUD = 115_200
WRITE_CHUNK = 4096  # octets handed to the driver at once, so that a refusal is noticed soon


def open_url(rest: str) -> SerialLink:
    """The link for `URL[?baud=N]`. Raises ValueError if the URL is empty or the speed no number."""
    url, _, query = rest.partition("?")
    options = dict(parse_qsl(query))
    baud = int(options.pop("baud", DEFAULT_BAUD))
    if not url:
        raise ValueError("no serial port is named")
    if options:
        raise ValueError(f"{', '.join(options)}: no such option, there is only baud")
    return SerialLink(url, baud)


class SerialLink:
    """One serial line, opened by pyserial."""

    bidirectional = True

    def __init__(self, target: str, baud: int = DEFAULT_BAUD) -> None:
        self.target, self.baud = target, baud
        self._port: serial.SerialBase | None = None

    @property
    def url(self) -> str:
        """`serial:URL`."""
        return f"serial:{self.target}"

    def open(self) -> None:
        """Open the port; raises OSError (pyserial's are) with what it says."""
        import serial

        self.close()
        try:
            self._port = serial.serial_for_url(self.target, self.baud, timeout=0, write_timeout=0, rtscts=self._wired)
        except (OSError, ValueError) as error:
            raise LinkLost(f"{self.url}: the port cannot be opened ({error})") from error

    @property
    def _wired(self) -> bool:
        """Whether the target is a device with handshake lines: a URL or a pseudo-terminal has none."""
        return "://" not in self.target and not self.target.startswith("/dev/pts/")

    def close(self) -> None:
        """Close the port; closing twice is fine."""
        port, self._port = self._port, None
        if port is not None:
            with contextlib.suppress(OSError):
                port.close()

    def write(self, data: memoryview, timeout: float) -> int:
        """Hand octets to the driver; 0 when the handshake held them back for `timeout`."""
        import serial

        port = self._open_port()
        port.write_timeout = timeout
        try:
            return int(port.write(bytes(data[:WRITE_CHUNK])) or 0)
        except serial.SerialTimeoutException:
            return 0
        except (OSError, TypeError) as error:  # pyserial loses its descriptor as a TypeError
            raise LinkLost(f"{self.url}: the line was lost while sending ({error})") from error

    def read(self, limit: int, timeout: float) -> bytes:
        """What has arrived, at least one octet if one comes within `timeout`."""
        port = self._open_port()
        port.timeout = timeout
        try:
            first: bytes = port.read(1)
            return first + port.read(min(limit - 1, port.in_waiting)) if first else b""
        except (OSError, TypeError) as error:
            raise LinkLost(f"{self.url}: the line was lost ({error})") from error

    def identify(self) -> str | None:
        """A serial line has no device id out of band."""
        return None

    def _open_port(self) -> serial.SerialBase:
        if self._port is None:
            raise LinkLost(f"{self.url}: the link is not open")
        return self._port
