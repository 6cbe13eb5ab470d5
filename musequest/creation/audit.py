"""The audit: whether a dataset keeps the split rule, looked at in its files, not in its makers.

Lineage says from which photo a copy was made; perceptual hashes find a photo that came in twice
under two names. Either way a test photo of the track `unseen_photo` may not be among what is
learned.
"""

from __future__ import annotations

import io
import itertools
import json
from typing import Any

import pandas as pd
from PIL import Image

from ..errors import MuseQuestError
from ..files import write_json
from ..home import collection_dir
from ..photos import Likeness, likeness, same_photo
from ..tables import read_table
from .dataset import split_path
from .split import SPLITS


def audit(collection: str) -> dict[str, Any]:
    """Check a collection's dataset, write data/<collection>/audit.json and return its content.

    exhibits; rows by split; test rows by track; lineage_leaks and near_duplicates (photos of
    unseen_photo test rows that training has too, each with its counterpart); and repeated_answers,
    the rows whose answer another row has word for word. A leak or a near-duplicate raises
    MuseQuestError.
    """
    table = pd.concat(
        [
            read_table("dataset", split_path(collection, split)).assign(split=split)
            for split in SPLITS
        ],
        ignore_index=True,
    )
    test = table[(table["split"] == "test") & (table["track"] == "unseen_photo")]
    learned = table[table["split"] == "train"]
    leaks = _lineage_leaks(test, learned)
    # A copy looks like a test photo only where the photo it was made from does.
    origins = table[table["image_name"].isin(learned["source_photo"])]
    duplicates = _near_duplicates(test, origins)
    answers = table["dialog"].map(
        lambda text: json.loads(text)["messages"][1]["content"][0]["text"]
    )
    report = {
        "exhibits": int(table["item_name"].nunique()),
        "rows": {split: int((table["split"] == split).sum()) for split in SPLITS},
        "tracks": {str(k): int(n) for k, n in table["track"].value_counts().sort_index().items()},
        "lineage_leaks": leaks,
        "near_duplicates": duplicates,
        "repeated_answers": int(answers.duplicated(keep=False).sum()),
    }
    write_json(collection_dir(collection) / "audit.json", report)
    _fail_on_leak(collection, leaks, duplicates)
    return report


def _lineage_leaks(test: pd.DataFrame, learned: pd.DataFrame) -> list[dict[str, str]]:
    """Test photos that are a training photo, its parent, or have the same parent."""
    origins = set(test["image_name"]) | set(test["source_photo"])
    leaking = learned[learned["image_name"].isin(origins) | learned["source_photo"].isin(origins)]
    return [
        {"photo": row["source_photo"], "also": row["image_name"]}
        for row in leaking.to_dict("records")
    ]


def _near_duplicates(test: pd.DataFrame, origins: pd.DataFrame) -> list[dict[str, str]]:
    """Pairs of a test photo and an origin that are the same photo."""
    pairs = itertools.product(_likenesses(test), _likenesses(origins))
    return [{"photo": a, "also": b} for (a, one), (b, other) in pairs if same_photo(one, other)]


def _likenesses(rows: pd.DataFrame) -> list[tuple[str, Likeness]]:
    images = [Image.open(io.BytesIO(image["bytes"])) for image in rows["image"]]
    return list(zip(rows["image_name"], map(likeness, images), strict=True))


def _fail_on_leak(
    collection: str, leaks: list[dict[str, str]], duplicates: list[dict[str, str]]
) -> None:
    for found, what in ((leaks, "is the origin of"), (duplicates, "shows the same as")):
        if found:
            pair = f"the test photo {found[0]['photo']} {what} {found[0]['also']}"
            raise MuseQuestError(
                f"{collection_dir(collection) / 'dataset'}: {pair}, which training has learned "
                f"from ({len(found)} such in all); take one of the two out of the museum's folder "
                "and run collect, augment and dataset again."
            )
