"""Reads the answers of several systems and brings them to the items they share.

Also whence an item's track comes, and what its exhibit states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import MuseQuestError
from ..core.files import file_digest, parse_json
from ..core.home import plain_name
from ..core.keys import ENGLISH
from ..core.tables import read_table
from ..systems.registry import CONTROLS, ITEM_TRACKS, OUTSIDERS, TRACK_LABELS, ordered, variant
from ..text.claims import facts_of
from ..text.titles import untold
from .answer_files import ITEM, answers_by_id, drop, scored_texts
from .differences import asked_alike

NO_TITLES = (
    "Without --exhibits nobody knows the titles by which a docent could mistake "
    "a thing from outside, so false_recognition_rate has no values."
)


@dataclass(frozen=True)
class Given:
    """One system's answers to some of the items."""

    places: np.ndarray  # (n,) which items, in their order
    answers: list[str]
    seconds: np.ndarray  # (n,) NaN where none were recorded
    confidence: np.ndarray | float = float("nan")  # (n,) of systems that tell how sure they are


@dataclass
class Answers:
    """What is scored: the shared items, each system's answers to them, and what to know of it."""

    items: pd.DataFrame  # the columns of ITEM, and track, "" if none
    given: dict[str, Given]  # systems answer all items, their ablations perhaps fewer
    outsiders: dict[str, pd.DataFrame]  # system -> its answers about things not in the collection
    sources: dict[str, str]  # item_name -> what its exhibit states
    titles: list[str]  # of all exhibits; empty where no exhibits.parquet is given
    files: dict[str, dict[str, object]]  # system or variant -> path, sha256, items
    exhibits_sha256: str | None  # of exhibits.parquet, where one is given
    notices: list[str]  # one sentence each
    facts: dict[str, dict[str, str]]  # item_name -> property -> value, of those that have any
    asked: dict[str, pd.DataFrame]  # system -> question and photo by data_id, "" if not known
    asked_otherwise: dict[str, int]  # system -> how many items it was asked otherwise than others

    @property
    def systems(self) -> list[str]:
        """The systems without their ablations."""
        return [name for name in self.given if not variant(name)[1]]

    @property
    def tracks(self) -> dict[str, int]:
        """How many items belong to "all", then to each of the tracks that occur."""
        counts = self.items.track.value_counts().to_dict() | {"all": len(self.items)}
        return {track: counts[track] for track in TRACK_LABELS if track in counts}


def gather(
    predictions: Mapping[str, str | Path],
    exhibits: str | Path | None = None,
    dataset: pd.DataFrame | None = None,
) -> Answers:
    """Read each system's answers (see answer_files.py), and keep the items all of them answer.

    Names such as `lora__blank_photo` and `lora__outsiders` are ablations and answers about outside
    things; neither narrows what the systems share. `exhibits` is an exhibits.parquet, by which
    invented facts are judged; without it the ground truths of the same exhibit serve. `dataset`
    holds the items that may be answered (results.dataset_items), with their tracks; without it the
    predictions' own column `track` is used if there is one. A file with a data_id twice, systems or
    a dataset that disagree on a ground truth, no shared item, or more than 10 % unknown items raise
    MuseQuestError.
    """
    notices: list[str] = []
    names = ordered(plain_name(name, "system") for name in predictions)
    _check_names(names)
    tables = {name: answers_by_id(name, Path(predictions[name]), notices) for name in names}
    systems = {name: table for name, table in tables.items() if not variant(name)[1]}
    items = _tracked(_shared(systems, notices), dataset, notices)
    items, sources, titles, facts = _with_texts(items, exhibits, notices)
    variants = [name for name in names if variant(name)[1] not in ("", OUTSIDERS)]
    given = {name: _given(name, items, tables[name], notices) for name in [*systems, *variants]}
    outsiders = _outsiders(tables, notices)
    if outsiders and (sentence := untold(titles) if titles else NO_TITLES):
        notices.append(sentence)
    paths = {name: Path(predictions[name]) for name in names}
    files: dict[str, dict[str, object]] = {
        name: {"path": str(path), "sha256": file_digest(path), "items": len(tables[name])}
        for name, path in paths.items()
    }
    given = {name: own for name, own in given.items() if len(own.places)}
    asked = {name: _asked(table.loc[items.data_id]) for name, table in systems.items()}
    otherwise = _asked_otherwise(asked, notices)
    asked |= {n: pd.concat([asked[n], _asked(own)]) for n, own in outsiders.items()}
    return Answers(
        items, given, outsiders, sources, titles, files, file_digest(exhibits), notices, facts,
        asked, otherwise,
    )  # fmt: skip


