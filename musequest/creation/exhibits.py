"""Exhibits: read from a museum's folder, checked, and collected with clean copies of their photos.

A folder museum is an `exhibits.csv`, .parquet or .jsonl (item_name, title and description; item_id,
photos, link, record, license, credit and facts where known) beside its photos. Instead of photos it
may list test_images, validation_images and train_images. A photo bears a licence, a credit line, a
record and a source; `credits.csv` tells them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints
from unicodedata import normalize

import pandas as pd
from PIL import Image
from tqdm import tqdm

from ..core.errors import LOGGER, MuseQuestError, leave_out
from ..core.files import file_digest, holds_collection, parse_json, write_csv, write_whole
from ..core.home import collection_dir
from ..core.keys import ENGLISH, checked_language
from ..core.photos import Likeness, collected_photo, likeness, same_photo, save_photo
from ..core.tables import SCHEMAS, iterate_table, read_table, write_table
from ..text.sentences import flaw_of, half_sign_of, warn_of_language, warn_of_short
from .exhibit_lists import (
    Row,
    flaw_of_name,
    found_photo,
    images_of,
    list_path,
    others_of,
    read_list,
    read_whole_csv,
)  # fmt: skip
from .split import SLOTS, Slot, assign, assign_listed

SENSITIVE = "sensitive_words.txt"  # the museum's own list, for whoever reviews the dialogs
NEEDED = ("item_name", "title", "description")
# Columns that give the photos of each split.
LISTED = {f"{split}_images": split for split in ("test", "validation", "train")}
RIGHTS = ("license", "credit", "record", "source")
CREDIT_COLUMNS = ("item_name", "photo", *RIGHTS)
# Columns of exhibits.parquet that hold JSON, with what stands for nothing.
JSON_CELLS = {"facts": "{}", "photo_credits": "[]", "splits": "{}", "photo_digests": "[]"}

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

    @property
    def source_text(self) -> str:
        """All that its own texts state, its title in the first line."""
        return "\n".join([self.title, self.description, *self.facts.values()])

    @property
    def source_sha256(self) -> str:
        """The SHA-256 of all that its dialogs are written from, in hexadecimal."""
        told = [self.title, self.description, sorted(self.facts.items()), self.language]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def slots(self) -> list[Slot]:
        """Return the 15 slots: by what the museum lists for each split, else by the split rule."""
        return assign_listed(**self.splits) if self.splits else assign(len(self.photos))


def read_folder(folder: str | Path, language: str = ENGLISH) -> tuple[list[Exhibit], list[str]]:
    """Return the good exhibits of a folder museum, and one sentence for each bad one.

    The `photos` column lists paths relative to the folder, a line (or a semicolon) each; where it
    is empty, all images in photos/<item_name>/ are taken in the order of their names. The columns
    test_images, validation_images and train_images list them by split instead. Photos are looked
    for, not opened. Texts are in `language`, unless a column of that name says otherwise. A
    `credits.csv` may give single photos rights of their own. A missing or unreadable list raises
    MuseQuestError.
    """
    folder = Path(folder)
    source = list_path(folder)
    rows, unreadable = read_list(source, NEEDED)
    own = _read_credits(folder / "credits.csv")
    exhibits: list[Exhibit] = []
    taken: set[str | int] = set()  # item_name and item_id of each
    left: list[Path] = []  # beside the photos of exhibits that list none
    problems = [f"{source}, {problem}" for problem in unreadable]
    for row in rows:
        try:
            exhibit = _exhibit(row, folder, taken, language)
            taken |= {exhibit.item_name, exhibit.item_id}
            exhibits.append(replace(exhibit, photo_credits=_credits_of(exhibit, own)))
            if not any(row.cells.get(column) for column in ("photos", *LISTED)):
                left += others_of(folder, exhibit.item_name)
        except MuseQuestError as error:
            name = " ".join(row.cells["item_name"].split())[:80]
            named = not name or repr(name) in str(error)
            place = row.place if named else f"{row.place}, exhibit {name!r}"
            problems.append(f"{source}, {place}: {error}")
    if left:
        many = f"{len(left)} files in photos/ were left out, first"
        LOGGER.warning(
            "%s %s: a folder of its own within an exhibit's, or a format that is not read, is "
            "taken only if you list it or save it as JPEG.",
            many if len(left) > 1 else "1 file in photos/ was left out,", left[0],
        )  # fmt: skip
    return exhibits, problems


@holds_collection
def collect_folder(
    folder: str | Path, collection: str, *, language: str = ENGLISH, progress: bool = True
) -> pd.DataFrame:
    """Read a folder museum into data/<collection>: exhibits.parquet, credits.csv and originals/.

    Photos become RGB JPEGs of at most 1536 px. Of an exhibit the first 15 photos are taken, and
    one that shows the same as an earlier one is left out; both are reported. Bad exhibits are
    reported and left out; more than 10 % of them raises MuseQuestError. Descriptions of fewer than
    80 words are counted in a warning, and so are those that are surely in another language than was
    said, where they are most. Returns the exhibits as written, one row each.
    """
    target, source = collection_dir(collection), list_path(folder)
    exhibits, problems = read_folder(folder, checked_language(language, "collect"))
    total, kept = len(exhibits) + len(problems), []
    for exhibit in tqdm(exhibits, desc="Collecting", unit="exhibit", disable=not progress):
        try:
            kept.append(_collected(exhibit, Path(folder), target))
        except MuseQuestError as error:
            problems.append(f"{source}, exhibit '{exhibit.item_name}': {error}")
    leave_out(problems, total, source)
    warn_of_short({exhibit.item_name: exhibit.description for exhibit in kept})
    warn_of_language([(exhibit.description, exhibit.language) for exhibit in kept])
    write_csv(target / "credits.csv", CREDIT_COLUMNS, credit_rows(kept))
    if (words := Path(folder) / SENSITIVE).is_file():
        with write_whole(target / SENSITIVE) as temporary:
            temporary.write_bytes(words.read_bytes())
    write_table("exhibits", target / "exhibits.parquet", [_row(exhibit) for exhibit in kept])
    return read_table("exhibits", target / "exhibits.parquet")


def load_exhibits(collection: str) -> list[Exhibit]:
    """Return a collection's exhibits, their photos relative to data/<collection>."""
    return [*iterate_exhibits(collection)]


