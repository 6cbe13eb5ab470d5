"""Strangers: rows of the dataset from which a docent learns to say "I do not know this".

Their photos show things that are not in the collection, and their answers say so, say what is seen,
and claim nothing else. Training and validation have some, of different photos; the test never has,
and the photos that are evaluated as outsiders may not be among them.

A set is a folder with `strangers.csv` and the photos it names, relative to the folder. Its columns
are photo and description, a whole sentence about what is seen; license and credit of the photo;
question and answer where a museum has its own. Without them a question is one that visitors ask
about exhibits too, and the answer is one of the wordings in strangers.yaml, which are English; in
another language of the offline writer it says that this is no exhibit, and not what is seen.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ..core.errors import MuseQuestError
from ..core.home import root
from ..core.keys import ENGLISH, read_yaml
from ..core.photos import JPEG_QUALITY, Likeness, likeness, open_photo, prepared_photo, same_photo
from ..core.settings import Profile
from ..core.tables import PHOTOS, iterate_table
from ..text.sentences import flaw_of
from .augmentation import pipeline
from .exhibit_lists import read_whole_csv
from .offline_writer import PHRASES, QUESTIONS
from .split import SPLITS, STRANGER, given, split_path

WORDINGS: list[str] = read_yaml(Path(__file__).with_suffix(".yaml"))["answers"]
# Questions and answers, by language.
WORDS = {ENGLISH: (QUESTIONS, WORDINGS)}
WORDS |= {code: (own["questions"], own["unknown"]) for code, own in PHRASES.items()}
COLUMNS = ("photo", "description", "question", "answer", "license", "credit")
LEARNING = ("train", "validation")  # the splits that show strangers
VALIDATED = 5  # every so manieth photo is validated, the others are learned
MOST = 0.5  # of the rows


@dataclass(frozen=True)
class Stranger:
    """A thing that is not in the collection."""

    path: Path
    description: str
    question: str
    answer: str
    license: str
    credit: str


def strangers_of(profile: Profile) -> list[Stranger]:
    """The profile's set in the order of its file; none where the profile names no folder.

    A file that is not there or lacks a column, a photo or description that is missing, a photo
    outside the folder, fewer than two photos, a share of no rows or of more than half of them, and
    a language that the offline writer has no words of without questions and answers raise
    MuseQuestError.
    """
    if profile.strangers is None:
        return []
    if not 0 < profile.strangers_share <= MOST:
        raise MuseQuestError(
            f"The profile '{profile.name}' has strangers_share: {profile.strangers_share}; write a "
            f"number above 0 and at most {MOST}."
        )
    path = root() / profile.strangers / "strangers.csv"
    if not path.is_file():
        raise MuseQuestError(
            f"{path} does not exist; mend the key 'strangers' of the profile '{profile.name}'."
        )
    rows = read_whole_csv(path, ("photo", "description"))
    found = [_stranger(row.cells, f"{path}, {row.place}", path.parent, profile) for row in rows]
    if len({each.path for each in found}) < 2:
        raise MuseQuestError(
            f"{path}: training and validation need a photo each; name two or more."
        )
    return found


def _stranger(cells: dict[str, str], where: str, folder: Path, profile: Profile) -> Stranger:
    own = {name: (cells.get(name) or "").strip() for name in COLUMNS}
    needed = ["photo"]
    if profile.language not in PHRASES:
        needed += ["description"] if profile.language == ENGLISH else ["question", "answer"]
    for name in needed:
        if not own[name]:
            raise MuseQuestError(
                f"{where}: the column '{name}' is empty; fill it in, or write 'strangers: null' in "
                f"the profile '{profile.name}'."
            )
    for name in ("description", "question", "answer"):
        if own[name] and (flaw := flaw_of(own[name])):
            raise MuseQuestError(f"{where}: the {name} {flaw}; mend it.")
    path = folder / own.pop("photo")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise MuseQuestError(f"{where}: {cells['photo']} lies outside its folder.")
    return Stranger(path, **own)


def stranger_rows(
    profile: Profile, exhibits: list[Path], rows: dict[str, int], copies: float
) -> Iterator[tuple[str, dict[str, Any], Stranger]]:
    """Split, row of the dataset without its dialog's JSON, and stranger, in a fixed order.

    `exhibits` are the exhibits' photos, `rows` how many rows show them by split, `copies` the share
    of augmented copies among those of training: strangers have the same, or a docent would learn
    to tell a copy from a photo. A stranger whose photo is an exhibit's or an outsider's, or cannot
    be opened, raises MuseQuestError.
    """
    strangers = strangers_of(profile)
    if not strangers:
        return
    _check_strange(strangers, exhibits, profile)
    numbered = list(enumerate(strangers))
    held = [pair for pair in numbered if pair[0] % VALIDATED == 1]
    by_split = {"train": [pair for pair in numbered if pair not in held], "validation": held}
    for split in LEARNING:
        own, share = by_split[split], profile.strangers_share
        count, altered = max(1, round(rows[split] * share / (1 - share))), 0
        shown: dict[int, int] = {}
        for place in range(count):
            number, stranger = own[place % len(own)]
            turn = shown[number] = shown.get(number, -1) + 1
            # Evenly as often a copy as training's exhibits are; a photo stands there itself once.
            copy = turn > 0 or (split == "train" and altered < copies * place)
            altered += copy
            row = _row(stranger, split, place, number, turn if copy else None, profile.language)
            yield split, row, stranger


def _row(
    stranger: Stranger, split: str, place: int, number: int, turn: int | None, language: str
) -> dict[str, Any]:
    """A row; `turn` is the number of its photo's altered copy, None where it is as it was taken."""
    original = f"stranger-{number:03d}.jpg"
    name = original if turn is None else f"stranger-{number:03d}-{turn:02d}.jpg"
    image = prepared_photo(stranger.path)
    if turn is not None:
        seed = int.from_bytes(name.encode(), "big") % 2**32
        image = Image.fromarray(pipeline(seed)(image=np.asarray(image))["image"])
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    questions, wordings = WORDS.get(language, ([], []))
    answer = stranger.answer or wordings[(place + number) % len(wordings)].format(
        description=stranger.description
    )
    return {
        "image": {"bytes": buffer.getvalue(), "path": name},
        "data_id": f"stranger-{split}-{place:03d}",
        "item_name": STRANGER,
        "image_name": name,
        # A step without a common divisor with their number, so that neighbours differ.
        "question": stranger.question or questions[(place * 7) % len(questions)],
        "answer": answer,
        "source_photo": original,
        "augmented": turn is not None,
        "temperature": None,
        "track": None,
    }


