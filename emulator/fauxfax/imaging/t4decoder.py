"""Our own T.4 and T.6 decoder: slow beside a C library, but it knows which rows were damaged.

What it does with damage is what a fax machine does (ITU-T T.4, 4.1 and 4.2):

- A row is bad if its code words are not in the tables, do not fill the width exactly, or are not followed by an
  end-of-line code where the coding has them. A bad row repeats the row above.
- MH and MR go on after the next end-of-line code; in MR the rows that refer to a bad row are bad too, up to the next
  row coded by itself.
- MMR and MH without end-of-line codes have nothing to go on with: the rest of the strip is bad.
- A strip that ends early gives the rows it holds; a row cut in two is not among them.

A row is a list of *changes*: the columns where the colour turns, beginning with white. Every code word takes at least
one bit and the data are finite, so every loop ends; the padding of zeros is no code word, so no read passes it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from fauxfax.imaging.t4bits import BitStream
from fauxfax.imaging.t4codes import (
    BLACK_LOOKUP,
    LENGTH_BITS,
    MAKE_UP_UNIT,
    MODE_BITS,
    MODE_LOOKUP,
    RUN_BITS,
    WHITE_LOOKUP,
    Mode,
)

_LENGTH_MASK = (1 << LENGTH_BITS) - 1
_RUN_SHIFT = 32 - RUN_BITS
_RUN_MASK = (1 << RUN_BITS) - 1
_MODE_SHIFT = 32 - MODE_BITS
_MODE_MASK = (1 << MODE_BITS) - 1
_word = struct.Struct(">I").unpack_from

Changes = list[int]
RowDecoder = Callable[[int], tuple[int, Changes | None]]


@dataclass(frozen=True, slots=True)
class StripRows:
    """What a strip holds.

    Attributes:
        rows: packed rows, 1 = black.
        bad_rows: numbers of the rows that repeat the row above, ascending.
        end_damaged: after the last row stands something that is neither the end of the strip, nor padding, nor the
            end-of-page code of the coding.
    """

    rows: list[bytes]
    bad_rows: list[int]
    end_damaged: bool


class StripDecoder:
    """Decodes one strip. `decode_mmr`, `decode_with_eol` and `decode_aligned` are each called once, on a new object."""

    def __init__(self, data: bytes, width: int, max_rows: int, *, height: int | None, above: bytes) -> None:
        """Prepare to decode.

        Args:
            data: the strip, most significant bit first.
            width: picture elements in a row.
            max_rows: rows to decode at most.
            height: rows that the strip should hold; None if only its end tells.
            above: the packed row above the strip, which a bad first row repeats.
        """
        self._stream = BitStream(data)
        self._data = self._stream.padded
        self._width = width
        self._height = height
        self._wanted = max_rows if height is None else min(height, max_rows)
        self._rows: list[bytes] = []
        self._bad: list[int] = []
        self._row = above
        self._changes: Changes | None = None

    def decode_mmr(self) -> StripRows:
        """T.6: every row refers to the row above, the first to a white one."""
        return self._decode_continuous(self._two_dimensional, aligned=False)

    def decode_aligned(self) -> StripRows:
        """MH without end-of-line codes, each row on an octet boundary: compression 2 of TIFF."""
        return self._decode_continuous(self._one_dimensional, aligned=True)

    def _decode_continuous(self, decode_row: RowDecoder, *, aligned: bool) -> StripRows:
        stream = self._stream
        position = 0
        while len(self._rows) < self._wanted and not stream.ends(position):
            after, changes = decode_row(position)
            if self._is_cut(after, changes):
                return self._result(end_damaged=self._height is None)
            if changes is None:
                self._lose_the_rest()
                return self._result(end_damaged=False)
            self._add(changes)
            position = (after + 7) // 8 * 8 if aligned else after
        return self._result(end_damaged=not stream.ends(position))

    def decode_with_eol(self, *, two_dimensional: bool) -> StripRows:
        """MH, or MR if `two_dimensional`: rows between end-of-line codes, which in MR carry a tag bit."""
        stream = self._stream
        position = max(0, stream.after_eol(0))
        tagged = two_dimensional and position > 0
        reference_is_good = True
        while len(self._rows) < self._wanted and not stream.is_return_to_control(position, tagged=tagged):
            start = position + tagged
            after, changes = start, None
            if not tagged or stream.bit(position):
                after, changes = self._one_dimensional(start)
            elif reference_is_good:
                after, changes = self._two_dimensional(start)
            if self._is_cut(after, changes):
                return self._result(end_damaged=self._height is None)
            eol = stream.length if stream.only_zeros_from(after) else stream.after_eol(after)
            reference_is_good = changes is not None and eol > 0
            if changes is not None and reference_is_good:
                self._add(changes)
            else:
                self._add_bad()
                eol = stream.after_damaged_eol(after) if changes is not None else -1
                eol = eol if eol > 0 else stream.next_eol(start)
            tagged = two_dimensional
            position = eol if eol > 0 else stream.length
        return self._result(end_damaged=not stream.is_return_to_control(position, tagged=tagged))

    def _is_cut(self, after: int, changes: Changes | None) -> bool:
        """Whether a row needs more bits than the strip has: it was cut there, not damaged.

        A cut code word goes on in the padding. Only words that begin with zeros are no code words, so what is left of
        it is another word, which ends beyond the strip, or nothing but zeros.
        """
        return self._stream.only_zeros_from(after) if changes is None else after > self._stream.length

    # Rows

    def _add(self, changes: Changes) -> None:
        if changes != self._changes:
            self._changes = changes
            self._row = pack(changes, self._width)
        self._rows.append(self._row)

    def _add_bad(self) -> None:
        self._bad.append(len(self._rows))
        self._rows.append(self._row)

    def _lose_the_rest(self) -> None:
        self._add_bad()
        while self._height is not None and len(self._rows) < self._wanted:
            self._add_bad()

    def _result(self, *, end_damaged: bool) -> StripRows:
        return StripRows(self._rows, self._bad, end_damaged)

    # Code words

    def _run(self, position: int, table: list[int]) -> tuple[int, int]:
        """Position after a run of one colour, and its length; -1 if it is no code word."""
        data = self._data
        length = 0
        while length <= self._width:
            entry = table[_word(data, position >> 3)[0] >> (_RUN_SHIFT - (position & 7)) & _RUN_MASK]
            if not entry:
                break
            position += entry & _LENGTH_MASK
            part = entry >> LENGTH_BITS
            length += part
            if part < MAKE_UP_UNIT:
                return position, length
        return position, -1

    def _one_dimensional(self, position: int) -> tuple[int, Changes | None]:
        """Position after a row coded by itself, and its changes; None if it is bad (T.4, 4.1)."""
        data, width = self._data, self._width
        table, other = WHITE_LOOKUP, BLACK_LOOKUP
        changes: Changes = []
        column = 0
        while True:
            entry = table[_word(data, position >> 3)[0] >> (_RUN_SHIFT - (position & 7)) & _RUN_MASK]
            if not entry:
                return position, None
            position += entry & _LENGTH_MASK
            run = entry >> LENGTH_BITS
            column += run
            if column > width:
                return position, None
            if run >= MAKE_UP_UNIT:
                continue
            if column == width:
                return position, changes
            turn(changes, column)
            table, other = other, table

    def _two_dimensional(self, position: int) -> tuple[int, Changes | None]:
        """Position after a row that refers to the last one, and its changes; None if it is bad (T.4, 4.2; T.6, 2.2).

        a0, a1, a2, b1 and b2 are the changing elements of the Recommendations.
        """
        data, width = self._data, self._width
        reference = [*(self._changes or ()), width, width, width]
        changes: Changes = []
        a0 = -1
        at = 0
        while a0 < width:
            entry = MODE_LOOKUP[_word(data, position >> 3)[0] >> (_MODE_SHIFT - (position & 7)) & _MODE_MASK]
            position += entry & _LENGTH_MASK
            mode = entry >> LENGTH_BITS
            while reference[at] <= a0 and reference[at] < width:
                at += 2
            if mode > Mode.HORIZONTAL:
                a1 = reference[at] + mode - Mode.VERTICAL
                if not a0 < a1 <= width:
                    return position, None
                a0 = a1
                if a1 < width:
                    changes.append(a1)
                at = at - 1 if at else 1
            elif mode == Mode.HORIZONTAL:
                position, a0 = self._horizontal(position, a0, changes)
                if a0 < 0:
                    return position, None
            elif mode == Mode.PASS and reference[at + 1] < width:
                a0 = reference[at + 1]
            else:
                return position, None
        return position, changes

    def _horizontal(self, position: int, a0: int, changes: Changes) -> tuple[int, int]:
        """Position after two runs, and a2; -1 if they are bad. Adds a1 and a2 to the changes."""
        white = len(changes) % 2 == 0
        position, first = self._run(position, WHITE_LOOKUP if white else BLACK_LOOKUP)
        if first < 0:
            return position, -1
        position, second = self._run(position, BLACK_LOOKUP if white else WHITE_LOOKUP)
        a1 = max(a0, 0) + first
        a2 = a1 + second
        if second < 0 or a2 > self._width:
            return position, -1
        for change in (a1, a2):
            if change < self._width:
                turn(changes, change)
        return position, a2


def turn(changes: Changes, column: int) -> None:
    """Turn the colour at a column. A run of no length joins its neighbours, so a change never stands twice."""
    if changes and changes[-1] == column:
        changes.pop()
    else:
        changes.append(column)


def pack(changes: Changes, width: int) -> bytes:
    """The packed row of these changes, 1 = black."""
    bits = (width + 7) // 8 * 8
    row = 0
    for change in changes:
        row ^= (1 << (bits - change)) - 1
    if len(changes) % 2:
        row ^= (1 << (bits - width)) - 1
    return row.to_bytes(bits // 8, "big")
