"""A drawing of boxes, arrows and words, kept as an SVG that reads well on light and dark pages.

Words are measured as they are put down: what would not fit its box, or the page, raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from xml.sax.saxutils import escape

from matplotlib.font_manager import findfont
from PIL import ImageFont

NORMAL, SMALL = 15, 12
# Px of every page. A phone shows 358 of its own, and small words are then 8 of these high.
WIDTH = 530
EDGE = 15  # px from the sides of the page to what is drawn
MARGIN = 5  # px between words and the sides of their box
# What a box stands for -> its colour on a light page, on a dark one.
COLOURS = {
    "paper": ("#ffffff", "#0d1117"),
    "ink": ("#1f2933", "#e6edf3"),
    "frozen": ("#e4e7ec", "#30363d"),
    "learned": ("#ffd9a8", "#7a4a12"),
    "photo": ("#cfe5f7", "#1d4668"),
    "text": ("#d5efd0", "#23502a"),
    "warning": ("#f9d0d0", "#6b2326"),
    "plain": ("#ffffff", "#161b22"),
}


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont("DejaVu Sans"), size)


def width_of(text: str, size: int) -> float:
    """Width of a text in px, in a font that is wider than those a browser takes."""
    return _font(size).getlength(text)


class Drawing:
    """A page of `WIDTH` x `height` px; x grows to the right, y downwards."""

    def __init__(self, title: str, height: int) -> None:
        self.title, self.height = title, height
        self.parts: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, *lines: str, look: str = "plain"
    ) -> None:
        """A box with its lines in the middle: the first in normal size, the others small."""
        sizes = [NORMAL, *[SMALL] * (len(lines) - 1)][: len(lines)]
        for line, size in zip(lines, sizes, strict=True):
            if width_of(line, size) > width - 2 * MARGIN:
                raise ValueError(f"'{line}' is wider than its box of {width} px in '{self.title}'.")
        if sum(sizes) + 4 * len(sizes) > height:
            raise ValueError(f"'{lines[0]}' is higher than its box of {height} px.")
        top = y + (height - sum(sizes) - 4 * (len(sizes) - 1)) / 2
        inside = [f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>']
        for line, size in zip(lines, sizes, strict=True):
            top += size
            inside.append(self._text(x + width / 2, top - 2, line, size, "middle"))
            top += 4
        self.parts.append(f'<g class="box {look}">{"".join(inside)}</g>')

    def text(self, x: float, y: float, text: str, anchor: str = "start", size: int = SMALL) -> None:
        """Words that begin, end or have their middle (`start`, `end`, `middle`) at x."""
        self.parts.append(self._text(x, y, text, size, anchor))

    def note(self, y: float, text: str) -> None:
        """A paragraph below all else, broken into lines where the page ends."""
        line = ""
        for word in [*text.split(), ""]:
            longer = f"{line} {word}".strip()
            if word and width_of(longer, SMALL) <= WIDTH - 2 * EDGE:
                line = longer
                continue
            self.text(EDGE, y, line)
            line, y = word, y + 1.5 * SMALL

    def arrow(self, *points: tuple[float, float], both: bool = False) -> None:
        """A line through the points, with a head at its end, or at both."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        heads = 'marker-end="url(#head)"' + (' marker-start="url(#head)"' if both else "")
        self.parts.append(f'<polyline class="line" points="{path}" {heads}/>')

    def row(
        self, y: float, height: float, *boxes: tuple[float, float, tuple[str, ...], str]
    ) -> None:
        """Boxes from left to right, (x, width, lines, look) each, with an arrow to the next."""
        for x, width, lines, look in boxes:
            self.box(x, y, width, height, *lines, look=look)
        for (x, width, *_), (following, *_) in pairwise(boxes):
            self.arrow((x + width, y + height / 2), (following - 2, y + height / 2))

    def column(
        self, x: float, width: float, *boxes: tuple[float, float, tuple[str, ...], str]
    ) -> None:
        """Boxes from top to bottom, (y, height, lines, look) each, with an arrow to the next."""
        for y, height, lines, look in boxes:
            self.box(x, y, width, height, *lines, look=look)
        for (y, height, *_), (following, *_) in pairwise(boxes):
            self.arrow((x + width / 2, y + height), (x + width / 2, following - 2))

    def line(self, *points: tuple[float, float], faint: bool = False) -> None:
        """A line without a head."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        look = ' opacity="0.4"' if faint else ""
        self.parts.append(f'<polyline class="line" points="{path}"{look}/>')

    def dots(self, size: float, points: Iterable[tuple[float, float]], look: str) -> None:
        """Points of a figure, `size` px wide."""
        dots = "".join(
            f'<rect x="{x - size / 2:.1f}" y="{y - size / 2:.1f}" width="{size:g}" '
            f'height="{size:g}" rx="{size / 2:g}"/>'
            for x, y in points
        )
        self.parts.append(f'<g class="{look}">{dots}</g>')

    def legend(self, y: float, **looks: str) -> None:
        """Colours and what they stand for, in a row."""
        x: float = EDGE
        for look, meaning in looks.items():
            self.parts.append(
                f'<g class="{look}"><rect x="{x:g}" y="{y:g}" width="14" height="14" rx="3"/></g>'
            )
            self.text(x + 20, y + 11, meaning)
            x += 44 + width_of(meaning, SMALL)

    def _text(self, x: float, y: float, text: str, size: int, anchor: str) -> str:
        left = x - width_of(text, size) * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        if left < 0 or left + width_of(text, size) > WIDTH or y > self.height:
            raise ValueError(f"'{text}' leaves the page of '{self.title}'.")
        return (
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def svg(self) -> str:
        """The drawing as the text of an SVG file."""
        light, dark = (
            "".join(f"--{name}:{pair[place]};" for name, pair in COLOURS.items())
            for place in (0, 1)
        )
        fills = "".join(f".{name} rect{{fill:var(--{name})}}" for name in COLOURS)
        style = (
            f"svg{{{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
            "text,.head{fill:var(--ink)}rect{stroke:var(--ink);stroke-width:1.2}"
            ".line{fill:none;stroke:var(--ink);stroke-width:1.5}"
            f"{fills}.page{{fill:var(--paper);stroke:none}}"
        )
        head = (
            '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
            'markerHeight="7" orient="auto-start-reverse"><path class="head" d="M0 0 10 5 0 10z"/>'
            "</marker>"
        )
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" '
            f'width="{WIDTH}" height="{self.height}" role="img" '
            'font-family="Helvetica, Arial, sans-serif">',
            f"<title>{escape(self.title)}</title>",
            f"<style>{style}</style><defs>{head}</defs>",
            f'<rect class="page" width="{WIDTH}" height="{self.height}" rx="8"/>',
            *self.parts,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


DIAGRAMS: dict[str, Callable[[], Drawing]] = {}


def diagram(draw: Callable[[], Drawing]) -> Callable[[], Drawing]:
    """Have the drawing written as assets/figures/<name of the function>.svg."""
    DIAGRAMS[draw.__name__] = draw
    return draw