def credits_of(met: Iterable[tuple[str, Stranger]]) -> list[dict[str, str]]:
    """Rows of credits.csv, one a photo, for strangers and what their photos are called."""
    return [
        {"item_name": STRANGER, "image_name": name, "license": own.license, "credit": own.credit}
        for name, own in sorted(dict(met).items())
    ]


def _check_strange(strangers: list[Stranger], exhibits: list[Path], profile: Profile) -> None:
    """Raise MuseQuestError where a stranger's photo is one of an exhibit or of the evaluation."""
    known = [("an exhibit of the collection", path, _seen(path)) for path in exhibits]
    if profile.outsiders is not None:
        folder = root() / profile.outsiders
        if (path := folder / "outsiders.csv").is_file():
            for row in read_whole_csv(path, ("photo",)):
                photo = folder / row.cells["photo"].strip()
                known.append(("an outsider that the evaluation shows", photo, _seen(photo)))
    for stranger in strangers:
        own = _seen(stranger.path)
        for what, path, other in known:
            if same_photo(own, other):
                raise MuseQuestError(
                    f"The stranger {stranger.path} is the photo {path} of {what}; take it out of "
                    "strangers.csv."
                )


def _seen(path: Path) -> Likeness:
    return likeness(open_photo(path))


def told(collection: str, table: pd.DataFrame) -> dict[str, Any]:
    """What card and audit say of the strangers among a dataset's rows; {} without any.

    `table` is `rows_table`.
    """
    own = table[table["item_name"] == STRANGER]
    if own.empty:
        return {}
    said = [
        given(row)
        for split in SPLITS
        for row in iterate_table("dataset", split_path(collection, split), without=PHOTOS)
        if row["item_name"] == STRANGER
    ]
    photos = {split: set(of["source_photo"]) for split, of in own.groupby("split")}
    return {
        "rows": {split: int((own["split"] == split).sum()) for split in LEARNING},
        "share": {
            split: round(float((table[table["split"] == split]["item_name"] == STRANGER).mean()), 4)
            for split in LEARNING
        },
        "photos": {split: len(photos.get(split, ())) for split in LEARNING},
        "photos_in_both": sorted(photos.get("train", set()) & photos.get("validation", set())),
        "questions": len({each["question"] for each in said}),
        "answers": len({each["ground_truth"] for each in said}),
        "example": said[0]["ground_truth"],
    }
