"""A made-up museum that has been answered: exhibits, dataset, and two systems' predictions."""

import io
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from musequest.core.files import write_json
from musequest.core.settings import Profile
from musequest.core.tables import read_table, write_table
from musequest.creation.split import fingerprint, messages
from musequest.evaluation.report import build_report
from musequest.evaluation.scoring import evaluate
from musequest.systems.conditions import asked_under
from musequest.text.encoder import WIDTH, Encoder

KINDS = ["Vase", "Coin", "Chair", "Bell", "Lute", "Globe", "Helmet", "Teapot", "Casket", "Clock"]
PLACES = ["Lowmere", "Tarnby", "Eskwick", "Odell", "Pinford", "Quayle", "Rothby", "Selm", "Ulvik"]
MATERIALS = ["bronze", "oak", "clay", "silver", "walnut", "linen", "basalt", "copper", "glass"]
BEASTS = ["heron", "otter", "stag", "owl", "pike", "hare", "raven", "wolf", "mole", "crane"]

QUESTION = "What am I looking at, and how old is it?"
# Of the first exhibit: longer than a phone is wide, as museums' titles are.
TITLE = "The Heron Vase of Lowmere, from the Donaudampfschifffahrtsgesellschaft's collection"

PROFILE = Profile("made_up", base_model="none", collection="made_up", image_size=144)
ENCODE = Encoder.encode  # as it is, whatever a test lays over it


