"""Exhibits: read from a museum's folder, checked, and collected with clean copies of their photos.

A folder museum is an `exhibits.csv`, .parquet or .jsonl (item_name, title and description; item_id,
photos, link, record, license, credit and facts where known) beside its photos. Instead of photos it
may list test_images, validation_images and train_images.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, get_type_hints

import pandas as pd
from PIL import Image
from tqdm import tqdm

from ..errors import LOGGER, MuseQuestError, leave_out
from ..files import file_digest, parse_json
from ..home import collection_dir
from ..languages import ENGLISH, checked_language
from ..locks import holds_collection
from ..photos import likeness, photo_suffixes, prepared_photo, same_photo, save_photo
from ..tables import read_table, write_table
from .exhibit import Exhibit, credits_of, read_credits, write_credits
from .exhibit_lists import Row, flaw_of_name, list_path, read_list
from .split import SLOTS, assign_listed
from .texts import flaw_of, half_sign_of, warn_of_short

NEEDED = ("item_name", "title", "description")
# Columns that give the photos of each split.
LISTED = {f"{split}_images": split for split in ("test", "validation", "train")}
# Columns of exhibits.parquet that hold JSON, with what stands for nothing.
JSON_CELLS = {"facts": "{}", "photo_credits": "[]", "splits": "{}", "photo_digests": "[]"}
# What systems leave beside files of their own accord.
SYSTEM_FILES = {"thumbs.db", "desktop.ini", "icon\r"}
SHOWN = 60  # characters of a name in a sentence


def read_folder(folder: str | Path, language: str = ENGLISH) -> tuple[list[Exhibit], list[str]]:
    """Return the good exhibits of a folder museum, and one sentence for each bad one.

    The `photos` column lists paths relative to the folder, a line (or a semicolon) each; where it
    is empty, all images in photos/<item_name>/ are taken in the order of their names. The columns
    test_images, validation_images and train_images list them by split instead. Photos are looked
    for, not opened. Texts are in `language`, unless a column of that name says otherwise. A
    `credits.csv` may give single photos rights of their own. A missing or
    unreadable list raises MuseQuestError.
    """
    folder = Path(folder)
    source = list_path(folder)
    rows, unreadable = read_list(source, NEEDED)
    own = read_credits(folder)
    exhibits: list[Exhibit] = []
    listing: set[str] = set()  # exhibits whose photos are listed
    problems = [f"{source}, {problem}" for problem in unreadable]
    for row in rows:
        try:
            exhibit = _exhibit(row, folder, exhibits)
            spoken = checked_language(row.cells.get("language") or language, "its list")
            rights = credits_of(exhibit, own)
            if any(row.cells.get(column) for column in ("photos", *LISTED)):
                listing.add(exhibit.item_name)
            exhibits.append(replace(exhibit, language=spoken, photo_credits=rights))
        except MuseQuestError as error:
            problems.append(f"{source}, {_place(row, str(error))}: {error}")
    warn_of_others(folder, [e.item_name for e in exhibits if e.item_name not in listing])
    return exhibits, problems


@holds_collection
def collect_folder(
    folder: str | Path, collection: str, *, language: str = ENGLISH, progress: bool = True
) -> pd.DataFrame:
    """Read a folder museum into data/<collection>: exhibits.parquet, credits.csv and originals/.

    Photos become RGB JPEGs of at most 1536 px. Of an exhibit the first 15 photos are taken, and
    one that shows the same as an earlier one is left out; both are reported. Bad exhibits are
    reported and left out; more than 10 % of them raises MuseQuestError. Descriptions of fewer than
    80 words are counted in a warning. Returns the exhibits as
    written, one row each.
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
    write_credits(target / "credits.csv", kept)
    write_table("exhibits", target / "exhibits.parquet", [_row(exhibit) for exhibit in kept])
    return read_table("exhibits", target / "exhibits.parquet")


def load_exhibits(collection: str) -> list[Exhibit]:
    """Return a collection's exhibits, their photos relative to data/<collection>."""
    path = collection_dir(collection) / "exhibits.parquet"
    exhibits = []
    for row in read_table("exhibits", path).to_dict("records"):
        values = {item.name: row.get(item.name) for item in fields(Exhibit)}
        values["photos"] = list(row["photos"])
        values["language"] = row["language"] if isinstance(row.get("language"), str) else ENGLISH
        for name, nothing in JSON_CELLS.items():
            told = row.get(name)
            values[name] = _cell(told if isinstance(told, str) else nothing, name, path)
        exhibits.append(Exhibit(**values))
    return exhibits


