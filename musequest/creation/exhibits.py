"""Exhibits: read from a museum's folder, checked, and collected with clean copies of their photos.

A folder museum is an `exhibits.csv` (item_name, title and description; item_id, photos, link,
record, license, credit and facts where known) beside its photos.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ..errors import LOGGER, MuseQuestError, leave_out
from ..home import collection_dir
from ..photos import likeness, open_photo, same_photo, save_photo
from ..tables import read_table, write_table
from .split import SLOTS
from .texts import flaw_of

NEEDED = ("item_name", "title", "description")
ITEM_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".gif", ".bmp", ".avif"}
# Longest edge of a collected photo, px: as much as any Idefics model looks at.
LONGEST_EDGE = 1536


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


def read_folder(folder: str | Path) -> tuple[list[Exhibit], list[str]]:
    """Return the good exhibits of a folder museum, and one sentence for each bad one.

    The `photos` column lists paths relative to the folder, a line (or a semicolon) each; where it
    is empty, all images in photos/<item_name>/ are taken in the order of their names. Photos are
    looked for, not opened. A missing or unreadable exhibits.csv raises MuseQuestError.
    """
    folder = Path(folder)
    exhibits: list[Exhibit] = []
    problems: list[str] = []
    # The header is row 1, as a spreadsheet counts.
    for number, row in enumerate(_csv_rows(folder / "exhibits.csv"), start=2):
        try:
            exhibits.append(_exhibit(row, number, folder, exhibits))
        except MuseQuestError as error:
            problems.append(f"{folder / 'exhibits.csv'}, row {number}: {error}")
    return exhibits, problems


def collect_folder(folder: str | Path, collection: str, *, progress: bool = True) -> pd.DataFrame:
    """Read a folder museum into data/<collection>: exhibits.parquet and originals/.

    Photos become RGB JPEGs of at most 1536 px. Of an exhibit the first 15 photos are taken, and
    one that shows the same as an earlier one is left out; both are reported. Bad exhibits are
    reported and left out; more than 10 % of them raises MuseQuestError. Returns the exhibits as
    written, one row each.
    """
    source, target = Path(folder) / "exhibits.csv", collection_dir(collection)
    exhibits, problems = read_folder(folder)
    total, kept = len(exhibits) + len(problems), []
    for exhibit in tqdm(exhibits, desc="Collecting", unit="exhibit", disable=not progress):
        try:
            kept.append(_collected(exhibit, Path(folder), target))
        except MuseQuestError as error:
            problems.append(f"{source}, exhibit '{exhibit.item_name}': {error}")
    leave_out(problems, total, source)
    rows = [asdict(exhibit) | {"facts": _facts_text(exhibit)} for exhibit in kept]
    write_table("exhibits", target / "exhibits.parquet", rows)
    return read_table("exhibits", target / "exhibits.parquet")


def load_exhibits(collection: str) -> list[Exhibit]:
    """Return a collection's exhibits, their photos relative to data/<collection>."""
    path = collection_dir(collection) / "exhibits.parquet"
    rows = read_table("exhibits", path).to_dict("records")
    names = [item.name for item in Exhibit.__dataclass_fields__.values()]
    exhibits = []
    for row in rows:
        facts = row["facts"] if isinstance(row["facts"], str) else ""
        values = {name: row[name] for name in names} | {"photos": list(row["photos"])}
        exhibits.append(Exhibit(**values | {"facts": json.loads(facts) if facts else {}}))
    return exhibits


