"""Where an image waits until it is whole and verified: the header, the payloads, and a mark for each piece stored.

A container is cut into *pieces*, one for each sector it fills: the header, then the payloads, each from a sector's
beginning. A piece is stored when it has been written and read back and its mark is set; only then does it count as
acknowledged. After a cut the last readable mark tells how far the image came, and a half-written piece has none.
Marks are only appended: one torn by a cut is passed over.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fauxfax.errors import FormatError
from fauxfax.firmware import driver
from fauxfax.firmware.codefile import Header, parse_header
from fauxfax.firmware.flash import Flash, FlashFailure
from fauxfax.firmware.layout import Area, Layout
from fauxfax.models import Timing

_MARK_SIZE = 4
_VOID = 0xFFFF  # the number of a mark that takes all before it back
SURE_MARKS = 4  # project value: one more than the cuts in a row, each within a mark, that are survived
AreasOf = Callable[[Header], "list[Area] | None"]


class Piece(NamedTuple):
    """`size` octets of the container, from `offset` on, that are kept at `address`."""

    offset: int
    size: int
    address: int
    card: bool


def encode_mark(number: int) -> bytes:
    """A mark: an octet for each four bits, with their complement.

    So half of the bits of each octet are programmed, and one torn after its first octet hardly ever reads as blank.
    """
    nibbles = (number >> shift & 15 for shift in (12, 8, 4, 0))
    return bytes(nibble | (~nibble & 15) << 4 for nibble in nibbles)


def decode_mark(mark: bytes) -> int | None:
    """The number of a mark; None if it is torn."""
    number = 0
    for octet in mark:
        if octet & 15 ^ octet >> 4 != 15:
            return None
        number = number << 4 | octet & 15
    return number


class Image:
    """A container in staging, whole or on its way."""

    def __init__(self, header: Header, areas: list[Area], staging: Staging) -> None:
        self.header = header
        self.areas = areas
        self.pieces = tuple(staging.pieces(header, areas))
        self.stored = 0

    @property
    def next_offset(self) -> int:
        """Octets of the container that are stored: where the next piece begins."""
        return self.pieces[self.stored].offset if self.stored < len(self.pieces) else self.header.total_size


class BlockCheck:
    """The CRC-32 of each block, as the payloads go by."""

    def __init__(self, header: Header) -> None:
        self._blocks = _blocks(header)
        self._end = header.size
        self._crc = 0
        self._offset = header.size
        self._next()

    def feed(self, data: bytes) -> str:
        """Take the next octets after the header. Returns what is damaged, or an empty text."""
        view = memoryview(data)
        while view:
            part = view[: self._end - self._offset]
            self._crc = zlib.crc32(part, self._crc)
            self._offset += len(part)
            view = view[len(part) :]
            if self._offset == self._end:
                if self._crc != self._expected:
                    return f"{self._title} is damaged"
                self._next()
        return ""

    def _next(self) -> None:
        start = self._end
        self._name, size, self._expected = next(self._blocks, ("the end", 0, 0))
        self._end, self._crc = start + size, 0
        self._title = f"{self._name}, octets {start} to {self._end - 1},"


def _blocks(header: Header) -> Iterator[tuple[str, int, int]]:
    for part in header.parts:
        for number, crc in enumerate(part.block_crcs):
            size = min(part.block_size, part.payload_size - number * part.block_size)
            yield f"block {number + 1} of {len(part.block_crcs)} of {part.component.value}", size, crc


class Staging:
    """The parts of the flash, and of the memory card if there is one, that an image is received into."""

    def __init__(self, flash: Flash, card: Flash | None, layout: Layout, timing: Timing) -> None:
        self._flash = flash
        self._card = card
        self._layout = layout
        self._timing = timing
        self._mark_at = 0
        self._is_sure = False
        marks, step = layout.marks, len(flash.geometry.pad(bytes(_MARK_SIZE)))
        self._last_mark_at = marks.address + marks.size - step

    def pieces(self, header: Header, areas: list[Area]) -> Iterator[Piece]:
        """What a container is cut into, in order."""
        offset = 0
        for address, size in self._flash.pieces(self._layout.header.address, header.size):
            yield Piece(offset, size, address, card=False)
            offset += size
        for part, area in zip(header.parts, areas, strict=True):
            for address, size in self.device(area.card).pieces(area.address, part.payload_size):
                yield Piece(offset, size, address, area.card)
                offset += size

    def device(self, card: bool) -> Flash:
        """The flash, or the card. Raises WornOut if the card was taken out."""
        if not card:
            return self._flash
        if self._card is None:
            raise driver.WornOut("the memory card with the staged image is not there")
        return self._card

    def clear(self) -> driver.Steps:
        """Forget what is stored; it is taken back first, because a cut erase may leave it half readable."""
        self._count_marks()
        if self._layout.marks.address < self._mark_at <= self._last_mark_at:
            yield from driver.hint(self._flash, self._mark_at, self._encode(_VOID), self._timing)
        yield from driver.erase(self._flash, self._layout.marks.address, self._timing)
        self._mark_at = self._layout.marks.address

    def store(self, image: Image, data: bytes) -> driver.Steps:
        """Keep the next piece of an image. Raises WornOut."""
        piece = image.pieces[image.stored]
        yield from driver.write(self.device(piece.card), piece.address, data, self._timing)
        yield from self._mark(image.stored)
        image.stored += 1

    def settle(self, image: Image) -> driver.Steps:
        """After `find()`: mark the last piece once more, so that this count is the one that every later start finds.

        The last mark may have been torn by a cut and be readable only now and then.
        """
        if not self._is_sure:
            yield from self._mark(image.stored - 1)

    def find(self, digest: str, areas_of: AreasOf) -> Image | None:
        """The image whose header has this SHA-256, as far as it is stored; None if it is not there."""
        try:
            prefix = self._flash.read(self._layout.header.address, self._layout.header.size)
            header = parse_header(prefix)
            if header.sha256 != digest:
                return None
            areas = areas_of(header)
            if areas is None:
                return None
            image = Image(header, areas, self)
            image.stored = min(self._count_marks(), len(image.pieces))
        except (FormatError, FlashFailure, driver.WornOut):
            return None
        return image if image.stored else None

    def digest(self, image: Image) -> hashlib._Hash:
        """The SHA-256 of all that is stored of an image."""
        digest = hashlib.sha256()
        for piece in image.pieces[: image.stored]:
            digest.update(self.device(piece.card).read(piece.address, piece.size))
        return digest

    def read(self, area: Area, offset: int, size: int) -> bytes:
        """Octets of a payload that is kept in `area`."""
        return self.device(area.card).read(area.address + offset, size)

    def _mark(self, number: int) -> driver.Steps:
        mark = self._encode(number)
        if self._mark_at > self._last_mark_at:
            raise driver.WornOut("no room for another mark after so many cuts; start again at offset 0")
        address, self._mark_at = self._mark_at, self._mark_at + len(mark)
        yield from driver.append(self._flash, address, mark, self._timing)

    def _encode(self, number: int) -> bytes:
        return self._flash.geometry.pad(encode_mark(number))

    def _count_marks(self) -> int:
        """How many pieces are marked: the last readable mark says. Leaves the next mark's place behind all in use."""
        area = self._layout.marks
        step = len(self._flash.geometry.pad(bytes(_MARK_SIZE)))
        used = driver.used(self._flash, area.address, area.size, step)
        self._mark_at = area.address + used
        cells = self._flash.read(area.address, used)
        right = [decode_mark(cells[at : at + _MARK_SIZE]) for at in range(0, used, step)]
        self._is_sure = len(right) >= SURE_MARKS and right[-1] is not None and len(set(right[-SURE_MARKS:])) == 1
        last = next((number for number in reversed(right) if number is not None), _VOID)
        return 0 if last == _VOID else last + 1
