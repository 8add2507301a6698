"""The small HTTP client behind `fauxfax status` and the other commands that talk to a running machine."""

from __future__ import annotations

import http.client
import json
import os
import time  # noqa: TID251 - patience with a peer, not machine time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fauxfax.errors import FauxfaxError

RUN_FILE = "run.json"
"""In the state folder of a running machine: where its control API is, and its process."""


def control_url(address: str, port: int) -> str:
    """The control API's URL; an IPv6 address goes into brackets, and "every address" is reached on the loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class NoMachine(FauxfaxError):  # noqa: N818 - the word of the house
    """Nobody answers at the address."""


class Client:
    """The control API of one machine, by its URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"//{url}")
        try:
            port = parts.port
        except ValueError:
            raise FauxfaxError(f"{url!r}: a port is a number from 1 to 65535") from None
        if parts.hostname is None or parts.scheme not in ("", "http"):
            raise FauxfaxError(f"{url!r} is no address of a machine; expected http://HOST:PORT")
        self.url = url
        self._address = (parts.hostname, port or 8025)

    @classmethod
    def find(cls, url: str | None, state: Path) -> Client:
        """By `--url` or FAUXFAX_URL if given, else through the state folder of a machine that runs."""
        if url or (url := os.environ.get("FAUXFAX_URL")):
            return cls(url)
        try:
            return cls(json.loads((state / RUN_FILE).read_text())["url"])
        except (OSError, ValueError, KeyError):
            raise NoMachine(
                f"no machine runs on the state folder {state}; start one with `fauxfax run`, "
                "or name it with --state, --url or FAUXFAX_URL"
            ) from None

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return json.loads(self.request("GET", path))

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """Send JSON and return the JSON that is answered."""
        return json.loads(self.request("POST", path, json.dumps(body).encode()))

    def request(self, method: str, path: str, body: bytes | None = None, timeout: float = 60.0) -> bytes:
        """One request. Raises FauxfaxError with the API's own sentence if it says no."""
        connection = self._connect(timeout)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoMachine(f"no machine answers at {self.url}: {error}") from None
        finally:
            connection.close()
        if response.status >= 400:
            raise FauxfaxError(_error(content, response.status))
        return content

    def events(self, since: int, timeout: float) -> Iterator[dict[str, Any]]:
        """The events after that number, as they come, for `timeout` seconds in all."""
        connection, deadline = self._connect(timeout), time.monotonic() + timeout
        try:
            connection.request("GET", f"/v1/events?since={since}")
            response = connection.getresponse()
            while line := response.readline():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
                if connection.sock is not None:  # comments keep the stream alive: the deadline is ours to keep
                    connection.sock.settimeout(max(0.001, deadline - time.monotonic()))
        except TimeoutError:
            return
        except (OSError, http.client.HTTPException) as error:
            raise NoMachine(f"the machine at {self.url} went away: {error}") from None
        finally:
            connection.close()

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._address, timeout=timeout)


def _error(content: bytes, status: int) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the machine answered {status}"
