"""The splits of a dataset: the rule that makes them, and the files that hold them.

The split rule says which of an exhibit's 15 photos and pairs are tested, validated and learned.
Slot k holds photo k and pair k. Real photos come first and pairs lie in the order of their
temperature, so test and validation, which take the first slots, get real photos and the
lowest-temperature pairs. A museum's list may say instead which photos each split has.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..core.errors import MuseQuestError
from ..core.files import file_digest, parse_json, stamp_of
from ..core.home import collection_dir
from ..core.json_shapes import Dialog
from ..core.photos import open_photo
from ..core.tables import FURTHER, PHOTOS, iterate_table, read_table

if TYPE_CHECKING:
    import datasets

SLOTS = 15
SPLITS = ("train", "validation", "test")
# From this number of real photos on, two each are tested and validated, else one each.
PHOTOS_FOR_TWO = 6
# As many pairs are of the lowest temperature, and test takes no others.
MOST_TESTED = 5
# The item_name of rows whose photo shows something that is not in the collection.
STRANGER = "not-in-the-collection"
AGAIN = "run `python -m musequest dataset` again, or mend the dataset that was imported"


@dataclass(frozen=True)
class Slot:
    """One photo and one pair of an exhibit."""

    slot: int  # 0 to 14
    split: str  # one of SPLITS
    track: str | None  # unseen_photo or seen_photo on test slots, else None
    parent: int  # the first slot that shows the photo, or the photo that the copy is made from
    photo: int  # the number of that photo among the exhibit's real ones, from 0
    augmented: bool  # whether an altered copy is shown


def assign(n_real: int) -> list[Slot]:
    """Return the 15 slots of an exhibit with `n_real` real photos (1 or more).

    Photos beyond the fifteenth have no slot. Copies are made from real training photos; with two
    real photos from the validation photo; with a single one from the test photo, whose track then
    is `seen_photo`.
    """
    if n_real < 1:
        raise ValueError("an exhibit needs at least one real photo")
    photos = list(range(min(n_real, SLOTS)))
    each = 2 if len(photos) >= PHOTOS_FOR_TWO else 1
    validation = photos[each : 2 * each] or photos
    return assign_listed(photos[:each], validation, photos[2 * each :])


def assign_listed(test: list[int], validation: list[int], train: list[int]) -> list[Slot]:
    """Return the 15 slots of an exhibit whose photos, by number, are listed for each split.

    A photo may be listed for several splits. Test always shows the photo itself, validation a copy
    of what test has, training copies of what either has. The copies that fill up training are made
    from its photos in turn; where it lists none, from those of validation that are not tested. What
    15 slots cannot hold raises ValueError, as a part of a sentence.
    """
    if flaw := _flaw_of_list(test, validation, train):
        raise ValueError(flaw)
    held = {*test, *validation}
    shown = [("test", photo, False) for photo in test]
    shown += [("validation", photo, photo in test) for photo in validation]
    shown += [("train", photo, False) for photo in train if photo not in held]
    parents = train or [photo for photo in validation if photo not in test] or validation
    room = range(SLOTS - len(shown))
    shown += [("train", parents[index % len(parents)], True) for index in room]
    learned = {photo for split, photo, _ in shown if split == "train"}
    first: dict[int, int] = {}
    slots = []
    for slot, (split, photo, augmented) in enumerate(shown):
        parent = first.setdefault(photo, slot)
        seen = "seen_photo" if photo in learned else "unseen_photo"
        track = seen if split == "test" else None
        slots.append(Slot(slot, split, track, parent, photo, augmented))
    return slots


def _flaw_of_list(test: list[int], validation: list[int], train: list[int]) -> str | None:
    if not test or not validation:
        return "no test_images or no validation_images; add them"
    for split, own in (("test", test), ("validation", validation), ("train", train)):
        if len(set(own)) < len(own):
            return f"a photo twice in {split}_images; unlist one"
    if len(test) > MOST_TESTED:
        return (
            f"{len(test)} photos for test; list {MOST_TESTED} at most, as many as there are pairs "
            "of the lowest temperature"
        )
    held = len(test) + len(validation)
    if held >= SLOTS or held + len({*train} - {*test, *validation}) > SLOTS:
        return f"more photos than {SLOTS} rows can show; unlist some, and leave one for training"
    return None


def split_path(collection: str, split: str) -> Path:
    """Return where the rows of a split lie; MuseQuestError if there is no such split."""
    if split not in SPLITS:
        raise MuseQuestError(f"There is no split '{split}'; the splits are {', '.join(SPLITS)}.")
    return collection_dir(collection) / f"dataset/data/{split}-00000-of-00001.parquet"


def fingerprint(collection: str) -> str:
    """Return the SHA-256, in hexadecimal, over the contents of all rows, photos included.

    It does not depend on how the parquet files are encoded, nor on the machine. Within a process
    they are read again only if one has changed.
    """
    paths = [split_path(collection, split) for split in SPLITS]
    return _fingerprint_once(tuple((path, stamp_of(path)) for path in paths))


@lru_cache(maxsize=8)
def _fingerprint_once(stamped: tuple[tuple[Path, tuple[int, ...]], ...]) -> str:
    digest = hashlib.sha256()
    for split, (path, _) in zip(SPLITS, stamped, strict=True):
        for row in iterate_table("dataset", path):
            files = photos_of(row, path)
            photos = [hashlib.sha256(file).hexdigest() for file in files]
            told = {name: value for name, value in row.items() if name not in PHOTOS}
            line = json.dumps([split, *photos, told], ensure_ascii=False, sort_keys=True)
            digest.update(line.encode("utf-8"))
    return digest.hexdigest()


def check_dataset(collection: str) -> None:
    """Raise MuseQuestError where a split is absent or of other columns; quick, it reads a row."""
    for split in SPLITS:
        next(iterate_table("dataset", split_path(collection, split), rows_at_once=1), None)


def photos_of(row: dict[str, Any], path: Path) -> list[bytes]:
    """The files of a row's photos, mostly one; MuseQuestError where one is none."""
    photos = [row["image"], *(row.get(FURTHER) or ())]
    if not all(photo and photo["bytes"] for photo in photos):
        raise MuseQuestError(f"{path}: the row {row['data_id']} has no photo; {AGAIN}.")
    return [photo["bytes"] for photo in photos]


