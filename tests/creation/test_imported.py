"""A dataset made elsewhere becomes a collection: its columns, and nothing that it does not tell."""

import json
import logging
import os
import tracemalloc
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import draw_photo
from PIL import Image
from tiny_dialogs import write_profile

from musequest.__main__ import main
from musequest.core.errors import MuseQuestError
from musequest.core.tables import read_table
from musequest.creation import imported
from musequest.creation.dataset import audit
from musequest.creation.imported import collect_dataset
from musequest.creation.split import fingerprint, load_split, messages, shown_photos, split_path
from musequest.finetuning.checkpoints import reference_loss
from musequest.finetuning.collator import DocentCollator
from musequest.finetuning.generation import infer
from musequest.finetuning.models import load_processor, load_tuned
from musequest.finetuning.training import train
from musequest.systems.conditions import rows_under
from musequest.systems.hosted import GPT4o

NO_QUESTION = messages("What?", "A bowl.").replace(', "text": "What?"', "")
HALF_A_SIGN = messages("What?", "A bowl.").replace("bowl", r"\ud800")
WHOLE = messages("What?", "A bowl.")
NO_LAST_ANSWER = json.dumps({"messages": [*json.loads(WHOLE)["messages"], {
    "role": "user", "content": [{"type": "text", "text": "Who made it?"}]}]})  # fmt: skip
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


def further(row: dict, question: str = "Who made it?") -> dict[str, str]:
    """The row's dialog with a second turn."""
    turns = json.loads(row["dialog"])["messages"]
    later = json.loads(messages(question, "Nobody knows."))["messages"]
    later[0]["content"] = later[0]["content"][1:]
    return {"dialog": json.dumps({"messages": turns + later})}


def test_dialogs_of_several_turns_are_learned_whole_and_asked_their_last(
    home: Path, tmp_path: Path, tiny_docent: Path
):
    collect_dataset(save(tmp_path / "made", published().map(further)), "t")
    profile = write_profile(tmp_path, tiny_docent, collection="t")
    record = train(profile, "lora", {"max_steps": "2", "eval_steps": "2"}, progress=False)
    collator, rows = DocentCollator(load_processor(profile)), list(load_split("t", "validation"))
    learned = collator.processor.tokenizer.decode(collator.learned_ids(rows[0])).split()
    end = "<end_of_utterance>"
    assert "".join(learned) == f"Abowlof1705.{end}Nobodyknows.{end}"
    tuned = load_tuned(profile, "lora").cpu()
    assert record["best_eval_loss"] == pytest.approx(reference_loss(tuned, collator, rows), 1e-5)
    answered = infer(profile, "lora", progress=False)
    assert set(answered["question"]) == {"Who made it?"}
    assert set(answered["ground_truth"]) == {"Nobody knows."}


def of_two_photos(**changes) -> datasets.DatasetDict:
    """The published rows in which a second question shows a second photo, in the column `images`.

    `changes` replace columns of the test split.
    """
    splits = {}
    for split, rows in published().map(further).items():
        columns = rows.remove_columns("image").to_dict()
        for place, dialog in enumerate(columns["dialog"]):
            turns = json.loads(dialog)["messages"]
            turns[2]["content"].insert(0, {"type": "image"})
            columns["dialog"][place] = json.dumps({"messages": turns})
        photos = [[photo, draw_photo("rectangle", (200, 90, 40), 9)] for photo in rows["image"]]
        columns |= {"images": photos} | (changes if split == "test" else {})
        splits[split] = datasets.Dataset.from_dict(columns)
    return datasets.DatasetDict(splits)


def save_lists(folder: Path, made: datasets.DatasetDict) -> Path:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for split, rows in made.items():
        rows = rows.cast_column("images", datasets.List(datasets.Image()))
        rows.to_parquet(folder / f"data/{split}-00000-of-00001.parquet")
    return folder


