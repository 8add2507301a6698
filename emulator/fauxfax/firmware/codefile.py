"""Code files: the container firmware travels in, and the print job around it. A project value throughout.

    job        ESC%-12345X @PJL COMMENT <text> CRLF @PJL UPGRADE SIZE=<n> CRLF <container> ESC%-12345X
    container  printable line, magic, format, header size | models, destination, parts | CRC-32 | payloads

A container carries one part, or several (a *set*), in the order they are installed. A part is a component with its
version, the lowest version it may be installed over, the hardware levels it fits, the versions it requires of other
components, and its payload with a CRC-32 for each block and a SHA-256. Numbers are little-endian. `header_size()`
and `parse_header()` need only the beginning of a stream, so a loader can refuse before it stores anything.
"""

from __future__ import annotations

import functools
import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum

import construct as c

from fauxfax.errors import FormatError, Misuse

UEL = b"\x1b%-12345X"
LINE = b"This is a firmware code file, not a document. Send it to the machine it is for.".ljust(94) + b"\r\n"
MAGIC = b"UFCODE\x1a\n"
FORMAT = 1
PREFIX_SIZE = 112
HEADER_LIMIT = 64 * 1024
PAYLOAD_LIMIT = 64 * 1024 * 1024
BLOCK_SIZE = 64 * 1024
DESTINATION = "AA"  # documented: `AA` and `YC` are fixed in the family's version lines
SUFFIX = "YC"


class Component(Enum):
    """What of the machine has firmware of its own (documented: the family's version lists)."""

    SC = "SC"
    PNL = "PNL"
    EC = "EC"
    SCN = "SCN"
    FCB = "FCB"
    G3B = "G3B"

    @property
    def title(self) -> str:
        """What a person calls it."""
        return _TITLES[self]

    @property
    def load_address(self) -> int:
        """Where the component's processor expects its code (project value)."""
        return _LOAD_ADDRESSES[self]


