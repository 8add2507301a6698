"""Fuzzes the reader of code files: a file is read and can be built again, or is a FormatError and can be described."""

from __future__ import annotations

import zlib

import atheris
from harness import start

with atheris.instrument_imports(include=["fauxfax.firmware", "fauxfax_tools"]):
    from fauxfax.errors import FormatError
    from fauxfax.firmware import codefile
    from fauxfax_tools.describe import describe


def test_one_input(data: bytes) -> None:
    read(data)
    read(mended(data))
    assert describe(data).size == len(data)


def read(data: bytes) -> None:
    try:
        found = codefile.parse(data)
    except FormatError:
        return
    start, _, _ = codefile.container_at(data)
    assert codefile.rebuild(found) == data[start : start + found.header.total_size]


def mended(data: bytes) -> bytes:
    """The same with the header's own CRC made right, so that its fields are read at all."""
    start, _, _ = codefile.container_at(data)
    try:
        end = start + codefile.header_size(data[start:]) - 4
    except FormatError:
        return data
    return data[:end] + zlib.crc32(data[start:end]).to_bytes(4, "little") + data[end + 4 :]


if __name__ == "__main__":
    start(test_one_input)
