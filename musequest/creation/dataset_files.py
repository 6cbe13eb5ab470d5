"""The files of a dataset: where its splits lie, how they are loaded, and what identifies them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MuseQuestError
from ..files import parse_json
from ..home import collection_dir
from ..json_shapes import Dialog
from ..photos import open_photo
from ..tables import iterate_table
from .split import SPLITS

if TYPE_CHECKING:
    import datasets


AGAIN = "run `python -m musequest dataset` again, or mend the dataset that was imported"


def split_path(collection: str, split: str) -> Path:
    """Return where the rows of a split lie; MuseQuestError if there is no such split."""
    if split not in SPLITS:
        raise MuseQuestError(f"There is no split '{split}'; the splits are {', '.join(SPLITS)}.")
    return collection_dir(collection) / f"dataset/data/{split}-00000-of-00001.parquet"


def fingerprint(collection: str) -> str:
    """Return the SHA-256, in hexadecimal, over the contents of all rows, photos included.

    It does not depend on how the parquet files are encoded, nor on the machine.
    """
    digest = hashlib.sha256()
    for split in SPLITS:
        for row in iterate_table("dataset", split_path(collection, split)):
            photo = hashlib.sha256(photo_of(row, split_path(collection, split))).hexdigest()
            del row["image"]
            line = json.dumps([split, photo, row], ensure_ascii=False, sort_keys=True)
            digest.update(line.encode("utf-8"))
    return digest.hexdigest()


def photo_of(row: dict[str, Any], path: Path) -> bytes:
    """The file of a row's photo; MuseQuestError where the row has none."""
    image = row["image"]
    if not (image and image["bytes"]):
        raise MuseQuestError(f"{path}: the row {row['data_id']} has no photo; {AGAIN}.")
    return image["bytes"]


def dialog_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a row's dialog, two or more; MuseQuestError where it holds none."""
    try:
        return parse_json(row["dialog"] or "", Dialog)["messages"]
    except ValueError as error:
        raise MuseQuestError(
            f"The dialog of the row {row['data_id']} is none ({error}); {AGAIN}."
        ) from None


def load_split(collection: str, split: str) -> datasets.Dataset:
    """Return a split as `datasets.Dataset`, its photos opened when a row is looked at.

    They are opened by `open_photo`, so in RGB, whoever made the dataset. A split without rows
    raises MuseQuestError, as a row does whose photo cannot be opened.
    """
    from datasets import Dataset, Image

    path = split_path(collection, split)
    if next(iterate_table("dataset", path), None) is None:
        raise MuseQuestError(
            f"{path} holds no rows; collect more exhibits and run `python -m musequest dataset` "
            "again."
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # Beside the data, so that what is cleaned away with it leaves nothing behind.
    cache = collection_dir(collection) / ".cache" / digest[:16]
    with _without_bars():
        rows = Dataset.from_parquet(str(path), cache_dir=str(cache), split=split)
    return rows.cast_column("image", Image(decode=False)).with_transform(_with_photos)


def _with_photos(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns of rows, their photos opened where that column is among them."""
    if "image" in batch:
        batch["image"] = [
            open_photo(photo["bytes"] or b"", name=f"the photo {photo['path']} of the dataset")
            for photo in batch["image"]
        ]
    return batch


@contextmanager
def _without_bars() -> Iterator[None]:
    """The library draws a bar for each split it reads, a matter of milliseconds here."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            enable_progress_bars()
