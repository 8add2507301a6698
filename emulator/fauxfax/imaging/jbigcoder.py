"""The arithmetic decoder of JBIG: from octets to picture elements, each guessed from its neighbours.

Every decision has a *context*, the number that the elements around it make, and every context has a *state*: which
colour is the more probable, and how wide the part of the interval is that the other one gets. A is the interval, C the
place of the code within it (ITU-T T.82). The loop over a row is most of the time that a page takes, so it keeps
everything in local names, and takes a run of one colour in one step where nothing can end it.
"""

from __future__ import annotations

import struct

CONTEXTS = 1024
_ESTIMATION = (
    (0x5A1D, 1, 1, 1), (0x2586, 14, 2, 0), (0x1114, 16, 3, 0), (0x080B, 18, 4, 0), (0x03D8, 20, 5, 0),
    (0x01DA, 23, 6, 0), (0x00E5, 25, 7, 0), (0x006F, 28, 8, 0), (0x0036, 30, 9, 0), (0x001A, 33, 10, 0),
    (0x000D, 35, 11, 0), (0x0006, 9, 12, 0), (0x0003, 10, 13, 0), (0x0001, 12, 13, 0), (0x5A7F, 15, 15, 1),
    (0x3F25, 36, 16, 0), (0x2CF2, 38, 17, 0), (0x207C, 39, 18, 0), (0x17B9, 40, 19, 0), (0x1182, 42, 20, 0),
    (0x0CEF, 43, 21, 0), (0x09A1, 45, 22, 0), (0x072F, 46, 23, 0), (0x055C, 48, 24, 0), (0x0406, 49, 25, 0),
    (0x0303, 51, 26, 0), (0x0240, 52, 27, 0), (0x01B1, 54, 28, 0), (0x0144, 56, 29, 0), (0x00F5, 57, 30, 0),
    (0x00B7, 59, 31, 0), (0x008A, 60, 32, 0), (0x0068, 62, 33, 0), (0x004E, 63, 34, 0), (0x003B, 32, 35, 0),
    (0x002C, 33, 9, 0), (0x5AE1, 37, 37, 1), (0x484C, 64, 38, 0), (0x3A0D, 65, 39, 0), (0x2EF1, 67, 40, 0),
    (0x261F, 68, 41, 0), (0x1F33, 69, 42, 0), (0x19A8, 70, 43, 0), (0x1518, 72, 44, 0), (0x1177, 73, 45, 0),
    (0x0E74, 74, 46, 0), (0x0BFB, 75, 47, 0), (0x09F8, 77, 48, 0), (0x0861, 78, 49, 0), (0x0706, 79, 50, 0),
    (0x05CD, 48, 51, 0), (0x04DE, 50, 52, 0), (0x040F, 50, 53, 0), (0x0363, 51, 54, 0), (0x02D4, 52, 55, 0),
    (0x025C, 53, 56, 0), (0x01F8, 54, 57, 0), (0x01A4, 55, 58, 0), (0x0160, 56, 59, 0), (0x0125, 57, 60, 0),
    (0x00F6, 58, 61, 0), (0x00CB, 59, 62, 0), (0x00AB, 61, 63, 0), (0x008F, 61, 32, 0), (0x5B12, 65, 65, 1),
    (0x4D04, 80, 66, 0), (0x412C, 81, 67, 0), (0x37D8, 82, 68, 0), (0x2FE8, 83, 69, 0), (0x293C, 84, 70, 0),
    (0x2379, 86, 71, 0), (0x1EDF, 87, 72, 0), (0x1AA9, 87, 73, 0), (0x174E, 72, 74, 0), (0x1424, 72, 75, 0),
    (0x119C, 74, 76, 0), (0x0F6B, 74, 77, 0), (0x0D51, 75, 78, 0), (0x0BB6, 77, 79, 0), (0x0A40, 77, 48, 0),
    (0x5832, 80, 81, 1), (0x4D1C, 88, 82, 0), (0x438E, 89, 83, 0), (0x3BDD, 90, 84, 0), (0x34EE, 91, 85, 0),
    (0x2EAE, 92, 86, 0), (0x299A, 93, 87, 0), (0x2516, 86, 71, 0), (0x5570, 88, 89, 1), (0x4CA9, 95, 90, 0),
    (0x44D9, 96, 91, 0), (0x3E22, 97, 92, 0), (0x3824, 99, 93, 0), (0x32B4, 99, 94, 0), (0x2E17, 93, 86, 0),
    (0x56A8, 95, 96, 1), (0x4F46, 101, 97, 0), (0x47E5, 102, 98, 0), (0x41CF, 103, 99, 0), (0x3C3D, 104, 100, 0),
    (0x375E, 99, 93, 0), (0x5231, 105, 102, 0), (0x4C0F, 106, 103, 0), (0x4639, 107, 104, 0), (0x415E, 103, 99, 0),
    (0x5627, 105, 106, 1), (0x50E7, 108, 107, 0), (0x4B85, 109, 103, 0), (0x5597, 110, 109, 0), (0x504F, 111, 107, 0),
    (0x5A10, 110, 111, 1), (0x5522, 112, 109, 0), (0x59EB, 112, 111, 1),
)  # fmt: skip
"""T.82, table 24: size of the less probable part, next state after it, next state after the other, colours change."""

