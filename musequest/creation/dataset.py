"""The dataset: photos and dialogs joined by the split rule, as `datasets.load_dataset` reads it.

data/<collection>/dataset/ holds a card (README.md), credits.csv and one parquet file a split,
photos included, so that the folder can be handed on, or put on the Hub, as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..errors import MuseQuestError, leave_out
from ..files import write_text
from ..home import collection_dir
from ..tables import iterate_table, read_table, write_table
from .card import dataset_card
from .credits import write_credits
from .exhibits import Exhibit, load_exhibits
from .split import SLOTS, SPLITS, assign

if TYPE_CHECKING:
    import datasets


def build_dataset(collection: str) -> dict[str, Any]:
    """Write the dataset of a collection; the same photos and dialogs give the same bytes.

    Returns path, fingerprint, number of exhibits, and rows by split. An exhibit without its 15
    photos or pairs is reported and left out; more than 10 % of them raises MuseQuestError.
    """
    folder = collection_dir(collection)
    exhibits = load_exhibits(collection)
    photos = _by_exhibit(read_table("photos", folder / "photos.parquet"), "slot")
    pairs = _by_exhibit(read_table("dialogs", folder / "dialogs.parquet"), "pair_index")
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    used, problems = [], []
    for exhibit in exhibits:
        try:
            own = _rows(exhibit, photos, pairs, folder)
        except MuseQuestError as error:
            problems.append(str(error))
            continue
        used.append(exhibit)
        for split, row in own:
            rows[split].append(row)
    leave_out(problems, len(exhibits), folder / "exhibits.parquet")
    for split in SPLITS:
        write_table("dataset", split_path(collection, split), rows[split])
    counts = {split: len(rows[split]) for split in SPLITS}
    writers = sorted({str(row["writer"]) for group in pairs.values() for row in group})
    write_credits(folder / "dataset/credits.csv", used)
    write_text(folder / "dataset/README.md", dataset_card(collection, used, counts, writers))
    return {
        "path": str(folder / "dataset"),
        "fingerprint": fingerprint(collection),
        "exhibits": len(used),
        "rows": counts,
    }


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
            photo = hashlib.sha256(row.pop("image")["bytes"]).hexdigest()
            line = json.dumps([split, photo, row], ensure_ascii=False, sort_keys=True)
            digest.update(line.encode("utf-8"))
    return digest.hexdigest()


def load_split(collection: str, split: str) -> datasets.Dataset:
    """Return a split as `datasets.Dataset`, its photos decoded when a row is looked at.

    A split without rows raises MuseQuestError.
    """
    from datasets import Dataset

    path = split_path(collection, split)
    if next(iterate_table("dataset", path), None) is None:
        raise MuseQuestError(
            f"{path} holds no rows; run `python -m musequest dataset` again with more exhibits."
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # Beside the data, so that what is cleaned away with it leaves nothing behind.
    cache = collection_dir(collection) / ".cache" / digest[:16]
    with _without_bars():
        return Dataset.from_parquet(str(path), cache_dir=str(cache), split=split)


def split_table(collection: str) -> pd.DataFrame:
    """Return one row an exhibit: real photos, photos by split (copies in brackets), and track."""
    table = pd.concat(
        read_table("dataset", split_path(collection, split))
        .drop(columns=["image", "dialog"])
        .assign(split=split)
        for split in SPLITS
    )
    rows = []
    for name, own in table.groupby("item_name", sort=False):
        row = {"exhibit": name, "real photos": int((~own["augmented"]).sum())}
        for split in SPLITS:
            photos = own[own["split"] == split]
            copies = int(photos["augmented"].sum())
            row[split] = f"{len(photos)} ({copies})" if copies else f"{len(photos)}"
        rows.append(row | {"track": own["track"].dropna().iloc[0]})
    return pd.DataFrame(rows).sort_values("exhibit", ignore_index=True)


def messages(question: str, answer: str) -> str:
    """Return a dialog as the JSON that the `dialog` column holds."""
    user = [{"type": "image"}, {"type": "text", "text": question}]
    assistant = [{"type": "text", "text": answer}]
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return json.dumps({"messages": turns}, ensure_ascii=False)


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


def _by_exhibit(table: pd.DataFrame, order: str) -> dict[str, list[dict[str, Any]]]:
    groups = table.sort_values(order).groupby("item_name")
    return {str(name): own.to_dict("records") for name, own in groups}


def _rows(
    exhibit: Exhibit,
    photos: dict[str, list[dict[str, Any]]],
    pairs: dict[str, list[dict[str, Any]]],
    folder: Path,
) -> list[tuple[str, dict[str, Any]]]:
    """The exhibit's 15 rows, each with its split."""
    name = exhibit.item_name
    for noun, found, command in (("photos", photos, "augment"), ("dialogs", pairs, "synthesize")):
        if len(found.get(name, [])) != SLOTS:
            raise MuseQuestError(
                f"the exhibit '{name}' has {len(found.get(name, []))} of {SLOTS} {noun} in "
                f"{folder / noun}.parquet; run `python -m musequest {command}` again."
            )
    slots = assign(len(exhibit.photos))
    together = zip(slots, photos[name], pairs[name], strict=True)
    return [
        (
            slot.split,
            {
                "image": {
                    "bytes": _photo_bytes(folder / photo["path"]),
                    "path": photo["image_name"],
                },
                "data_id": f"{name}-{slot.slot:02d}",
                "item_name": name,
                "image_name": photo["image_name"],
                "dialog": messages(pair["question"], pair["answer"]),
                "source_photo": photo["source_photo"],
                "augmented": bool(photo["augmented"]),
                "temperature": float(pair["temperature"]),
                "track": slot.track,
            },
        )
        for slot, photo, pair in together
    ]


def _photo_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise MuseQuestError(
            f"the photo {path} is absent; run `python -m musequest collect` and `augment` again."
        ) from None
