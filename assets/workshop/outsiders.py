"""Photographs things that the pocket museum does not have, for assets/pocket_outsiders.

    python -m assets.workshop.outsiders

needs requirements-assets.txt and writes photos/NN.jpg and outsiders.csv; photos that are there
stay. Half of the things are drawn at random, as the scenes of the docent's pre-training are, from
numbers that it never reaches. The other half is made to be mistaken: each is of an exhibit's kind
and as like it as chance allows, and it is photographed as the museum photographs.
"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from musequest.files import write_csv, write_whole

from .appearance import Look
from .museum import LOOKS, render_exhibit
from .scenes import MATERIALS, describe, random_look, random_scene, render

RANDOM, NEAR, DRAWN = 30, 30, 40
VISIBLE = ("material", "pattern", "second", "proportion", "accent")
FIRST_SEED = 10_000_000
BEHIND_THE_LAMP = {10_000_159}  # seeds of scenes whose camera sees nothing but the lamp's back
PIXELS, OVERSAMPLING = 256, 2
COLUMNS = ["photo", "question", "description", "near"]
QUESTIONS = (
    "What is this?",
    "Which exhibit is this?",
    "How old is this?",
    "Tell me more about what I see here.",
    "Who made this?",
    "What does the museum know about this?",
)


def random_scenes(count: int = RANDOM) -> list[dict]:
    """Scenes of a single thing from FIRST_SEED on; no kind comes twice before each came once."""
    scenes: list[dict] = []
    shown: set[str] = set()
    for seed in itertools.count(FIRST_SEED):
        if seed in BEHIND_THE_LAMP:
            continue
        scene = random_scene(seed)
        if scene["count"] == 1 and scene["place"] == "middle" and scene["kind"] not in shown:
            scenes.append(scene)
            shown = (shown | {scene["kind"]}) if len(shown) + 1 < len(MATERIALS) else set()
        if len(scenes) == count:
            return scenes
    raise AssertionError("there is always another seed")


def near_looks(count: int = NEAR) -> list[tuple[int, Look]]:
    """Positions of exhibits, each with a look that is easily taken for the exhibit's and is not.

    Of some looks of the exhibit's kind drawn at random it is the one that has most in common.
    """
    looks = []
    for number in range(count):
        position = number % len(LOOKS)
        exhibit, rng = LOOKS[position], np.random.default_rng([22, FIRST_SEED + number])
        drawn = (random_look(rng) for _ in itertools.count())
        same_kind = (look for look in drawn if look.kind == exhibit.kind)
        nearest = max(itertools.islice(same_kind, DRAWN), key=lambda look: alike(look, exhibit))
        looks.append((position, nearest))
    return looks


def alike(look: Look, exhibit: Look) -> float:
    """In how much two looks agree, the colour counting most."""
    same = [getattr(look, name) == getattr(exhibit, name) for name in VISIBLE]
    return sum(same) + 2 * (look.colour == exhibit.colour)


def photograph(scene: dict, path: Path) -> None:
    """Write the scene rendered larger, without grain, and scaled down to 256 px."""
    import cv2

    large = np.asarray(render(scene, PIXELS * OVERSAMPLING))
    if not large.any():
        raise ValueError(f"The photo of scene {scene['seed']} is black; see BEHIND_THE_LAMP.")
    # Non-local means takes the grain of few light paths away and keeps the edges.
    clean = cv2.fastNlMeansDenoisingColored(large, None, 6, 8, 5, 15)
    with write_whole(path) as temporary:
        photo = Image.fromarray(clean).resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
        photo.save(temporary, quality=90)


def main() -> None:
    """Photograph the outsiders and write their questions."""
    from musequest.home import root

    folder = root() / "assets" / "pocket_outsiders"
    with open(root() / "assets/pocket_museum/exhibits.csv", encoding="utf-8", newline="") as file:
        exhibits = [row["item_name"] for row in csv.DictReader(file)]
    rows = []

    def add(description: str, near: str = "") -> Path:
        number = len(rows)
        row = {"photo": f"photos/{number:02d}.jpg", "question": QUESTIONS[number % len(QUESTIONS)]}
        rows.append(row | {"description": description, "near": near})
        return folder / row["photo"]

    for scene in random_scenes():
        path = add(describe(scene))
        if not path.exists():
            photograph(scene, path)
    for position, look in near_looks():
        path = add(describe({**vars(look), "count": 1, "place": "middle"}), exhibits[position])
        render_exhibit(path.stem, look, [path])
    write_csv(folder / "outsiders.csv", COLUMNS, rows)


if __name__ == "__main__":
    main()
