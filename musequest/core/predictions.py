"""Asks a system, and keeps its answers: predictions.parquet, and infer.json to vouch for it.

A system is whatever answers rows of a dataset: a model of this machine, one behind a server, a
search among photos. What becomes of its answers, and whether they are there already, is told here.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from .errors import LOGGER
from .files import file_digest, hold, parse_json, read_remade, write_json, write_text
from .json_shapes import Answer
from .settings import Profile
from .tables import read_table, write_table

# What came out of asking; everything else in infer.json decides the answers. How many rows were
# answered together does not: their padding is masked.
OUTCOME = {"batch_size", "seconds", "problems", "unanswered", "cost", "predictions_sha256"}
JOURNAL = ".answers.jsonl"
LOGGED = 3  # problems that are told; all of them are written down
Rows = Sequence[Mapping[str, Any]]  # of the dataset; `image` is a photo, or None to show none
OnWords = Callable[[int, str], None]  # told a row's place and its answer so far


class System(ABC):
    """Answers rows of one profile's dataset."""

    name: str  # its folder under runs/<profile>/
    local: ClassVar[bool] = True  # whether it costs nothing to ask it about other photos too

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.journal: Journal | None = None  # where answers are written down as they come
        self.on_words: OnWords | None = None  # who is told the words as they come
        self.problems: list[str] = []  # one sentence an answer that is not as it should be

    @abstractmethod
    def asked(self, split: str) -> dict[str, Any]:
        """What decides the answers, in values that JSON knows; the same again is not asked again.

        It holds at least profile, system, split and dataset_fingerprint.
        """

    @abstractmethod
    def answer(self, rows: Rows, *, progress: bool = True) -> list[dict[str, Any]]:
        """One row of predictions.parquet for each of `rows`, in their order.

        A row without an answer may lack; `problems` says why. MuseQuestError where the system
        cannot answer at all.
        """

    def cost(self) -> dict[str, float]:
        """What the answers took besides `seconds`, each with its unit in its name."""
        return {}


def answers_of(
    system: System,
    folder: Path,
    asked: dict[str, Any],
    rows: Callable[[], Rows],
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """The system's answers to what `rows` gives, asked for unless they are in `folder` already.

    `asked` is all that decides them. Returns predictions.parquet as it is on disk.
    """
    if (kept := kept_answers(folder, asked)) is not None:
        return kept
    with hold(folder):
        shown, start = rows(), time.monotonic()
        system.problems, system.journal = [], Journal(folder, asked)
        try:
            predictions = system.answer(shown, progress=progress)
            asked = asked | system.journal.found
        finally:
            system.journal = None
        if (names := getattr(shown, "shown_item_names", None)) is not None:
            pairs = zip(predictions, names, strict=True)
            predictions = [row | {"shown_item_name": name} for row, name in pairs]
        unanswered = len(shown) - len(predictions)
        return keep_answers(
            folder, asked, predictions, time.monotonic() - start, system, unanswered
        )


def kept_answers(folder: Path, asked: dict[str, Any]) -> pd.DataFrame | None:
    """The answers in `folder` if they were asked the same and none is missing, else None."""
    path = folder / "predictions.parquet"
    record = read_remade(folder / "infer.json")
    there, here = (
        {key: each for key, each in values.items() if key not in OUTCOME}
        for values in (record, json.loads(json.dumps(asked)))
    )
    if not (there == here and path.exists()) or record.get("unanswered"):
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
        self.found: dict[str, int] = {}  # the rows together, once they are known

    def begin(self, rows: Rows, batch_size: int) -> list[dict[str, Any]]:
        """The first answers to these questions that are there, of whole batches alone.

        Batches then are the same as without an interruption, and so are their answers.
        """
        self.found = {"batch_size": batch_size}
        lines = self.path.read_bytes().splitlines() if self.path.is_file() else []
        lines = lines[1:] if lines[:1] == [self.head.encode()] else []
        known: list[dict[str, Any]] = []
        with suppress(ValueError):  # the last line of a process that was killed
            for line, row in zip(lines, rows, strict=False):
                answer = parse_json(line, Answer)
                if answer["data_id"] != row["data_id"]:
                    break
                known.append(answer)
        if len(known) < len(rows):
            del known[len(known) - len(known) % batch_size :]
        written = [self.head, *map(json.dumps, known)]
        write_text(self.path, "".join(f"{line}\n" for line in written))
        return known

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Write down a batch's answers."""
        with self.path.open("a", encoding="ascii") as file:
            file.writelines(f"{json.dumps(row)}\n" for row in rows)


def keep_answers(
    folder: Path, asked: dict[str, Any], predictions: list[dict[str, Any]], seconds: float,
    system: System, unanswered: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Write both files and log the first problems; returns the table as written.

    `unanswered` counts the questions that have no row: while there are any, they are asked again.
    """
    for problem in system.problems[:LOGGED]:
        LOGGER.warning("%s: %s", folder.name, problem)
    if more := len(system.problems[LOGGED:]):
        LOGGER.warning("%s: %d more like this stand in infer.json", folder.name, more)
    record: dict[str, Any] = {**asked, "seconds": round(seconds, 3), "problems": system.problems}
    record |= {"unanswered": unanswered} if unanswered else {}
    times = [row["seconds"] for row in predictions]
    mean_ms = round(1000 * sum(times) / len(times), 1) if times else None
    record["cost"] = {"milliseconds_per_answer": mean_ms, **system.cost()}
    path = folder / "predictions.parquet"
    (folder / "infer.json").unlink(missing_ok=True)  # it vouches for the table beside it
    write_table("predictions", path, predictions)
    write_json(folder / "infer.json", record | {"predictions_sha256": file_digest(path)})
    (folder / JOURNAL).unlink(missing_ok=True)
    return read_table("predictions", path)
