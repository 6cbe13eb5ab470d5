"""The report's answers about things from outside the collection, and which exhibits they claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from .report_items import edge_for, photo_of, printable, scored, values_of
from .results import Results
from .systems import OUTSIDERS, system
from .titles import Title, claims, telling_titles


def outsiders_of(results: Results) -> list[dict[str, Any]]:
    """Every outside thing with its photo, question and answers, for the template.

    It has no ground truth: what counts is whether an answer claims an exhibit. Systems that were
    asked something else about a thing of the same number stand in an item of their own.
    """
    tables = [
        table.assign(model=name, place=results.systems.index(name))
        for name, table in results.answers.outsiders.items()
    ]
    if not tables:
        return []
    rows = pd.concat(tables, ignore_index=True)
    rates = results.scores[results.scores.track == OUTSIDERS].set_index(["model", "data_id"])
    titles = telling_titles(results.answers.titles)
    photos = results.outsider_photos(edge_for(rows.data_id.nunique()))
    items = []
    for (data_id, question), own in rows.groupby(["data_id", "question"]):
        given = [
            {
                **_told(row.model, row.answer, titles),
                **scored(rates.loc[row.model, row.data_id], "", {}),
                "place": row.place,
            }
            for row in own.sort_values("place").itertuples()
        ]
        shows = printable(own.ground_truth.iloc[0])
        items.append(
            {
                "data_id": data_id,
                "item_name": "",
                "title": shows or data_id,
                "track": OUTSIDERS,
                "photo": photo_of(photos.get(data_id), shows),
                "question": printable(question),
                "ground_truth": [],
                "answers": given,
                "values": values_of(given),
            }
        )
    return items


def _told(name: str, answer: str, titles: Sequence[Title]) -> dict[str, Any]:
    """One answer, and the exhibits whose titles it claims; None where no title can be told."""
    return {
        "name": name,
        "label": system(name).label,
        "segments": [(printable(answer), "")] if answer else [],
        "claimed": [title.text for title in claims(answer, titles)] if titles else None,
        "invented": [],
        "missing": [],
    }
