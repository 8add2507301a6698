"""Text printed as fax pages: the text parts of a message, and the error sheets.

Pages are A4 at 204 x 196 dpi in the scalable font that Pillow brings along, so a page looks the same on every host.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

from fauxfax.imaging.raster import Raster

PAGE_WIDTH = 1728
PAGE_HEIGHT = 2292
"""A4 at 196 rows per inch."""

MAX_PAGES = 100
"""Project value: pages that one text may fill; the last says that the rest was cut."""

MARGIN = 96
FONT_SIZE = 28
"""About ten points at 204 dpi."""
HEADING_SIZE = 44
LINE_HEIGHT = 38
HEADING_HEIGHT = 80
TAB_COLUMNS = 8

_FORM_FEED = "\f"
_WHITE, _BLACK = 1, 0

_SUBSTITUTES = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u2013": "-",
        "\u2014": "-",
        "\u2022": "*",
        "\u20ac": "EUR",
        "\xdf": "ss",
        "\xe6": "ae",
        "\xc6": "AE",
        "\xf8": "o",
        "\xd8": "O",
    }
)
"""The font holds printable ASCII only: what else is common in mail is written with that."""


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(slots=True)
class Measure:
    """Breaks lines at a width, by the advance of each character; every character is measured once."""

    font: Font
    width: float
    advances: dict[str, float] = field(default_factory=dict)

    def advance(self, character: str) -> float:
        """Picture elements that a character takes."""
        if character not in self.advances:
            self.advances[character] = self.font.getlength(character)
        return self.advances[character]

    def wrap(self, line: str) -> Iterator[str]:
        """The line in pieces that fit, broken after a space where there is one. Each character is looked at twice."""
        start, after_space, used = 0, 0, 0.0
        for place, character in enumerate(line):
            used += self.advance(character)
            if used > self.width and place > start:
                end = after_space if after_space > start else place
                yield line[start:end].rstrip()
                start = end
                used = sum(map(self.advance, line[start : place + 1]))
            if character == " ":
                after_space = place + 1
        yield line[start:]


def render(text: str, *, heading: str = "", max_pages: int = MAX_PAGES) -> list[Raster]:
    """The pages of a text: at least one, at most `max_pages`, the last with a notice if the text is longer.

    Lines end as they may (CRLF, CR, LF), long ones are wrapped, a form feed begins a page, control characters are left
    out. The heading stands in large type on the first page.
    """
    lines_per_page = (PAGE_HEIGHT - 2 * MARGIN) // LINE_HEIGHT
    reserved = -(-HEADING_HEIGHT // LINE_HEIGHT) if heading else 0
    pages: list[list[str]] = [[]]
    measure = Measure(_font(FONT_SIZE), PAGE_WIDTH - 2 * MARGIN)
    for line in _lines(text, measure):
        room = lines_per_page - (reserved if len(pages) == 1 else 0)
        if line == _FORM_FEED or len(pages[-1]) == room:
            if len(pages) == max_pages:
                pages[-1][-1:] = [f"[The text is longer than {max_pages} pages; the rest was cut.]"]
                break
            pages.append([])
        if line != _FORM_FEED:
            pages[-1].append(line)
    return [_draw(page, heading if number == 0 else "") for number, page in enumerate(pages)]


def _lines(text: str, measure: Measure) -> Iterator[str]:
    """The wrapped lines of a text; a form feed is a line of its own."""
    for line in text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n"):
        for number, part in enumerate(line.split(_FORM_FEED)):
            if number:
                yield _FORM_FEED
            yield from measure.wrap(_printable(part))


def _printable(line: str) -> str:
    """The line in printable ASCII: accents are dropped, what has no substitute is a question mark."""
    line = line.expandtabs(TAB_COLUMNS)
    if not line.isascii():
        plain = unicodedata.normalize("NFKD", line.translate(_SUBSTITUTES))
        line = "".join(character for character in plain if not unicodedata.combining(character))
        line = line.encode("ascii", "replace").decode("ascii")
    return line if line.isprintable() else "".join(filter(str.isprintable, line))


def _font(size: int) -> Font:
    """Pillow's own font, laid out character by character: so advances add up, and drawing is quick."""
    font = ImageFont.load_default(size)
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    return font


def _draw(lines: list[str], heading: str) -> Raster:
    image = Image.new("1", (PAGE_WIDTH, PAGE_HEIGHT), _WHITE)
    draw = ImageDraw.Draw(image)
    top = MARGIN
    if heading:
        large = _font(HEADING_SIZE)
        fitting = next(Measure(large, PAGE_WIDTH - 2 * MARGIN).wrap(_printable(heading)))
        draw.text((MARGIN, top), fitting, _BLACK, font=large)
        top += HEADING_HEIGHT
    font = _font(FONT_SIZE)
    for line in lines:
        draw.text((MARGIN, top), line, _BLACK, font=font)
        top += LINE_HEIGHT
    return Raster.from_image(image)
