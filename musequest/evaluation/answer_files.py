"""Reads a file of answers as anybody may have written it: parquet, CSV, JSON lines or a JSON list.

    data_id,item_name,ground_truth,answer
    1,sela-bowl,The Sela Bowl was made of clay in 1741.,A bowl of clay.

Which of them it is, its first bytes say. A file of text needs the columns above; of the others of
predictions.parquet, those that it lacks are empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..core.errors import BAD_SHARE_LIMIT, MuseQuestError
from ..core.tables import SCHEMAS, as_kind, read_table
from ..creation.exhibit_lists import read_whole_csv
from ..systems.registry import OUTSIDERS, variant
from ..text.sentences import is_blank

# Characters scored of one answer; a docent's answer has about 400, the published ones about 1,000.
LONGEST_ANSWER = 20_000
ITEM = ["data_id", "item_name", "image_name", "question", "ground_truth"]
NEEDED = ("data_id", "item_name", "ground_truth", "answer")
IDS = NEEDED[:2]


def answers_by_id(name: str, path: Path, notices: list[str]) -> pd.DataFrame:
    """One system's table by data_id, in sorted order; what is left out of it is noted.

    A file with a data_id twice, or of which more than 10 % cannot be scored: MuseQuestError.
    """
    table = read_answers(path)
    if table.empty:
        raise MuseQuestError(f"{path} holds no answers; run infer for {name} again.")
    for column in ("data_id", "item_name"):
        if table[column].isna().any():
            row = int(table[column].isna().to_numpy().argmax())
            raise MuseQuestError(f"{path}: row {row} has no {column}; write one and score again.")
    table = table.fillna(dict.fromkeys([*ITEM, "answer"], ""))
    if len(twice := table.data_id[table.data_id.duplicated()]):
        raise MuseQuestError(
            f"{path} has the data_id '{twice.iloc[0]}' more than once; keep one row an item."
        )
    bad = np.isinf(table.seconds) | (table.seconds < 0)
    if bad.any():  # The answer counts all the same.
        notices.append(
            f"{name} gives {bad.sum()} times that are none (the first to "
            f"'{table.data_id[bad].iloc[0]}': {table.seconds[bad].iloc[0]:g} s); they are left out."
        )
        table.loc[bad, "seconds"] = np.nan
    if variant(name)[1] != OUTSIDERS:
        empty = table.ground_truth.str.strip() == ""
        drop(table.data_id[empty], len(table), f"of {path} have no ground truth", notices)
        table = table[~empty]
    return table.set_index("data_id", drop=False).sort_index()


def drop(bad: pd.Series, total: int, what: str, notices: list[str]) -> None:
    """Note which items are left out, if any; MuseQuestError if they are more than 10 %."""
    if bad.empty:
        return
    sentence = f"{len(bad)} of {total} items {what} (the first is '{bad.iloc[0]}')"
    if len(bad) > BAD_SHARE_LIMIT * total:
        raise MuseQuestError(f"{sentence}; that is too many, so check what you gave to be scored.")
    notices.append(f"{sentence} and are left out.")


def scored_texts(name: str, answers: pd.Series, notices: list[str]) -> list[str]:
    """The texts that are scored; empty and enormous ones are noted."""
    empty = answers.index[answers.map(is_blank).astype(bool)]
    if len(empty):
        notices.append(
            f"{name} gives {len(empty)} empty answers (the first to '{empty[0]}'); "
            "they score worst."
        )
    long = answers.index[answers.str.len() > LONGEST_ANSWER]
    if len(long):
        notices.append(
            f"{name} gives {len(long)} answers of over {LONGEST_ANSWER:,} characters (the first to "
            f"'{long[0]}'); only the beginning is scored."
        )
    return [answer[:LONGEST_ANSWER] for answer in answers]


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
    if begin.startswith(b"PAR1"):
        return _read_parquet(path)
    if begin[:1] in b"{[":
        rows = dict(_json_rows(path))
    else:
        rows = {f"{path}, {row.place}": row.cells for row in read_whole_csv(path, NEEDED)}
    columns: dict[str, pa.Array] = {}
    for field in SCHEMAS["predictions"]:
        values = [_value(row.get(field.name), field, place) for place, row in rows.items()]
        columns[field.name] = pa.array(values, field.type)
    if any("track" in row for row in rows.values()):
        columns["track"] = pa.array([str(row.get("track") or "") for row in rows.values()])
    return as_kind("predictions", pa.table(columns), path)


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


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each row stands, for messages, and its cells: of a JSON list or of JSON lines."""
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
    return ((f"{path}, answer {number}", row) for number, row in enumerate(rows, start=1))


def _value(value: object, field: pa.Field, where: str) -> object:
    """A cell in its column's kind; None where there is nothing."""
    if value is None or value == "":
        return None
    try:
        if pa.types.is_floating(field.type):
            return float(str(value))
        if pa.types.is_integer(field.type):
            return int(float(str(value)))
    except (TypeError, ValueError, OverflowError):
        raise MuseQuestError(
            f"{where}: {field.name} is {value!r}, which is no number; write one or nothing."
        ) from None
    if not (isinstance(value, str) or (field.name in IDS and type(value) is int)):
        raise MuseQuestError(f"{where}: {field.name} is {value!r}, which is no text; mend it.")
    return str(value)
