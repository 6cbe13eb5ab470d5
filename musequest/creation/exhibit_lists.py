"""What lies in a museum's folder: its list, read as rows of text, and the files of its photos.

The list is exhibits.csv, exhibits.parquet or exhibits.jsonl. Every reader gives the rows with their
places ("row 5"), and one sentence for each unreadable row. `read_csv` reads all other tables that
people write, too.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from unicodedata import normalize

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import MuseQuestError, refusal
from ..core.files import parse_json
from ..core.photos import photo_suffixes

SEPARATORS = (",", ";", "\t", "|")
# What Excel reads, and some programs write, as a first line.
SEP_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?[;,\t]*\r?\n', re.IGNORECASE)
LONGEST_CELL = 2**31 - 1  # characters
ITEM_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")
# What systems leave beside files of their own accord.
SYSTEM_FILES = {"thumbs.db", "desktop.ini", "icon\r"}
SHOWN = 60  # characters of a name in a sentence


class Row(NamedTuple):
    """One row of a list: where it stands, its number from 1, and its cells as stripped text."""

    place: str
    number: int
    cells: dict[str, str]


Rows = tuple[list[Row], list[str]]


def list_path(folder: str | Path) -> Path:
    """Return the list of a museum's folder; none, or more than one, raises MuseQuestError."""
    candidates = [Path(folder) / f"exhibits.{kind}" for kind in ("csv", "parquet", "jsonl")]
    found = [path for path in candidates if path.is_file()]
    if not found:
        others = sorted(each.name for each in Path(folder).glob("[eE][xX][hH]*.*"))
        seen = f"; save {others[0]} so" if others else ""
        raise MuseQuestError(
            f"{candidates[0]} does not exist; a museum's folder needs it (or exhibits.parquet, or "
            f"exhibits.jsonl){seen}."
        )
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise MuseQuestError(f"{folder} holds {names}; keep the one that is right.")
    return found[0]


def read_list(path: Path, needed: tuple[str, ...]) -> Rows:
    """Return the rows of a list of any of the three kinds, every cell as stripped text.

    Lists within a cell become lines, objects JSON, nothing an empty text. An unreadable file, one
    without rows or without a column of `needed` raises MuseQuestError.
    """
    readers = {".csv": read_csv, ".parquet": _read_parquet, ".jsonl": _read_jsonl}
    return readers[path.suffix](path, needed)


def read_csv(path: Path, needed: tuple[str, ...]) -> Rows:
    """Return the rows of a CSV file as `read_list` does, as spreadsheets write it.

    UTF-8, or UTF-16 with its mark; parted by what gives the columns of `needed` (comma, semicolon,
    tab or bar) or by what a line `sep=` says; cells of any length. Empty rows are skipped.
    """
    if not path.is_file():
        raise MuseQuestError(f"{path} does not exist; check its path.")
    try:
        content = path.read_bytes()
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = content.decode("utf-16" if marked and len(content) % 2 == 0 else "utf-8-sig")
        first = SEP_LINE.match(text)
        text = text[first.end() :] if first else text
        separator = first[1] if first else _separator(text, needed)
        records: list[list[str]] = []
        records += _records(text, separator)  # as far as it is CSV
    except UnicodeError as error:
        raise MuseQuestError(
            f"{path} is not a CSV file in UTF-8 ({error}); save it so (in Excel as 'CSV UTF-8')."
        ) from None
    except csv.Error as error:
        raise MuseQuestError(
            f"{path}, row {len(records) + 1}, is not CSV ({error}); a quote is opened and not "
            "closed there, or stands alone within a cell, so mend it."
        ) from None
    # A row's number is the one that a spreadsheet shows, where an empty line is a row, too.
    rows = [(n, cells) for n, cells in enumerate(records, 1) if any(map(str.strip, cells))]
    header = [_column_name(name) for name in rows.pop(0)[1]] if rows else []
    _check_columns(path, header, needed, len(rows))
    good, problems = [], []
    for count, (number, cells) in enumerate(rows, start=1):
        own = {name: cell for name, cell in zip(header, cells, strict=False) if name}
        if len(cells) < len(header) or any(map(str.strip, cells[len(header) :])):
            named = own.get("item_name", "").strip()
            problems.append(
                f"row {number}{f' ({named!r})' if named else ''}: it has not as many cells as the "
                "header; mend its separators and quotes."
            )
        else:
            good.append(Row(f"row {number}", count, _texts(own)))
    return good, problems


