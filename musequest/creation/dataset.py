"""The dataset: photos and dialogs joined by the split rule, as `datasets.load_dataset` reads it.

data/<collection>/dataset/ holds a card (README.md), credits.csv, provenance.csv and one parquet
file a split, photos included, so that the folder can be handed on, or put on the Hub, as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import MuseQuestError, leave_out
from ..files import clear_temporaries, write_csv
from ..home import collection_dir
from ..locks import holds_collection
from ..photos import open_photo
from ..tables import SCHEMAS, read_table, table_writer
from .augmentation import check_copy, check_originals, lineage
from .exhibit import Exhibit, write_credits
from .exhibits import load_exhibits
from .publishing import write_card
from .split import SLOTS, SPLITS, fingerprint, load_split, split_path

__all__ = ["build_dataset", "fingerprint", "load_split", "messages", "split_path", "split_table"]

# Where a row's dialog came from; its question and answer stand in the row itself.
PROVENANCE = (
    "data_id",
    *(name for name in SCHEMAS["dialogs"].names if name not in ("question", "answer")),
)


@holds_collection
def build_dataset(collection: str) -> dict[str, Any]:
    """Write the dataset of a collection; the same photos and dialogs give the same bytes.

    Returns path, fingerprint, number of exhibits, and rows by split. An exhibit without its 15
    photos or pairs is reported and left out; more than 10 % of them raises MuseQuestError.
    """
    folder = collection_dir(collection)
    clear_temporaries(folder / "dataset")
    exhibits = load_exhibits(collection)
    photos = _by_exhibit(read_table("photos", folder / "photos.parquet"), "slot")
    pairs = _by_exhibit(read_table("dialogs", folder / "dialogs.parquet"), "pair_index")
    counts, used, problems = dict.fromkeys(SPLITS, 0), [], []
    with ExitStack() as stack:
        write = {
            split: stack.enter_context(table_writer("dataset", split_path(collection, split)))
            for split in SPLITS
        }
        for exhibit in exhibits:
            try:
                rows = _rows(exhibit, photos, pairs, folder)
            except MuseQuestError as error:
                problems.append(str(error))
                continue
            used.append(exhibit)
            for split, row in rows:
                write[split](row)
                counts[split] += 1
        leave_out(problems, len(exhibits), folder / "exhibits.parquet")
    write_credits(folder / "dataset/credits.csv", used, _image_names(photos))
    write_csv(folder / "dataset/provenance.csv", PROVENANCE, _provenance(used, pairs))
    write_card(collection)
    return {
        "path": str(folder / "dataset"),
        "fingerprint": fingerprint(collection),
        "exhibits": len(used),
        "rows": counts,
    }


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


def _image_names(photos: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """What each photo on disk is called in the dataset; one shown twice goes by its first name."""
    return {row["path"]: row["source_photo"] for own in photos.values() for row in own
            if not row["augmented"]}  # fmt: skip


def _provenance(
    used: list[Exhibit], pairs: dict[str, list[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """One row a row of the dataset; what is not known is left empty."""
    for exhibit in used:
        for slot, pair in enumerate(pairs[exhibit.item_name]):
            known = {name: pair[name] for name in PROVENANCE[1:]}
            place = {"data_id": f"{exhibit.item_name}-{slot:02d}"}
            yield place | {name: "" if pd.isna(value) else value for name, value in known.items()}


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
    _check_photos(exhibit, photos[name], folder)
    together = zip(exhibit.slots(), photos[name], pairs[name], strict=True)
    return [
        (
            slot.split,
            {
                "image": {
                    "bytes": _photo_bytes(folder / photo["path"], exhibit),
                    "path": photo["image_name"],
                },
                "data_id": f"{name}-{slot.slot:02d}",
                "item_name": name,
                "image_name": photo["image_name"],
                "dialog": messages(pair["question"], pair["answer"]),
                "source_photo": photo["source_photo"],
                "augmented": bool(photo["augmented"]),
                "temperature": None if pd.isna(pair["temperature"]) else pair["temperature"],
                "track": slot.track,
            },
        )
        for slot, photo, pair in together
    ]


def _check_photos(exhibit: Exhibit, rows: list[dict[str, Any]], folder: Path) -> None:
    """Raise MuseQuestError unless the photos are those that collect and augment wrote."""
    check_originals(exhibit, folder)
    for row, expected in zip(rows, lineage(exhibit), strict=True):
        if any(row[name] != value for name, value in expected.items() if name != "transform"):
            raise MuseQuestError(
                f"{folder / 'photos.parquet'} tells of another photo in slot {row['slot']} of "
                f"'{exhibit.item_name}' than the exhibit has; run `python -m musequest augment` "
                "again."
            )
        if row["augmented"]:
            check_copy(folder / row["path"], row["transform"])


def _photo_bytes(path: Path, exhibit: Exhibit) -> bytes:
    """The file of a photo, once it proves to be one."""
    try:
        content = path.read_bytes()
        open_photo(content, name=str(path))
    except (OSError, MuseQuestError) as error:
        told = str(error).partition(";")[0] if isinstance(error, MuseQuestError) else "is absent"
        raise MuseQuestError(
            f"the exhibit '{exhibit.item_name}' has a photo that cannot be used ({told}); run "
            "`python -m musequest collect` and `augment` again."
        ) from None
    return content
