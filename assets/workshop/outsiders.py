"""Photographs things that the pocket museum does not have, and that a docent should not claim.

    python -m assets.workshop.outsiders              the outsiders of the evaluation
    python -m assets.workshop.outsiders --strangers  the strangers of the training

needs requirements-assets.txt and writes photos/NN.jpg and outsiders.csv into
assets/pocket_outsiders, or photos/NN.jpg and strangers.csv into assets/pocket_strangers; photos
that are there stay. No stranger has the kind, colour and pattern of an exhibit or an outsider.

Some of the things are drawn at random, as the scenes of the docent's pre-training are, from numbers
that it never reaches. The others are made to be mistaken: each is of an exhibit's kind and as like
it as chance allows, and it is photographed as the museum photographs.
"""

from __future__ import annotations

import argparse
import csv
import functools
import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from musequest.core.files import write_csv, write_whole

from .appearance import Look
from .museum import LOOKS, SHOWN, render_exhibit, signature
from .scenes import MATERIALS, describe, look_of, random_look, random_scene, render

RANDOM, NEAR, DRAWN = 30, 30, 40
VISIBLE = ("material", "pattern", "second", "proportion", "accent")
FIRST_SEED, FIRST_STRANGER = 10_000_000, 20_000_000
STRANGERS, NEAR_STRANGERS = 14, 28
BEHIND_THE_LAMP = {10_000_159}  # seeds of scenes whose camera sees nothing but the lamp's back
PIXELS, OVERSAMPLING = 256, 2
QUESTIONS = (
    "What is this?",
    "Which exhibit is this?",
    "How old is this?",
    "Tell me more about what I see here.",
    "Who made this?",
    "What does the museum know about this?",
)


@functools.cache
def random_scenes(
    count: int = RANDOM, first: int = FIRST_SEED, but: frozenset[tuple] = frozenset()
) -> list[dict]:
    """Scenes of a single thing from a seed on, of no signature of `but`; no kind comes twice before
    each came once."""
    scenes: list[dict] = []
    shown: set[str] = set()
    for seed in itertools.count(first):
        scene = random_scene(seed)
        if seed in BEHIND_THE_LAMP or signature(look_of(scene)) in but:
            continue
        if scene["count"] == 1 and scene["place"] == "middle" and scene["kind"] not in shown:
            scenes.append(scene)
            shown = (shown | {scene["kind"]}) if len(shown) + 1 < len(MATERIALS) else set()
        if len(scenes) == count:
            return scenes
    raise AssertionError("there is always another seed")


@functools.cache
def near_looks(
    count: int = NEAR, first: int = FIRST_SEED, but: frozenset[tuple] = frozenset()
) -> list[tuple[int, Look]]:
    """Positions of exhibits, each with a look that is easily taken for the exhibit's and is not,
    and has no signature of `but`.

    Of some looks of the exhibit's kind drawn at random it is the one that has most in common.
    """
    looks = []
    for number in range(count):
        position = number % len(LOOKS)
        exhibit, rng = LOOKS[position], np.random.default_rng([22, first + number])
        drawn = (random_look(rng) for _ in itertools.count())
        same_kind = (
            look for look in drawn if look.kind == exhibit.kind and signature(look) not in but
        )
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


def strangers() -> tuple[list[dict], list[tuple[int, Look]]]:
    """Scenes and near looks of the strangers, of other looks than exhibits and outsiders."""
    outside = {signature(look_of(scene)) for scene in random_scenes()}
    outside |= {signature(look) for _, look in near_looks()} | SHOWN
    scenes = random_scenes(STRANGERS, FIRST_STRANGER, frozenset(outside))
    outside |= {signature(look_of(scene)) for scene in scenes}
    return scenes, near_looks(NEAR_STRANGERS, FIRST_STRANGER, frozenset(outside))


def main() -> None:
    """Photograph the outsiders, or the strangers, and write what they are."""
    from musequest.core.home import root

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--strangers", action="store_true")
    strange = parser.parse_args().strangers
    name = "strangers" if strange else "outsiders"
    folder = root() / "assets" / f"pocket_{name}"
    with open(root() / "assets/pocket_museum/exhibits.csv", encoding="utf-8", newline="") as file:
        exhibits = [row["item_name"] for row in csv.DictReader(file)]
    rows = []

    def add(description: str, near: str = "") -> Path:
        number = len(rows)
        question = {} if strange else {"question": QUESTIONS[number % len(QUESTIONS)]}
        rights = {"license": "CC0-1.0", "credit": "Rendered"} if strange else {}
        row = {"photo": f"photos/{number:02d}.jpg", **question, "description": description}
        rows.append(row | rights | {"near": near})
        return folder / row["photo"]

    scenes, looks = strangers() if strange else (random_scenes(), near_looks())
    for scene in scenes:
        path = add(describe(scene))
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph(scene, path)
    for position, look in looks:
        path = add(describe({**vars(look), "count": 1, "place": "middle"}), exhibits[position])
        # The wall and the light are drawn from this name, an outsider's from its number.
        render_exhibit(f"stranger {path.stem}" if strange else path.stem, look, [path])
    write_csv(folder / f"{name}.csv", list(rows[0]), rows)


if __name__ == "__main__":
    main()
