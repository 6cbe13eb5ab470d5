"""The dataset: photos and dialogs joined by the split rule, as `datasets.load_dataset` reads it.

data/<collection>/dataset/ holds a card (README.md), credits.csv, provenance.csv and one parquet
file a split, photos included, so that the folder can be handed on, or put on the Hub, as it is.

The audit looks whether it keeps the split rule, in its files, not in its makers. Lineage says from
which photo a copy was made; perceptual hashes find a photo that came in twice under two names.
Either way a test photo of the track `unseen_photo` may not be among what is learned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import LOGGER, MuseQuestError, leave_out
from ..core.files import clear_temporaries, csv_writer, holds_collection, write_json
from ..core.home import collection_dir
from ..core.photos import SAME_BITS, Likeness, likeness, open_photo, read_photo, same_photo
from ..core.settings import Profile
from ..core.tables import SCHEMAS, iterate_table, table_writer
from .augmentation import check_copy, check_originals, lineage
from .exhibits import CREDIT_COLUMNS, ByExhibit, Exhibit, credit_rows, iterate_exhibits
from .publishing import write_card
from .review import REVIEWED, Review, read_review
from .split import (
    AGAIN,
    SLOTS,
    SPLITS,
    STRANGER,
    fingerprint,
    given,
    messages,
    outdated,
    photos_of,
    rows_table,
    split_path,
)
from .strangers import Stranger, credits_of, stranger_rows, told

# Where a row's dialog came from; its question and answer stand in the row itself.
PROVENANCE = (
    "data_id",
    *(name for name in SCHEMAS["dialogs"].names if name not in ("question", "answer")),
)
STRANGERS = "strangers.csv"  # the writer of their rows
# Pairs of photos compared at a time, which bounds the memory.
AT_ONCE = 2**20
LEAKS = {"lineage_leaks": "is the origin of", "near_duplicates": "shows the same as"}

Rows = list[dict[str, Any]]
Found = list[dict[str, str]]
Pairs = list[tuple[dict[str, Any], dict[str, Any]]]


@holds_collection
def build_dataset(collection: str, profile: Profile | None = None) -> dict[str, Any]:
    """Write the dataset of a collection; the same files of it give the same bytes.

    A `profile` that names `strangers` has them added (`strangers`). Returns path, fingerprint,
    number of exhibits, and rows by split. An exhibit without its 15 photos or pairs is reported
    and left out; more than 10 % of them raises MuseQuestError, as does a stranger that is none.
    What a curator withheld stays out, and with `require_review` in the profile all that none
    approved. Then an exhibit has fewer rows, the last of training being absent; those with none
    left to learn from are told in one sentence, and MuseQuestError is raised where that is so of
    all.
    """
    counts, exhibits = _write_rows(collection, profile)
    write_card(collection)
    return {
        "path": str(collection_dir(collection) / "dataset"),
        "fingerprint": fingerprint(collection),
        "exhibits": exhibits,
        "rows": counts,
    }


def _write_rows(collection: str, profile: Profile | None) -> tuple[dict[str, int], int]:
    """Write all but the card; returns the number of rows by split, and of exhibits.

    What it holds of each exhibit is gone when the card is made.
    """
    folder, review = collection_dir(collection), read_review(collection)
    required = profile is not None and profile.require_review
    clear_temporaries(folder / "dataset")
    names = [each.item_name for each in iterate_exhibits(collection)]
    if STRANGER in names:
        raise MuseQuestError(
            f"An exhibit is called '{STRANGER}', as photos are that show none; give it another "
            "item_name."
        )
    names = [name for name in names if name not in review.withheld]
    photos = ByExhibit("photos", folder / "photos.parquet", "slot")
    pairs = ByExhibit("dialogs", folder / "dialogs.parquet", "pair_index")
    enough = {*names}
    if review or required:
        enough = _enough(collection, enough, review, required)
    _say_too_few(collection, len(names), len(enough))
    counts, problems, used, copies = dict.fromkeys(SPLITS, 0), [], 0, 0
    own: list[Path] = []  # the photos of exhibits
    met: dict[str, tuple[str, Stranger]] = {}  # by row, and what its photo is called
    columns = (*PROVENANCE, *(REVIEWED if review else ()))
    rights = ["image_name" if name == "photo" else name for name in CREDIT_COLUMNS]
    with ExitStack() as stack:
        credit = stack.enter_context(csv_writer(folder / "dataset/credits.csv", rights))
        tell = stack.enter_context(csv_writer(folder / "dataset/provenance.csv", columns))
        write = {
            split: stack.enter_context(table_writer("dataset", split_path(collection, split)))
            for split in SPLITS
        }
        for exhibit in iterate_exhibits(collection):
            if exhibit.item_name not in enough:
                continue
            shown, said = (rows.of(exhibit.item_name) for rows in (photos, pairs))
            try:
                _check_whole(exhibit, shown, said, folder)
                taken = review.taken(said, required)
                rows = _rows(exhibit, shown, taken, folder)
            except MuseQuestError as error:
                problems.append(str(error))
                continue
            used += 1
            own += [folder / path for path in exhibit.photos if profile is not None]
            # One that is shown twice goes by its first name.
            called = {row["path"]: row["source_photo"] for row in shown if not row["augmented"]}
            for line in credit_rows([exhibit]):
                credit(line | {"image_name": called[line.pop("photo")]})
            for (split, row), pair in zip(rows, taken, strict=True):
                write[split](row)
                tell(_provenance(row["data_id"], pair, columns))
                counts[split] += 1
                copies += row["augmented"] and split == "train"
        leave_out(problems, len(enough), folder / "exhibits.parquet")
        if profile is not None:
            share = copies / max(1, counts["train"])
            for split, row, stranger in stranger_rows(profile, own, {**counts}, share):
                dialog = messages(row.pop("question"), row.pop("answer"))
                write[split](row | {"dialog": dialog})
                tell({"data_id": row["data_id"], "writer": STRANGERS})
                counts[split] += 1
                met[row["data_id"]] = row["source_photo"], stranger
            for line in credits_of(met.values()):
                credit(line)
    return counts, used


def split_table(collection: str) -> pd.DataFrame:
    """Return one row an exhibit: real photos, photos by split (copies in brackets), and track."""
    table, rows = rows_table(collection), []
    for name, own in table[table["item_name"] != STRANGER].groupby("item_name", sort=True):
        row = {"exhibit": name, "real photos": int((~own["augmented"]).sum())}
        for split in SPLITS:
            photos = own[own["split"] == split]
            copies = int(photos["augmented"].sum())
            row[split] = f"{len(photos)} ({copies})" if copies else f"{len(photos)}"
        rows.append(row | {"track": own["track"].dropna().iloc[0]})
    return pd.DataFrame(rows)


def _provenance(data_id: str, pair: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Where a row's dialog came from; what is not known is left empty."""
    known = {"data_id": data_id} | {name: pair.get(name) for name in columns[1:]}
    return {name: "" if pd.isna(value) else value for name, value in known.items()}


