"""The device: its discipline, its torn operations, its defects, and the file that outlives the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from fauxfax.errors import FormatError, Misuse
from fauxfax.firmware.flash import CellDefect, Cut, Flash, FlashFailure, Geometry, Kind, PowerLost
from fauxfax.firmware.storage import PAGE, FileStorage, MemoryStorage

SMALL = "8x4k/4/ff"
ALL_GEOMETRIES = ["64x64k/1/ff", "64x4k/2/00", "8x8k+63x64k/4/ff", "64x4k/32/00"]


def flash(geometry: str = SMALL, protected: int = 0) -> Flash:
    return Flash(MemoryStorage(Geometry.parse(geometry)), protected=protected)


@pytest.mark.parametrize("geometry", ALL_GEOMETRIES)
def test_a_sector_is_programmed_read_and_erased(geometry: str) -> None:
    device = flash(geometry)
    last = len(device.geometry.sizes) - 1
    address, size = device.geometry.starts[last], device.geometry.sizes[last]
    blank = bytes([device.geometry.erased]) * size
    device.program(address + 32, b"firmware" * 4)
    assert device.read(address + 32, 32) == b"firmware" * 4
    assert device.read(address - 8, 40) == blank[:40]
    device.erase(address)
    assert device.read(address, size) == blank


@pytest.mark.parametrize("geometry", [*ALL_GEOMETRIES, SMALL])
def test_a_geometry_is_read_from_its_own_text(geometry: str) -> None:
    assert str(Geometry.parse(geometry)) == geometry


@pytest.mark.parametrize("text", ["", "64x4k", "64x4k/4", "64x4k/4/77", "0x4k/4/ff", "64x5/4/ff", "ax4k/4/ff"])
def test_a_geometry_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(Misuse):
        Geometry.parse(text)


@pytest.mark.parametrize(
    ("address", "data"),
    [(0x1002, b"four"), (0x1000, b"abc"), (0x1FFC, b"12345678"), (0x8000, b"four"), (-4, b"four"), (0x1000, b"")],
    ids=["misaligned", "not a whole unit", "over the sector's end", "off the device", "before it", "nothing"],
)
def test_a_bad_program_is_the_callers_mistake(address: int, data: bytes) -> None:
    with pytest.raises(Misuse):
        flash().program(address, data)


@pytest.mark.parametrize("address", [4, 0x8000, -0x1000])
def test_only_a_sectors_beginning_can_be_erased(address: int) -> None:
    with pytest.raises(Misuse):
        flash().erase(address)


def test_programming_a_cell_twice_is_the_callers_mistake() -> None:
    device = flash()
    device.program(0x1000, b"\xff\xff\xff\x7f")
    with pytest.raises(Misuse, match="erased"):
        device.program(0x1000, b"\xff\xff\xff\x0f")


def test_the_boot_area_cannot_be_written() -> None:
    device = flash(protected=0x1000)
    for operation in (lambda: device.erase(0), lambda: device.program(0, b"four")):
        with pytest.raises(Misuse, match="protected"):
            operation()


@pytest.mark.parametrize(
    ("cut", "expected"),
    [(Cut(), b"\xff" * 8), (Cut(1), b"n" + b"\xff" * 7), (Cut(4), b"new " + b"\xff" * 4), (Cut(8), b"new data")],
    ids=["before", "one octet", "half", "after"],
)
def test_a_torn_program_leaves_its_beginning(cut: Cut, expected: bytes) -> None:
    device = flash()
    device.hook = lambda operation: cut
    with pytest.raises(PowerLost):
        device.program(0x1000, b"new data")
    assert device.read(0x1000, 8) == expected


def test_a_torn_erase_leaves_the_rest_old_or_unstable_until_the_next_erase() -> None:
    device = flash()
    device.program(0x1000, b"\0" * 4096)
    device.hook = lambda operation: Cut(1000, unstable=True)
    with pytest.raises(PowerLost):
        device.erase(0x1000)
    device.hook = None
    reads = {device.read(0x1000, 4096) for _ in range(20)}
    assert len(reads) > 5
    assert {read[:1000] for read in reads} == {b"\xff" * 1000}
    device.erase(0x1000)
    assert device.read(0x1000, 4096) == b"\xff" * 4096


def test_a_program_torn_in_its_last_unit_reads_now_right_and_now_not() -> None:
    device = flash()
    device.hook = lambda operation: Cut(8, unstable=True)
    with pytest.raises(PowerLost):
        device.program(0x1000, b"new data")
    device.hook = None
    reads = {device.read(0x1000, 8) for _ in range(20)}
    assert b"new data" in reads
    assert len(reads) > 5
    assert {read[:4] for read in reads} == {b"new "}


def test_a_branch_shares_nothing_that_changes() -> None:
    device = flash()
    device.program(0x1000, b"both")
    branch = device.branch()
    device.erase(0x1000)
    branch.program(0x2000, b"only")
    assert (device.read(0x1000, 4), branch.read(0x1000, 4)) == (b"\xff" * 4, b"both")
    assert device.read(0x2000, 4) == b"\xff" * 4


@pytest.mark.parametrize("kind", list(Kind))
def test_a_defect_is_reported_by_the_device(kind: Kind) -> None:
    device = flash()
    device.defects.append(CellDefect(kind, 0x1000, 0x2000))
    act = {
        Kind.ERASE: device.erase,
        Kind.PROGRAM: lambda at: device.program(at, b"four"),
        Kind.READ: lambda at: device.read(at, 4),
    }
    with pytest.raises(FlashFailure) as failure:
        act[kind](0x1000)
    assert (failure.value.kind, failure.value.address) == (kind, 0x1000)
    act[kind](0x2000)


def test_a_silent_defect_does_nothing_and_says_nothing_as_often_as_it_was_told() -> None:
    device = flash()
    device.defects.append(CellDefect(Kind.PROGRAM, 0x1000, 0x1004, silent=True, times=1))
    device.program(0x1000, b"lost")
    assert device.read(0x1000, 4) == b"\xff" * 4
    device.program(0x1000, b"kept")
    assert device.read(0x1000, 4) == b"kept"


def test_a_defect_at_a_rate_fails_about_so_often() -> None:
    device = flash()
    device.defects.append(CellDefect(Kind.ERASE, 0, 0x8000, rate=0.25))
    failed = 0
    for _ in range(400):
        try:
            device.erase(0)
        except FlashFailure:
            failed += 1
    assert 60 < failed < 140


def test_the_file_keeps_what_was_written_without_being_closed(tmp_path: Path) -> None:
    path = tmp_path / "flash"
    geometry = Geometry.parse(SMALL)
    device = Flash(FileStorage.create(path, geometry, MemoryStorage(geometry).sectors))
    device.program(0x1000, b"kept")
    assert path.read_bytes()[PAGE + 0x1000 :][:4] == b"kept"
    assert path.read_bytes().startswith(b"fauxfax flash 1 8x4k/4/ff\n")
    again = Flash(FileStorage.open(path))
    assert again.read(0x1000, 4) == b"kept"
    assert again.branch().read(0x1000, 4) == b"kept"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"something else", "no flash file"),
        (b"fauxfax flash 2 8x4k/4/ff\n".ljust(PAGE + 8 * 4096), "version 2"),
        (b"fauxfax flash 1 8x4k/4/ff\n".ljust(PAGE + 100), "octets, but"),
        (b"fauxfax flash 1 nonsense\n".ljust(PAGE), "geometry"),
        (b"", "no flash file"),
    ],
    ids=["foreign", "another version", "cut short", "no geometry", "empty"],
)
def test_a_file_that_is_not_ours_is_refused_with_a_text(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "flash"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=text):
        FileStorage.open(path)
    assert path.read_bytes() == content