def iterate_exhibits(collection: str) -> Iterator[Exhibit]:
    """Give them one by one, for who needs no more at a time."""
    path, kinds = collection_dir(collection) / "exhibits.parquet", get_type_hints(Exhibit)
    for row in iterate_table("exhibits", path):
        values: dict[str, Any] = {item.name: row.get(item.name) for item in fields(Exhibit)}
        values["language"] = row["language"] if isinstance(row.get("language"), str) else ENGLISH
        for name, nothing in JSON_CELLS.items():
            told = row[name] if isinstance(row.get(name), str) else nothing
            try:
                values[name] = parse_json(told, kinds[name])
            except ValueError as error:
                raise MuseQuestError(
                    f"{path}: a cell of the column '{name}' is not what collect writes ({error}); "
                    "run `python -m musequest collect` again."
                ) from None
        yield Exhibit(**values)


class ByExhibit:
    """The rows of a table by exhibit, each exhibit asked for once.

    Few are held where exhibits are asked for in the order of the file; others wait for theirs.
    """

    def __init__(self, kind: str, path: Path, order: str) -> None:
        others = [name for name in SCHEMAS[kind].names if name != "item_name"]
        names = read_table(kind, path, without=others)["item_name"]
        self.order, self.counts = order, Counter(names)
        self.rows, self.waiting = (
            iterate_table(kind, path),
            defaultdict[str, list[dict[str, Any]]](list),
        )

    def of(self, name: str) -> list[dict[str, Any]]:
        """Those of the exhibit of this name, in the order of the column `order`."""
        own, count = self.waiting[name], self.counts.pop(name, 0)
        while len(own) < count:
            row = next(self.rows)
            self.waiting[row["item_name"]].append(row)
        del self.waiting[name]
        return sorted(own, key=lambda row: row[self.order])


def credit_rows(exhibits: Iterable[Exhibit]) -> Iterator[dict[str, str]]:
    """Give the rows of the credits table: one a photo, with its exhibit and rights."""
    for exhibit in exhibits:
        # A collection from before photos had rights of their own.
        rights = exhibit.photo_credits or _credits_of(exhibit, {})
        for photo, credit in zip(exhibit.photos, rights, strict=True):
            yield {"item_name": exhibit.item_name, "photo": photo} | credit


def _read_credits(path: Path) -> dict[str, dict[str, str]]:
    """The rights that a museum's credits.csv gives, by the photo's path; none without it."""
    found = {}
    for row in read_whole_csv(path, ("photo",)) if path.is_file() else ():
        rights = {name: row.cells[name] for name in RIGHTS if row.cells.get(name)}
        found[normalize("NFC", row.cells["photo"])] = rights
    return found


def _credits_of(exhibit: Exhibit, own: dict[str, dict[str, str]]) -> Credits:
    """The rights of an exhibit's photos: their own where they have them, else its."""
    told = (exhibit.license, exhibit.credit, exhibit.record, exhibit.link)
    shared = dict(zip(RIGHTS, told, strict=True))
    return [shared | own.get(normalize("NFC", photo), {}) for photo in exhibit.photos]


def _row(exhibit: Exhibit) -> dict[str, Any]:
    values = asdict(exhibit)
    for name in JSON_CELLS:
        values[name] = json.dumps(values[name], ensure_ascii=False) if values[name] else None
    if exhibit.language == ENGLISH:  # said only where it is another
        del values["language"]
    return values


