"""Images that must be refused, and what the reason must say."""

from __future__ import annotations

import hashlib
import zlib

from firmware_small import image, source

from fauxfax.firmware import codefile
from fauxfax.firmware.codefile import Component, Requirement, Source

NEWER = image()


def spoil(container: bytes, place: int) -> bytes:
    return container[:place] + bytes([container[place] ^ 0x10]) + container[place + 1 :]


def relabel(container: bytes, old: bytes, new: bytes) -> bytes:
    """A header with a lie in it, and a right checksum."""
    size = codefile.header_size(container)
    header = container[: size - 4].replace(old, new)
    return header + zlib.crc32(header).to_bytes(4, "little") + container[size:]


OTHER_MODEL = image(models=("UF-7000",))
REFUSED: dict[str, tuple[bytes, str]] = {
    "another model": (OTHER_MODEL, "this code file is for UF-7000, the machine is a UF-8000"),
    "another destination": (image(destination="EU"), "for destination EU"),
    "a component it lacks": (
        image(Source(component=Component.G3B, version="V10200", payload=b"x")),
        "no such component",
    ),
    "another hardware level": (
        image(Source(component=Component.PNL, version="V10200", payload=b"x", hardware_levels=(2, 3))),
        "hardware level 2, 3",
    ),
    "the same version": (image(source(version="V10100")), "has this version already"),
    "a downgrade": (image(source(version="V10000")), "downgrade"),
    "below the lowest": (
        image(Source(component=Component.PNL, version="V10300", payload=b"x", lowest="V10200")),
        "over V10200 or later, the machine has V10100",
    ),
    "a component that does not match": (
        image(
            Source(
                component=Component.PNL, version="V10200", payload=b"x", requires=(Requirement(Component.SC, "V10200"),)
            )
        ),
        "PNL V10200 needs SC V10200 or later",
    ),
    "too large for its component": (image(source(size=21_000)), "do not fit"),
    "another load address": (relabel(NEWER, b"\0\0\0\x80", b"\0\0\0\x81"), "load address"),
    "no code file": (b"%!PS-Adobe" * 100, "not a code file"),
    "a damaged header": (spoil(NEWER, 130), "CRC-32"),
    "a damaged block": (spoil(NEWER, len(NEWER) - 5000), "block 3 of 4 of SC"),
    "a damaged last block": (spoil(NEWER, len(NEWER) - 1), "block 4 of 4 of SC"),
    "no profile": (image(Source(component=Component.SC, version="V10200", payload=b"x" * 9000)), "UFPROFIL"),
    "another's profile": (
        relabel(NEWER, b"V10200", b"V10201"),
        "its profile is that of UF-8000 V10200",
    ),
    "a wrong SHA-256": (relabel(NEWER, hashlib.sha256(source().payload).digest(), bytes(32)), "SHA-256"),
    "a lying size": (NEWER + b"more", "were announced"),
}
