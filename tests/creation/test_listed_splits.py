"""A museum's list that says which photos each split has, up to the published split's numbers."""

import csv
import os
from pathlib import Path

import pandas as pd
import pytest
from folder_museum import Kind, write_museum

from musequest.core.tables import read_table
from musequest.creation.augmentation import augment
from musequest.creation.dataset import audit, build_dataset
from musequest.creation.dialogs import synthesize
from musequest.creation.exhibits import collect_folder, read_folder
from musequest.creation.offline_writer import OfflineWriter
from musequest.creation.split import SPLITS, assign_listed, split_path

# The published split: how many exhibits have such numbers of photos in test, validation, training.
# A photo that stands in several is shown itself in the first of them, and altered in the others.
PUBLISHED = [
    (40, ([0], [0], [0])),
    (5, ([0], [1], [2])),
    (4, ([0], [1], [1])),
    (3, ([0], [1], [2, 3])),
    (2, ([0], [1], [2, 3, 4])),
    (2, ([0, 1], [2, 3], [2, 3])),
    (1, ([0, 1], [0, 1], [0, 1])),
    (1, ([0, 1], [2, 3], [2, *range(4, 9)])),
    (1, ([0, 1, 2], [0, 1, 2], [0, 1, 2])),
    (1, ([0, 1, 2], [3, 4, 5], list(range(6, 15)))),
    (1, ([0], [1, 2], [1, 2])),
    (1, ([0], [1, 2], [3, 4, 5])),
    (1, ([0, 1], [2, 3, 4], [5, 6, 7, 8])),
    (1, ([0], [1, 2, 3], list(range(4, 11)))),
    (1, ([0], [1, 2, 3, 4], list(range(5, 11)))),
]
# The published list itself (item_name, split, image_name, parent, augmented), where there is one.
PUBLISHED_FILE = Path(os.environ.get("MUSEQUEST_PUBLISHED_SPLIT", "none"))


def test_the_published_split_is_reproduced(tmp_path: Path, home: Path):
    collect_folder(write_museum(tmp_path / "museum", PUBLISHED), "t", progress=False)
    augment("t", processes=1, progress=False)
    synthesize("t", OfflineWriter(), progress=False)
    assert build_dataset("t")["rows"] == {"train": 819, "validation": 82, "test": 74}
    tables = {split: read_table("dataset", split_path("t", split)) for split in SPLITS}
    copies = {split: int(table["augmented"].sum()) for split, table in tables.items()}
    assert copies == {"train": 768, "validation": 45, "test": 0}
    origins = set(tables["train"]["source_photo"])
    seen = tables["test"]["image_name"].isin(origins)
    assert (tables["test"]["track"] == seen.map({True: "seen_photo", False: "unseen_photo"})).all()
    assert tables["test"][seen]["item_name"].nunique() == 42
    report = audit("t")
    assert report["tracks"] == {"seen_photo": 45, "unseen_photo": 29}
    assert not report["alike_across_splits"] and not report["near_duplicates"]
    assert (tables["test"]["temperature"] == 0.4).all()
    # Where three each are held out, the last pair is no longer of the lowest temperature.
    assert (tables["validation"]["temperature"] == 0.4).sum() == 80


@pytest.mark.skipif(not PUBLISHED_FILE.is_file(), reason="needs the published list")
def test_the_shapes_are_those_of_the_published_list():
    table = pd.read_csv(PUBLISHED_FILE)
    counts = {split: [0, 0] for split in SPLITS}
    seen = 0
    for _, own in table.groupby("item_name"):
        photos = list(dict.fromkeys(own.sort_values("split")["parent"]))
        listed = {
            split: [photos.index(photo) for photo in dict.fromkeys(part["parent"])]
            for split, part in own.groupby("split")
        }
        slots = assign_listed(**listed)
        for split, part in own.groupby("split"):
            mine = [slot.augmented for slot in slots if slot.split == split]
            assert sorted(mine) == sorted(part["augmented"])
            counts[split][0] += len(mine)
            counts[split][1] += sum(mine)
        seen += any(slot.track == "seen_photo" for slot in slots)
    assert counts == {"train": [819, 768], "validation": [82, 45], "test": [74, 0]} and seen == 42


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


@pytest.mark.parametrize(
    ("kind", "flaw"),
    [
        ((1, (6, 1, 1)), "'piece-00' lists 6 photos for test; list 5 at most"),
        ((1, (1, 14, [1])), "'piece-00' lists more photos than 15 rows can show"),
        ((1, (1, 1, 14)), "'piece-00' lists more photos than 15 rows can show"),
    ],
)
def test_what_fifteen_rows_cannot_hold_is_one_sentence(tmp_path: Path, kind: Kind, flaw: str):
    exhibits, (problem,) = read_folder(write_museum(tmp_path, [kind]))
    assert not exhibits and flaw in problem
