"""Strangers in the dataset: what they say, where they stand, and what is never one."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from musequest.core.errors import MuseQuestError
from musequest.core.home import root
from musequest.core.settings import load_profile
from musequest.core.tables import read_table
from musequest.creation.dataset import audit, build_dataset, split_table
from musequest.creation.imported import collect_dataset
from musequest.creation.offline_writer import PHRASES
from musequest.creation.split import (
    SPLITS,
    STRANGER,
    dialogs_table,
    fingerprint,
    load_split,
    split_path,
)
from musequest.creation.strangers import WORDINGS, stranger_rows
from musequest.evaluation.metrics import REFUSAL
from musequest.text.sentences import other_language


@pytest.fixture
def folder(dialogs_home: Path, home: Path) -> Path:
    shutil.copytree(dialogs_home / "data", home / "data")
    return home / "data/t"


def draw(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize((96, 96), Image.Resampling.NEAREST).save(path)


def write_set(folder: Path, count: int = 10, name: str = "strangers", **columns) -> Path:
    rows = [
        {"photo": f"photos/{number}.png", "description": f"This is the thing number {number}."}
        | {column: str(value) for column, value in columns.items()}
        for number in range(count)
    ]
    for number, row in enumerate(rows):
        draw(folder / row["photo"], number)
    write_rows(folder, rows, name)
    return folder


def write_rows(folder: Path, rows: list[dict[str, str]], name: str = "strangers") -> None:
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def profile_of(tmp_path: Path, strangers: Path | None, **changes):
    values = {
        "base_model": "m", "collection": "t", "image_size": 144, "outsiders": None,
        "strangers": strangers and str(strangers), "strangers_share": 0.2, **changes,
    }  # fmt: skip
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_profile(path)


def strange(split: str) -> pd.DataFrame:
    table = read_table("dataset", split_path("t", split))
    return table[table.item_name == STRANGER]


def said(rows: pd.DataFrame) -> list[tuple[str, str]]:
    turns = [json.loads(dialog)["messages"] for dialog in rows.dialog]
    return [(user["content"][1]["text"], own["content"][0]["text"]) for user, own in turns]


def test_without_the_key_the_dataset_is_the_same_to_the_byte(folder, tmp_path):
    build_dataset("t")
    audit("t")
    kept = [folder / "audit.json", *sorted((folder / "dataset").rglob("*"))]
    before = {path: path.read_bytes() for path in kept if path.is_file()}
    build_dataset("t", profile_of(tmp_path, None))
    audit("t")
    assert {path: path.read_bytes() for path in before} == before
    assert b"stranger" not in b"".join(
        content for path, content in before.items() if path.suffix in (".md", ".json", ".csv")
    )


def test_training_and_validation_have_their_share_of_different_photos_and_test_has_none(
    folder, tmp_path
):
    plain = build_dataset("t")["rows"]
    own = profile_of(tmp_path, write_set(tmp_path / "set"))
    built = build_dataset("t", own)["rows"]
    assert built == {"train": plain["train"] + 16, "validation": plain["validation"] + 2,
                     "test": plain["test"]}  # fmt: skip
    photos = {split: set(strange(split).source_photo) for split in SPLITS}
    assert not photos["test"] and not photos["train"] & photos["validation"]
    assert len(photos["train"]) == 8 and len(photos["validation"]) == 2
    table = pd.concat([read_table("dataset", split_path("t", split)) for split in SPLITS])
    assert table.data_id.is_unique and table.image_name.is_unique
    assert load_split("t", "train")[-1]["image"].size == (96, 96)


def test_a_copy_tells_no_stranger_from_an_exhibit(folder, tmp_path):
    build_dataset("t", profile_of(tmp_path, write_set(tmp_path / "set", 40)))
    table = read_table("dataset", split_path("t", "train"))
    by_kind = table.groupby(table.item_name == STRANGER).augmented.mean()
    assert by_kind[True] == pytest.approx(by_kind[False], abs=0.1)


def test_answers_refuse_in_varied_words_and_say_what_is_seen(folder, tmp_path):
    build_dataset("t", profile_of(tmp_path, write_set(tmp_path / "set")))
    pairs = said(strange("train"))
    assert len({answer for _, answer in pairs}) == len(pairs)
    assert len({question for question, _ in pairs}) > len(pairs) / 2
    for row, (_, answer) in zip(strange("train").itertuples(), pairs, strict=True):
        number = int(row.source_photo.removeprefix("stranger-").removesuffix(".jpg"))
        assert f"This is the thing number {number}." in answer and REFUSAL.search(answer)


@pytest.mark.parametrize("wording", WORDINGS)
def test_the_evaluation_takes_every_wording_for_a_refusal(wording):
    assert REFUSAL.search(wording.format(description="This is a red jug."))


def test_the_same_set_gives_the_same_bytes(folder, tmp_path):
    own = profile_of(tmp_path, write_set(tmp_path / "set"))
    first = build_dataset("t", own)
    bytes_before = split_path("t", "train").read_bytes()
    assert build_dataset("t", own) == first and fingerprint("t") == first["fingerprint"]
    assert split_path("t", "train").read_bytes() == bytes_before


def test_questions_answers_and_rights_of_the_museums_own_are_kept(folder, tmp_path):
    own = {"question": "Was ist das?", "answer": "Das kenne ich nicht.", "license": "CC-BY-4.0",
           "credit": "A neighbour"}  # fmt: skip
    build_dataset("t", profile_of(tmp_path, write_set(tmp_path / "set", **own), language="de"))
    assert set(said(strange("train"))) == {("Was ist das?", "Das kenne ich nicht.")}
    credits = pd.read_csv(folder / "dataset/credits.csv")
    theirs = credits[credits.item_name == STRANGER]
    assert len(theirs) == 10 and set(theirs.license) == {"CC-BY-4.0"}
    assert set(theirs.credit) == {"A neighbour"}


def test_card_audit_and_provenance_tell_of_them(folder, tmp_path):
    build_dataset("t", profile_of(tmp_path, write_set(tmp_path / "set")))
    found = audit("t")
    assert found["strangers"]["rows"] == {"train": 16, "validation": 2}
    assert found["strangers"]["photos"] == {"train": 8, "validation": 2}
    assert found["strangers"]["photos_in_both"] == [] and found["exhibits"] == 5
    assert found["strangers"]["share"]["train"] == pytest.approx(0.2, abs=0.005)
    assert STRANGER not in {own["item_name"] for own in found["per_exhibit"]}
    card = (folder / "dataset/README.md").read_text(encoding="utf-8")
    assert "16 rows of training (20.2 %)" in card and found["strangers"]["example"] in card
    provenance = pd.read_csv(folder / "dataset/provenance.csv")
    assert (provenance.writer == "strangers.csv").sum() == 18
    assert set(provenance.data_id) == {
        row for split in SPLITS for row in read_table("dataset", split_path("t", split)).data_id
    }
    assert list(split_table("t").exhibit) == sorted(split_table("t").exhibit)
    assert STRANGER not in set(split_table("t").exhibit)


def test_a_dataset_with_strangers_can_be_collected_elsewhere(folder, tmp_path):
    build_dataset("t", profile_of(tmp_path, write_set(tmp_path / "set")))
    collect_dataset(folder / "dataset", "again")
    before, after = dialogs_table("t"), dialogs_table("again")
    pd.testing.assert_frame_equal(before, after)
    assert audit("again")["strangers"] == audit("t")["strangers"]


FLAWS = {
    "no file": (lambda own: (own / "strangers.csv").unlink(), "does not exist; mend the key"),
    "no photo": (lambda own: (own / "photos/3.png").unlink(), "3.png does not exist as a file"),
    "no image": (lambda own: (own / "photos/3.png").write_text("no"), "3.png is not an image"),
    "one photo": (
        lambda own: write_rows(own, [{"photo": "photos/1.png", "description": "A thing."}]),
        "name two or more",
    ),
    "no description": (
        lambda own: write_rows(own, [{"photo": "photos/1.png", "description": " "}] * 2),
        "column 'description' is empty",
    ),
    "no column": (
        lambda own: write_rows(own, [{"photo": "photos/1.png"}] * 2),
        "description",
    ),
    "a path to elsewhere": (
        lambda own: write_rows(own, [{"photo": "../1.png", "description": "A thing."}] * 2),
        "lies outside its folder",
    ),
    "a template's marker": (
        lambda own: write_rows(own, [{"photo": "photos/1.png", "description": "<b>x</b>"}] * 2),
        "the description contains HTML",
    ),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_set_with_a_flaw_is_refused(folder, tmp_path, flaw):
    own = write_set(tmp_path / "set")
    spoil, sentence = FLAWS[flaw]
    spoil(own)
    with pytest.raises(MuseQuestError, match=sentence):
        build_dataset("t", profile_of(tmp_path, own))


def test_an_exhibits_photo_is_no_stranger_however_it_is_saved(folder, tmp_path):
    own = write_set(tmp_path / "set")
    exhibits = read_table("exhibits", folder / "exhibits.parquet")
    photo = folder / exhibits.photos[2][0]
    shutil.copyfile(photo, own / "photos/4.png")
    with pytest.raises(MuseQuestError, match=r"4\.png is the photo .* an exhibit"):
        build_dataset("t", profile_of(tmp_path, own))
    Image.open(photo).convert("RGB").resize((150, 150)).save(own / "photos/4.png")
    with pytest.raises(MuseQuestError, match=r"4\.png is the photo .* an exhibit"):
        build_dataset("t", profile_of(tmp_path, own))


def test_an_outsider_of_the_evaluation_is_never_learned(folder, tmp_path):
    own = write_set(tmp_path / "set")
    outside = write_set(tmp_path / "outside", 3, "outsiders", question="What is this?")
    with pytest.raises(MuseQuestError, match="an outsider that the evaluation shows"):
        build_dataset("t", profile_of(tmp_path, own, outsiders=str(outside)))


@pytest.mark.parametrize("share", [0.0, -0.1, 0.6])
def test_a_share_of_none_or_most_is_refused(folder, tmp_path, share):
    own = profile_of(tmp_path, write_set(tmp_path / "set"), strangers_share=share)
    with pytest.raises(MuseQuestError, match="strangers_share"):
        build_dataset("t", own)


@pytest.mark.parametrize("code", sorted(PHRASES))
def test_in_the_offline_writers_languages_strangers_speak_as_the_exhibits_do(code, tmp_path):
    """With the set that the pocket profile names, of which a museum's own profile is a copy."""
    own = profile_of(tmp_path, root() / "assets/pocket_strangers", language=code)
    told = [row for _, row, _ in stranger_rows(own, [], {"train": 30, "validation": 10}, 0.5)]
    assert {row["question"] for row in told} <= {*PHRASES[code]["questions"]}
    assert {row["answer"] for row in told} == {*PHRASES[code]["unknown"]}
    assert other_language(" ".join(PHRASES[code]["unknown"]), code) is None


def test_a_language_that_is_not_spoken_needs_words_of_its_own(folder, tmp_path):
    own = profile_of(tmp_path, write_set(tmp_path / "set"), language="sv")
    with pytest.raises(MuseQuestError, match=r"column 'question' is empty.*'strangers: null'"):
        build_dataset("t", own)
