"""Random scenes that teach the pocket docent to look, each with labels and a sentence.

    python -m assets.workshop.scenes FOLDER --count 6000

writes FOLDER/NNNNN.png (128 px, path-traced) and FOLDER/scenes.jsonl, and resumes where it
stopped. Everything a label says can be read off the photo alone. No scene shows a thing with the
kind, colour and pattern of an exhibit of the pocket museum.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from multiprocessing import Pool
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .appearance import LABELS, Look
from .museum import SHOWN, signature

if TYPE_CHECKING:
    from .rendering import Setting, View


def words(text: str) -> list[str]:
    """The words of a text, to keep word lists short."""
    return text.split()


PIXELS, SAMPLES = 128, 6

PAINTS = words("red orange yellow green turquoise blue violet pink brown white grey black")
WOODS = ["brown", "oak", "tan", "black", "red"]
METALS = ["gold", "silver", "copper", "bronze", "brass", "iron"]
MATERIALS: dict[str, list[str]] = {
    "vase": ["ceramic", "porcelain", "stone", "metal"],
    "bowl": ["ceramic", "porcelain", "wood", "metal"],
    "goblet": ["metal", "ceramic", "wood"],
    "teapot": ["porcelain", "ceramic", "metal"],
    "jug": ["ceramic", "porcelain", "metal"],
    "coin": ["metal"],
    "chair": ["wood", "enamel"],
    "crystal": ["crystal"],
    "lute": ["wood"],
    "drum": ["enamel", "wood"],
    "bell": ["metal", "enamel"],
    "clock": ["wood", "stone", "enamel"],
    "engine": ["enamel", "metal"],
    "telescope": ["metal", "enamel"],
    "tapestry": ["cloth"],
    "chest": ["wood", "leather", "enamel"],
    "crown": ["metal"],
    "necklace": ["crystal", "wood", "metal"],
    "helmet": ["metal", "leather"],
    "lantern": ["metal", "enamel"],
    "globe": ["enamel", "wood"],
    "ship": ["wood", "enamel"],
    "wheel": ["wood", "metal"],
    "book": ["leather", "cloth"],
}
PAINTED = set(
    words(
        "vase bowl goblet teapot jug lute drum tapestry chest crown helmet ship telescope book "
        "bell clock"
    )
)
STRETCHED = set(
    words("vase bowl goblet teapot jug drum bell chair tapestry clock lantern crystal helmet")
)
COUNTED = set(words("vase bowl goblet teapot jug bell drum lantern crown helmet crystal book coin"))
WALLS = ["linen", "slate", "sand", "sage", "plum", "grey"]
PLINTHS = ["white", "grey", "slate", "linen", "black"]


def random_look(rng: np.random.Generator) -> Look:
    """A look drawn at random, never one that the pocket museum shows."""
    while True:
        kind = str(rng.choice(list(MATERIALS)))
        material = str(rng.choice(MATERIALS[kind]))
        if material == "metal":
            material = colour = str(rng.choice(METALS))
        else:
            colour = str(rng.choice(WOODS if material == "wood" else PAINTS))
        pattern = "plain"
        if kind in PAINTED and rng.random() < (0.9 if kind == "tapestry" else 0.5):
            pattern = str(rng.choice(["bands", "stripes", "checks", "spots"]))
        second = str(rng.choice([c for c in PAINTS if c not in (colour, "grey")]))
        if kind == "globe":
            second = str(rng.choice(["tan", "yellow", "white", "green"]))
        proportion = (
            str(rng.choice(["tall", "regular", "squat"])) if kind in STRETCHED else "regular"
        )
        accent = str(rng.choice(PAINTS))
        look = Look(
            kind,
            colour,
            material,
            pattern,
            second,
            proportion,
            accent,
            int(rng.integers(1 << 30)),
            "hole" if rng.random() < 0.4 else "",
        )
        if signature(look) not in SHOWN and second != colour:
            return look


def random_scene(seed: int) -> dict:
    """Labels of one scene: the look's fields plus count (1..3) and place (left, middle, right)."""
    rng = np.random.default_rng([20, seed])
    look = random_look(rng)
    count = int(rng.choice([1, 1, 1, 1, 2, 3])) if look.kind in COUNTED else 1
    place = (
        "middle" if count > 1 else str(rng.choice(["left", "middle", "middle", "middle", "right"]))
    )
    labels = {name: getattr(look, name) for name in LABELS}
    return {"seed": seed, "count": count, "place": place, **labels}


