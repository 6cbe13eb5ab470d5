"""The items that all systems answer, their tracks, and what their exhibits state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import BAD_SHARE_LIMIT, MuseQuestError
from ..files import parse_json
from ..tables import read_table
from .tracks import ITEM_TRACKS

TEXTS = ["data_id", "item_name", "image_name", "question", "ground_truth", "answer"]


def shared(tables: Mapping[str, pd.DataFrame], notices: list[str]) -> pd.DataFrame:
    """The items that every system answers, on which all of them must agree."""
    common = sorted(set.intersection(*(set(table.index) for table in tables.values())))
    if not common:
        raise MuseQuestError(
            f"{' and '.join(tables)} share no data_id; score systems that answered the same items."
        )
    for name, table in tables.items():
        if more := len(table) - len(common):
            notices.append(
                f"{name} answers {more} items that another system lacks; only the {len(common)} "
                "shared items are scored."
            )
    first_name, first = next(iter(tables.items()))
    for name, table in tables.items():
        check_agreement(first_name, first.loc[common], name, table.loc[common])
    items = first.loc[common, TEXTS[:-1]].reset_index(drop=True)
    return items.assign(**_own_tracks(tables, common))


def _own_tracks(tables: Mapping[str, pd.DataFrame], common: list[str]) -> dict[str, list[Any]]:
    """The tracks of the items, where a system's own table has them: all that do have to agree."""
    own = {name: table.track[common] for name, table in tables.items() if "track" in table}
    for name, tracks in own.items():
        first_name, first = next(iter(own.items()))
        if not tracks.equals(first):
            raise MuseQuestError(
                f"{first_name} and {name} disagree on the track of items; leave that column out."
            )
    return {"track": list(first)} if own else {}


def check_agreement(name: str, table: pd.DataFrame, other: str, others: pd.DataFrame) -> None:
    """MuseQuestError unless both tables have the same exhibits and ground truths."""
    for column in ("item_name", "ground_truth"):
        differs = table[column] != others[column]
        if differs.any():
            raise MuseQuestError(
                f"{name} and {other} disagree on the {column} of '{differs.idxmax()}'; they are of "
                "different datasets, so run infer again for what is older."
            )


def tracked(items: pd.DataFrame, dataset: pd.DataFrame | None, notices: list[str]) -> pd.DataFrame:
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
    if not known.all():
        leave_out(list(items.data_id[~known]), len(items), "are not in the dataset", notices)
    if lacking := len(set(dataset.index) - set(items.data_id)):
        notices.append(f"{lacking} of the dataset's {len(dataset)} items lack an answer.")
    items = items[known].reset_index(drop=True)
    rows = dataset.loc[items.data_id]
    check_agreement("the dataset", rows, "the answers", items.set_index("data_id"))
    return items.assign(track=list(rows.track))


def with_sources(
    items: pd.DataFrame, exhibits: str | Path | None, notices: list[str]
) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """The items of known exhibits, what each exhibit states, and all titles."""
    if exhibits is None:
        return items, items.groupby("item_name").ground_truth.agg("\n".join).to_dict(), []
    table = read_table("exhibits", exhibits)
    table[["title", "description"]] = table[["title", "description"]].fillna("")
    if len(twice := table.item_name[table.item_name.duplicated()]):
        raise MuseQuestError(f"{exhibits} has '{twice.iloc[0]}' twice; keep one row an exhibit.")
    texts = {row.item_name: _text(row) for row in table.itertuples()}
    known = items.item_name.isin(set(texts))
    if not known.all():
        bad, source = list(items.data_id[~known]), f"belong to exhibits that {exhibits} lacks"
        leave_out(bad, len(items), source, notices)
    return items[known].reset_index(drop=True), texts, list(table.title)


def _text(exhibit: object) -> str:
    """Title, description and facts of an exhibit in one text."""
    try:
        facts = parse_json(exhibit.facts or "{}", dict[str, Any])
    except (TypeError, ValueError):
        facts = {}
    return "\n".join([exhibit.title, exhibit.description, *map(str, facts.values())])


def leave_out(bad: list[str], total: int, what: str, notices: list[str]) -> None:
    """Note which items are left out; MuseQuestError if they are more than 10 %."""
    sentence = f"{len(bad)} of {total} items {what} (the first is '{bad[0]}')"
    if len(bad) > BAD_SHARE_LIMIT * total:
        raise MuseQuestError(f"{sentence}; that is too many, so check what you gave to be scored.")
    notices.append(f"{sentence} and are left out.")
