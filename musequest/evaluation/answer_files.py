"""Reads a file of answers as anybody may have written it: parquet, CSV, JSON lines or a JSON list.

    data_id,item_name,ground_truth,answer
    1,sela-bowl,The Sela Bowl was made of clay in 1741.,A bowl of clay.

Which of them it is, its first bytes say. A file of text needs the columns above; of the others of
predictions.parquet, those that it lacks are empty.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..creation.exhibit_lists import Row, read_csv
from ..errors import MuseQuestError
from ..tables import SCHEMAS, as_kind, read_table

NEEDED = ("data_id", "item_name", "ground_truth", "answer")
IDS = ("data_id", "item_name")
PARQUET = b"PAR1"


def read_answers(path: Path) -> pd.DataFrame:
    """The columns of predictions.parquet, ids as text; a file that lacks one is a MuseQuestError.

    A whole number stands for an id as well as its digits do.
    """
    if not path.is_file():
        return read_table("predictions", path)  # which says why
    with path.open("rb") as file:
        begin = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not begin:
        raise MuseQuestError(f"{path} is empty; give the file that holds the answers.")
    if begin.startswith(PARQUET):
        return _read_parquet(path)
    if begin[:1] in b"{[":
        return _table(path, list(enumerate(_objects(path), start=1)), "answer")
    rows, problems = read_csv(path, NEEDED)
    if problems:
        raise MuseQuestError(f"{path}, {problems[0]}")
    return _table(path, [(_number(row), row.cells) for row in rows], "row")


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return read_table("predictions", path)  # which says why
    for name in {*IDS} & {*table.column_names}:
        if pa.types.is_integer(table[name].type):
            place = table.column_names.index(name)
            table = table.set_column(place, name, pc.cast(table[name], pa.string()))
    return as_kind("predictions", table, path)


def _objects(path: Path) -> list[dict[str, object]]:
    """The rows of a JSON list or of JSON lines, which differ in how they begin."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        lines = [line for line in text.split("\n") if line.strip()]
        rows = json.loads(text) if text[0] == "[" else [json.loads(line) for line in lines]
    except (ValueError, RecursionError) as error:
        raise MuseQuestError(
            f"{path} is neither a JSON list of answers nor has one as a JSON object on each line "
            f"({error}); save it so, or as CSV."
        ) from None
    for number, row in enumerate(rows, start=1):
        missing = [name for name in NEEDED if not isinstance(row, dict) or name not in row]
        if missing:
            raise MuseQuestError(f"{path}: answer {number} lacks '{missing[0]}'; add it.")
    return rows


def _table(path: Path, rows: list[tuple[int, dict[str, object]]], noun: str) -> pd.DataFrame:
    """The rows in the columns of predictions.parquet."""
    columns: dict[str, pa.Array] = {}
    for field in SCHEMAS["predictions"]:
        values = [_value(row.get(field.name), field, f"{path}, {noun} {n}") for n, row in rows]
        columns[field.name] = pa.array(values, field.type)
    if any("track" in row for _, row in rows):
        columns["track"] = pa.array([str(row.get("track") or "") for _, row in rows])
    return as_kind("predictions", pa.table(columns), path)


def _value(value: object, field: pa.Field, where: str) -> object:
    """A cell in its column's kind; None where there is nothing."""
    if value is None or value == "":
        return None
    number, whole = pa.types.is_floating(field.type), pa.types.is_integer(field.type)
    try:
        if number:
            return float(value)
        if whole:
            return int(float(value))
    except (TypeError, ValueError, OverflowError):
        raise MuseQuestError(
            f"{where}: {field.name} is {value!r}, which is no number; write one or nothing."
        ) from None
    named = field.name in IDS and isinstance(value, int) and not isinstance(value, bool)
    if not (named or isinstance(value, str)):
        raise MuseQuestError(f"{where}: {field.name} is {value!r}, which is no text; mend it.")
    return str(value)


def _number(row: Row) -> int:
    return int(row.place.split()[-1])