def _check_names(names: list[str]) -> None:
    for name in names:
        if name in CONTROLS:
            raise MuseQuestError(f"'{name}' is the name of a control; give the system another one.")
        if (own := variant(name)[0]) not in names:
            raise MuseQuestError(
                f"{name} is a variant of {own}, which is not there; score the answers of {own} "
                "with it."
            )
    if not names:
        raise MuseQuestError("There are no predictions to score; give at least one NAME=FILE.")


def _shared(tables: Mapping[str, pd.DataFrame], notices: list[str]) -> pd.DataFrame:
    """The items that every system answers, on which all of them must agree."""
    common = _common(tables)
    if not common:
        raise MuseQuestError(
            f"{' and '.join(tables)} share no data_id; score systems that answered the same items."
        )
    first_name, first = next(iter(tables.items()))
    for name, table in tables.items():
        if more := len(table) - len(common):
            notices.append(
                f"{name} answers {more} items that another system lacks; only the {len(common)} "
                "shared items are scored."
            )
        _check_agreement(first_name, first.loc[common], name, table.loc[common])
    items = first.loc[common, ITEM].reset_index(drop=True)
    # Where a system's own table has tracks: all that do have to agree.
    own = {name: table.track[common] for name, table in tables.items() if "track" in table}
    for name, tracks in own.items():
        first_name, first = next(iter(own.items()))
        if not tracks.equals(first):
            raise MuseQuestError(
                f"{first_name} and {name} disagree on the track of items; leave that column out."
            )
        items["track"] = list(first)
    return items


def _asked(table: pd.DataFrame) -> pd.DataFrame:
    """What a system was asked about which photo, spaces and capitals aside."""
    questions = table.question.str.split().str.join(" ").str.casefold()
    return pd.DataFrame({"question": questions, "photo": table.image_name.str.split("/").str[-1]})


def _asked_otherwise(asked: Mapping[str, pd.DataFrame], notices: list[str]) -> dict[str, int]:
    """How many items each system was asked otherwise than the first one, told a sentence each."""
    found, (first, *others) = {}, asked
    for name in others:
        other = ~asked_alike(asked[first], asked[name])
        if count := int(other.sum()):
            found[name] = count
            notices.append(
                f"{name} was asked another question, or shown another photo, than {first} for "
                f"{count} of {len(other)} items (the first is '{asked[name].index[other][0]}'); "
                "its differences from systems asked otherwise leave these items out."
            )
    return found