def _exhibit(row: Row, folder: Path, taken: set[str | int], language: str) -> Exhibit:
    cells, name = row.cells, row.cells["item_name"]
    if not name:
        raise MuseQuestError("the item_name is empty; give the exhibit a name of its own.")
    if flaw := flaw_of_name(name):
        raise MuseQuestError(flaw)
    if name in taken:
        raise MuseQuestError(f"the item_name '{name}' occurs twice; give this row another one.")
    facts = _facts(cells.get("facts", ""))
    for column, cell in (cells | {"facts": " ".join(facts)}).items():
        if flaw := half_sign_of(cell):
            raise MuseQuestError(f"the {column} of '{name}' {flaw}; write it as plain text.")
    told = {"title": cells["title"], "description": cells["description"]}
    told |= {f"fact {fact!r}": value for fact, value in facts.items() if value.strip()}
    told |= {f"name of the fact {fact!r}": fact for fact in facts}
    for noun, text in told.items():
        if flaw := flaw_of(text):
            raise MuseQuestError(f"the {noun} of '{name}' {flaw}; write it as plain text.")
    photos, splits = _photos(cells, name, folder)
    return Exhibit(
        item_id=_item_id(cells.get("item_id", ""), row.number, taken),
        item_name=name,
        title=" ".join(cells["title"].split()),
        description=cells["description"],
        photos=photos,
        splits=splits,
        facts=facts,
        language=checked_language(cells.get("language") or language, "its list"),
        link=cells.get("link", ""),
        record=cells.get("record", ""),
        license=cells.get("license", ""),
        credit=cells.get("credit", ""),
    )


def _item_id(cell: str, number: int, taken: set[str | int]) -> int:
    if cell and not re.fullmatch(r"\d{1,18}", cell):
        raise MuseQuestError(f"the item_id {cell!r} is no whole number; write one.")
    item_id = int(cell) if cell else number
    if item_id in taken:
        raise MuseQuestError(f"the item_id {item_id} occurs twice; give this row another one.")
    return item_id


def _photos(
    cells: dict[str, str], name: str, folder: Path
) -> tuple[list[str], dict[str, list[int]]]:
    """Paths relative to the museum's folder, each of an existing file within it, and splits."""
    by_split = {split: _lines(cells.get(column, "")) for column, split in LISTED.items()}
    listed = [photo for photos in by_split.values() for photo in photos]
    if listed and cells.get("photos"):
        raise MuseQuestError(f"'{name}' lists photos and {', '.join(LISTED)}; empty one of them.")
    by_split = by_split if listed else {}
    listed = listed or _lines(cells.get("photos", "")) or images_of(folder, name)
    if not listed:
        others = others_of(folder, name)
        files = "1 file, " if len(others) == 1 else f"{len(others)} files such as "
        seen = f" (left out: {files}{others[0]})" if others else ""
        raise MuseQuestError(f"'{name}' has no photo{seen}; list one, or put it in photos/{name}/.")
    found = {photo: found_photo(folder, photo) for photo in listed}
    photos = list(dict.fromkeys(found.values()))
    splits = {split: [photos.index(found[each]) for each in own] for split, own in by_split.items()}
    try:
        if splits:
            assign_listed(**splits)
    except ValueError as flaw:  # what 15 slots cannot hold
        raise MuseQuestError(f"'{name}' lists {flaw}.") from None
    return photos, splits


def _lines(cell: str) -> list[str]:
    return [part.strip() for part in re.split(r"[\n;]", cell) if part.strip()]


def _facts(cell: str) -> dict[str, str]:
    try:
        facts = parse_json(cell, Any) if cell else {}
    except ValueError as error:
        raise MuseQuestError(f"the facts are no JSON ({error}); mend them.") from None
    if not isinstance(facts, dict) or any(
        isinstance(value, bool) or not isinstance(value, str | int | float)
        for value in facts.values()
    ):
        raise MuseQuestError('the facts are no JSON object of texts; write {"date": "1742"}.')
    return {str(key): str(value) for key, value in facts.items()}


def _collected(exhibit: Exhibit, folder: Path, target: Path) -> Exhibit:
    """The exhibit with clean copies of its photos in originals/<item_name>/."""
    if len(exhibit.photos) > SLOTS:
        LOGGER.warning(
            "'%s' has %d photos; the first %d are used.",
            exhibit.item_name, len(exhibit.photos), SLOTS,
        )  # fmt: skip
    images: dict[str, Image.Image] = {}  # by the path of the copy
    rights: Credits = []
    seen: list[Likeness] = []
    listed = zip(exhibit.photos, exhibit.photo_credits, strict=True)
    for photo, credit in itertools.islice(listed, SLOTS):
        image = collected_photo(folder / photo)
        own = likeness(image)
        if not exhibit.splits and any(same_photo(own, other) for other in seen):
            LOGGER.warning("%s shows the same as an earlier photo; left out.", folder / photo)
            continue
        images[f"originals/{exhibit.item_name}/{len(images):02d}.jpg"] = image
        rights.append(credit)
        seen.append(own)
    for copy, image in images.items():
        save_photo(image, target / copy)
    digests = [file_digest(target / copy) or "" for copy in images]
    return replace(exhibit, photos=[*images], photo_credits=rights, photo_digests=digests)