# A state here is twice the table's, plus the more probable colour.
_SIZES = [size for size, _, _, _ in _ESTIMATION for _ in (0, 1)]
_AFTER_LESS = [2 * after + (colour ^ change) for _, after, _, change in _ESTIMATION for colour in (0, 1)]
_AFTER_MORE = [2 * after + colour for _, _, after, _ in _ESTIMATION for colour in (0, 1)]

_HALF = 0x8000
_WHOLE = 0x10000
_C_BITS = 16
_PADDING = bytes(8)
_word = struct.Struct(">I").unpack_from

_UNIFORM = (0, CONTEXTS - 1)
"""The context of a white element among white ones, and of a black one among black ones."""
_NOT_WHITE = bytes((0, *(1,) * 255))


class ArithmeticDecoder:
    """Decides picture elements. The states of the contexts stay from stripe to stripe, unless they are reset."""

    def __init__(self, own_bits: int) -> None:
        """`own_bits`: how many bits of a context are elements of the row itself; the others are from the rows above."""
        self._own_bits = own_bits
        self._own_mask = (1 << own_bits) - 1
        self._all_black = (CONTEXTS - 1) >> own_bits
        self.reset()
        self.begin(b"")

    def reset(self) -> None:
        """Forget what was learnt of the picture."""
        self._states = [0] * CONTEXTS

    def begin(self, data: bytes) -> None:
        """Take up the octets of a stripe, escapes undone. Behind them come zeros, as many as are asked for."""
        self._end = len(data) * 8
        self._data = data + _PADDING
        self._a = _WHOLE
        self._c = _word(self._data, 0)[0] >> _C_BITS
        self._position = _C_BITS

    @property
    def overdrawn(self) -> bool:
        """Whether a decision may rest on bits that were not there."""
        return self._position > self._end

    @property
    def exhausted(self) -> bool:
        """Whether no octet is left: an encoder ends a stripe within two octets behind what decides the last element."""
        return self._end < self._position + _C_BITS

    def decide(self, context: int) -> int:
        """One decision in a context of the caller's."""
        element = bytearray(1)
        self.decode(bytes((context >> self._own_bits,)), element, own=context & self._own_mask)
        return element[0]

    def decode(self, around: bytes, row: bytearray, *, own: int = 0, moved: int = 0) -> None:
        """Decode the elements of a row.

        Args:
            around: for each element, the bits of its context that come from the rows above.
            row: where the elements go, an octet each; it holds zeros, and `moved` more of them than there are elements.
            own: the bits of the first element's context that come from the row itself.
            moved: how far to the left in the row the adaptive element stands; 0 if it is in the rows above. It is the
                lowest bit of `around`, which must be 0 then.
        """
        states, data, end = self._states, self._data, self._end
        a, c, position = self._a, self._c, self._position
        own_bits, own_mask = self._own_bits, self._own_mask
        lowest = max(c + 1, _HALF)  # as long as A stays so large, the more probable colour comes and nothing else does
        changes: list[bytes] = []
        width = len(around)
        column = 0
        while column < width:
            context = around[column] << own_bits | own
            if moved and row[column - moved]:
                context |= 1 << own_bits
            state = states[context]
            size = _SIZES[state]
            if context == _UNIFORM[state & 1] and not moved:
                colour = state & 1
                changes = changes or self._changes(around)
                stop = changes[colour].find(1, column)
                run = min((width if stop < 0 else stop) - column, (a - lowest) // size)
                if run:
                    if colour:
                        row[column : column + run] = b"\1" * run
                    a -= run * size
                    column += run
                    continue
            a -= size
            if a >= lowest:
                colour = state & 1
            else:
                inside = c < a
                if inside is (a >= size):
                    colour = state & 1
                    states[context] = _AFTER_MORE[state]
                else:
                    colour = state & 1 ^ 1
                    states[context] = _AFTER_LESS[state]
                if not inside:
                    c -= a
                    a = size
                count = _C_BITS - a.bit_length()
                a <<= count
                c <<= count
                if position < end:
                    c |= _word(data, position >> 3)[0] >> (32 - count - (position & 7)) & (1 << count) - 1
                position += count
                lowest = c + 1 if c >= _HALF else _HALF
            if colour:
                row[column] = 1
            own = (own << 1 | colour) & own_mask
            column += 1
        self._a, self._c, self._position = a, c, position

    def _changes(self, around: bytes) -> list[bytes]:
        """Two rows of flags: where the surroundings are not all white, and where they are not all black."""
        black = self._all_black
        not_black = bytes(int(bits != black) for bits in range(256))
        return [around.translate(_NOT_WHITE), around.translate(not_black)]
