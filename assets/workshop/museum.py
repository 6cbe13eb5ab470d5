"""The looks of the pocket museum's exhibits, and the command that photographs them.

    python -m assets.workshop.museum [--only item_name]

needs requirements-assets.txt and writes assets/pocket_museum/photos/<item_name>/NN.jpg, as many
photos an exhibit as `exhibits.csv` lists.
"""

from __future__ import annotations

import argparse
import csv
import random
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from .appearance import Look

PIXELS, SAMPLES, PASSES = 256, 6, 4

# Position in exhibits.csv -> look; nothing with one of these looks is ever shown in pre-training.
LOOKS: tuple[Look, ...] = (
    Look("vase", "blue", "ceramic", "bands", "white", "tall", form=11),
    Look("vase", "red", "ceramic", "plain", "white", "squat", form=12),
    Look("coin", "gold", "gold", form=13),
    Look("coin", "silver", "silver", form=14, detail="hole"),
    Look("chair", "brown", "wood", proportion="tall", accent="red", form=15),
    Look("chair", "tan", "wood", proportion="squat", accent="tan", form=16),
    Look("crystal", "violet", "crystal", accent="grey", form=17),
    Look("crystal", "green", "crystal", accent="black", proportion="squat", form=18),
    Look("teapot", "white", "porcelain", "spots", "blue", form=19),
    Look("teapot", "copper", "copper", form=20),
    Look("lute", "oak", "wood", "stripes", "brown", form=21),
    Look("drum", "red", "enamel", "bands", "white", form=22),
    Look("bell", "bronze", "bronze", form=23),
    Look("clock", "oak", "wood", form=24),
    Look("engine", "green", "enamel", form=25),
    Look("telescope", "brass", "brass", accent="brown", form=26),
    Look("tapestry", "red", "cloth", "stripes", "yellow", form=27),
    Look("tapestry", "blue", "cloth", "checks", "white", form=28),
    Look("chest", "oak", "wood", form=29),
    Look("crown", "gold", "gold", accent="blue", form=30),
    Look("necklace", "green", "crystal", form=31),
    Look("helmet", "iron", "iron", accent="brass", form=32),
    Look("lantern", "black", "enamel", accent="yellow", form=33),
    Look("globe", "blue", "enamel", second="tan", accent="brown", form=34),
    Look("ship", "brown", "wood", accent="tan", form=35),
    Look("goblet", "silver", "silver", form=36),
    Look("bowl", "turquoise", "ceramic", "stripes", "black", form=37),
    Look("wheel", "oak", "wood", form=38),
)


def signature(look: Look) -> tuple[str, str, str]:
    """What tells a look apart: kind, colour and pattern."""
    return look.kind, look.colour, look.pattern


SHOWN = frozenset(signature(look) for look in LOOKS)


def render_exhibit(item_name: str, look: Look, photos: list[Path]) -> None:
    """Photograph one exhibit from as many sides as there are paths; existing photos stay."""
    import cv2

    from .rendering import Placed, Setting, View, photograph

    rng = random.Random(zlib.crc32(item_name.encode()))
    wall = rng.choice(["linen", "slate", "sand", "sage", "plum", "grey"])
    plinth, rounded = rng.choice(["white", "grey", "slate", "linen", "black"]), rng.random() < 0.5
    spread = 130 if len(photos) > 3 else 80
    for i, path in enumerate(photos):
        setting = Setting(
            plinth, wall, rng.uniform(0.7, 1.0), rng.uniform(-60, 60), rng.uniform(2.0, 3.0),
            rng.uniform(0.45, 0.8), rng.uniform(0.9, 1.2), rng.uniform(-1, 1), rounded,
        )  # fmt: skip
        azimuth = spread * ((i * 0.618 + 0.5) % 1 - 0.5) + rng.uniform(-6, 6)
        view = View(azimuth, rng.uniform(6, 30), rng.uniform(2.55, 3.1), rng.uniform(-0.08, 0.08))
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        lamp = random.Random(f"{item_name} {i}")
        while True:
            photo = photograph(
                [Placed(look)], setting, view, pixels=PIXELS, samples=SAMPLES, passes=PASSES, seed=i
            )
            if np.asarray(photo).any():
                break
            # The lamp stood before the camera, which saw nothing but its black back.
            setting = replace(setting, light_azimuth=lamp.uniform(-60, 60))
        # Few light paths leave grain; non-local means takes it away and keeps the edges.
        clean = cv2.fastNlMeansDenoisingColored(np.asarray(photo), None, 4, 6, 5, 15)
        Image.fromarray(clean).save(path, quality=90)


def main() -> None:
    """Photograph every exhibit of assets/pocket_museum/exhibits.csv."""
    from musequest.core.home import root

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", help="item_name of a single exhibit")
    only = parser.parse_args().only
    folder = root() / "assets" / "pocket_museum"
    with open(folder / "exhibits.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, look in zip(rows, LOOKS, strict=True):
        if only in (None, row["item_name"]):
            render_exhibit(row["item_name"], look, [folder / p for p in row["photos"].split()])
            print(row["item_name"], flush=True)


if __name__ == "__main__":
    main()
