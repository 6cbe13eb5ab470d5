"""The dataset: joined by the split rule, the same bytes each time, read by `datasets` as it is."""

import json
import logging
import os
import shutil
from pathlib import Path

import datasets
import pandas as pd
import pytest
import yaml
from PIL import Image

from musequest.core.errors import MuseQuestError
from musequest.core.tables import SCHEMAS, read_table, write_table
from musequest.creation.augmentation import augment
from musequest.creation.dataset import audit, build_dataset, split_table
from musequest.creation.dialogs import synthesize
from musequest.creation.offline_writer import OfflineWriter
from musequest.creation.split import SPLITS, fingerprint, load_split, split_path


@pytest.fixture
def folder(dialogs_home: Path, home: Path) -> Path:
    """A collection with everything but its dataset."""
    shutil.copytree(dialogs_home / "data", home / "data")
    return home / "data/t"


def rows(split: str) -> pd.DataFrame:
    return read_table("dataset", split_path("t", split))


def test_every_exhibit_has_its_fifteen_rows(folder: Path):
    built = build_dataset("t")
    assert built["rows"] == {"train": 63, "validation": 6, "test": 6}
    assert built["exhibits"] == 5 and built["path"] == str(folder / "dataset")
    table = pd.concat([rows(split) for split in SPLITS])
    assert table["data_id"].is_unique and table["image_name"].is_unique
    assert (table.groupby("item_name").size() == 15).all()


def test_test_and_validation_take_real_photos_and_lowest_temperature_pairs(folder: Path):
    build_dataset("t")
    held = pd.concat([rows("test"), rows("validation")])
    assert (held["temperature"] == 0.4).all()
    assert list(held.loc[held["augmented"], "data_id"]) == ["the-lantern-of-brod-01"]
    assert set(rows("test")["track"]) == {"seen_photo", "unseen_photo"}
    assert rows("train")["track"].isna().all()
    assert sorted(rows("train")["temperature"].unique()) == [0.4, 0.7, 0.9]


def test_a_temperature_that_is_not_known_stays_empty(folder: Path):
    dialogs = read_table("dialogs", folder / "dialogs.parquet")
    write_table("dialogs", folder / "dialogs.parquet", dialogs.assign(temperature=None))
    build_dataset("t")
    assert audit("t")["lineage_leaks"] == []
    cache = str(folder / "cache")
    table = datasets.load_dataset(str(folder / "dataset"), split="train", cache_dir=cache)
    assert set(table["temperature"]) == {None}


def test_no_training_photo_comes_from_an_unseen_test_photo(folder: Path):
    build_dataset("t")
    unseen = rows("test").query("track == 'unseen_photo'")["image_name"]
    assert not set(unseen) & (set(rows("train")["source_photo"]) | set(rows("train")["image_name"]))


def test_no_answer_is_word_for_word_in_two_splits(folder: Path):
    build_dataset("t")
    table = pd.concat([rows(split) for split in SPLITS])
    assert table["dialog"].map(lambda text: json.loads(text)["messages"][1]["content"][0]["text"]
                               ).is_unique  # fmt: skip


def test_datasets_reads_the_folder_as_it_is(folder: Path):
    build_dataset("t")
    loaded = datasets.load_dataset(str(folder / "dataset"), cache_dir=str(folder / "cache"))
    assert {split: len(loaded[split]) for split in loaded} == build_dataset("t")["rows"]
    row = loaded["test"][0]
    assert list(row) == SCHEMAS["dataset"].names
    assert isinstance(row["image"], Image.Image) and row["image"].size == (240, 180)
    user, assistant = json.loads(row["dialog"])["messages"]
    assert [part["type"] for part in user["content"]] == ["image", "text"]
    assert (user["role"], assistant["role"]) == ("user", "assistant")


def test_a_split_is_loaded_with_photos_and_follows_a_new_build(folder: Path):
    build_dataset("t")
    assert load_split("t", "train")[0]["image"].mode == "RGB"
    before = load_split("t", "test")["dialog"]
    synthesize("t", OfflineWriter(), seed=1, progress=False)
    build_dataset("t")
    assert load_split("t", "test")["dialog"] != before
    assert list(load_split("t", "test")["dialog"]) == list(rows("test")["dialog"])
    kept = {path.name: len([*path.iterdir()]) for path in (folder / ".cache").iterdir()}
    assert kept == {"train": 1, "test": 1}, "nothing is left of what was loaded before"
    with pytest.raises(MuseQuestError, match="no split 'dev'; the splits are train, validation"):
        load_split("t", "dev")