def _csv_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise MuseQuestError(f"{path} does not exist; a museum's folder needs it.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header, rows = reader.fieldnames or (), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise MuseQuestError(f"{path} is not a CSV file in UTF-8 ({error}); save it so.") from None
    for name in NEEDED:
        if name not in header:
            raise MuseQuestError(f"{path} lacks the column '{name}'; add it.")
    if not rows:
        raise MuseQuestError(f"{path} lists no exhibit; add a row for each.")
    return rows


def _exhibit(row: dict[str, str], number: int, folder: Path, earlier: list[Exhibit]) -> Exhibit:
    if None in row or None in row.values():
        raise MuseQuestError("it has not as many cells as the header; mend its commas and quotes.")
    cells = {name: value.strip() for name, value in row.items()}
    name = _item_name(cells, earlier)
    facts = _facts(cells.get("facts", ""))
    told = {f"fact {fact!r}": value for fact, value in facts.items() if value.strip()}
    for noun, text in {
        "title": cells["title"],
        "description": cells["description"],
        **told,
    }.items():
        if flaw := flaw_of(text):
            raise MuseQuestError(f"the {noun} of '{name}' {flaw}; write it as plain text.")
    texts = {key: cells.get(key, "") for key in ("link", "record", "license", "credit")}
    return Exhibit(
        item_id=_item_id(cells.get("item_id", ""), number, earlier),
        item_name=name,
        title=" ".join(cells["title"].split()),
        description=cells["description"],
        photos=_photos(cells.get("photos", ""), name, folder),
        facts=facts,
        **texts,
    )


def _item_name(cells: dict[str, str], earlier: list[Exhibit]) -> str:
    name = cells["item_name"]
    if not name:
        raise MuseQuestError("the item_name is empty; give the exhibit a name of its own.")
    if not ITEM_NAME.fullmatch(name):
        raise MuseQuestError(
            f"the item_name {name!r} cannot name a folder; use a-z, 0-9, '-' and '_', 80 at most."
        )
    if any(name == exhibit.item_name for exhibit in earlier):
        raise MuseQuestError(f"the item_name '{name}' occurs twice; give this row another one.")
    return name


def _item_id(cell: str, number: int, earlier: list[Exhibit]) -> int:
    if cell and not re.fullmatch(r"\d{1,18}", cell):
        raise MuseQuestError(f"the item_id {cell!r} is no whole number; write one.")
    item_id = int(cell) if cell else number - 1
    if any(item_id == exhibit.item_id for exhibit in earlier):
        raise MuseQuestError(f"the item_id {item_id} occurs twice; give this row another one.")
    return item_id


def _photos(cell: str, name: str, folder: Path) -> list[str]:
    """Paths relative to the museum's folder, each of an existing file within it."""
    listed = [part.strip() for part in re.split(r"[\n;]", cell) if part.strip()]
    if not listed:
        found = sorted((folder / "photos" / name).glob("*"))
        images = [path for path in found if path.suffix.lower() in PHOTO_SUFFIXES]
        listed = [path.relative_to(folder).as_posix() for path in images]
    if not listed:
        raise MuseQuestError(f"'{name}' has no photo; list one, or put it in photos/{name}/.")
    for photo in listed:
        if not (folder / photo).resolve().is_relative_to(folder.resolve()):
            raise MuseQuestError(f"the photo {photo} lies outside {folder}; move it there.")
        if not (folder / photo).is_file():
            raise MuseQuestError(f"the photo {folder / photo} is absent; add it, or unlist it.")
    return list(dict.fromkeys(listed))


def _facts(cell: str) -> dict[str, str]:
    try:
        facts = json.loads(cell) if cell else {}
    except json.JSONDecodeError as error:
        raise MuseQuestError(f"the facts are no JSON ({error}); mend them.") from None
    if not isinstance(facts, dict) or any(
        isinstance(value, bool) or not isinstance(value, str | int | float)
        for value in facts.values()
    ):
        raise MuseQuestError('the facts are no JSON object of texts; write {"date": "1742"}.')
    return {str(key): str(value) for key, value in facts.items()}


def _facts_text(exhibit: Exhibit) -> str | None:
    return json.dumps(exhibit.facts, ensure_ascii=False) if exhibit.facts else None


def _collected(exhibit: Exhibit, folder: Path, target: Path) -> Exhibit:
    """The exhibit with clean copies of its photos in originals/<item_name>/."""
    if len(exhibit.photos) > SLOTS:
        LOGGER.warning(
            "'%s' has %d photos; the first %d are used.",
            exhibit.item_name, len(exhibit.photos), SLOTS,
        )  # fmt: skip
    images, taken, copies = [], [], []
    for photo in exhibit.photos[:SLOTS]:
        image = open_photo(folder / photo)
        image.thumbnail((LONGEST_EDGE, LONGEST_EDGE), reducing_gap=3.0)
        seen = likeness(image)
        if any(same_photo(seen, other) for other in taken):
            LOGGER.warning("%s shows the same as an earlier photo; left out.", folder / photo)
            continue
        images.append(image)
        taken.append(seen)
    for number, image in enumerate(images):
        copies.append(f"originals/{exhibit.item_name}/{number:02d}.jpg")
        save_photo(image, target / copies[-1])
    return replace(exhibit, photos=copies)