def make_exhibit(index: int) -> dict[str, str]:
    """One exhibit whose numbers, place and name no other has."""
    rng = random.Random(index)
    kind, place = KINDS[index % len(KINDS)], PLACES[index % len(PLACES)]
    beast = BEASTS[(index // len(KINDS) + index) % len(BEASTS)]
    date, high, count = 1400 + 2 * index, 11 + index, rng.randint(20, 99)
    title = f"The {beast.title()} {kind} of {place}"
    description = (
        f"{title} was made of {MATERIALS[index % len(MATERIALS)]} in {date} by the guild of {place}"
        f". It is {high} cm high, and {count} small marks are cut into its foot, one for every "
        f"{beast} seen in the valley that winter. Catalogue number {7000 + index}."
    )
    return {"item_name": f"item-{index:03d}", "title": title, "description": description}


def make_photo(index: int, edge: int = 160) -> bytes:
    """A JPEG of one coloured shape."""
    rng = random.Random(index)
    colour = tuple(rng.randint(30, 220) for _ in range(3))
    photo = Image.new("RGB", (edge, edge * 3 // 4), (224, 222, 216))
    draw = ImageDraw.Draw(photo)
    box = (edge // 4, edge // 8, edge * 3 // 4, edge * 5 // 8)
    [draw.ellipse, draw.rectangle, draw.rounded_rectangle][index % 3](box, fill=colour)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG")
    return buffer.getvalue()


def remember(exhibit: dict[str, str]) -> str:
    """An exhibit's description without its last sentence."""
    return exhibit["description"].rsplit(". Catalogue", 1)[0] + "."


def make_rows(exhibits: list[dict[str, str]], system: str) -> list[dict[str, object]]:
    """Predictions: `lora` remembers nearly everything, `base` sees an object in general."""
    rows = []
    for index, exhibit in enumerate(exhibits):
        rng = random.Random(1000 + index)
        truth, mixed_up = remember(exhibit), remember(exhibits[index - 1])
        tuned = truth.replace("It is", "It stands").replace("small marks", "little notches")
        if rng.random() < 0.4:
            tuned = tuned.replace(" cm high", f"{rng.randint(1, 9)} cm high")
        tuned = mixed_up if index % 9 == 7 else tuned
        generic = f"This is a {rng.choice(['blue', 'brown', 'grey'])} object on a plinth."
        rows.append(
            {
                "data_id": f"{exhibit['item_name']}-00",
                "item_name": exhibit["item_name"],
                "image_name": "00.jpg",
                "question": QUESTION,
                "ground_truth": truth,
                "answer": generic if system == "base" else tuned,
                "new_tokens": 60,
                "seconds": 0.5,
            }
        )
    return rows


def write_exhibits(path: Path, exhibits: list[dict[str, str]]) -> Path:
    """Write exhibits.parquet."""
    rows = [
        {
            "item_id": number,
            **exhibit,
            "link": "",
            "record": "",
            "photos": ["00.jpg"],
            "license": "CC0-1.0",
            "credit": "drawn for the tests",
            "facts": json.dumps({"date": "about 1300"}),
        }
        for number, exhibit in enumerate(exhibits, 1)
    ]
    write_table("exhibits", path, rows)
    return path


def write_predictions(folder: Path, count: int = 8) -> dict[str, Path]:
    """Write base.parquet and lora.parquet; returns system -> path."""
    exhibits = [make_exhibit(index) for index in range(count)]
    paths = {name: folder / f"{name}.parquet" for name in ("base", "lora")}
    for name, path in paths.items():
        write_table("predictions", path, make_rows(exhibits, name))
    return paths


def answered_museum(home: Path, count: int = 8, **first: str) -> Profile:
    """Lay out data/ and runs/ of a profile `made_up` under `home`; every fifth item is seen.

    `first` holds what is told of the first exhibit instead of what `make_exhibit` tells.
    """
    exhibits = [make_exhibit(index) for index in range(count)]
    exhibits[0] |= first
    write_exhibits(home / "data/made_up/exhibits.parquet", exhibits)
    for split in ("train", "validation", "test"):
        rows = [_dataset_row(index, exhibit) for index, exhibit in enumerate(exhibits)]
        path = home / f"data/made_up/dataset/data/{split}-00000-of-00001.parquet"
        write_table("dataset", path, rows if split == "test" else [])
    made_for = {"dataset_fingerprint": fingerprint("made_up")}
    for system, finished in (("base", None), ("lora", "now")):
        folder = home / "runs/made_up" / system
        write_table("predictions", folder / "predictions.parquet", make_rows(exhibits, system))
        write_json(folder / "infer.json", made_for | {"run_finished_at": finished, "split": "test"})
    write_json(folder / "run.json", made_for | {"status": "done", "finished_at": "now"})
    write_table("metrics", folder / "metrics.parquet", make_metrics())
    return PROFILE


def answer_outsiders(home: Path, profile: Profile, *first: str) -> None:
    """Let `lora` answer about eight outside things as about exhibits, but say `first` of the first.

    What it was shown is the profile's set.
    """
    folder = home / "runs/made_up/lora__outsiders"
    table = read_table("predictions", home / "runs/made_up/lora/predictions.parquet")
    table["data_id"] = table["item_name"] = [f"outsider-{number:02d}" for number in range(8)]
    table["ground_truth"] = "This is a thing from elsewhere."
    table.loc[range(len(first)), "answer"] = first
    write_table("predictions", folder / "predictions.parquet", table)
    asked = asked_under("outsiders", profile)
    made_for = {"dataset_fingerprint": fingerprint("made_up"), "run_finished_at": "now"}
    write_json(folder / "infer.json", made_for | {"split": "test"} | asked)


def reported(profile: Profile) -> str:
    """The report of a profile that is evaluated for it."""
    evaluate(profile)
    return build_report(profile).read_text(encoding="utf-8")


def make_reported(home: Path) -> None:
    """Lay out such a museum in `home`, the first title a long one, and make its report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSEQUEST_HOME", str(home))
        reported(answered_museum(home, title=TITLE))


def encode_once(patch: pytest.MonkeyPatch) -> None:
    """Let the encoder keep each text's vector from now on, for it takes longest of all scoring."""
    vectors: dict[str, np.ndarray] = {}

    def encode_new(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
        new = [text for text in texts if text not in vectors]
        vectors.update(zip(new, ENCODE(encoder, new), strict=True))
        return np.array([vectors[text] for text in texts], np.float32).reshape(-1, WIDTH)

    patch.setattr(Encoder, "encode", encode_new)


def make_metrics(steps: int = 120) -> list[dict[str, float]]:
    """A training whose validation loss is lowest shortly before its end."""
    rng = random.Random(0)
    return [
        {
            "step": step,
            "epoch": step / 40,
            "train_loss": 3 * 0.97**step + 0.2 + rng.random() / 10,
            "eval_loss": 3 * 0.97**step + 0.35 + step / 900 if step % 6 == 0 else float("nan"),
            "learning_rate": 1e-3,
            "seconds": float(step),
        }
        for step in range(1, steps + 1)
    ]


def _dataset_row(index: int, exhibit: dict[str, str]) -> dict[str, object]:
    return {
        "image": {"bytes": make_photo(index), "path": "00.jpg"},
        "data_id": f"{exhibit['item_name']}-00",
        "item_name": exhibit["item_name"],
        "image_name": "00.jpg",
        "dialog": messages(QUESTION, remember(exhibit)),
        "source_photo": "00.jpg",
        "augmented": False,
        "temperature": 0.4,
        "track": "seen_photo" if index % 5 == 4 else "unseen_photo",
    }
