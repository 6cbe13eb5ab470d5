"""predictions.parquet, and the infer.json beside it that says what was asked to get it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from .errors import LOGGER
from .files import file_digest, read_remade, write_json
from .tables import read_table, write_table

# What came out of asking; everything else in infer.json decides the answers.
OUTCOME = {"seconds", "problems", "unanswered", "cost", "predictions_sha256"}
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
    return read_table("predictions", folder / "predictions.parquet")


def _mean_ms(predictions: list[dict[str, Any]]) -> float | None:
    seconds = [row["seconds"] for row in predictions]
    return round(1000 * sum(seconds) / len(seconds), 1) if seconds else None