def _cell(text: str, name: str, path: Path) -> Any:
    """The JSON in a cell of exhibits.parquet."""
    try:
        return parse_json(text, get_type_hints(Exhibit)[name])
    except ValueError as error:
        raise MuseQuestError(
            f"{path}: a cell of the column '{name}' is not what collect writes ({error}); run "
            "`python -m musequest collect` again."
        ) from None


def _place(row: Row, flaw: str) -> str:
    """Where a row stands, and of which exhibit it is, unless the flaw names it."""
    name = " ".join(row.cells["item_name"].split())[:80]
    return row.place if not name or repr(name) in flaw else f"{row.place}, exhibit {name!r}"


def _exhibit(row: Row, folder: Path, earlier: list[Exhibit]) -> Exhibit:
    cells = row.cells
    name = _item_name(cells, earlier)
    facts = _facts(cells.get("facts", ""))
    for column, cell in (cells | {"facts": " ".join(facts)}).items():
        if flaw := half_sign_of(cell):
            raise MuseQuestError(f"the {column} of '{name}' {flaw}; write it as plain text.")
    told = {f"fact {fact!r}": value for fact, value in facts.items() if value.strip()}
    told |= {f"name of the fact {fact!r}": fact for fact in facts}
    for noun, text in {
        "title": cells["title"],
        "description": cells["description"],
        **told,
    }.items():
        if flaw := flaw_of(text):
            raise MuseQuestError(f"the {noun} of '{name}' {flaw}; write it as plain text.")
    texts = {key: cells.get(key, "") for key in ("link", "record", "license", "credit")}
    photos, splits = _photos(cells, name, folder)
    return Exhibit(
        item_id=_item_id(cells.get("item_id", ""), row.number, earlier),
        item_name=name,
        title=" ".join(cells["title"].split()),
        description=cells["description"],
        photos=photos,
        splits=splits,
        facts=facts,
        **texts,
    )


def _item_name(cells: dict[str, str], earlier: list[Exhibit]) -> str:
    name = cells["item_name"]
    if not name:
        raise MuseQuestError("the item_name is empty; give the exhibit a name of its own.")
    if flaw := flaw_of_name(name):
        raise MuseQuestError(flaw)
    if any(name == exhibit.item_name for exhibit in earlier):
        raise MuseQuestError(f"the item_name '{name}' occurs twice; give this row another one.")
    return name


def _item_id(cell: str, number: int, earlier: list[Exhibit]) -> int:
    if cell and not re.fullmatch(r"\d{1,18}", cell):
        raise MuseQuestError(f"the item_id {cell!r} is no whole number; write one.")
    item_id = int(cell) if cell else number
    if any(item_id == exhibit.item_id for exhibit in earlier):
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
    listed = listed or _lines(cells.get("photos", "")) or images_of(folder, name)
    if not listed:
        others = others_of(folder, name)
        seen = f" (left out: {len(others)} files such as {others[0]})" if others else ""
        raise MuseQuestError(f"'{name}' has no photo{seen}; list one, or put it in photos/{name}/.")
    found = {photo: found_photo(folder, photo) for photo in listed}
    photos = list(dict.fromkeys(found.values()))
    if not any(by_split.values()):
        return photos, {}
    by_split = {split: [found[photo] for photo in own] for split, own in by_split.items()}
    return photos, _splits(name, photos, by_split)


def _splits(name: str, photos: list[str], by_split: dict[str, list[str]]) -> dict[str, list[int]]:
    """The listed splits by the photos' numbers; MuseQuestError where 15 slots cannot hold them."""
    splits = {split: [photos.index(photo) for photo in own] for split, own in by_split.items()}
    try:
        assign_listed(**splits)
    except ValueError as flaw:
        raise MuseQuestError(f"'{name}' lists {flaw}.") from None
    return splits


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


def _row(exhibit: Exhibit) -> dict[str, Any]:
    values = asdict(exhibit)
    for name in JSON_CELLS:
        values[name] = json.dumps(values[name], ensure_ascii=False) if values[name] else None
    if exhibit.language == ENGLISH:  # said only where it is another
        del values["language"]
    return values


