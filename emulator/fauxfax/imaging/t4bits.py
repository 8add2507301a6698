"""A coded strip as a stream of bits: where its end-of-line codes are, and whether it ends as it should."""

from __future__ import annotations

import re
import struct

EOL_ZEROS = 11
"""An end-of-line code is at least eleven zeros and a one (ITU-T T.4, 4.1.2)."""

_PADDING = bytes(8)
_EOFB = 0x001001
_EOFB_BITS = 24
_RTC_EOLS = 6
_NON_ZERO = re.compile(rb"[^\0]")


def _eleven_zeros() -> re.Pattern[bytes]:
    """The octets that eleven zeros in a row must touch: the zeros that end one octet and those that begin another."""

    def octets(values: range) -> bytes:
        return b"[%b]" % b"".join(b"\\x%02x" % value for value in values)

    def ending(zeros: int) -> bytes:
        return octets(range(0, 256, 1 << zeros))

    def beginning(zeros: int) -> bytes:
        return octets(range(1 << (8 - zeros)))

    two = [ending(zeros) + beginning(EOL_ZEROS - zeros) for zeros in range(4, 8)]
    three = [ending(zeros) + rb"\x00" + beginning(EOL_ZEROS - 8 - zeros) for zeros in range(1, 4)]
    return re.compile(b"|".join([*two, *three, rb"\x00" + beginning(EOL_ZEROS - 8)]))


_ELEVEN_ZEROS = _eleven_zeros()
_word = struct.Struct(">I").unpack_from


class BitStream:
    """Octets whose bits are numbered from 0, most significant first.

    Attributes:
        padded: the octets and some zeros, so that a read near the end needs no check; zeros are never a code word.
        length: bits, without the padding.
    """

    def __init__(self, data: bytes) -> None:
        self.padded = data + _PADDING
        self.length = len(data) * 8

    def bit(self, position: int) -> bool:
        """Whether that bit is set."""
        return bool(self.padded[position >> 3] >> (7 - (position & 7)) & 1)

    def next_one(self, position: int) -> int:
        """The next bit that is set, or -1."""
        if position >= self.length:
            return -1
        index = position >> 3
        octet = self.padded[index] & (0xFF >> (position & 7))
        if not octet:
            found = _NON_ZERO.search(self.padded, index + 1)
            if found is None:
                return -1
            index = found.start()
            octet = self.padded[index]
        return index * 8 + 8 - octet.bit_length()

    def only_zeros_from(self, position: int) -> bool:
        """Whether only padding is left."""
        return self.next_one(position) < 0

    def after_eol(self, position: int) -> int:
        """Position after the end-of-line code, fill included, that begins right here; -1 if there is none."""
        one = self.next_one(position)
        return one + 1 if one - position >= EOL_ZEROS else -1

    def next_eol(self, position: int) -> int:
        """Position after the next end-of-line code, or -1."""
        while found := _ELEVEN_ZEROS.search(self.padded, position >> 3):
            position = max(position, found.start() * 8)
            while position < found.end() * 8:
                one = self.next_one(position)
                if one < 0 or one - position >= EOL_ZEROS:
                    return one + 1 if one >= 0 else -1
                position = one + 1
        return -1

    def after_damaged_eol(self, position: int) -> int:
        """Position after an end-of-line code with one wrong bit, free or aligned, right here; -1 if there is none.

        It keeps the rows below in their places: otherwise two rows would become one.
        """
        free = position + EOL_ZEROS + 1
        for end in (free, (free + 7) // 8 * 8):
            word: int = _word(self.padded, position >> 3)[0] if end <= self.length else 0
            code = (word << (position & 7) & 0xFFFFFFFF) >> (32 - (end - position))
            if word and (code ^ 1).bit_count() == 1:
                return end
        return -1

    def is_return_to_control(self, position: int, *, tagged: bool) -> bool:
        """Whether the page ends here, after an end-of-line code: five more of them or nothing else (T.4, 4.1.4).

        `tagged`: each is followed by a tag bit, as in MR.
        """
        for _ in range(_RTC_EOLS - 1):
            if self.only_zeros_from(position + tagged):
                return True
            position = self.after_eol(position + tagged)
            if position < 0:
                return False
        return True

    def is_eofb(self, position: int) -> bool:
        """Whether an end-of-facsimile-block stands here (T.6, 2.4.1.1)."""
        if position + _EOFB_BITS > self.length:
            return False
        word: int = _word(self.padded, position >> 3)[0]
        return word >> (32 - _EOFB_BITS - (position & 7)) & 0xFFFFFF == _EOFB

    def ends(self, position: int, *, tagged: bool = False) -> bool:
        """Whether the strip ends here, after its last row: padding only, or the end-of-page code of a coding."""
        if self.only_zeros_from(position) or self.is_eofb(position):
            return True
        eol = self.after_eol(position)
        return eol > 0 and self.is_return_to_control(eol, tagged=tagged)


def starts_with(data: bytes, other: bytes, bits: int) -> bool:
    """Whether the first `bits` bits of both are the same."""
    whole, spare = divmod(bits, 8)
    if len(data) * 8 < bits or data[:whole] != other[:whole]:
        return False
    return not spare or (data[whole] ^ other[whole]) >> (8 - spare) == 0


def significant_bits(data: bytes) -> int:
    """Bits up to and including the last that is set."""
    body = data.rstrip(b"\0")
    if not body:
        return 0
    last = body[-1]
    return len(body) * 8 - ((last & -last).bit_length() - 1)
