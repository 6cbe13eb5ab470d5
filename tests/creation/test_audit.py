"""The audit finds what the split rule forbids, in whatever way it came in."""

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from musequest.core.errors import MuseQuestError
from musequest.core.photos import Likeness
from musequest.core.tables import read_table, write_table
from musequest.creation.dataset import alike_pairs, audit, build_dataset
from musequest.creation.exhibits import ByExhibit
from musequest.creation.split import fingerprint, split_path


@pytest.fixture
def folder(dialogs_home: Path, home: Path) -> Path:
    shutil.copytree(dialogs_home / "data", home / "data")
    build_dataset("t")
    return home / "data/t"


def change(split: str, number: int, **cells) -> None:
    table = read_table("dataset", split_path("t", split))
    for column, value in cells.items():
        table.at[number, column] = value
    write_table("dataset", split_path("t", split), table)


def test_a_good_dataset_passes_and_its_report_is_written(folder: Path):
    report = audit("t")
    assert report.pop("fingerprint") == fingerprint("t")
    per_exhibit = report.pop("per_exhibit")
    assert len(per_exhibit) == 5 and sum(each["real_photos"] for each in per_exhibit) == 16
    assert {"item_name": "dial-of-the-upper-mill", "train": 11, "validation": 2, "test": 2,
            "real_photos": 6} in per_exhibit  # fmt: skip
    assert report == {
        "exhibits": 5,
        "rows": {"train": 63, "validation": 6, "test": 6},
        "tracks": {"seen_photo": 1, "unseen_photo": 5},
        "lineage_leaks": [],
        "near_duplicates": [],
        "alike_across_splits": [],
        "repeated_answers": 0,
    }
    kept = json.loads((folder / "audit.json").read_text())
    assert {name: kept[name] for name in report} == report


@pytest.mark.parametrize(
    ("photo", "flaw"),
    [(b"", "has no photo"), (None, "has no photo"), ("cut", "is truncated or damaged")],
)
def test_a_photo_that_cannot_be_shown_is_named(folder: Path, photo, flaw: str):
    table = read_table("dataset", split_path("t", "train"))
    assert table.at[7, "augmented"]
    image = table.at[7, "image"]
    content = image["bytes"][:2000] if photo == "cut" else photo
    table.at[7, "image"] = None if photo is None else {**image, "bytes": content}
    write_table("dataset", split_path("t", "train"), table)
    with pytest.raises(MuseQuestError, match=f"train-00000-of-00001.parquet.*{flaw}.*dataset"):
        audit("t")


@pytest.mark.parametrize("dialog", ["", "[]", '{"messages": []}', '{"messages": [{}, {}]}', None])
def test_a_dialog_of_another_shape_is_named(folder: Path, dialog):
    change("train", 7, dialog=dialog)
    with pytest.raises(MuseQuestError, match="The dialog of the row .* is none"):
        audit("t")


@pytest.mark.parametrize("content", ["", "[]", '{"fingerprint": "x"}'])
def test_a_damaged_audit_is_made_anew(folder: Path, content: str):
    report = audit("t")
    (folder / "audit.json").write_text(content)
    build_dataset("t")
    assert audit("t") == report == json.loads((folder / "audit.json").read_text())


def test_a_copy_of_a_test_photo_in_training_is_a_leak(folder: Path):
    change("train", 40, source_photo="the-sela-bowl-00.jpg")
    with pytest.raises(MuseQuestError, match="test photo the-sela-bowl-00.jpg is the origin of"):
        audit("t")
    assert len(json.loads((folder / "audit.json").read_text())["lineage_leaks"]) == 1


def test_a_seen_photo_called_unseen_is_a_leak(folder: Path):
    change("test", 0, track="unseen_photo")
    with pytest.raises(MuseQuestError, match="the-lantern-of-brod-00.jpg is the origin of"):
        audit("t")


def test_a_test_photo_under_another_name_is_found_by_its_looks(folder: Path):
    photo = read_table("dataset", split_path("t", "test"))["image"][3]
    train = read_table("dataset", split_path("t", "train"))
    number = train.index[~train["augmented"]][0]
    change("train", number, image=photo)
    with pytest.raises(MuseQuestError, match="the-orme-casket-00.jpg shows the same as"):
        audit("t")


def test_photos_alike_in_validation_and_training_are_reported(folder: Path):
    photo = read_table("dataset", split_path("t", "validation"))["image"][2]
    train = read_table("dataset", split_path("t", "train"))
    change("train", train.index[~train["augmented"]][0], image=photo)
    (found,) = audit("t")["alike_across_splits"]
    assert found["splits"] == "train, validation"


def test_repeated_answers_are_counted(folder: Path):
    change("train", 4, dialog=read_table("dataset", split_path("t", "test"))["dialog"][0])
    assert audit("t")["repeated_answers"] == 2


def test_many_photos_are_compared_in_little_memory():
    names, rng = [f"{number}.jpg" for number in range(3000)], np.random.default_rng(0)
    photos = {name: Likeness(rng.random(256) < 0.5, rng.random(192) * 255) for name in names}
    photos[names[-1]] = photos[names[6]]  # learned, and tested
    splits = ["train" if number % 3 else "test" for number in range(len(names))]
    tracemalloc.start()
    ((a, b),) = alike_pairs(pd.DataFrame({"image_name": names, "split": splits}), photos)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {a["image_name"], b["image_name"]} == {names[6], names[-1]}
    assert peak < 30 * 2**20 < 3000**2 * 4


def test_the_rows_of_an_exhibit_come_as_they_were_in_their_order(folder: Path):
    table = read_table("photos", folder / "photos.parquet")
    write_table("photos", folder / "photos.parquet", table.sample(frac=1, random_state=0))
    rows = ByExhibit("photos", folder / "photos.parquet", "slot")
    for name in reversed(table["item_name"].unique()):
        assert rows.of(name) == table[table["item_name"] == name].to_dict("records")
    assert rows.of("another") == []


def test_rows_wait_only_where_the_file_has_another_order(folder: Path):
    rows = ByExhibit("photos", folder / "photos.parquet", "slot")
    names = read_table("photos", folder / "photos.parquet")["item_name"].unique()
    assert len(rows.of(names[0])) == 15 and not rows.waiting
    assert len(rows.of(names[2])) == 15 and [*rows.waiting] == [names[1]]
