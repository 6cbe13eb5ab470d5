"""Outsiders: photos of things that are in no exhibit's text, with a visitor's question each.

A set is a folder with `outsiders.csv` (photo, question, description) and the photos it names,
relative to the folder. `description` says in a sentence what the photo shows, and nothing else.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from ..creation.dataset import messages
from ..errors import MuseQuestError
from ..home import root
from ..photos import open_photo
from ..settings import Profile

COLUMNS = ("photo", "question", "description")


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
    return [_row(number, line, path) for number, line in enumerate(lines)]


def _row(number: int, line: dict[str, Any], path: Path) -> dict[str, Any]:
    for column in COLUMNS:
        if not (line.get(column) or "").strip():
            raise MuseQuestError(
                f"{path}, line {number + 2}: the column '{column}' is empty; fill it in."
            )
    photo = path.parent / line["photo"]
    if not photo.resolve().is_relative_to(path.parent.resolve()):
        raise MuseQuestError(f"{path}, line {number + 2}: {line['photo']} lies outside its folder.")
    name = f"outsider-{number:02d}"
    return {
        "image": open_photo(photo),
        "data_id": name,
        "item_name": name,
        "image_name": photo.name,
        "dialog": messages(line["question"].strip(), line["description"].strip()),
    }