def look_of(scene: dict) -> Look:
    """The look of a scene's things."""
    return Look(**{name: scene[name] for name in LABELS})


def describe(scene: dict) -> str:
    """The generic sentence of a scene, such as "This is a tall blue ceramic vase."."""
    metal = scene["material"] == scene["colour"]
    words = [] if scene["proportion"] == "regular" else [scene["proportion"]]
    words += [scene["colour"]] if metal else [scene["colour"], scene["material"]]
    if scene["material"] == "crystal" and scene["kind"] == "crystal":
        words.remove("crystal")
    noun = " ".join([*words, scene["kind"]])
    tail = "" if scene["pattern"] == "plain" else f" with {scene['second']} {scene['pattern']}"
    side = "" if scene["place"] == "middle" else f" on the {scene['place']}"
    if scene["count"] == 1:
        return f"This is {'an' if noun[0] in 'aeiou' else 'a'} {noun}{tail}{side}."
    return f"These are {['two', 'three'][scene['count'] - 2]} {noun}s{tail}."


def render(scene: dict, pixels: int = PIXELS) -> Image.Image:
    """The photo of a scene as a PIL image; the view, the light and the studio are random too."""
    from .rendering import Placed, Setting, View, photograph

    rng = np.random.default_rng([21, scene["seed"]])
    look = look_of(scene)
    setting = Setting(
        str(rng.choice(PLINTHS)),
        str(rng.choice(WALLS)),
        rng.uniform(0.6, 1.05),
        rng.uniform(-70, 70),
        rng.uniform(1.8, 3.2),
        rng.uniform(0.4, 0.9),
        rng.uniform(0.8, 1.3),
        rng.uniform(-1, 1),
        bool(rng.random() < 0.5),
    )
    count, spread = scene["count"], 75.0
    view = View(
        rng.uniform(-spread, spread),
        rng.uniform(4, 34),
        rng.uniform(2.4, 3.3),
        {"left": 0.36, "middle": 0.0, "right": -0.36}[scene["place"]] + rng.uniform(-0.08, 0.08),
    )
    across = np.deg2rad(view.azimuth)
    while _lamp_before_camera(setting, view):
        setting = replace(setting, light_azimuth=rng.uniform(-70, 70))
    things = [
        Placed(look, gap * np.cos(across), gap * np.sin(across), (1.0, 0.72, 0.52)[count - 1])
        for gap in ((np.arange(count) - (count - 1) / 2) * (0.78 if count == 2 else 0.56))
    ]
    return photograph(
        things, setting, view, pixels=pixels, samples=SAMPLES, seed=scene["seed"], depth=3
    )


def _lamp_before_camera(setting: Setting, view: View) -> bool:
    """Whether the lamp stands in the way of the camera, which would see its black back."""
    apart = abs(setting.light_azimuth - view.azimuth)
    height = 0.47 + view.distance * np.sin(np.deg2rad(view.elevation))
    low = setting.light_height - 1.5 * setting.light_size
    return apart < 15 + 25 * setting.light_size and low < height + 0.3


def _render_to(job: tuple[dict, Path]) -> dict:
    scene, path = job
    if not path.exists():
        partial = path.with_suffix(".part")
        render(scene).save(partial, format="png")
        os.replace(partial, path)
    return scene


def make_scenes(folder: Path, count: int, processes: int | None = None) -> None:
    """Render `count` scenes into `folder`; those already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(random_scene(i), folder / f"{i:05d}.png") for i in range(count)]
    with Pool(processes) as pool, open(folder / "scenes.jsonl", "w", encoding="utf-8") as file:
        for done, scene in enumerate(pool.imap(_render_to, jobs, chunksize=4), 1):
            file.write(json.dumps(scene | {"sentence": describe(scene)}) + "\n")
            if done % 200 == 0:
                file.flush()
                print(f"{done} of {count} scenes", flush=True)


def main() -> None:
    """Render the scenes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=6000)
    arguments = parser.parse_args()
    make_scenes(arguments.folder, arguments.count)


if __name__ == "__main__":
    main()
