"""Code files on disk, read whole and proven before anything is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fauxfax.errors import FormatError
from fauxfax.firmware.codefile import HEADER_LIMIT, PAYLOAD_LIMIT, Header, container_at, parse, parse_header
from fauxfax_tools.dialects.base import Installed
from fauxfax_tools.errors import BadCodeFile, BadUsage

FILE_LIMIT = 2 * PAYLOAD_LIMIT  # octets: nothing larger can be a code file, so nothing larger is read

JOB_LIMIT = 4096  # octets of a print job before its container, at most


@dataclass(frozen=True, slots=True)
class CodeImage:
    """A code file that passed: its header, and the container as it goes to the machine."""

    path: Path
    header: Header
    container: bytes

    @property
    def title(self) -> str:
        """`SC V10200`."""
        return f"{self.header.name} {self.header.version}"

    @property
    def hashes(self) -> dict[str, tuple[str, str]]:
        """Version and SHA-256 (hex) by component: what must run for the update to have succeeded."""
        return {part.component.value: (part.version, part.sha256.hex()) for part in self.header.parts}

    def runs_in(self, firmware: Mapping[str, Installed]) -> bool:
        """Whether exactly this runs on a machine: each component in this version, with this content."""
        return all(
            name in firmware and (firmware[name].version, firmware[name].sha256) == wanted
            for name, wanted in self.hashes.items()
        )

    def prefix_sha256(self, size: int) -> str:
        """The SHA-256 of the first `size` octets of the container, in hex."""
        return hashlib.sha256(memoryview(self.container)[:size]).hexdigest()


def read_file(path: Path) -> bytes:
    """The octets of a file. Raises BadUsage if it cannot be read, BadCodeFile if it is too large to be one."""
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise BadCodeFile(f"{path}: {path.stat().st_size} octets; a code file has at most {FILE_LIMIT}")
        return path.read_bytes()
    except OSError as error:
        raise BadUsage(f"{path}: {error.strerror}") from error


def models_named(path: Path) -> tuple[str, ...]:
    """The models that a file's header names, from its first octets; none if it cannot be read or is no code file."""
    try:
        with path.open("rb") as file:
            data = file.read(JOB_LIMIT + HEADER_LIMIT)
        return parse_header(data[container_at(data)[0] :]).models
    except (OSError, FormatError):
        return ()


def load(path: Path) -> CodeImage:
    """A code file, checked to its last octet. Raises BadCodeFile that names the first thing that is wrong."""
    data = read_file(path)
    try:
        code_file = parse(data)
    except FormatError as error:
        raise BadCodeFile(f"{path}: {error}") from error
    start, size, _ = container_at(data)
    return CodeImage(path, code_file.header, data[start : start + size])
