"""Rights, photo by photo: the licence, credit line, record and source that each photo bears."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from ..errors import MuseQuestError
from ..files import write_csv
from .exhibit_lists import read_csv

if TYPE_CHECKING:
    from .exhibits import Exhibit

RIGHTS = ("license", "credit", "record", "source")
CREDIT_COLUMNS = ("item_name", "photo", *RIGHTS)

# One for each photo, with the keys of RIGHTS; `source` is where the photo was got from.
Credits = list[dict[str, str]]


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