def _enough(collection: str, names: set[str], review: Review, required: bool) -> set[str]:
    """Those of the exhibits of whose pairs enough is left to test, validate and learn from.

    One that never had all of them is not judged here.
    """
    pairs = ByExhibit("dialogs", collection_dir(collection) / "dialogs.parquet", "pair_index")
    found = set()
    for exhibit in (each for each in iterate_exhibits(collection) if each.item_name in names):
        held = sum(slot.split != "train" for slot in exhibit.slots())
        own = pairs.of(exhibit.item_name)
        if len(own) != SLOTS or len(review.taken(own, required)) > held:
            found.add(exhibit.item_name)
    return found


def _say_too_few(collection: str, total: int, enough: int) -> None:
    told = (
        f"of the {total} exhibits of '{collection}' that are not withheld have enough dialogs that "
        "may be learned (as many as are tested and validated, and one more); approve more with "
        f"`python -m musequest review --collection {collection}`"
    )
    if not enough:
        raise MuseQuestError(f"None {told}, or build without require_review.")
    if enough < total:
        LOGGER.warning("Only %d %s; the others are left out.", enough, told)


def _check_whole(exhibit: Exhibit, photos: Rows, pairs: Rows, folder: Path) -> None:
    """Raise MuseQuestError unless all photos and pairs are there, the photos as they were made."""
    name = exhibit.item_name
    for noun, found, command in (("photos", photos, "augment"), ("dialogs", pairs, "synthesize")):
        if len(found) != SLOTS:
            raise MuseQuestError(
                f"the exhibit '{name}' has {len(found)} of {SLOTS} {noun} in "
                f"{folder / noun}.parquet; run `python -m musequest {command}` again."
            )
    if any(outdated(row, exhibit.source_sha256) for row in pairs):
        raise MuseQuestError(
            f"the dialogs of '{name}' were written from another text than the exhibit has by now; "
            "run `python -m musequest synthesize` again."
        )
    check_originals(exhibit, folder)
    for row, expected in zip(photos, lineage(exhibit), strict=True):
        if any(row[key] != value for key, value in expected.items() if key != "transform"):
            raise MuseQuestError(
                f"{folder / 'photos.parquet'} tells of another photo in slot {row['slot']} of "
                f"'{name}' than the exhibit has; run `python -m musequest augment` again."
            )
        if row["augmented"]:
            check_copy(folder / row["path"], row["transform"])


