"""Draws the photos of another domain, steel rings with flaws, from the table beside them.

    python -m assets.workshop.bearing_rings

Each flaw is drawn on several rings, at another place and in another light each time, so that what
they share is the flaw. The same seed gives the same photos; those that are there stay.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from musequest.core.home import root

FOLDER = root() / "assets/another_domain"
PHOTOS, PX, FINER = 5, 224, 3  # a flaw; of a photo; drawn so many times larger, for smooth edges
CENTRE, OUTER, INNER = PX * FINER // 2, 96 * FINER, 58 * FINER
Draw = Callable[[ImageDraw.ImageDraw, random.Random], None]


def _at(angle: float, radius: float) -> tuple[float, float]:
    return CENTRE + radius * math.cos(angle), CENTRE + radius * math.sin(angle)


def _sound(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    """Nothing on it."""


def _crack(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    angle, steps = rng.uniform(0, 2 * math.pi), 9
    points = [
        _at(angle + rng.uniform(-0.05, 0.05), INNER + (OUTER - INNER) * step / steps)
        for step in range(steps + 1)
    ]
    draw.line(points, fill=(25, 25, 28), width=3 * FINER)


def _pits(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    middle = rng.uniform(0, 2 * math.pi)
    for _ in range(14):
        x, y = _at(middle + rng.uniform(-0.5, 0.5), rng.uniform(INNER + 15, OUTER - 15))
        size = rng.uniform(2, 4.5) * FINER
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(45, 45, 50))


def _scratches(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    begin = rng.uniform(0, 360)
    for radius in (66, 74, 83):
        edge = radius * FINER
        box = (CENTRE - edge, CENTRE - edge, CENTRE + edge, CENTRE + edge)
        draw.arc(box, begin, begin + rng.uniform(70, 150), fill=(242, 242, 246), width=2 * FINER)


def _rust(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    middle = rng.uniform(0, 2 * math.pi)
    for _ in range(60):
        x, y = _at(middle + rng.gauss(0, 0.35), rng.uniform(INNER + 27, OUTER - 27))
        size, red = rng.uniform(3, 9) * FINER, rng.randint(130, 185)
        draw.ellipse((x - size, y - size, x + size, y + size), fill=(red, red // 2, 35))


def _chip(draw: ImageDraw.ImageDraw, rng: random.Random) -> None:
    angle = rng.uniform(0, 2 * math.pi)
    wide = rng.uniform(0.16, 0.26)
    points = [_at(angle - wide, OUTER + 9), _at(angle, OUTER - 70), _at(angle + wide, OUTER + 9)]
    draw.polygon(points, fill=(205, 208, 214))


FLAWS: dict[str, Draw] = {
    "sound_ring": _sound,
    "cracked_ring": _crack,
    "pitted_ring": _pits,
    "scratched_ring": _scratches,
    "rusted_ring": _rust,
    "chipped_ring": _chip,
}


def photo(item_name: str, number: int) -> Image.Image:
    """Photo `number` of a flaw: 224 x 224 px."""
    rng = random.Random(f"{item_name} {number}")
    side = PX * FINER
    page = Image.new("RGB", (side, side), (205, 208, 214))
    draw = ImageDraw.Draw(page)
    steel = rng.randint(128, 160)
    for radius, grey in ((OUTER, steel - 40), (OUTER - 8, steel), (INNER + 8, steel - 40)):
        box = (CENTRE - radius, CENTRE - radius, CENTRE + radius, CENTRE + radius)
        draw.ellipse(box, fill=(grey, grey, grey + 6))
    FLAWS[item_name](draw, rng)
    box = (CENTRE - INNER, CENTRE - INNER, CENTRE + INNER, CENTRE + INNER)
    draw.ellipse(box, fill=(205, 208, 214))
    light = Image.linear_gradient("L").resize((side, side)).rotate(rng.choice((0, 90, 180, 270)))
    page = Image.blend(page, Image.merge("RGB", [light] * 3), rng.uniform(0.08, 0.2))
    return page.filter(ImageFilter.GaussianBlur(FINER / 2)).resize(
        (PX, PX), Image.Resampling.LANCZOS
    )


def main() -> None:
    """Draw what is missing, for each row of exhibits.csv."""
    with (FOLDER / "exhibits.csv").open(newline="", encoding="utf-8") as file:
        names = [row["item_name"] for row in csv.DictReader(file)]
    for name in names:
        for number in range(PHOTOS):
            path: Path = FOLDER / "photos" / name / f"{number:02d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                photo(name, number).save(path, quality=85)


if __name__ == "__main__":
    main()
