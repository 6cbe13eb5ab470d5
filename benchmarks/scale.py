"""How time, memory and disk grow with the museum and with the epochs.

    python benchmarks/scale.py             65 to 65 x 64 exhibits, 1 to 8 epochs
    python benchmarks/scale.py --record    and keep it in benchmarks/records/scale.json

Stage 1 runs as anybody runs it, a command a process: collect, augment, synthesize, dataset. Its
exhibits are those of the pocket museum under other names, each with two photos of its own, small
ones of random colours. Then the pocket docent learns from the smallest of these datasets with LoRA,
without recomputed activations.

`grows_by` is the exponent between the two largest sizes: at 1 seconds grow as the exhibits do, at 2
four times as much for twice as many. Memory is the most that the command's process held.
"""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from measurement import Measurement
from PIL import Image

from musequest.core.files import read_json
from musequest.core.home import root

MUSEUM = root() / "assets/pocket_museum/exhibits.csv"
EXHIBITS, FACTORS, EPOCHS = 65, (1, 4, 16, 64), (1, 2, 4, 8)
PHOTOS, PHOTO_PX = 2, 96
COLLECTION = "made_up"
GIB = 2**30


def write_museum(folder: Path, count: int) -> None:
    """A folder museum of so many exhibits."""
    with MUSEUM.open(newline="", encoding="utf-8") as file:
        known = list(csv.DictReader(file))
    with (folder / "exhibits.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, known[0])
        table.writeheader()
        for number in range(count):
            row = known[number % len(known)]
            name, copy = f"piece_{number:05d}", number // len(known) + 1
            photos = [_photo(folder, name, number * PHOTOS + index) for index in range(PHOTOS)]
            own = {"item_id": number, "item_name": name, "photos": "\n".join(photos)}
            told = {key: row[key].replace(row["title"], f"{row['title']} {copy}") for key in row}
            table.writerow(told | own)


def _photo(folder: Path, name: str, seed: int) -> str:
    colours = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path = Path("photos") / name / f"{seed:06d}.jpg"
    (folder / path.parent).mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours).resize((PHOTO_PX, PHOTO_PX)).save(folder / path)
    return path.as_posix()


def run(*command: str, home: Path) -> dict[str, float]:
    """Seconds and memory of one command of the package; its output only where it fails."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "musequest", *command],
            stdout=output,
            stderr=output,
            env={**os.environ, "MUSEQUEST_HOME": str(home)},
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(output.read().decode())
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "seconds": round(time.monotonic() - start, 2),
        "peak_memory_gib": round(used.ru_maxrss * unit / GIB, 3),
    }


def stage_1(home: Path, count: int) -> dict[str, Any]:
    """All commands of stage 1 for so many exhibits."""
    museum = home / "museum"
    museum.mkdir(parents=True)
    write_museum(museum, count)
    collection = ("--collection", COLLECTION)
    commands = {
        "collect": ("collect", "folder", str(museum)),
        **{name: (name,) for name in ("augment", "synthesize", "dataset")},
    }
    found = {name: run(*words, *collection, home=home) for name, words in commands.items()}
    files = (home / "data" / COLLECTION).rglob("*")
    return {
        "exhibits": count,
        "commands": found,
        "seconds": round(sum(each["seconds"] for each in found.values()), 2),
        "peak_memory_gib": max(each["peak_memory_gib"] for each in found.values()),
        "disk_gib": round(sum(path.stat().st_size for path in files if path.is_file()) / GIB, 4),
    }


def training(home: Path, epochs: int, base: Path) -> dict[str, Any]:
    """A LoRA run of so many epochs."""
    pocket = yaml.safe_load((root() / "profiles/pocket.yaml").read_text(encoding="utf-8"))
    profile = home / "scale.yaml"
    own = {"base_model": str(base), "collection": COLLECTION, "outsiders": None}
    profile.write_text(yaml.safe_dump(pocket | own), encoding="utf-8")
    chosen = (f"num_train_epochs={epochs}", "activation_checkpointing=false")
    told = [word for setting in chosen for word in ("--set", setting)]
    found = run(
        "train", "--profile", str(profile), "--approach", "lora", "--fresh", *told, home=home
    )
    record = read_json(home / "runs/scale/lora/run.json")
    return {
        "epochs": epochs,
        **found,
        "training_seconds": round(60 * record["minutes"], 2),
        "disk_gib": record["disk_gib"],
    }


def grows_by(sizes: list[int], seconds: list[float]) -> float:
    """The exponent between the two largest."""
    return round(math.log(seconds[-1] / seconds[-2]) / math.log(sizes[-1] / sizes[-2]), 2)


def main() -> None:
    """Measure, print, and keep the record."""
    measurement = Measurement(__doc__, "scale")
    parser = measurement.parser
    parser.add_argument("--exhibits", type=int, default=EXHIBITS, help="of the smallest museum")
    parser.add_argument("--factors", type=int, nargs="+", default=FACTORS)
    parser.add_argument("--epochs", type=int, nargs="*", default=EPOCHS)
    parser.add_argument("--base", type=Path, default=root() / "assets/pocket_docent")
    chosen = parser.parse_args()
    figures: dict[str, Any] = {
        "photos_an_exhibit": PHOTOS,
        "photo_px": PHOTO_PX,
        "stage_1": [],
        "training": [],
        "grows_by": {},
    }
    with tempfile.TemporaryDirectory() as temporary:
        homes = [Path(temporary) / str(factor) for factor in chosen.factors]
        for home, factor in zip(homes, chosen.factors, strict=True):
            figures["stage_1"].append(found := stage_1(home, factor * chosen.exhibits))
            print(found, file=sys.stderr, flush=True)
        for epochs in chosen.epochs:
            figures["training"].append(found := training(homes[0], epochs, chosen.base))
            print(found, file=sys.stderr, flush=True)
    sizes = [each["exhibits"] for each in figures["stage_1"]]
    if len(sizes) > 1:
        for name in figures["stage_1"][0]["commands"]:
            seconds = [each["commands"][name]["seconds"] for each in figures["stage_1"]]
            figures["grows_by"][name] = grows_by(sizes, seconds)
    if len(chosen.epochs) > 1:
        seconds = [each["training_seconds"] for each in figures["training"]]
        figures["grows_by"]["training"] = grows_by([*chosen.epochs], seconds)
    measurement.tell(figures, chosen.record)


if __name__ == "__main__":
    main()
