"""A dataset made elsewhere becomes a collection: its columns, and nothing that it does not tell."""

import json
import logging
from pathlib import Path

import datasets
import pandas as pd
import pytest
from conftest import draw_photo

from musequest.__main__ import main
from musequest.creation.auditing import audit
from musequest.creation.dataset import fingerprint, load_split, messages, split_path
from musequest.creation.imported import collect_dataset
from musequest.errors import MuseQuestError
from musequest.tables import read_table

SIZES = {"train": 4, "validation": 1, "test": 2}


def published(**changes) -> datasets.DatasetDict:
    """A dataset with the published columns; `changes` replace columns of the test split."""
    splits, view = {}, 0
    for split, count in SIZES.items():
        rows = []
        for number in range(count):
            view += 1
            rows.append({
                "image": draw_photo("ellipse", (60, 110, 200), view), "data_id": view,
                "item_name": f"piece-{number}", "image_name": f"piece-{view}.png",
                "dialog": messages("What is this?", f"A bowl of {1700 + view}."),
            })  # fmt: skip
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        splits[split] = datasets.Dataset.from_dict(columns | (changes if split == "test" else {}))
    return datasets.DatasetDict(splits)


def save(folder: Path, made: datasets.DatasetDict) -> Path:
    for split, rows in made.items():
        (folder / "data").mkdir(parents=True, exist_ok=True)
        rows.cast_column("image", datasets.Image()).to_parquet(
            folder / f"data/{split}-00000-of-00001.parquet"
        )
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_the_published_columns_are_a_collection(home: Path, tmp_path: Path, caplog, capsys):
    folder = save(tmp_path / "made", published())
    with caplog.at_level(logging.WARNING, logger="musequest"):
        assert main(["collect", "dataset", str(folder), "--collection", "t"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == SIZES and told["audit"]["exhibits"] == 4
    assert "does not tell" in caplog.text
    test = read_table("dataset", split_path("t", "test"))
    assert list(test["data_id"]) == ["6", "7"] and test["dialog"][0] == messages(
        "What is this?", "A bowl of 1706."
    )
    assert test[["source_photo", "augmented", "temperature", "track"]].isna().all(axis=None)
    assert load_split("t", "train")[0]["image"].size == (240, 180) and len(fingerprint("t")) == 64
    report = audit("t")
    assert report["tracks"] == {} and report["per_exhibit"][0]["real_photos"] == 0


def test_photos_alike_across_splits_are_reported_though_lineage_is_unknown(home, tmp_path: Path):
    photo = draw_photo("ellipse", (60, 110, 200), 1)
    collect_dataset(save(tmp_path / "made", published(image=[photo, photo])), "t")
    found = audit("t")["alike_across_splits"]
    assert {each["also"] for each in found} == {"piece-6.png", "piece-7.png"}


def test_a_dataset_of_our_own_loads_with_all_it_tells(museum: Path, home: Path, tmp_path: Path):
    for arguments in (["collect", "folder", str(museum)], ["augment"], ["synthesize"], ["dataset"]):
        assert main([*arguments, "--collection", "t"]) == 0
    with pytest.raises(MuseQuestError, match="has exhibits; choose another name"):
        collect_dataset(home / "data/t/dataset", "t")
    collect_dataset(home / "data/t/dataset", "again")
    assert fingerprint("again") == fingerprint("t")
    pd.testing.assert_frame_equal(
        read_table("dataset", split_path("again", "test")),
        read_table("dataset", split_path("t", "test")),
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dialog": ["no JSON", "{}"]}, "row 0 .6.: its dialog is not one question"),
        ({"dialog": [messages("What?", " ")] * 2}, "its dialog is not one question"),
        ({"image": [None, None]}, "row 0 .6. has no readable photo"),
    ],
)
def test_a_bad_row_stops_before_anything_is_written(home, tmp_path, changes, sentence: str):
    with pytest.raises(MuseQuestError, match=sentence):
        collect_dataset(save(tmp_path / "made", published(**changes)), "t")
    assert not split_path("t", "test").exists()


def test_what_is_no_such_dataset_is_one_sentence(home: Path, tmp_path: Path):
    made = published(item_name=["piece", None])
    with pytest.raises(MuseQuestError, match="split 'test', row 1 lacks its item_name"):
        collect_dataset(save(tmp_path / "n", made), "t")
    assert not split_path("t", "train").exists()
    made = made.remove_columns("item_name")
    with pytest.raises(MuseQuestError, match="split 'train', lacks the column 'item_name'"):
        collect_dataset(save(tmp_path / "a", made), "t")
    made = published()
    del made["validation"]
    with pytest.raises(MuseQuestError, match="has no split 'validation'; it has"):
        collect_dataset(save(tmp_path / "b", made), "t")
    with pytest.raises(MuseQuestError, match="cannot be loaded as a dataset"):
        collect_dataset(tmp_path / "nowhere", "t")
