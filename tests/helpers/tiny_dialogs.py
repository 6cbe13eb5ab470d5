"""A small dataset and a profile for the tiny docent, so that a test can train and answer."""

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from musequest.core.settings import Profile, load_profile
from musequest.core.tables import write_table

COLOURS = {"red jug": (200, 40, 40), "blue bowl": (40, 60, 200), "green vase": (40, 170, 60)}
SIZES = [(60, 40), (40, 60), (50, 50), (144, 100)]
ROWS = {"train": 10, "validation": 3, "test": 3}


def dialog(question: str, answer: str) -> str:
    """A dialog as the dataset holds it."""
    return json.dumps(
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image"}, {"type": "text", "text": question}],
                },
                {"role": "assistant", "content": [{"type": "text", "text": answer}]},
            ]
        }
    )


def sample(index: int, split: str = "train") -> dict[str, Any]:
    """Row `index` of a split, its photo a plain colour and its answer's length varied."""
    name = list(COLOURS)[index % len(COLOURS)]
    answer = f"This is the {name}, made in {1700 + index}." + " It was kept dry." * (index % 3)
    return {
        "image": Image.new("RGB", SIZES[index % len(SIZES)], COLOURS[name]),
        "data_id": f"{split}-{index:02d}",
        "item_name": name.replace(" ", "-"),
        "image_name": f"{split}-{index:02d}.jpg",
        "dialog": dialog("What is this?" if index % 2 else "Who made it, and when?", answer),
        "source_photo": f"{split}-{index:02d}.jpg",
        "augmented": False,
        "temperature": 0.4,
        "track": "unseen_photo" if split == "test" else None,
    }


def stored(row: dict[str, Any]) -> dict[str, Any]:
    """A row as parquet holds it: the photo as bytes."""
    buffer = io.BytesIO()
    row["image"].save(buffer, "PNG")
    return {**row, "image": {"bytes": buffer.getvalue(), "path": row["image_name"]}}


@cache
def _stored(index: int, split: str) -> dict[str, Any]:
    return stored(sample(index, split))


def write_dataset(home: Path, collection: str, year_shift: int = 0) -> None:
    """Write the three splits of a collection's dataset."""
    for split, count in ROWS.items():
        rows = [dict(_stored(index + year_shift, split)) for index in range(count)]
        name = f"{split}-00000-of-00001.parquet"
        write_table("dataset", home / "data" / collection / "dataset" / "data" / name, rows)


def write_exhibits(home: Path, texts: dict[str, str]) -> None:
    """Write the exhibits of the collection "tiny", with these descriptions, by item_name."""
    rows = [
        {
            "item_id": number,
            "item_name": name,
            "title": f"The {name}",
            "link": f"https://example.org/{name}",
            "record": "",
            "description": text,
            "photos": ["photo.jpg"],
            "license": "CC0",
            "credit": "A museum",
        }
        | {"facts": "{}", "splits": "{}", "photo_credits": "[]", "photo_digests": "[]"}
        for number, (name, text) in enumerate(texts.items(), 1)
    ]
    write_table("exhibits", home / "data/tiny/exhibits.parquet", rows)


def write_profile(folder: Path, docent: Path, estimate: bool = False, **changes: Any) -> Profile:
    """A profile that trains the tiny docent for five steps of two rows, twice over the data.

    Only with `estimate` is it estimated first what fits, which takes as long as the training.
    """
    values = {
        "base_model": str(docent),
        "collection": "tiny",
        "image_size": 144,
        "max_new_tokens": 12,
        "generation_batch_size": 2,
        "training": {
            "learning_rate": 0.01,
            "num_train_epochs": 2,
            "per_device_train_batch_size": 2,
            "per_device_eval_batch_size": 2,
            "eval_steps": 4,
            "seed": 1,
            **({} if estimate else {"activation_checkpointing": False}),
        },
        **changes,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_profile(path)
