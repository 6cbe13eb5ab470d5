"""An exhibit: its texts, its photos, and the rights of each photo.

A photo bears a licence, a credit line, a record and a source; `credits.csv` tells them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from ..errors import MuseQuestError
from ..files import write_csv
from ..languages import ENGLISH
from .exhibit_lists import read_csv
from .split import Slot, assign, assign_listed

RIGHTS = ("license", "credit", "record", "source")
CREDIT_COLUMNS = ("item_name", "photo", *RIGHTS)

# One for each photo, with the keys of RIGHTS; `source` is where the photo was got from.
Credits = list[dict[str, str]]


@dataclass(frozen=True)
class Exhibit:
    """One exhibit; `photos` are relative to its museum's folder, or to data/<collection>."""

    item_id: int
    item_name: str  # unique, names folders
    title: str
    link: str
    record: str
    description: str
    photos: list[str]
    license: str
    credit: str
    facts: dict[str, str] = field(default_factory=dict)
    photo_credits: Credits = field(default_factory=list)  # one for each photo, in their order
    photo_digests: list[str] = field(default_factory=list)  # SHA-256 of each, once collected
    splits: dict[str, list[int]] = field(default_factory=dict)  # numbers of photos, where listed
    language: str = ENGLISH  # of its texts and dialogs, a code of ISO 639-1

    def slots(self) -> list[Slot]:
        """Return the 15 slots: by what the museum lists for each split, else by the split rule."""
        return assign_listed(**self.splits) if self.splits else assign(len(self.photos))


def read_credits(folder: Path) -> dict[str, dict[str, str]]:
    """Return the rights that credits.csv of a museum's folder gives, by the photo's path.

    Without that file, nothing. An unreadable one raises MuseQuestError.
    """
    path = folder / "credits.csv"
    if not path.is_file():
        return {}
    rows, problems = read_csv(path, ("photo",))
    if problems:
        raise MuseQuestError(f"{path}, {problems[0]}")
    return {
        normalize("NFC", row.cells["photo"]): {
            name: row.cells[name] for name in RIGHTS if row.cells.get(name)
        }
        for row in rows
    }


def credits_of(exhibit: Exhibit, own: dict[str, dict[str, str]]) -> Credits:
    """Return the rights of an exhibit's photos: their own where they have them, else its."""
    shared = {
        "license": exhibit.license,
        "credit": exhibit.credit,
        "record": exhibit.record,
        "source": exhibit.link,
    }
    return [shared | own.get(normalize("NFC", photo), {}) for photo in exhibit.photos]


def write_credits(
    path: Path, exhibits: Iterable[Exhibit], image_names: dict[str, str] | None = None
) -> None:
    """Write the credits table: a row a photo, with its exhibit and rights.

    With `image_names` (a photo's path -> its name in the dataset) photos go by these, in the column
    `image_name` in place of `photo`.
    """
    rows, columns = list(credit_rows(exhibits)), list(CREDIT_COLUMNS)
    if image_names is not None:
        columns[columns.index("photo")] = "image_name"
        rows = [row | {"image_name": image_names[row.pop("photo")]} for row in rows]
    write_csv(path, columns, rows)


def credit_rows(exhibits: Iterable[Exhibit]) -> Iterator[dict[str, str]]:
    """Give the rows of the credits table."""
    for exhibit in exhibits:
        # A collection from before photos had rights of their own.
        rights = exhibit.photo_credits or credits_of(exhibit, {})
        for photo, credit in zip(exhibit.photos, rights, strict=True):
            yield {"item_name": exhibit.item_name, "photo": photo} | credit
