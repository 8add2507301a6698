"""An encoder of JBIG for the tests: slow, written from T.82, and able to do what no encoder should.

The programs that nobody here wrote (tests/real) read what it writes, so that it is not only right by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from fauxfax.imaging.jbigcoder import _ESTIMATION as ESTIMATION
from fauxfax.imaging.raster import Raster

SDNORM, SDRST, ABORT = b"\xff\x02", b"\xff\x03", b"\xff\x04"
THREE_LINES = ((-1, -2), (0, -2), (1, -2), (-2, -1), (-1, -1), (0, -1), (1, -1), "adaptive", (-2, 0), (-1, 0))
TWO_LINES = ((-3, -1), (-2, -1), (-1, -1), (0, -1), (1, -1), "adaptive", (-4, 0), (-3, 0), (-2, 0), (-1, 0))
"""The elements of a context, the highest bit first: columns to the right, rows down."""


class ArithmeticEncoder:
    """The encoder of T.82; its code is one long number, so that it needs no rules for carries."""

    def __init__(self, states: list[list[int]]) -> None:
        self._states = states
        self._a, self._bits = 0x10000, 0
        self._value = 0
        """All bits of the code so far, as one number: a carry goes where it wants."""

    def encode(self, context: int, element: int) -> None:
        state, colour = self._states[context]
        size, after_less, after_more, change = ESTIMATION[state]
        self._a -= size
        less = element != colour
        if not less and self._a >= 0x8000:
            return
        if less != (self._a < size):  # the upper part is taken, whosever it is
            self._value += self._a
            self._a = size
        self._states[context] = [after_less, colour ^ change] if less else [after_more, colour]
        while self._a < 0x8000:
            self._a <<= 1
            self._value <<= 1
            self._bits += 1

    def finish(self) -> bytes:
        """The octets, escaped: of all codes in the last interval the one that ends with the most zeros."""
        code = self._value + self._a - 1 & ~0xFFFF
        if code < self._value:
            code += 0x8000
        length = self._bits + 16
        code <<= -length % 8
        return code.to_bytes((length + 7) // 8, "big").rstrip(b"\0").replace(b"\xff", b"\xff\0")


def header(
    raster: Raster, *, height: int | None = None, stripe_rows: int = 128, max_x: int = 127, max_y: int = 0,
    options: int = 8, **octets: int,
) -> bytes:  # fmt: skip
    """A BIH; `octets` changes one by its number: `o1=3`."""
    out = bytearray(
        struct.pack(
            ">4B3I4B", 0, 0, 1, 0, raster.width, raster.height if height is None else height, stripe_rows, max_x, max_y,
            0, options,
        )
    )  # fmt: skip
    for name, value in octets.items():
        out[int(name[1:])] = value
    return bytes(out)


def stripes(
    raster: Raster, *, stripe_rows: int = 128, options: int = 8, reset: bool = False,
    moves: Mapping[int, tuple[int, int]] | None = None,
) -> list[bytes]:  # fmt: skip
    """The stripes, each with the moves in front of it and the marker that ends it. `moves` by row of the picture."""
    typical, template = options & 8, TWO_LINES if options & 0x40 else THREE_LINES
    states = [[0, 0] for _ in range(1024)]
    place, was_typical, first, out = (0, 0), 0, 0, []
    for top in range(0, raster.height, stripe_rows):
        if reset:
            states, place, was_typical, first = [[0, 0] for _ in range(1024)], (0, 0), 0, top
        coder, segments = ArithmeticEncoder(states), b""
        for row in range(top, min(top + stripe_rows, raster.height)):
            if moves and row in moves:
                place = moves[row]
                segments += b"\xff\x06" + struct.pack(">IbB", row - top, *place)
            if typical:
                above = raster.row(row - 1) if row > first else bytes(raster.stride)
                is_typical = int(raster.row(row) == above)
                coder.encode(0x195 if options & 0x40 else 0x0E5, int(is_typical == was_typical))
                was_typical = is_typical
                if is_typical:
                    continue
            for column in range(raster.width):
                context = 0
                for element in template:
                    right, down = (
                        element if element != "adaptive" else (-place[0], -place[1]) if any(place) else (2, -1)
                    )
                    context = context << 1 | _element(raster, column + right, row + down, first)
                coder.encode(context, _element(raster, column, row, first))
        out.append(segments + coder.finish() + (SDRST if reset else SDNORM))
    return out


def _element(raster: Raster, column: int, row: int, first: int) -> int:
    if not 0 <= column < raster.width or row < first:
        return 0
    return raster.rows[row * raster.stride + column // 8] >> 7 - column % 8 & 1


def bie(raster: Raster, *, stripe_rows: int = 128, options: int = 8, reset: bool = False, max_y: int = 0,
        moves: Mapping[int, tuple[int, int]] | None = None) -> bytes:  # fmt: skip
    """A whole BIE."""
    parts = stripes(raster, stripe_rows=stripe_rows, options=options, reset=reset, moves=moves)
    return header(raster, stripe_rows=stripe_rows, options=options, max_y=max_y) + b"".join(parts)
