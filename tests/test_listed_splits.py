"""A museum's list that says which photos each split has, up to the published split's numbers."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from musequest.creation.auditing import audit
from musequest.creation.augmentation import augment
from musequest.creation.dataset import build_dataset, split_path
from musequest.creation.dialogs import synthesize
from musequest.creation.exhibits import collect_folder, read_folder
from musequest.creation.offline_writer import OfflineWriter
from musequest.creation.split import SPLITS
from musequest.tables import read_table

# Exhibits, and how many photos each has in test, validation and training; none means that the one
# photo is listed in all three. The totals are those of the published split.
PUBLISHED = [(42, None), (9, (2, 2, 3)), (8, (1, 2, 2)), (4, (1, 1, 1)), (2, (1, 1, 2))]


def write_museum(folder: Path, kinds: list[tuple[int, tuple[int, int, int] | None]]) -> Path:
    """A museum of exhibits with photos of noise, listed by split."""
    rng, rows = np.random.default_rng(0), []
    for count, kind in kinds:
        for _ in range(count):
            name = f"piece-{len(rows):02d}"
            photos = [f"photos/{name}/{index}.png" for index in range(sum(kind or (1, 0, 0)))]
            for photo in photos:
                (folder / photo).parent.mkdir(parents=True, exist_ok=True)
                noise = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
                Image.fromarray(noise).save(folder / photo)
            test, validation, _ = kind or (1, 1, 1)
            listed = [photos[:test], photos[test : test + validation], photos[test + validation :]]
            rows.append(row(name, listed if kind else [photos] * 3))
    with (folder / "exhibits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def row(name: str, listed: list[list[str]]) -> dict[str, str]:
    text = f"The {name} was made of oak in Tarn. It is {1000 + int(name[-2:])} mm high. "
    more = "The workshop kept its drawings, and a later owner gave it to the museum. "
    columns = ("test_images", "validation_images", "train_images")
    images = {column: "\n".join(own) for column, own in zip(columns, listed, strict=True)}
    return {"item_name": name, "title": f"The {name}", "description": text + more * 4, **images}


def test_the_published_split_is_reproduced(tmp_path: Path, home: Path):
    collect_folder(write_museum(tmp_path / "museum", PUBLISHED), "t", progress=False)
    augment("t", processes=1, progress=False)
    synthesize("t", OfflineWriter(), progress=False)
    assert build_dataset("t")["rows"] == {"train": 819, "validation": 82, "test": 74}
    table = pd.concat(read_table("dataset", split_path("t", split)) for split in SPLITS)
    train = read_table("dataset", split_path("t", "train"))
    assert train["augmented"].sum() == 768 and table["augmented"].sum() == 768
    report = audit("t")
    assert report["tracks"] == {"seen_photo": 42, "unseen_photo": 32}
    assert len(report["alike_across_splits"]) == 42 and not report["near_duplicates"]
    held = table[table["data_id"].isin(set(table["data_id"]) - set(train["data_id"]))]
    assert (held["temperature"] == 0.4).all()


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"photos": "photos/piece-00/0.png"}, "'piece-00' lists photos and test_images"),
        ({"validation_images": ""}, "lists no test_images or no validation_images"),
        ({"test_images": "a.png\nb.png\nc.png\nd.png\ne.png"}, "the photo .*a.png is absent"),
        (
            {"train_images": "photos/piece-00/2.png\nphotos/piece-00/2.png"},
            "a photo twice in train",
        ),
    ],
)
def test_a_list_that_cannot_be_followed_is_one_sentence(tmp_path: Path, change: dict, flaw: str):
    folder = write_museum(tmp_path, [(1, (1, 1, 1))])
    with (folder / "exhibits.csv").open(newline="") as file:
        cells = next(csv.DictReader(file)) | change
    with (folder / "exhibits.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(cells))
        writer.writeheader()
        writer.writerow(cells)
    exhibits, (problem,) = read_folder(folder)
    assert not exhibits and pd.Series([problem]).str.contains(flaw).all(), problem


def test_six_held_out_photos_are_too_many(tmp_path: Path):
    exhibits, (problem,) = read_folder(write_museum(tmp_path, [(1, (3, 3, 1))]))
    assert not exhibits and "lists 6 photos for test and validation; list 5 at most" in problem