def shown_photos(row: Mapping[str, Any]) -> list[Any]:
    """The photos of a row, opened, in the order of its dialog: one, several or none."""
    return [each for each in (row["image"], *(row.get(FURTHER) or ())) if each is not None]


def places_of_photos(turns: Sequence[Mapping[str, Any]]) -> int:
    """How many photos these turns of a dialog show."""
    return sum(part["type"] == "image" for turn in turns for part in turn["content"])


def dialog_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a row's dialog, two or more; MuseQuestError where it holds none."""
    try:
        return parse_json(row["dialog"] or "", Dialog)["messages"]
    except ValueError as error:
        raise MuseQuestError(
            f"The dialog of the row {row['data_id']} is none ({error}); {AGAIN}."
        ) from None


def longest_dialog(rows: datasets.Dataset) -> tuple[int, str]:
    """Of the dialogs with the most photos the longest: how many it shows, and its text."""
    dialogs = [(1, dialog) for dialog in rows["dialog"]]
    if FURTHER in rows.column_names:
        named = ({"data_id": "among them", "dialog": dialog} for _, dialog in dialogs)
        dialogs = [(places_of_photos(dialog_of(row)), row["dialog"]) for row in named]
    return max(dialogs, key=lambda each: (each[0], len(each[1])))


def given(row: Mapping[str, Any]) -> dict[str, str]:
    """The columns of a prediction that come from the dataset."""
    *_, user, assistant = dialog_of(row)
    question, truth = (
        "".join(part["text"] for part in message["content"] if part["type"] == "text")
        for message in (user, assistant)
    )
    names = {name: row[name] for name in ("data_id", "item_name", "image_name")}
    return {**names, "question": question, "ground_truth": truth}