_TITLES = {
    Component.SC: "system control",
    Component.PNL: "panel",
    Component.EC: "engine control",
    Component.SCN: "scanner",
    Component.FCB: "fax communication board",
    Component.G3B: "second G3 line",
}
_LOAD_ADDRESSES = {
    Component.SC: 0x8000_0000,
    Component.PNL: 0x0001_0000,
    Component.EC: 0x0002_0000,
    Component.SCN: 0x0004_0000,
    Component.FCB: 0x0010_0000,
    Component.G3B: 0x0020_0000,
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """A part works only beside `component` at `lowest` or later."""

    component: Component
    lowest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One component in a container, as its header describes it. Sizes are octets."""

    component: Component
    version: str
    lowest: str
    hardware_levels: tuple[int, ...]
    requires: tuple[Requirement, ...]
    load_address: int
    payload_size: int
    block_size: int
    block_crcs: tuple[int, ...]
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What stands before the payloads; `sha256` (hexadecimal) is of its own octets."""

    size: int
    models: tuple[str, ...]
    destination: str
    parts: tuple[Part, ...]
    sha256: str

    @property
    def total_size(self) -> int:
        """Octets of the whole container."""
        return self.size + sum(part.payload_size for part in self.parts)

    @property
    def name(self) -> str:
        """`SC`, or `SET` if there are several parts."""
        return self.parts[0].component.value if len(self.parts) == 1 else "SET"

    @property
    def version(self) -> str:
        """The version of the first part, which is what a set is called by."""
        return self.parts[0].version

    def payload_offsets(self) -> Iterator[tuple[Part, int]]:
        """Each part with the offset of its payload in the container."""
        offset = self.size
        for part in self.parts:
            yield part, offset
            offset += part.payload_size


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFile:
    """A container that was read whole and found right; `comment` is the job's, if it was in one."""

    header: Header
    payloads: tuple[bytes, ...] = field(repr=False)
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A part that is to be built."""

    component: Component
    version: str
    payload: bytes = field(repr=False)
    lowest: str = "V10000"
    hardware_levels: tuple[int, ...] = (1,)
    requires: tuple[Requirement, ...] = ()
    block_size: int = BLOCK_SIZE

    def described(self) -> Part:
        """What the header says of it."""
        payload, size = self.payload, self.block_size
        if not 0 < len(payload) <= PAYLOAD_LIMIT or not 0 < size <= PAYLOAD_LIMIT:
            raise Misuse(f"code file: {self.component.value} has {len(payload)} octets in blocks of {size}")
        return Part(
            component=self.component,
            version=self.version,
            lowest=self.lowest,
            hardware_levels=self.hardware_levels,
            requires=self.requires,
            load_address=self.component.load_address,
            payload_size=len(payload),
            block_size=size,
            block_crcs=tuple(zlib.crc32(payload[i : i + size]) for i in range(0, len(payload), size)),
            sha256=hashlib.sha256(payload).digest(),
        )


# The schema ----------------------------------------------------------------------------------------------------

_NAME = c.PascalString(c.Byte, "ascii")
_REQUIREMENT = c.Struct("component" / _NAME, "lowest" / _NAME)
_PART = c.Struct(
    "component" / _NAME,
    "version" / _NAME,
    "lowest" / _NAME,
    "hardware_levels" / c.PrefixedArray(c.Byte, c.Byte),
    "requires" / c.PrefixedArray(c.Byte, _REQUIREMENT),
    "load_address" / c.Int32ul,
    "payload_size" / c.Int32ul,
    "block_size" / c.Int32ul,
    "block_crcs" / c.PrefixedArray(c.Int16ul, c.Int32ul),
    "sha256" / c.Bytes(32),
)
_PREFIX = c.Struct(
    "line" / c.Const(LINE),
    "magic" / c.Const(MAGIC),
    "format" / c.Int32ul,
    "header_size" / c.Int32ul,
)
_BODY = c.Struct(
    "models" / c.PrefixedArray(c.Byte, _NAME),
    "destination" / _NAME,
    "parts" / c.PrefixedArray(c.Byte, _PART),
    "end" / c.Tell,
)
_CRC = c.Int32ul
_VERSION = re.compile(r"V1\d{4}")


# Writing -------------------------------------------------------------------------------------------------------


def build(models: Sequence[str], sources: Sequence[Source], destination: str = DESTINATION) -> bytes:
    """A container. Raises Misuse if it could not be read back."""
    body = _BODY.build(
        {
            "models": list(models),
            "destination": destination,
            "parts": [_plain(source.described()) for source in sources],
        }
    )
    size = PREFIX_SIZE + len(body) + 4
    header = _PREFIX.build({"format": FORMAT, "header_size": size}) + body
    header += _CRC.build(zlib.crc32(header))
    try:
        parse_header(header)
    except FormatError as error:
        raise Misuse(f"code file: {error}") from None
    return b"".join([header, *(source.payload for source in sources)])


def wrap(container: bytes, comment: str = "") -> bytes:
    """The print job around a container: what a code file on disk is, and what any way in takes."""
    lines = f"@PJL COMMENT {comment}\r\n@PJL UPGRADE SIZE={len(container)}\r\n".encode("ascii", "replace")
    return UEL + lines + container + UEL


def file_name(model_code: str, name: str, version: str, destination: str = DESTINATION) -> str:
    """`UF-8K_SC_AAV10200YC.pfc`, after the family's version lines."""
    return f"{model_code}_{name}_{destination}{version}{SUFFIX}.pfc"


# Reading -------------------------------------------------------------------------------------------------------

_JOB = re.compile(rb"\A\x1b%-12345X(?:@PJL(?: COMMENT ?([^\r\n]*))?\r?\n)*@PJL UPGRADE SIZE=(\d{1,10})\r?\n")


def container_at(data: bytes) -> tuple[int, int, str]:
    """Where in a file the container is, its declared octets, and the job's comment; a bare container is at 0."""
    job = _JOB.match(data[:4096])
    if job is None:
        return 0, len(data), ""
    return job.end(), int(job[2]), (job[1] or b"").decode("ascii", "replace")


def header_size(prefix: bytes) -> int:
    """The octets of a container's header, from its first PREFIX_SIZE. Raises FormatError if it is no container."""
    try:
        found = _PREFIX.parse(prefix)
    except c.ConstructError:
        raise FormatError(
            "not a code file: the printable line and the magic UFCODE are not there", "offset 0"
        ) from None
    if found.format != FORMAT:
        raise FormatError(
            f"format {found.format} of the container, this reads format {FORMAT}", f"offset {len(LINE) + 8}"
        )
    if not PREFIX_SIZE < found.header_size <= HEADER_LIMIT:
        raise FormatError(f"a header of {found.header_size} octets is not possible", f"offset {len(LINE) + 12}")
    return int(found.header_size)


def parse_header(prefix: bytes) -> Header:
    """The header, from at least `header_size()` octets. Raises FormatError that says what and where."""
    size = header_size(prefix)
    if len(prefix) < size:
        raise FormatError(f"the header ends after {len(prefix)} of {size} octets", f"offset {len(prefix)}")
    return _parse_exact(bytes(prefix[:size]))


@functools.lru_cache(maxsize=32)
def _parse_exact(data: bytes) -> Header:
    crc_at = len(data) - 4
    if _CRC.parse(data[crc_at:]) != zlib.crc32(data[:crc_at]):
        raise FormatError("the header's CRC-32 does not match", f"offset {crc_at}")
    try:
        body = _BODY.parse(data[PREFIX_SIZE:crc_at])
        header = _header(data, body)
    except (c.ConstructError, UnicodeDecodeError, KeyError, ValueError):
        raise FormatError("the header's fields cannot be read", f"offset {PREFIX_SIZE}") from None
    if PREFIX_SIZE + body.end != crc_at:
        raise FormatError("octets are left over in the header", f"offset {PREFIX_SIZE + body.end}")
    _check(header)
    return header


def parse(data: bytes) -> CodeFile:
    """A whole code file, in its job or bare. Raises FormatError at the first thing that is wrong."""
    start, declared, comment = container_at(data)
    header = parse_header(data[start:])
    if start and declared != header.total_size:
        raise FormatError(f"SIZE is {declared}, the header describes {header.total_size} octets", f"offset {start}")
    if len(data) - start < header.total_size:
        raise FormatError(f"the file ends {header.total_size - len(data) + start} octets early", f"offset {len(data)}")
    if not start and len(data) > header.total_size:
        raise FormatError(f"{len(data) - header.total_size} octets follow the end", f"offset {header.total_size}")
    payloads = []
    for part, offset in header.payload_offsets():
        payload = data[start + offset : start + offset + part.payload_size]
        if hashlib.sha256(payload).digest() != part.sha256:
            raise FormatError(f"the SHA-256 of {part.component.value} does not match", f"offset {start + offset}")
        payloads.append(payload)
    return CodeFile(header=header, payloads=tuple(payloads), comment=comment)


def rebuild(code_file: CodeFile) -> bytes:
    """The container again, octet for octet."""
    header = code_file.header
    parts = zip(header.parts, code_file.payloads, strict=True)
    return build(header.models, [_source(part, payload) for part, payload in parts], header.destination)


def _source(part: Part, payload: bytes) -> Source:
    return Source(
        component=part.component,
        version=part.version,
        payload=payload,
        lowest=part.lowest,
        hardware_levels=part.hardware_levels,
        requires=part.requires,
        block_size=part.block_size,
    )


def _plain(part: Part) -> dict[str, object]:
    plain = {each.name: getattr(part, each.name) for each in fields(part)}
    plain["component"] = part.component.value
    plain["requires"] = [{"component": need.component.value, "lowest": need.lowest} for need in part.requires]
    plain["hardware_levels"] = list(part.hardware_levels)
    plain["block_crcs"] = list(part.block_crcs)
    return plain


def _header(data: bytes, body: c.Container) -> Header:
    parts = tuple(
        Part(
            component=Component(part.component),
            version=part.version,
            lowest=part.lowest,
            hardware_levels=tuple(part.hardware_levels),
            requires=tuple(Requirement(Component(need.component), need.lowest) for need in part.requires),
            load_address=part.load_address,
            payload_size=part.payload_size,
            block_size=part.block_size,
            block_crcs=tuple(part.block_crcs),
            sha256=part.sha256,
        )
        for part in body.parts
    )
    return Header(
        size=len(data),
        models=tuple(body.models),
        destination=body.destination,
        parts=parts,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _check(header: Header) -> None:
    """What a header may say. A CRC proves that it arrived as written, not that it was written well."""
    where = f"offset {PREFIX_SIZE}"
    if not header.models or not header.parts:
        raise FormatError("a code file names at least one model and one component", where)
    if len({part.component for part in header.parts}) != len(header.parts):
        raise FormatError("a component occurs twice", where)
    for part in header.parts:
        name = part.component.value
        for version in (part.version, part.lowest, *(need.lowest for need in part.requires)):
            if not _VERSION.fullmatch(version):
                raise FormatError(f"{name}: {version!r} is no version; a version is V1 and four digits", where)
        if not 0 < part.payload_size <= PAYLOAD_LIMIT or not 0 < part.block_size <= PAYLOAD_LIMIT:
            raise FormatError(f"{name}: {part.payload_size} octets in blocks of {part.block_size}", where)
        if len(part.block_crcs) != -(-part.payload_size // part.block_size):
            raise FormatError(f"{name}: {len(part.block_crcs)} block checksums do not cover its payload", where)