def test_photos_behind_the_first_have_a_column_of_their_own(home: Path, tmp_path: Path):
    collect_dataset(save_lists(tmp_path / "made", of_two_photos()), "t")
    row = load_split("t", "train")[0]
    assert row["image"].size == row["further_images"][0].size == (240, 180)
    whole = datasets.load_dataset(str(home / "data/t/dataset"))["test"]
    assert whole.features["further_images"] == datasets.List(datasets.Image())
    assert audit("t")["rows"] == SIZES
    collect_dataset(home / "data/t/dataset", "again")
    assert fingerprint("again") == fingerprint("t")
    one_other = [[photo, draw_photo("rectangle", (20, 90, 40), 9)] for photo in whole["image"]]
    collect_dataset(save_lists(tmp_path / "other", of_two_photos(images=one_other)), "other")
    assert fingerprint("other") != fingerprint("t")


def test_dialogs_of_several_photos_are_learned_and_asked_with_all_of_them(
    home: Path, tmp_path: Path, tiny_docent: Path
):
    collect_dataset(save_lists(tmp_path / "made", of_two_photos()), "t")
    profile = write_profile(tmp_path, tiny_docent, collection="t")
    record = train(profile, "lora", {"max_steps": "2", "eval_steps": "2"}, progress=False)
    assert record["vision_store"]["photos"] == SIZES["train"] + SIZES["validation"] + 1
    collator, rows = DocentCollator(load_processor(profile)), list(load_split("t", "validation"))
    tuned = load_tuned(profile, "lora").cpu()
    assert record["best_eval_loss"] == pytest.approx(reference_loss(tuned, collator, rows), 1e-5)
    assert len(infer(profile, "lora", progress=False)) == SIZES["test"]
    test = load_split("t", "test")
    shown = DocentCollator(collator.processor, learn=False).encode(test[0])
    assert shown["pixel_values"].shape[1] == 2
    for condition, photos in (("blank_photo", 2), ("wrong_photo", 2), ("no_photo", 0)):
        row = rows_under(condition, test, profile)[0]
        assert len(shown_photos(row)) == photos and collator.encode(row)
    request = GPT4o(profile, base_url="http://127.0.0.1:9")._request(test[0])
    kinds = [part["type"] for part in request.messages[1]["content"]]
    assert kinds == ["image_url", "image_url", "text"] and request.photo_tokens == 2 * 765


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": [[], []]}, "row 0 .6. has no readable photo .it is absent."),
        ({"dialog": [messages("What?", "A bowl.")] * 2}, "in turn that show its 2 photos, one or"),
    ],
)
def test_a_bad_row_of_several_photos_is_one_sentence(home, tmp_path, changes, sentence: str):
    with pytest.raises(MuseQuestError, match=sentence):
        collect_dataset(save_lists(tmp_path / "made", of_two_photos(**changes)), "t")
    assert not split_path("t", "test").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dialog": ["no JSON", "{}"]}, "row 0 .6.: its dialog is not one question"),
        ({"dialog": ["[" * 10**5, "{}"]}, "row 0 .6.: its dialog is not one question"),
        ({"dialog": [messages("What?", " ")] * 2}, "its dialog is not one question"),
        ({"dialog": [messages(" ", "A bowl.")] * 2}, "its dialog is not one question"),
        ({"dialog": [HALF_A_SIGN] * 2}, "its dialog is not one question"),
        ({"dialog": ["[" * 100_000, "{}"]}, "its dialog is not one question"),
        ({"dialog": [NO_QUESTION] * 2}, "its dialog is not one question"),
        ({"dialog": [further({"dialog": WHOLE}, " ")["dialog"]] * 2}, "nor several turns of that"),
        ({"dialog": [NO_LAST_ANSWER] * 2}, "nor several turns of that"),
        ({"image": [Image.new("RGB", (60, 40), "navy")] * 2}, "row 0 .6..*it shows nothing"),
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


def with_paths(*paths: str) -> datasets.DatasetDict:
    """The published columns, the photos of the test split given by their paths alone."""
    made = published()
    images = [{"bytes": None, "path": path} for path in paths]
    made["test"] = made["test"].remove_columns("image").add_column("image", images)
    return made


def save_as_it_is(folder: Path, made: datasets.DatasetDict) -> Path:
    """Like `save`, for photos that no library may look at."""
    save(folder, datasets.DatasetDict({k: v for k, v in made.items() if k != "test"}))
    features = made["train"].features | {"image": datasets.Image()}
    table = pa.Table.from_pylist(list(made["test"]), datasets.Features(features).arrow_schema)
    pq.write_table(table, folder / "data/test-00000-of-00001.parquet")
    return folder


