"""HOST:PORT as people write it: names, IPv4, and IPv6 in brackets."""

from __future__ import annotations

from urllib.parse import urlsplit

HIGHEST_PORT = 65_535


def split_address(text: str, default_port: int) -> tuple[str, int]:
    """Host and port of `[//]HOST[:PORT]`; brackets around IPv6 are taken off. Raises ValueError."""
    try:
        parts = urlsplit(text if text.startswith("//") else f"//{text}")
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is no HOST[:PORT] ({error})") from None
    if not parts.hostname:
        raise ValueError(f"{text!r} names no host")
    if parts.path.strip("/") or parts.query:
        raise ValueError(f"{text!r}: nothing can follow HOST:PORT")
    if port == 0:
        raise ValueError(f"the port must be 1 to {HIGHEST_PORT}, not 0")
    return parts.hostname, port or default_port
