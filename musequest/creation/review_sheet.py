"""A review in a spreadsheet: written for curators who like one better than the desk, and read back.

    musequest review --collection pocket --export dialogs.csv
    musequest review --collection pocket --import dialogs.csv --by "Ada Holm"

A row is a dialog as things stand, with the version that was seen and the digest of its text: by
these `review.decide` knows whether somebody has decided, or the text has changed, meanwhile.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ..core.files import SHEET, write_csv
from .exhibit_lists import read_whole_csv
from .review import DECISIONS, Decision, check_dialogs, decide_all, read_review, text_digest

COLUMNS = (
    *("item_name", "dialog_id", "review", "question", "answer", "note"),
    *("reviewed_by", "reviewed_at", "version", "text_sha256"),
)


def overview(collection: str) -> pd.DataFrame:
    """How far the review is: a row an exhibit, and one for all."""
    review, table = read_review(collection), pd.DataFrame(_rows(collection))
    counts = pd.crosstab(table["item_name"], table["review"].replace("", "open"))
    counts = counts.reindex(columns=[*DECISIONS], fill_value=0)
    counts.loc["all"] = counts.sum()
    counts["exhibit withheld"] = ["yes" if name in review.withheld else "" for name in counts.index]
    return counts.rename_axis(index="exhibit", columns=None)


def write_sheet(collection: str, path: Path) -> int:
    """Write all dialogs as CSV, to be decided about in a spreadsheet; returns how many."""
    rows = _rows(collection)
    write_csv(path, COLUMNS, rows, SHEET)
    return len(rows)


def read_sheet(collection: str, path: Path, by: str) -> tuple[int, list[str]]:
    """Save what was decided in a sheet since it was written; returns how many, and what was not.

    A text that was changed there is an edit; an empty `review` takes back the decision before. A
    row about something that has changed meanwhile, or that cannot be kept, is told and left.
    """
    shown = {row["dialog_id"]: row for row in _rows(collection)}
    places, asked = list[str](), list[tuple[Decision, int]]()
    for place, _, cells in read_whole_csv(path, COLUMNS):
        before = shown.get(cells["dialog_id"], {})
        kind = cells["review"].strip().casefold() or "open"
        texts = {name: cells[name].replace("\r\n", "\n") for name in ("question", "answer")}
        edited = bool(before) and any(texts[name] != before[name] for name in texts)
        same = before and (kind, cells["note"]) == (before["review"] or "open", before["note"])
        if same and not edited:
            continue
        chosen = "edited" if edited and kind != "withheld" else kind
        about = {name: cells[name] for name in ("item_name", "dialog_id", "text_sha256")}
        decision = Decision(decision=chosen, by=by, note=cells["note"], **about, **texts)
        version = int(cells["version"]) if cells["version"].isdecimal() else -1
        places.append(place)
        asked.append((decision, version))
    told = zip(places, decide_all(collection, asked), strict=True)
    refused = [f"{path}, {place}: {saved}" for place, saved in told if isinstance(saved, Exception)]
    return len(asked) - len(refused), refused


def _rows(collection: str) -> list[dict[str, Any]]:
    """The rows of a sheet, as things stand."""
    review, rows = read_review(collection), []
    for dialog in check_dialogs(collection):
        version = review.version(dialog["item_name"], dialog["dialog_id"])
        row = review.decided(dialog) | {"version": version, "text_sha256": text_digest(dialog)}
        rows.append({name: row.get(name, "") for name in COLUMNS})
    return rows