def _rows(
    exhibit: Exhibit, photos: Rows, pairs: Rows, folder: Path
) -> list[tuple[str, dict[str, Any]]]:
    """The exhibit's rows, each with its split: 15, or as many as there are pairs."""
    name, rows = exhibit.item_name, []
    for slot, photo, pair in zip(exhibit.slots(), photos, pairs, strict=False):
        content = _photo_bytes(folder / photo["path"], exhibit)
        row = {
            "image": {"bytes": content, "path": photo["image_name"]},
            "data_id": f"{name}-{slot.slot:02d}",
            "item_name": name,
            "image_name": photo["image_name"],
            "dialog": messages(pair["question"], pair["answer"]),
            "source_photo": photo["source_photo"],
            "augmented": bool(photo["augmented"]),
            "temperature": None if pd.isna(pair["temperature"]) else pair["temperature"],
            "track": slot.track,
        }
        rows.append((slot.split, row))
    return rows


def _photo_bytes(path: Path, exhibit: Exhibit) -> bytes:
    """The file of a photo, once it proves to be one."""
    try:
        content = read_photo(path)
        open_photo(content, name=str(path))
        return content
    except MuseQuestError as error:
        told = str(error).partition(";")[0] if path.is_file() else "is absent"
        raise MuseQuestError(
            f"the exhibit '{exhibit.item_name}' has a photo that cannot be used ({told}); run "
            "`python -m musequest collect` and `augment` again."
        ) from None


@holds_collection
def audit(collection: str) -> dict[str, Any]:
    """Check a collection's dataset, write data/<collection>/audit.json and return its content.

    exhibits; rows by split; test rows by track; lineage_leaks and near_duplicates (photos of
    unseen_photo test rows that training has too, each with its counterpart); alike_across_splits
    (all photos, no copies, that look the same in two splits); repeated_answers, the rows whose
    answer another row has word for word; per_exhibit, rows and real photos; strangers, where there
    are any: rows, share, photos and wordings. What it found goes into the dataset card too. A leak
    or a near-duplicate raises MuseQuestError.
    """
    report = _report(collection)
    write_json(collection_dir(collection) / "audit.json", report)
    write_card(collection)
    for kind, what in LEAKS.items():
        if found := report[kind]:
            pair = f"the test photo {found[0]['photo']} {what} {found[0]['also']}"
            raise MuseQuestError(
                f"{collection_dir(collection) / 'dataset'}: {pair}, which training has learned "
                f"from ({len(found)} such in all); take one of the two out of the museum's folder "
                "and run collect, augment and dataset again."
            )
    return report