def test_the_same_input_gives_the_same_bytes_and_fingerprint(folder: Path):
    first = build_dataset("t")
    files = {path: path.read_bytes() for path in (folder / "dataset").rglob("*.*")}
    assert len(files) == 6
    assert build_dataset("t") == first and fingerprint("t") == first["fingerprint"]
    assert {path: path.read_bytes() for path in files} == files


def test_the_fingerprint_follows_the_contents_not_the_encoding(folder: Path, monkeypatch):
    first = build_dataset("t")["fingerprint"]
    path = split_path("t", "test")
    table = rows("test")
    table.to_parquet(path, compression="gzip", row_group_size=1)
    assert fingerprint("t") == first
    for column, value in (("dialog", "other"), ("augmented", True), ("track", None)):
        changed = table.copy()
        changed.loc[1, column] = value
        write_table("dataset", path, changed)
        assert fingerprint("t") != first, column
    changed = table.copy()
    changed.at[1, "image"] = table["image"][2]
    write_table("dataset", path, changed)
    assert (other := fingerprint("t")) != first
    monkeypatch.setattr("musequest.creation.split.iterate_table", None)
    assert fingerprint("t") == other  # what has not changed is not read again


def test_the_card_tells_splits_licence_and_credit(folder: Path):
    build_dataset("t")
    _, head, body = (folder / "dataset/README.md").read_text().split("---\n", 2)
    values = yaml.safe_load(head)
    assert values["license"] == "cc0-1.0"
    files = {each["split"]: each["path"] for each in values["configs"][0]["data_files"]}
    assert files == {split: f"data/{split}-*" for split in SPLITS}
    assert "| train | 63 |" in body and "drawn for the tests (CC0-1.0): 5 exhibits" in body
    assert "- CC0-1.0: 16 photos" in body and "a folder of the museum's own: 5 texts" in body
    assert "- offline: 75 pairs" in body and "not made yet" in body
    credits = pd.read_csv(folder / "dataset/credits.csv")
    assert len(credits) == 16 and set(credits["credit"]) == {"drawn for the tests"}
    table = pd.concat(rows(split) for split in SPLITS)
    assert set(credits["image_name"]) == set(table.loc[~table["augmented"], "image_name"])


def test_the_card_tells_prompts_costs_and_what_the_audit_found(folder: Path):
    dialogs = read_table("dialogs", folder / "dialogs.parquet")
    dialogs["cost_usd"], dialogs["prompt_tokens"], dialogs["writer"] = 0.01, 100, "gpt-4o-mini"
    write_table("dialogs", folder / "dialogs.parquet", dialogs)
    costs = {"json": 0.875, "answer": 0.5}  # an answer is another system's, about a photo
    paid = [
        {"event": "paid", "call": form, "key": form, "response": {"form": form, "cost_usd": usd}}
        for form, usd in costs.items()
    ]
    (folder / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in paid))
    build_dataset("t")
    audit("t")
    card = (folder / "dataset/README.md").read_text()
    assert "gpt-4o-mini: 75 pairs" in card and "15 different prompts" in card
    assert "7,500 prompt and 0 completion tokens, 0.7500 USD for these pairs" in card
    assert "0.8750 USD for all responses" in card
    assert "test rows: 1 of the track `seen_photo`, 5 of the track `unseen_photo`" in card
    table = pd.read_csv(folder / "dataset/provenance.csv")
    assert set(table["data_id"]) == set(pd.concat(rows(split) for split in SPLITS)["data_id"])
    assert set(table["prompt_sha256"]) == set(dialogs["prompt_sha256"])
    change = rows("test").assign(temperature=0.9)
    write_table("dataset", split_path("t", "test"), change)
    build_dataset("t")
    assert (folder / "dataset/README.md").read_text() == card  # the same rows as were audited


def test_the_split_table_has_a_row_an_exhibit(folder: Path):
    build_dataset("t")
    table = split_table("t").set_index("exhibit")
    assert list(table.loc["the-lantern-of-brod"]) == [1, "13 (13)", "1 (1)", "1", "seen_photo"]
    assert list(table.loc["dial-of-the-upper-mill"]) == [6, "11 (9)", "2", "2", "unseen_photo"]


