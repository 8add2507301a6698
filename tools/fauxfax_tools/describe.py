"""An unknown file, described and not guessed at: size, how random it is, what can be read in it, what it is packed in.

Somebody's genuine firmware is not in this project's format. Its owner learns here what can be said for certain; a
record format (S-record, Intel HEX) is believed only if its checksums are right.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections import Counter
from dataclasses import asdict, dataclass

from fauxfax.firmware.codefile import UEL

PICTURE_WIDTH = 64  # cells of the entropy picture
STRING_LENGTH = 8  # octets of text from which on a string counts
STRINGS = 12  # how many are shown
LINES = 2000  # how many records are checked
SHADES = " ▁▂▃▄▅▆▇█"
MAGICS = (
    (b"PK\x03\x04", "zip archive"),
    (b"\x1f\x8b", "gzip stream"),
    (b"MZ", "DOS or Windows program (an installer, perhaps)"),
    (b"\x7fELF", "ELF image"),
    (b"\x27\x05\x19\x56", "U-Boot image"),
    (b"MSCF", "Windows cabinet"),
    (b"II*\0", "TIFF document"),
    (b"MM\0*", "TIFF document"),
    (b"%PDF", "PDF document"),
    (b"%!PS", "PostScript document"),
)


@dataclass(frozen=True, slots=True)
class Description:
    """What can be said of some octets. `entropy` is bits per octet, 0 to 8; `picture` shows it from start to end."""

    size: int
    sha256: str
    crc32: str
    entropy: float
    picture: str
    filler: str
    containers: tuple[str, ...]
    strings: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def describe(data: bytes) -> Description:
    """Describe a file; nothing in it can make this raise."""
    return Description(
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        crc32=f"{zlib.crc32(data):08x}",
        entropy=round(entropy(data), 3),
        picture=entropy_picture(data),
        filler=_filler(data),
        containers=tuple(_containers(data)),
        strings=_strings(data),
    )


def entropy(data: bytes | memoryview) -> float:
    """Shannon's entropy of the octets, bits per octet."""
    size = len(data)
    return -sum(count / size * math.log2(count / size) for count in Counter(data).values()) if size else 0.0


def entropy_picture(data: bytes) -> str:
    """One cell for each of up to 64 equal pieces; a full cell is random (packed, ciphered), an empty one constant."""
    piece = -(-len(data) // PICTURE_WIDTH)
    view = memoryview(data)
    cells = (entropy(view[start : start + piece]) for start in range(0, len(data), piece or 1))
    return "".join(SHADES[round(cell)] for cell in cells)


def _filler(data: bytes) -> str:
    """The octet that most of an erased or padded file consists of, if there is one."""
    if not data:
        return ""
    octet, count = Counter(data).most_common(1)[0]
    return f"{octet:02x} is {count * 100 // len(data)} % of it" if count * 5 > len(data) else ""


def _strings(data: bytes) -> tuple[str, ...]:
    """The longest pieces of text, in the order they stand in."""
    found = list(re.finditer(rb"[\x20-\x7e]{%d,200}" % STRING_LENGTH, data[: 16 << 20]))
    longest = sorted(found, key=lambda match: match.end() - match.start(), reverse=True)[:STRINGS]
    return tuple(match[0].decode("ascii").strip() for match in sorted(longest, key=lambda match: match.start()))


def _containers(data: bytes) -> list[str]:
    found = [name for magic, name in MAGICS if data.startswith(magic)]
    for check in (_pjl, _s_records, _intel_hex):
        if text := check(data):
            found.append(text)
    return found


def _pjl(data: bytes) -> str:
    """The commands of a print job, and what follows them."""
    if not data.startswith(UEL):
        return ""
    job = re.match(rb"(?:[ \t]*@PJL[^\r\n]{0,500}\r?\n)+", data[len(UEL) : len(UEL) + 65536])
    if job is None:
        return "print job (UEL) without PJL lines"
    lines = [line.strip().decode("ascii", "replace") for line in job[0].splitlines()][:8]
    body = data[len(UEL) + job.end() :]
    inner = ", ".join(_containers(body[: 1 << 20])) or f"begins with {body[:8].hex(' ')}"
    return f"PJL job: {'; '.join(lines)}; then {len(body)} octets ({inner})"


def _s_records(data: bytes) -> str:
    lines = data[: 1 << 20].splitlines()[:LINES]
    if not lines or not re.match(rb"S[0-9][0-9A-Fa-f]{6,}$", lines[0]):
        return ""
    right = sum(_s_record_is_right(line) for line in lines)
    return f"Motorola S-records: {right} of the first {len(lines)} lines have the right checksum"


def _s_record_is_right(line: bytes) -> bool:
    octets = _from_hex(line[2:]) if line[:1] == b"S" else b""
    return len(octets) > 1 and octets[0] == len(octets) - 1 and sum(octets) & 0xFF == 0xFF


def _intel_hex(data: bytes) -> str:
    lines = data[: 1 << 20].splitlines()[:LINES]
    if not lines or not re.match(rb":[0-9A-Fa-f]{10,}$", lines[0]):
        return ""
    right = sum(_hex_line_is_right(line) for line in lines)
    return f"Intel HEX: {right} of the first {len(lines)} lines have the right checksum"


def _hex_line_is_right(line: bytes) -> bool:
    octets = _from_hex(line[1:]) if line[:1] == b":" else b""
    return len(octets) > 4 and octets[0] == len(octets) - 5 and sum(octets) & 0xFF == 0


def _from_hex(text: bytes) -> bytes:
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return b""
