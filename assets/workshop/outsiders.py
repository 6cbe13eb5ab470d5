"""Photographs things that the pocket museum does not have, for assets/pocket_outsiders.

    python -m assets.workshop.outsiders

needs requirements-assets.txt and writes photos/NN.jpg and outsiders.csv. The scenes are drawn as
those of the docent's pre-training are, from numbers that it never reaches, a kind of thing each.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from PIL import Image

from musequest.files import write_csv, write_whole

from .scenes import describe, random_scene, render

COUNT, FIRST_SEED = 12, 10_000_000
PIXELS, OVERSAMPLING = 256, 2
QUESTIONS = (
    "What is this?",
    "Which exhibit is this?",
    "How old is this?",
    "Tell me more about what I see here.",
    "Who made this?",
    "What does the museum know about this?",
)


def outsider_scenes(count: int = COUNT) -> list[dict]:
    """The first scenes from FIRST_SEED on that show a single thing, each of another kind."""
    scenes: dict[str, dict] = {}
    for seed in itertools.count(FIRST_SEED):
        scene = random_scene(seed)
        if scene["count"] == 1 and scene["place"] == "middle":
            scenes.setdefault(scene["kind"], scene)
        if len(scenes) == count:
            return list(scenes.values())
    raise AssertionError("there is always another seed")


def photograph(scene: dict) -> Image.Image:
    """The scene rendered larger, without grain, and scaled down to 256 px."""
    import cv2
    import numpy as np

    large = np.asarray(render(scene, PIXELS * OVERSAMPLING))
    # Non-local means takes the grain of few light paths away and keeps the edges.
    clean = cv2.fastNlMeansDenoisingColored(large, None, 6, 8, 5, 15)
    return Image.fromarray(clean).resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)


def main() -> None:
    """Photograph the outsiders and write their questions."""
    from musequest.home import root

    folder = root() / "assets" / "pocket_outsiders"
    rows = []
    for number, scene in enumerate(outsider_scenes()):
        path = Path("photos") / f"{number:02d}.jpg"
        with write_whole(folder / path) as temporary:
            photograph(scene).save(temporary, quality=90)
        question = QUESTIONS[number % len(QUESTIONS)]
        rows.append(
            {"photo": path.as_posix(), "question": question, "description": describe(scene)}
        )
        print(describe(scene), flush=True)
    write_csv(folder / "outsiders.csv", ["photo", "question", "description"], rows)


if __name__ == "__main__":
    main()