def read_whole_csv(path: Path, needed: tuple[str, ...]) -> list[Row]:
    """Return the rows of a CSV file, of which an unreadable one raises MuseQuestError."""
    rows, problems = read_csv(path, needed)
    if problems:
        raise MuseQuestError(f"{path}, {problems[0]}")
    return rows


def _separator(text: str, needed: tuple[str, ...]) -> str:
    """The separator that finds most of the needed columns in the header; else the comma."""

    def found(separator: str) -> int:
        try:
            rows = _records(text, separator)
            header = next((row for row in rows if any(map(str.strip, row))), [])
        except csv.Error:
            return 0
        return len({*needed} & {*map(_column_name, header)})

    return max(SEPARATORS, key=found)


def _records(text: str, separator: str) -> Iterator[list[str]]:
    csv.field_size_limit(LONGEST_CELL)  # the library's own limit, for all its readers
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)


def _column_name(name: object) -> str:
    """A column's name however a spreadsheet's author wrote it: "Item name " is item_name."""
    return "_".join(str(name).split()).casefold()


def _read_parquet(path: Path, needed: tuple[str, ...]) -> Rows:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        if refusal(error):  # the machine's fault, not that of the file
            raise
        reason = str(error).splitlines()[0]
        raise MuseQuestError(
            f"{path} is no readable parquet file ({reason}); save it again."
        ) from None
    _check_columns(path, table.column_names, needed, len(table))
    return [Row(f"row {n}", n, _texts(row)) for n, row in enumerate(table.to_pylist(), start=1)], []


def _read_jsonl(path: Path, needed: tuple[str, ...]) -> Rows:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise MuseQuestError(f"{path} is not in UTF-8 ({error}); save it so.") from None
    good, problems = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line, Any)
            if not isinstance(row, dict):
                raise MuseQuestError('it is no JSON object; write {"item_name": ...}.')
            _check_columns(path, row, needed, 1)
            good.append(Row(f"line {number}", number, _texts(row)))
        except (MuseQuestError, ValueError) as error:
            ours = isinstance(error, MuseQuestError)
            flaw = str(error) if ours else f"it is no JSON ({error}); mend it."
            named = re.search(r'"item_name"\s*:\s*("[^"\\]{1,80}")', line, re.IGNORECASE)
            problems.append(f"line {number}{f' ({named[1]})' if named else ''}: {flaw}")
    if not good and not problems:
        raise MuseQuestError(f"{path} lists no exhibit; add a line for each.")
    return good, problems


def _check_columns(path: Path, header: Iterable[str], needed: tuple[str, ...], rows: int) -> None:
    names = [_column_name(name) for name in header]
    for name in needed:
        if name not in names:
            raise MuseQuestError(f"{path} lacks the column '{name}'; add it.")
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise MuseQuestError(f"{path} has the column '{twice[0]}' twice; rename one of them.")
    if not rows:
        raise MuseQuestError(f"{path} lists no exhibit; add a row for each.")


def _texts(row: dict[str, Any]) -> dict[str, str]:
    return {_column_name(name): _text(value) for name, value in row.items()}


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN, an empty cell of a data frame
        return ""
    if isinstance(value, list):
        return "\n".join(str(item) for item in value)
    if isinstance(value, dict):
        return json.dumps({k: v for k, v in value.items() if v is not None}, ensure_ascii=False)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def flaw_of_name(item_name: str) -> str | None:
    """Return why an item_name cannot be one, as the end of a sentence; None where it can."""
    if ITEM_NAME.fullmatch(item_name):
        return None
    return (
        f"the item_name {item_name!r} cannot name a folder; use a-z, 0-9, '-' and '_', 80 at most."
    )


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


def _spelled(folder: Path, parts: Iterable[str]) -> Path | None:
    """The path whose parts are the same letters, however their accents are encoded."""
    path = folder
    for part in parts:
        names = os.listdir(path) if path.is_dir() else []
        same = (name for name in names if normalize("NFC", name) == normalize("NFC", part))
        if (name := next(same, None)) is None:
            return None
        path = path / name
    return path


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


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in photo_suffixes() and not _hidden(path) and path.is_file()


def _hidden(path: Path) -> bool:
    """Whether a system made the file for itself, as Macs do for each on other disks ("._a.jpg")."""
    return path.name.startswith(".") or path.name.casefold() in SYSTEM_FILES
