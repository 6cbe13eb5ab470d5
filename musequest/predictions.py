"""predictions.parquet, and the infer.json beside it that says what was asked to get it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd

from .errors import LOGGER
from .files import file_digest, parse_json, read_remade, write_json, write_text
from .json_shapes import Answer
from .tables import read_table, write_table

# What came out of asking; everything else in infer.json decides the answers.
OUTCOME = {"seconds", "problems", "unanswered", "cost", "predictions_sha256"}
JOURNAL = ".answers.jsonl"
LOGGED = 3  # problems that are told; all of them are written down


def kept_answers(folder: Path, asked: dict[str, Any]) -> pd.DataFrame | None:
    """The answers in `folder` if they were asked the same and none is missing, else None."""
    path = folder / "predictions.parquet"
    record = read_remade(folder / "infer.json")
    same = {key: record[key] for key in record.keys() - OUTCOME} == json.loads(json.dumps(asked))
    if not (same and path.exists()) or record.get("unanswered"):
        return None
    if not vouched(path, record):
        LOGGER.warning("%s is not what infer.json vouches for, and is asked for again.", path)
        return None
    return read_table("predictions", path)


def vouched(predictions: Path, record: dict[str, Any]) -> bool:
    """Whether a predictions.parquet is what its infer.json was written for; older ones say so."""
    digest = record.get("predictions_sha256")
    return digest is None or digest == file_digest(predictions)


class Journal:
    """Answers on their way into predictions.parquet, a line each in .answers.jsonl as they come.

    What a process that was killed had answered is taken up by the next one that is asked the same.
    """

    def __init__(self, folder: Path, asked: dict[str, Any]) -> None:
        self.path, self.head = folder / JOURNAL, json.dumps(asked, sort_keys=True)
        self.rows: list[dict[str, Any]] = []
        lines = self.path.read_bytes().splitlines() if self.path.is_file() else []
        if lines and lines[0] == self.head.encode():
            with suppress(ValueError):  # the last line of a process that was killed
                for line in lines[1:]:
                    self.rows.append(parse_json(line, Answer))

    def begin(self, rows: Sequence[Mapping[str, Any]], batch_size: int) -> list[dict[str, Any]]:
        """The first answers to these questions that are there, of whole batches alone.

        Batches then are the same as without an interruption, and so are their answers.
        """
        known = zip(self.rows, rows, strict=False)
        count = sum(
            1 for _ in takewhile(lambda pair: pair[0]["data_id"] == pair[1]["data_id"], known)
        )
        self.rows = self.rows[: count if count == len(rows) else count - count % batch_size]
        lines = [self.head, *map(json.dumps, self.rows)]
        write_text(self.path, "".join(f"{line}\n" for line in lines))
        return list(self.rows)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Write down a batch's answers."""
        with self.path.open("a", encoding="ascii") as file:
            file.writelines(f"{json.dumps(row)}\n" for row in rows)


def keep_answers(
    folder: Path,
    asked: dict[str, Any],
    predictions: list[dict[str, Any]],
    *,
    seconds: float,
    problems: list[str],
    unanswered: int = 0,
    cost: dict[str, float] | None = None,
) -> pd.DataFrame:
    """Write both files and log the first problems; returns the table as written.

    `unanswered` counts the questions that have no row: while there are any, they are asked again.
    `cost` is what the answers took besides their seconds, each with its unit in its name.
    """
    for problem in problems[:LOGGED]:
        LOGGER.warning("%s: %s", folder.name, problem)
    if more := len(problems[LOGGED:]):
        LOGGER.warning("%s: %d more like this stand in infer.json", folder.name, more)
    record: dict[str, Any] = {**asked, "seconds": round(seconds, 3), "problems": problems}
    record |= {"unanswered": unanswered} if unanswered else {}
    record["cost"] = {"milliseconds_per_answer": _mean_ms(predictions), **(cost or {})}
    (folder / "infer.json").unlink(missing_ok=True)  # it vouches for the table beside it
    write_table("predictions", folder / "predictions.parquet", predictions)
    record["predictions_sha256"] = file_digest(folder / "predictions.parquet")
    write_json(folder / "infer.json", record)
    (folder / JOURNAL).unlink(missing_ok=True)
    return read_table("predictions", folder / "predictions.parquet")


def _mean_ms(predictions: list[dict[str, Any]]) -> float | None:
    seconds = [row["seconds"] for row in predictions]
    return round(1000 * sum(seconds) / len(seconds), 1) if seconds else None