def _report(collection: str) -> dict[str, Any]:
    """What `audit` found; what it holds of the rows is gone when the card is made."""
    table = rows_table(collection)
    likenesses, repeated = _looked_at(collection)
    of_exhibits = table[table["item_name"] != STRANGER]
    rows = Counter(zip(of_exhibits["item_name"], of_exhibits["split"], strict=True))
    # Of an imported dataset it may not be known what is a copy.
    real = Counter(of_exhibits.loc[of_exhibits["augmented"].eq(False), "item_name"])
    test = table[(table["split"] == "test") & (table["track"] == "unseen_photo")]
    learned = table[table["split"] == "train"]
    shown = table.loc[table["image_name"].isin(likenesses), ["image_name", "split"]]
    alike = alike_pairs(shown, likenesses)
    report: dict[str, Any] = {
        "fingerprint": fingerprint(collection),
        "exhibits": int(of_exhibits["item_name"].nunique()),
        "rows": {split: int((table["split"] == split).sum()) for split in SPLITS},
        "tracks": {str(k): int(n) for k, n in table["track"].value_counts().sort_index().items()},
        "lineage_leaks": _lineage_leaks(test, learned),
        # A copy looks like a test photo only where the photo it was made from does.
        "near_duplicates": _learned_too(alike, test, learned),
        "alike_across_splits": [
            {"photo": a["image_name"], "also": b["image_name"], "splits": f"{a['split']}, "
             f"{b['split']}"} for a, b in alike
        ],
        "repeated_answers": repeated,
        "per_exhibit": [
            {"item_name": name, **{split: rows[name, split] for split in SPLITS},
             "real_photos": real[name]}
            for name in sorted(of_exhibits["item_name"].unique())
        ],
    }  # fmt: skip
    if strange := told(collection, table):
        report["strangers"] = strange
    return report


def _looked_at(collection: str) -> tuple[dict[str, Likeness], int]:
    """By name the likenesses of photos, all opened, that are no copies; and repeated answers."""
    found, answers = {}, Counter[int]()
    for path in (split_path(collection, split) for split in SPLITS):
        for row in iterate_table("dataset", path):
            name = f"{path}: the photo {row['image_name']}"
            try:
                photo, *_ = [open_photo(each, name=name) for each in photos_of(row, path)]
            except MuseQuestError as error:
                raise MuseQuestError(f"{str(error).partition(';')[0]}; {AGAIN}.") from None
            answers[hash(given(row)["ground_truth"])] += 1  # for short; that two meet is unheard of
            # Of an imported dataset it may not be known what is a copy.
            if not row["augmented"]:
                found[row["image_name"]] = likeness(photo)
    return found, sum(number for number in answers.values() if number > 1)


def _lineage_leaks(test: pd.DataFrame, learned: pd.DataFrame) -> Found:
    """Test photos that are a training photo, its parent, or have the same parent."""
    origins = {*test["image_name"], *test["source_photo"].dropna()}
    leaking = learned[learned["image_name"].isin(origins) | learned["source_photo"].isin(origins)]
    pairs = zip(leaking["source_photo"], leaking["image_name"], strict=True)
    return [{"photo": parent, "also": name} for parent, name in pairs]


def _learned_too(alike: Pairs, test: pd.DataFrame, learned: pd.DataFrame) -> Found:
    """Of the pairs that look alike, a test photo and the photo that training learns from."""
    tested = set(test["image_name"])
    origins = {*learned["source_photo"].dropna(), *learned["image_name"]}
    pairs = [(a["image_name"], b["image_name"]) for a, b in alike]
    both = pairs + [(b, a) for a, b in pairs]
    return [{"photo": a, "also": b} for a, b in both if a in tested and b in origins]


def alike_pairs(table: pd.DataFrame, likenesses: dict[str, Likeness]) -> Pairs:
    """Pairs of rows of different splits whose photos look the same."""
    rows, pairs = table.to_dict("records"), []
    own = [likenesses[row["image_name"]] for row in rows]
    bits = np.array([each.bits for each in own], dtype=np.float32).reshape(len(own), -1)
    for start in range(0, len(own), step := max(1, AT_ONCE // max(1, len(own)))):
        some = bits[start : start + step]
        different = some.sum(1)[:, None] + bits.sum(1)[None, :] - 2 * some @ bits.T
        for first, second in np.argwhere(different <= SAME_BITS) + [start, 0]:
            a, b = rows[first], rows[second]
            if first < second and a["split"] != b["split"] and same_photo(own[first], own[second]):
                pairs.append((a, b))
    return pairs
