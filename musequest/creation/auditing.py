"""The audit: whether a dataset keeps the split rule, looked at in its files, not in its makers.

Lineage says from which photo a copy was made; perceptual hashes find a photo that came in twice
under two names. Either way a test photo of the track `unseen_photo` may not be among what is
learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ..errors import MuseQuestError
from ..files import write_json
from ..home import collection_dir
from ..locks import holds_collection
from ..photos import SAME_BITS, Likeness, likeness, open_photo, same_photo
from ..tables import iterate_table
from .publishing import write_card
from .split import AGAIN, SPLITS, dialog_of, fingerprint, photo_of, split_path

Found = list[dict[str, str]]
# Photos compared with all others at a time, which bounds the memory.
AT_ONCE = 1000


@holds_collection
def audit(collection: str) -> dict[str, Any]:
    """Check a collection's dataset, write data/<collection>/audit.json and return its content.

    exhibits; rows by split; test rows by track; lineage_leaks and near_duplicates (photos of
    unseen_photo test rows that training has too, each with its counterpart); alike_across_splits
    (all photos, no copies, that look the same in two splits); repeated_answers, the rows whose
    answer another row has word for word; per_exhibit, rows and real photos. What it found goes into
    the dataset card too. A leak or a near-duplicate raises MuseQuestError.
    """
    table, likenesses = _read(collection)
    test = table[(table["split"] == "test") & (table["track"] == "unseen_photo")]
    learned = table[table["split"] == "train"]
    alike = list(_alike(table[table["image_name"].isin(likenesses)], likenesses))
    report = {
        "fingerprint": fingerprint(collection),
        "exhibits": int(table["item_name"].nunique()),
        "rows": {split: int((table["split"] == split).sum()) for split in SPLITS},
        "tracks": {str(k): int(n) for k, n in table["track"].value_counts().sort_index().items()},
        "lineage_leaks": _lineage_leaks(test, learned),
        # A copy looks like a test photo only where the photo it was made from does.
        "near_duplicates": _learned_too(alike, test, learned),
        "alike_across_splits": [
            {"photo": a["image_name"], "also": b["image_name"], "splits": f"{a['split']}, "
             f"{b['split']}"} for a, b in alike
        ],
        "repeated_answers": int(table["answer"].duplicated(keep=False).sum()),
        "per_exhibit": _per_exhibit(table),
    }  # fmt: skip
    write_json(collection_dir(collection) / "audit.json", report)
    write_card(collection)
    _fail_on_leak(collection, report["lineage_leaks"], report["near_duplicates"])
    return report


def _read(collection: str) -> tuple[pd.DataFrame, dict[str, Likeness]]:
    """All rows without their photos, and the likenesses of photos that are no copies."""
    rows, likenesses = [], {}
    for split in SPLITS:
        path = split_path(collection, split)
        for row in iterate_table("dataset", path):
            photo = _opened(row, path)
            # Of an imported dataset it may not be known what is a copy.
            if not row["augmented"]:
                likenesses[row["image_name"]] = likeness(photo)
            answer = dialog_of(row)[-1]["content"][0].get("text")
            kept = {name: value for name, value in row.items() if name not in ("image", "dialog")}
            rows.append(kept | {"split": split, "answer": answer})
    return pd.DataFrame(rows), likenesses


def _opened(row: dict[str, Any], path: Path) -> Image.Image:
    """A row's photo, which every row has to have whole."""
    place = f"{path}: the photo {row['image_name']}"
    try:
        return open_photo(photo_of(row, path), name=place)
    except MuseQuestError as error:
        raise MuseQuestError(f"{str(error).partition(';')[0]}; {AGAIN}.") from None


def _lineage_leaks(test: pd.DataFrame, learned: pd.DataFrame) -> Found:
    """Test photos that are a training photo, its parent, or have the same parent."""
    origins = {*test["image_name"], *test["source_photo"].dropna()}
    leaking = learned[learned["image_name"].isin(origins) | learned["source_photo"].isin(origins)]
    return [
        {"photo": row["source_photo"], "also": row["image_name"]}
        for row in leaking.to_dict("records")
    ]


def _learned_too(
    alike: list[tuple[dict[str, Any], dict[str, Any]]], test: pd.DataFrame, learned: pd.DataFrame
) -> Found:
    """Of the pairs that look alike, a test photo and the photo that training learns from."""
    tested = set(test["image_name"])
    origins = {*learned["source_photo"].dropna(), *learned["image_name"]}
    pairs = [(a["image_name"], b["image_name"]) for a, b in alike]
    both = pairs + [(b, a) for a, b in pairs]
    return [{"photo": a, "also": b} for a, b in both if a in tested and b in origins]


def _alike(
    table: pd.DataFrame, likenesses: dict[str, Likeness]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of rows of different splits whose photos look the same."""
    rows = table.to_dict("records")
    own = [likenesses[row["image_name"]] for row in rows]
    bits = np.array([each.bits for each in own], dtype=np.float32).reshape(len(own), -1)
    for start in range(0, len(own), AT_ONCE):
        some = bits[start : start + AT_ONCE]
        different = some.sum(1)[:, None] + bits.sum(1)[None, :] - 2 * some @ bits.T
        for first, second in np.argwhere(different <= SAME_BITS) + [start, 0]:
            a, b = rows[first], rows[second]
            if first < second and a["split"] != b["split"] and same_photo(own[first], own[second]):
                yield a, b


def _per_exhibit(table: pd.DataFrame) -> list[dict[str, Any]]:
    counts = []
    for name, own in table.groupby("item_name", sort=True):
        rows = {split: int((own["split"] == split).sum()) for split in SPLITS}
        real = int((own["augmented"] == False).sum())  # noqa: E712, unknown ones are neither
        counts.append({"item_name": str(name), **rows, "real_photos": real})
    return counts


def _fail_on_leak(collection: str, leaks: Found, duplicates: Found) -> None:
    for found, what in ((leaks, "is the origin of"), (duplicates, "shows the same as")):
        if found:
            pair = f"the test photo {found[0]['photo']} {what} {found[0]['also']}"
            raise MuseQuestError(
                f"{collection_dir(collection) / 'dataset'}: {pair}, which training has learned "
                f"from ({len(found)} such in all); take one of the two out of the museum's folder "
                "and run collect, augment and dataset again."
            )