def test_a_photo_given_by_its_path_lies_in_the_folder(home: Path, tmp_path: Path):
    folder, secret = tmp_path / "made", tmp_path / "secret.png"
    draw_photo("ellipse", (60, 110, 200), 1).save(secret)
    (folder / "photos").mkdir(parents=True)
    draw_photo("ellipse", (60, 110, 200), 2).save(folder / "photos/a.png")
    (folder / "link.png").symlink_to(secret)
    os.mkfifo(folder / "pipe.png")
    for path in (str(secret), "../secret.png", "link.png", "/dev/zero", "nowhere.png", "a\0.png"):
        save_as_it_is(folder, with_paths("photos/a.png", path))
        with pytest.raises(MuseQuestError, match=r"row 1 .7. has no readable photo \(its path"):
            collect_dataset(folder, "t")
    save_as_it_is(folder, with_paths("photos/a.png", "pipe.png"))
    with pytest.raises(MuseQuestError, match="row 1 .7. has no readable photo .*as a file"):
        collect_dataset(folder, "t")
    whole = str(folder / "photos/a.png")
    collect_dataset(save_as_it_is(folder, with_paths("photos/a.png", whole)), "t")
    photos = read_table("dataset", split_path("t", "test"))["image"]
    assert {photo["bytes"] for photo in photos} == {(folder / "photos/a.png").read_bytes()}


@pytest.mark.parametrize("outside", ["absolute", "..", "link", "http"])
def test_a_card_that_names_files_of_others_is_refused(home: Path, tmp_path: Path, outside: str):
    folder, secret = save(tmp_path / "made", published()), save(tmp_path / "secret", published())
    file = secret / "data/test-00000-of-00001.parquet"
    (folder / "data/linked.parquet").symlink_to(file)
    named = {"absolute": file, "..": f"../secret/data/{file.name}", "link": "data/linked.parquet",
             "http": "http://127.0.0.1:9/test.parquet"}[outside]  # fmt: skip
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split in ("train", "validation", "test"):
        path = named if split == "test" else f"data/{split}-*"
        lines += [f"  - split: {split}", f"    path: {path}"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    with pytest.raises(MuseQuestError, match="which is not its own"):
        collect_dataset(folder, "t")
    assert not split_path("t", "test").exists()


def test_a_card_of_long_texts_named_a_thousand_times_is_read_in_time(home: Path, tmp_path: Path):
    folder = save(tmp_path / "made", published())
    long, often = "x" * 300_000, ", ".join(["*long"] * 5000)
    lines = ["---", f"long: &long {long}", f"configs: [{often}]", "---", ""]
    (folder / "README.md").write_text("\n".join(lines))
    tracemalloc.start()
    imported._check_addresses(folder)
    assert tracemalloc.get_traced_memory()[1] < 100e6  # written out it would be 1.5 GB
    tracemalloc.stop()


def test_a_card_that_is_a_link_out_of_the_folder_is_not_copied(home: Path, tmp_path: Path):
    folder = save(tmp_path / "made", published())
    (tmp_path / "secret.txt").write_text("a secret")
    (folder / "README.md").symlink_to(tmp_path / "secret.txt")
    collect_dataset(folder, "t")
    assert "secret" not in (home / "data/t/dataset/README.md").read_text()


def test_postscript_reaches_no_other_program(home: Path, tmp_path: Path):
    drawing = {"bytes": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n", "path": "a.png"}
    made = with_paths("", "")
    made["test"] = made["test"].remove_columns("image").add_column("image", [drawing] * 2)
    with pytest.raises(MuseQuestError, match="row 0 .6. .*is not an image of a known format"):
        collect_dataset(save_as_it_is(tmp_path / "made", made), "t")


def test_sixteen_bit_greys_are_seen_as_they_are(home: Path, tmp_path: Path):
    greys = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    photo = Image.fromarray(greys)
    collect_dataset(save(tmp_path / "made", published(image=[photo, photo])), "t")
    shown = load_split("t", "test")[0]["image"]
    assert (
        shown.mode == "RGB" and abs(np.asarray(shown)[..., 0].astype(int) - greys // 257).max() <= 1
    )
    assert audit("t")["rows"] == SIZES
