"""Reads the answers of several systems and brings them to the items they share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ..errors import BAD_SHARE_LIMIT, MuseQuestError
from ..home import plain_name
from ..tables import read_table
from .systems import ordered

TEXTS = ["data_id", "item_name", "image_name", "question", "ground_truth", "answer"]
# Characters scored of one answer; a docent's answer has about 400, the published ones about 1,000.
LONGEST_ANSWER = 20_000
TRACK_LABELS = {
    "all": "All items",
    "unseen_photo": "Photos unseen in training",
    "seen_photo": "Photos seen in training",
}


@dataclass
class Answers:
    """What is scored: the shared items, each system's answers to them, and what to know of it."""

    items: (
        pd.DataFrame
    )  # data_id, item_name, image_name, question, ground_truth, track ("" if none)
    by_system: dict[str, list[str]]  # in the order of the items
    sources: dict[str, str]  # item_name -> what its exhibit states
    files: dict[str, dict[str, object]]  # system -> path, sha256, items
    notices: list[str] = field(default_factory=list)  # one sentence each

    def rows_of(self, track: str) -> pd.Series:
        """(n,) bool: which items belong to a track; all of them to "all"."""
        return self.items.track.eq(track) | (track == "all")

    @property
    def tracks(self) -> list[str]:
        """ "all", then the tracks that occur."""
        there = set(self.items.track) - {"", "all"}
        return [track for track in TRACK_LABELS if track == "all" or track in there]


def gather(
    predictions: Mapping[str, str | Path],
    exhibits: str | Path | None = None,
    tracks: Mapping[str, str] | None = None,
) -> Answers:
    """Read each system's predictions.parquet and keep the items that all of them answer.

    `exhibits` is an exhibits.parquet, by which invented facts are judged; without it the ground
    truths of the same exhibit serve. `tracks` maps data_id to track; without it the predictions'
    own column `track` is used if there is one. A file with a data_id twice, systems that disagree
    on a ground truth, no shared item, or more than 10 % unknown items raise MuseQuestError.
    """
    if not predictions:
        raise MuseQuestError("There are no predictions to score; give at least one NAME=FILE.")
    notices: list[str] = []
    names = ordered(plain_name(name, "system") for name in predictions)
    tables = {name: _read(name, Path(predictions[name]), notices) for name in names}
    items = _shared(tables, notices)
    items = _tracked(items, tracks, notices)
    items, sources = _with_sources(items, exhibits, notices)
    by_system = {
        name: _answers(name, table.loc[items.data_id, "answer"], notices)
        for name, table in tables.items()
    }
    files = {name: _file(Path(predictions[name]), tables[name]) for name in names}
    return Answers(items, by_system, sources, files, notices)


def _file(path: Path, table: pd.DataFrame) -> dict[str, object]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": str(path), "sha256": digest, "items": len(table)}


def _read(name: str, path: Path, notices: list[str]) -> pd.DataFrame:
    """One system's table, by data_id in sorted order."""
    table = read_table("predictions", path)
    if table.empty:
        raise MuseQuestError(f"{path} holds no answers; run infer for {name} again.")
    for column in ("data_id", "item_name"):
        if table[column].isna().any():
            row = int(table[column].isna().to_numpy().argmax())
            raise MuseQuestError(f"{path}: row {row} has no {column}; write one and score again.")
    table[TEXTS] = table[TEXTS].fillna("")
    twice = table.data_id[table.data_id.duplicated()]
    if len(twice):
        raise MuseQuestError(
            f"{path} has the data_id '{twice.iloc[0]}' more than once; keep one row an item."
        )
    empty = table[table.ground_truth.str.strip() == ""]
    if len(empty):
        _leave_out(list(empty.data_id), len(table), f"of {path} have no ground truth", notices)
    return table.drop(index=empty.index).set_index("data_id", drop=False).sort_index()


def _shared(tables: Mapping[str, pd.DataFrame], notices: list[str]) -> pd.DataFrame:
    """The items that every system answers, on which all of them must agree."""
    shared = sorted(set.intersection(*(set(table.index) for table in tables.values())))
    if not shared:
        raise MuseQuestError(
            f"{' and '.join(tables)} share no data_id; score systems that answered the same items."
        )
    for name, table in tables.items():
        if more := len(table) - len(shared):
            notices.append(
                f"{name} answers {more} items that another system lacks; only the {len(shared)} "
                "shared items are scored."
            )
    first_name, first = next(iter(tables.items()))
    for name, table in tables.items():
        _check_agreement(first_name, first.loc[shared], name, table.loc[shared])
    columns = [*TEXTS[:-1], *(["track"] if "track" in first else [])]
    return first.loc[shared, columns].reset_index(drop=True)


def _check_agreement(name: str, table: pd.DataFrame, other: str, others: pd.DataFrame) -> None:
    for column in ("item_name", "ground_truth"):
        differs = table[column] != others[column]
        if differs.any():
            raise MuseQuestError(
                f"{name} and {other} disagree on the {column} of '{differs.idxmax()}'; they "
                "answered different datasets, so run infer again for one of them."
            )


def _tracked(
    items: pd.DataFrame, tracks: Mapping[str, str] | None, notices: list[str]
) -> pd.DataFrame:
    """The items with their track; those the dataset does not know are left out."""
    if tracks is None:
        own = items["track"].fillna("").astype(str) if "track" in items else ""
        return items.assign(track=own)
    known = items.data_id.isin(set(tracks))
    if not known.all():
        _leave_out(list(items.data_id[~known]), len(items), "are not in the dataset", notices)
    if lacking := len(set(tracks) - set(items.data_id)):
        notices.append(f"{lacking} of the dataset's {len(tracks)} items lack an answer.")
    items = items[known].reset_index(drop=True)
    return items.assign(track=[tracks[data_id] or "" for data_id in items.data_id])


def _with_sources(
    items: pd.DataFrame, exhibits: str | Path | None, notices: list[str]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The items of known exhibits, and what each exhibit states."""
    if exhibits is None:
        return items, items.groupby("item_name").ground_truth.agg("\n".join).to_dict()
    texts = {row.item_name: _text(row) for row in read_table("exhibits", exhibits).itertuples()}
    known = items.item_name.isin(set(texts))
    if not known.all():
        bad, source = list(items.data_id[~known]), f"belong to exhibits that {exhibits} lacks"
        _leave_out(bad, len(items), source, notices)
    return items[known].reset_index(drop=True), texts


def _text(exhibit: object) -> str:
    """Title, description and facts of an exhibit in one text."""
    try:
        facts = json.loads(exhibit.facts or "{}")
    except (TypeError, ValueError):
        facts = {}
    values = facts.values() if isinstance(facts, dict) else []
    return "\n".join([exhibit.title or "", exhibit.description or "", *map(str, values)])


def _leave_out(bad: list[str], total: int, what: str, notices: list[str]) -> None:
    """Note which items are left out; MuseQuestError if they are more than 10 %."""
    sentence = f"{len(bad)} of {total} items {what} (the first is '{bad[0]}')"
    if len(bad) > BAD_SHARE_LIMIT * total:
        raise MuseQuestError(f"{sentence}; that is too many, so check what you gave to be scored.")
    notices.append(f"{sentence} and are left out.")


def _answers(name: str, answers: pd.Series, notices: list[str]) -> list[str]:
    """The texts that are scored; empty and enormous ones are noted."""
    empty = answers.index[answers.str.strip() == ""]
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