def _collected(exhibit: Exhibit, folder: Path, target: Path) -> Exhibit:
    """The exhibit with clean copies of its photos in originals/<item_name>/."""
    if len(exhibit.photos) > SLOTS:
        LOGGER.warning(
            "'%s' has %d photos; the first %d are used.",
            exhibit.item_name, len(exhibit.photos), SLOTS,
        )  # fmt: skip
    images, taken, copies, rights = [], [], [], []
    listed = zip(exhibit.photos, exhibit.photo_credits, strict=True)
    for photo, credit in itertools.islice(listed, SLOTS):
        image = _opened(folder / photo)
        seen = likeness(image)
        if not exhibit.splits and any(same_photo(seen, other) for other in taken):
            LOGGER.warning("%s shows the same as an earlier photo; left out.", folder / photo)
            continue
        images.append(image)
        taken.append(seen)
        rights.append(credit)
    for number, image in enumerate(images):
        copies.append(f"originals/{exhibit.item_name}/{number:02d}.jpg")
        save_photo(image, target / copies[-1])
    digests = [file_digest(target / copy) or "" for copy in copies]
    return replace(exhibit, photos=copies, photo_credits=rights, photo_digests=digests)


def _opened(path: Path) -> Image.Image:
    """The photo; one that the disk does not give is its exhibit's flaw."""
    try:
        return prepared_photo(path)
    except OSError as error:
        raise MuseQuestError(f"{path} cannot be read ({error.strerror}); mend that.") from None


def found_photo(folder: Path, listed: str) -> str:
    """Return the path of a listed photo within the folder, as the disk spells it.

    Accents may be written in one sign or two, as Macs and others do, and folders may be parted by
    backslashes. A photo that is absent, lies outside or has an impossible path raises
    MuseQuestError.
    """
    try:
        if not (folder / listed).resolve().is_relative_to(folder.resolve()):
            raise MuseQuestError(f"the photo {listed} lies outside {folder}; move it there.")
        if (folder / listed).is_file():
            return listed
        spelled = _spelled(folder, PurePosixPath(listed.replace("\\", "/")).parts)
        if spelled is not None and spelled.is_file():
            return spelled.relative_to(folder).as_posix()
    # A path with NUL, one longer than the system takes, or links that lead to themselves.
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MuseQuestError(
            f"the photo {listed[:SHOWN]!r} has a path that cannot be used ({reason}); correct it."
        ) from None
    raise MuseQuestError(f"the photo {folder / listed} is absent; add it, or unlist it.")


def images_of(folder: Path, item_name: str) -> list[str]:
    """Return the photos in photos/<item_name>/, relative to the folder, in the order of names."""
    found = sorted((folder / "photos" / item_name).glob("*"))
    return [path.relative_to(folder).as_posix() for path in found if _is_photo(path)]


def others_of(folder: Path, item_name: str) -> list[Path]:
    """Return what lies in photos/<item_name>/ or deeper and is none of its photos."""
    left: list[Path] = []
    for parent, folders, names in os.walk(folder / "photos" / item_name):
        folders.sort()
        inner = Path(parent) != folder / "photos" / item_name
        paths = [Path(parent) / name for name in sorted(names)]
        left += [each for each in paths if not _hidden(each) and (inner or not _is_photo(each))]
    return left


def warn_of_others(folder: Path, item_names: Iterable[str]) -> None:
    """Log one sentence that counts what lies in photos/<item_name>/ and was not taken."""
    left = [path for item_name in item_names for path in others_of(folder, item_name)]
    if left:
        LOGGER.warning(
            "%d files in photos/ were left out, first %s: a folder of its own within an exhibit's, "
            "or a format that is not read, is taken only if you list it or save it as JPEG.",
            len(left), left[0],
        )  # fmt: skip


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in photo_suffixes() and not _hidden(path) and path.is_file()


def _hidden(path: Path) -> bool:
    """Whether a system made the file for itself, as Macs do for each on other disks ("._a.jpg")."""
    return path.name.startswith(".") or path.name.casefold() in SYSTEM_FILES


def _spelled(folder: Path, parts: Iterable[str]) -> Path | None:
    """The path whose parts are the same letters, however their accents are encoded."""
    path = folder
    for part in parts:
        wanted = unicodedata.normalize("NFC", part)
        names = os.listdir(path) if path.is_dir() else []
        same = (name for name in names if unicodedata.normalize("NFC", name) == wanted)
        if (name := next(same, None)) is None:
            return None
        path = path / name
    return path