def _common(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    return sorted(set.intersection(*(set(table.index) for table in tables.values())))


def _check_agreement(name: str, table: pd.DataFrame, other: str, others: pd.DataFrame) -> None:
    """MuseQuestError unless both tables have the same exhibits and ground truths."""
    for column in ("item_name", "ground_truth"):
        differs = table[column] != others[column]
        if differs.any():
            raise MuseQuestError(
                f"{name} and {other} disagree on the {column} of '{differs.idxmax()}'; they are of "
                "different datasets, so run infer again for what is older."
            )


def _tracked(items: pd.DataFrame, dataset: pd.DataFrame | None, notices: list[str]) -> pd.DataFrame:
    """The items with their track; those the dataset does not know are left out."""
    if dataset is None:
        own = items["track"].astype(object) if "track" in items else pd.Series("", items.index)
        own = own.fillna("")
        if not (known := own.isin(["", *ITEM_TRACKS])).all():
            notices.append(
                f"{(~known).sum()} items have a track that is neither "
                f"{' nor '.join(ITEM_TRACKS)} (the first is '{own[~known].iloc[0]}'); they count "
                "among all items only."
            )
        return items.assign(track=own.where(known, ""))
    known = items.data_id.isin(dataset.index)
    drop(items.data_id[~known], len(items), "are not in the dataset", notices)
    if lacking := len(set(dataset.index) - set(items.data_id)):
        notices.append(f"{lacking} of the dataset's {len(dataset)} items lack an answer.")
    items = items[known].reset_index(drop=True)
    rows = dataset.loc[items.data_id]
    _check_agreement("the dataset", rows, "the answers", items.set_index("data_id"))
    return items.assign(track=list(rows.track))


def _with_texts(
    items: pd.DataFrame, path: str | Path | None, notices: list[str]
) -> tuple[pd.DataFrame, dict[str, str], list[str], dict[str, dict[str, str]]]:
    """The items of known exhibits, what each exhibit states, all titles, and facts by exhibit.

    Facts are those against which answers are checked claim by claim, of exhibits in English.
    """
    if path is None:
        return items, items.groupby("item_name").ground_truth.agg("\n".join).to_dict(), [], {}
    table = read_table("exhibits", path).fillna({"title": "", "description": "", "credit": ""})
    if len(twice := table.item_name[table.item_name.duplicated()]):
        raise MuseQuestError(f"{path} has '{twice.iloc[0]}' twice; keep one row an exhibit.")
    sources, claimed = {}, {}
    for row in table.itertuples():
        facts = _facts(row.facts)
        sources[row.item_name] = "\n".join([row.title, row.description, *facts.values()])
        language = getattr(row, "language", None)
        if not isinstance(language, str) or language == ENGLISH:
            claimed[row.item_name] = facts_of(facts, row.description, row.credit)
    known = items.item_name.isin(set(sources))
    drop(items.data_id[~known], len(items), f"belong to exhibits that {path} lacks", notices)
    items = items[known].reset_index(drop=True)
    claimed = {name: facts for name, facts in claimed.items() if facts}
    return items, sources, list(table.title), claimed


def _facts(cell: str | None) -> dict[str, str]:
    try:
        facts = parse_json(cell or "{}", dict[str, Any])
    except (TypeError, ValueError):
        return {}
    return {name: str(value) for name, value in facts.items()}


def _given(name: str, items: pd.DataFrame, table: pd.DataFrame, notices: list[str]) -> Given:
    """A system's answers to the items it has answered; an ablation may lack some."""
    there = items.data_id.isin(table.index).to_numpy()
    if not there.all():
        notices.append(f"{name} answers {there.sum()} of the {len(items)} scored items.")
    own = table.loc[items.data_id[there]]
    if variant(name)[1]:
        _check_agreement(variant(name)[0], items[there].set_index("data_id"), name, own)
    answers = scored_texts(name, own["answer"], notices)
    sure = own.get("confidence", pd.Series(np.nan, own.index)).to_numpy(float)
    return Given(np.flatnonzero(there), answers, own.seconds.to_numpy(float), sure)


def _outsiders(tables: Mapping[str, pd.DataFrame], notices: list[str]) -> dict[str, pd.DataFrame]:
    """System -> its answers about those things from outside that all of these systems answered."""
    there = {name: table for name, table in tables.items() if variant(name)[1] == OUTSIDERS}
    if not there:
        return {}
    common, found = _common(there), {}
    for name, table in there.items():
        if more := len(table) - len(common):
            notices.append(
                f"{name} answers {more} things from outside that another system lacks; only the "
                f"{len(common)} shared ones are scored."
            )
        own = table.loc[common]
        found[variant(name)[0]] = own.assign(answer=scored_texts(name, own["answer"], notices))
    return found if common else {}
