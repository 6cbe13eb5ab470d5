"""A catalogue: a CSV file that names exhibits of a museum (item_name, link, record, title)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import MuseQuestError
from ..home import root
from .exhibit_lists import read_csv

ITEM_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")
# The 65 Smithsonian exhibits of the published experiment.
PUBLISHED = "smithsonian_65.csv"


@dataclass(frozen=True)
class Entry:
    """One line of a catalogue: what is to be found, and by what it can be confirmed."""

    item_id: int
    item_name: str
    link: str  # the page that tells of it; may be empty
    record: str  # the address or id of its record; may be empty
    title: str

    @property
    def words(self) -> str:
        """What to search for: the title, else the name in words."""
        return self.title or re.sub(r"[-_]+", " ", self.item_name)


def published_catalogue() -> Path:
    """Return where the catalogue of the published experiment lies."""
    return root() / "assets/catalogues" / PUBLISHED


def read_catalogue(path: str | Path) -> list[Entry]:
    """Return the entries in their order; every mistake in the file raises MuseQuestError.

    `item_name` is needed, and one of link, record and title; item_id is the line's number, from 1.
    """
    rows, problems = read_csv(Path(path), ("item_name",))
    if problems:
        raise MuseQuestError(f"{path}, {problems[0]}")
    entries: dict[str, Entry] = {}
    for place, number, cells in rows:
        name = cells["item_name"]
        texts = {key: " ".join(cells.get(key, "").split()) for key in ("link", "record", "title")}
        if not ITEM_NAME.fullmatch(name):
            raise MuseQuestError(
                f"{path}, {place}: the item_name {name!r} cannot name a folder; use a-z, 0-9, '-' "
                "and '_', 80 at most."
            )
        if name in entries:
            raise MuseQuestError(f"{path}, {place}: '{name}' occurs twice; take one out.")
        if not any(texts.values()):
            raise MuseQuestError(
                f"{path}, {place}: '{name}' has no link, record or title; add one of them."
            )
        entries[name] = Entry(number, name, **texts)
    return list(entries.values())