@pytest.mark.parametrize(("kind", "command"), [("photos", "augment"), ("dialogs", "synthesize")])
def test_an_exhibit_without_all_its_parts_is_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture, kind: str, command: str
):
    path = folder / f"{kind}.parquet"
    table = read_table(kind, path)
    write_table(kind, path, table.drop(index=table.index[20]))
    with caplog.at_level(logging.WARNING, logger="musequest"):
        assert build_dataset("t")["exhibits"] == 4
    assert f"'the-sela-bowl' has 14 of 15 {kind}" in caplog.text and command in caplog.text


@pytest.mark.parametrize("changed", [{"description": "made in 1815"}, {"title": "The Bowl"}])
def test_dialogs_of_another_text_than_the_exhibit_has_by_now_do_not_enter(
    folder: Path, caplog, changed: dict[str, str]
):
    path = folder / "exhibits.parquet"
    exhibits = read_table("exhibits", path)
    bowl = exhibits["item_name"] == "the-sela-bowl"
    for column, text in changed.items():
        exhibits.loc[bowl, column] = f"{exhibits.loc[bowl, column].iloc[0]} {text}"
    write_table("exhibits", path, exhibits)
    assert build_dataset("t")["exhibits"] == 4
    assert "'the-sela-bowl' were written from another text" in caplog.text
    assert "run `python -m musequest synthesize` again" in caplog.text
    synthesize("t", OfflineWriter(), progress=False)
    assert build_dataset("t")["exhibits"] == 5


def test_dialogs_from_before_texts_had_digests_are_taken(folder: Path):
    path = folder / "dialogs.parquet"
    table = read_table("dialogs", path)
    write_table("dialogs", path, table.drop(columns="source_sha256"))
    assert build_dataset("t")["exhibits"] == 5


def test_an_absent_photo_file_leaves_its_exhibit_out(folder: Path, caplog):
    (folder / "augmented/the-sela-bowl/07.jpg").unlink()
    with caplog.at_level(logging.WARNING, logger="musequest"):
        assert build_dataset("t")["exhibits"] == 4
    assert "the-sela-bowl/07.jpg is absent" in caplog.text


@pytest.mark.parametrize("size", [0, 2000])
@pytest.mark.parametrize(
    "name", ["augmented/the-sela-bowl/07.jpg", "originals/the-sela-bowl/01.jpg"]
)
@pytest.mark.parametrize("older", [False, True])
def test_a_photo_enters_only_as_it_was_written_and_if_it_decodes(
    folder: Path, caplog, name: str, size: int, older: bool
):
    if older:  # versions that recorded no digests
        exhibits = read_table("exhibits", folder / "exhibits.parquet")
        write_table("exhibits", folder / "exhibits.parquet", exhibits.drop(columns="photo_digests"))
        photos = read_table("photos", folder / "photos.parquet")
        photos["transform"] = photos["transform"].str.replace('"sha256"', '"was"')
        write_table("photos", folder / "photos.parquet", photos)
        assert build_dataset("t")["exhibits"] == 5
    os.truncate(folder / name, size)
    assert build_dataset("t")["exhibits"] == 4
    assert name in caplog.text and "again." in caplog.text


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../t/exhibits.parquet", "a\0b", None, "augmented"]
)
def test_a_foreign_path_in_the_table_of_photos_is_not_followed(folder: Path, caplog, path):
    photos = read_table("photos", folder / "photos.parquet")
    at = photos.index[photos["item_name"] == "the-sela-bowl"][7]
    photos.at[at, "path"] = path
    write_table("photos", folder / "photos.parquet", photos)
    assert build_dataset("t")["exhibits"] == 4
    assert "tells of another photo in slot 7 of 'the-sela-bowl'" in caplog.text
    augment("t", progress=False)
    assert build_dataset("t")["exhibits"] == 5


def test_a_missing_column_stops_with_file_and_remedy(folder: Path):
    path = folder / "dialogs.parquet"
    pd.read_parquet(path).drop(columns="answer").to_parquet(path)
    with pytest.raises(MuseQuestError, match=r"dialogs.parquet lacks the column 'answer'; run"):
        build_dataset("t")
