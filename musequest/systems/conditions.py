"""Conditions: the test questions with a blank photo, another exhibit's, none, or of outsiders.

A docent that answers the same whatever it is shown has learned the questions, not the exhibits.
And one that is shown a thing the museum does not have should not call it an exhibit.

A set of outsiders, photos of things that are in no exhibit's text, is a folder with `outsiders.csv`
(photo, question, description) and the photos it names, relative to the folder. `description` says
in a sentence what the photo shows, and nothing else.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..core.errors import MuseQuestError
from ..core.home import root
from ..core.photos import open_photo
from ..core.settings import Profile
from ..core.tables import FURTHER, PHOTOS
from ..creation.split import dialog_of, messages, shown_photos
from .registry import ABLATIONS, OUTSIDERS

if TYPE_CHECKING:
    import datasets

# A system's answers under a condition lie in runs/<profile>/<system>__<condition>/.
CONDITIONS = (*ABLATIONS, OUTSIDERS)
# Mid-grey, the colour of no information. It must not come out as 0 after normalisation: Idefics
# takes a photo of nothing but zeros for padding and drops it. 128 of 255 becomes 0.004.
BLANK = (128, 128, 128)


@dataclass(frozen=True)
class Shown(Sequence[Mapping[str, Any]]):
    """Rows as they are shown under a condition; a photo is decoded when its row is looked at."""

    show: Callable[[int], Mapping[str, Any]]
    shown_item_names: Sequence[str]  # whose photo each row shows; "" where it shows no exhibit's

    def __len__(self) -> int:
        return len(self.shown_item_names)

    def __getitem__(self, index: Any) -> Any:
        return self.show(range(len(self))[index])


def rows_under(condition: str, rows: datasets.Dataset, profile: Profile) -> Shown:
    """The rows of the evaluation split as one of CONDITIONS shows them.

    A wrong photo where there is one exhibit only, or a set of outsiders that cannot be read raises
    MuseQuestError.
    """
    if condition == OUTSIDERS:
        outsiders = outsider_rows(outsiders_folder(profile))
        return Shown(outsiders.__getitem__, [""] * len(outsiders))
    if condition == "wrong_photo":
        names = list(rows["item_name"])
        partners = wrong_partners(names)
        shown = [names[partner] for partner in partners]
        return Shown(lambda i: _with_photo_of(rows[i], rows[partners[i]]), shown)
    change = {"blank_photo": _blank, "no_photo": _without_photo}[condition]
    return Shown(lambda index: change(rows[index]), [""] * len(rows))


def asked_under(condition: str, profile: Profile) -> dict[str, str]:
    """What of a condition decides the answers; MuseQuestError if it is not one of CONDITIONS."""
    if condition not in CONDITIONS:
        raise MuseQuestError(
            f"There is no condition '{condition}'; the known ones are: {', '.join(CONDITIONS)}."
        )
    asked = {"condition": condition}
    if condition == OUTSIDERS:
        folder, digest = outsiders_folder(profile), hashlib.sha256()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        asked["outsiders_sha256"] = digest.hexdigest()
    return asked


def wrong_partners(item_names: Sequence[str]) -> list[int]:
    """For each row, the index of a row of another exhibit: the one half a round of exhibits on.

    Each photo is so shown about as often as in the split itself. A single exhibit raises
    MuseQuestError.
    """
    places: dict[str, list[int]] = {}
    for index, name in enumerate(item_names):
        places.setdefault(name, []).append(index)
    if len(places) < 2:
        raise MuseQuestError("A wrong photo needs a second exhibit; evaluate on two or more.")
    order, partners = list(places), [0] * len(item_names)
    for number, name in enumerate(order):
        others = places[order[(number + len(order) // 2) % len(order)]]
        for turn, index in enumerate(places[name]):
            partners[index] = others[turn % len(others)]
    return partners


def outsiders_folder(profile: Profile) -> Path:
    """Where the profile's set lies; MuseQuestError if the profile has none, or it is not there."""
    if profile.outsiders is None:
        raise MuseQuestError(
            f"The profile '{profile.name}' names no photos from outside its collection; add the "
            "key 'outsiders' to its file."
        )
    folder = root() / profile.outsiders
    if not (folder / "outsiders.csv").is_file():
        raise MuseQuestError(
            f"{folder / 'outsiders.csv'} does not exist; mend the key 'outsiders' of the profile "
            f"'{profile.name}'."
        )
    return folder


def outsider_rows(folder: Path) -> list[dict[str, Any]]:
    """The set as rows of a dataset, photos opened; a bad line or photo raises MuseQuestError."""
    path = folder / "outsiders.csv"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MuseQuestError(f"{path} is no readable CSV file ({error}); mend it.") from None
    if not lines:
        raise MuseQuestError(f"{path} names no photo; add a line for each.")
    things: dict[Path, str] = {}
    return [_outsider(number, line, path, things) for number, line in enumerate(lines)]


def _outsider(
    number: int, line: dict[str, Any], path: Path, things: dict[Path, str]
) -> dict[str, Any]:
    """A row; `things` are the names by photo, since answers about one fall together."""
    where = f"{path}, line {number + 2}"
    for column in ("photo", "question", "description"):
        if not (line.get(column) or "").strip():
            raise MuseQuestError(f"{where}: the column '{column}' is empty; fill it in.")
    photo = path.parent / line["photo"].strip()
    if not photo.resolve().is_relative_to(path.parent.resolve()):
        raise MuseQuestError(f"{where}: {line['photo']} lies outside its folder.")
    name = f"outsider-{number:02d}"
    return {
        "image": open_photo(photo),
        "data_id": name,
        "item_name": things.setdefault(photo.resolve(), name),
        "image_name": photo.name,
        "dialog": messages(line["question"].strip(), line["description"].strip()),
    }


def _with_photo_of(row: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return _showing(row, shown_photos(other)) | {"image_name": other["image_name"]}


def _blank(row: Mapping[str, Any]) -> dict[str, Any]:
    return _showing(row, [Image.new("RGB", photo.size, BLANK) for photo in shown_photos(row)])


def _showing(row: Mapping[str, Any], photos: Sequence[Image.Image]) -> dict[str, Any]:
    """The row with as many photos as it has, of these, from the first again where they are few."""
    first, *further = itertools.islice(itertools.cycle(photos), len(shown_photos(row)))
    return {**row, "image": first} | ({FURTHER: further} if further else {})


def _without_photo(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row's dialog as if it had been asked without a photo."""
    turns = dialog_of(row)
    for turn in turns:
        turn["content"] = [part for part in turn["content"] if part["type"] != "image"]
    dialog = json.dumps({"messages": turns}, ensure_ascii=False)
    return {**row, **dict.fromkeys(PHOTOS), "dialog": dialog}