def messages(question: str, answer: str) -> str:
    """Return a dialog as the JSON that the `dialog` column holds."""
    user = [{"type": "image"}, {"type": "text", "text": question}]
    assistant = [{"type": "text", "text": answer}]
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return json.dumps({"messages": turns}, ensure_ascii=False)


def outdated(dialog: Mapping[str, Any], source_sha256: str | None) -> bool:
    """Whether a dialog was written from other texts than its exhibit's, if it has one by now.

    Dialogs from before texts had digests are taken as they are.
    """
    known = dialog["source_sha256"]
    return source_sha256 is None or not (pd.isna(known) or known == source_sha256)


def rows_table(collection: str, without: Sequence[str] = (*PHOTOS, "dialog")) -> pd.DataFrame:
    """All rows of a dataset but for their photos and dialogs, each with its split."""
    tables = (
        read_table("dataset", split_path(collection, split), without).assign(split=split)
        for split in SPLITS
    )
    return pd.concat(tables, ignore_index=True)


def dialogs_table(collection: str) -> pd.DataFrame:
    """All rows of a dataset but for their photos, each with its split, question and answer."""
    table = rows_table(collection, without=PHOTOS)
    names = ["data_id", "item_name", "image_name", "dialog"]
    rows = table[names].fillna({"dialog": ""}).itertuples(index=False, name=None)
    said = [given(dict(zip(names, row, strict=True))) for row in rows]
    texts = {"question": "question", "answer": "ground_truth"}
    told = {column: [each[source] for each in said] for column, source in texts.items()}
    return table.drop(columns=["dialog", "split"]).assign(**told, split=table["split"])


def load_split(collection: str, split: str) -> datasets.Dataset:
    """Return a split as `datasets.Dataset`, its photos opened when a row is looked at.

    They are opened by `open_photo`, so in RGB, whoever made the dataset. A split without rows
    raises MuseQuestError, as a row does whose photo cannot be opened.
    """
    from datasets import (
        Dataset,
        Image,
        List,
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    path = split_path(collection, split)
    if next(iterate_table("dataset", path), None) is None:
        raise MuseQuestError(
            f"{path} holds no rows; collect more exhibits and run `python -m musequest dataset` "
            "again."
        )
    cache = _cache(collection, split, (file_digest(path) or "")[:16])
    were_off = are_progress_bars_disabled()
    disable_progress_bars()  # the library draws one for each split, a matter of milliseconds here
    try:
        rows = Dataset.from_parquet(str(path), cache_dir=str(cache), split=split)
    finally:
        if not were_off:
            enable_progress_bars()
    rows = rows.cast_column("image", Image(decode=False))
    if FURTHER in rows.column_names:
        rows = rows.cast_column(FURTHER, List(Image(decode=False)))
    return rows.with_transform(_with_photos)


def _cache(collection: str, split: str, digest: str) -> Path:
    """Where the library unpacks a split of that digest; what it unpacked of earlier ones goes.

    It lies beside the data, so that what is cleaned away with it leaves nothing behind.
    """
    folder = collection_dir(collection) / ".cache"
    for other in (*folder.glob("*"), *folder.glob(f"{split}/*")):
        if other.name not in (*SPLITS, digest):  # of a process that reads it the disk keeps it
            shutil.rmtree(other, ignore_errors=True)
    return folder / split / digest


def exhibit_rows(collection: str, split: str) -> datasets.Dataset:
    """The rows of a split that show an exhibit, as `load_split` gives them: without strangers."""
    rows = load_split(collection, split)
    names = list(rows["item_name"])
    if STRANGER not in names:
        return rows
    return rows.select([place for place, name in enumerate(names) if name != STRANGER])


def _with_photos(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns of rows, their photos opened where those are among them."""
    if "image" in batch:
        batch["image"] = [_opened(photo) for photo in batch["image"]]
    if FURTHER in batch:
        batch[FURTHER] = [[_opened(photo) for photo in photos or ()] for photos in batch[FURTHER]]
    return batch


def _opened(photo: dict[str, Any]) -> Any:
    return open_photo(photo["bytes"] or b"", name=f"the photo {photo['path']} of the dataset")
