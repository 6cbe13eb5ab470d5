"""The list of a museum's folder: exhibits.csv, exhibits.parquet or exhibits.jsonl, as rows of text.

Every reader gives the rows with their places ("row 5"), and one sentence for each unreadable row.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import MuseQuestError


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
        raise MuseQuestError(
            f"{candidates[0]} does not exist; a museum's folder needs it (or exhibits.parquet, or "
            "exhibits.jsonl)."
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
    """Return the rows of a CSV file in UTF-8, as `read_list` does."""
    if not path.is_file():
        raise MuseQuestError(f"{path} does not exist; check its path.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header, rows = reader.fieldnames or (), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise MuseQuestError(f"{path} is not a CSV file in UTF-8 ({error}); save it so.") from None
    _check_columns(path, header, needed, len(rows))
    good, problems = [], []
    # The header is row 1, as a spreadsheet counts.
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            problems.append(
                f"row {number}: it has not as many cells as the header; mend its commas and quotes."
            )
        else:
            good.append(Row(f"row {number}", number - 1, _texts(row)))
    return good, problems


def _read_parquet(path: Path, needed: tuple[str, ...]) -> Rows:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
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
            row = _json_object(line)
            _check_columns(path, row, needed, 1)
            good.append(Row(f"line {number}", number, _texts(row)))
        except MuseQuestError as error:
            problems.append(f"line {number}: {error}")
    if not good and not problems:
        raise MuseQuestError(f"{path} lists no exhibit; add a line for each.")
    return good, problems


def _json_object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise MuseQuestError(f"it is no JSON ({error}); mend it.") from None
    if not isinstance(row, dict):
        raise MuseQuestError('it is no JSON object; write {"item_name": ...}.')
    return row


def _check_columns(path: Path, header: Iterable[str], needed: tuple[str, ...], rows: int) -> None:
    for name in needed:
        if name not in header:
            raise MuseQuestError(f"{path} lacks the column '{name}'; add it.")
    if not rows:
        raise MuseQuestError(f"{path} lists no exhibit; add a row for each.")


def _texts(row: dict[str, Any]) -> dict[str, str]:
    return {str(name): _text(value) for name, value in row.items()}


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
