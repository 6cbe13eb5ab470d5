"""The report's second half: each item with its photo, and every answer with its facts marked.

Then the things from outside the collection, and which exhibits the answers claim them to be.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from PIL import Image

from ..photos import open_photo
from ..systems.registry import OUTSIDERS, on_track, system
from ..text.facts import FactCheck, Mark, check_names, check_numbers
from ..text.titles import Title, claims, telling_titles
from .metrics import METRICS
from .results import Results

# Characters that have no place in a page; HTML knows no way to write them.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
PHOTO_EDGE, MANY_ITEMS, SMALL_EDGE = 480, 100, 320  # px, items, px


def items_of(results: Results) -> list[dict[str, Any]]:
    """Every scored item with its photo, question, ground truth and answers, for the template."""
    answers = results.answers
    items_alone = on_track(results.scores, "all")
    scores = {key: own.set_index("data_id") for key, own in items_alone.groupby("model")}
    photos = results.photos(edge_for(len(answers.items)))
    items = []
    for place, row in enumerate(answers.items.itertuples()):
        source = answers.sources[row.item_name]
        truth = _checks(row.ground_truth, row.ground_truth, source)
        title = printable(results.titles.get(row.item_name, row.item_name))
        given = [
            {
                "place": number,
                **_told(name, answers.given[name].answers[place], row.ground_truth, source),
                **scored(scores[name].loc[row.data_id], row.item_name, results.titles),
                "claimed": None,
            }
            for number, name in enumerate(results.systems)
        ]
        items.append(
            {
                "data_id": row.data_id,
                "item_name": row.item_name,
                "title": title,
                "track": row.track,
                "photo": photo_of(photos.get(row.data_id), f"Photo of {title}"),
                "question": printable(row.question),
                "ground_truth": segments(row.ground_truth, _marks(truth, "stated")),
                "answers": given,
                "values": values_of(given),
            }
        )
    return items


def edge_for(photos: int) -> int:
    """How long a photo's longer side is in a page of so many, in px."""
    return PHOTO_EDGE if photos <= MANY_ITEMS else SMALL_EDGE


def values_of(given: Sequence[Mapping[str, Any]]) -> str:
    """An item's scores by system and metric, as the page's script reads them."""
    return json.dumps({each["name"]: each["values"] for each in given})


def _checks(answer: str, truth: str, source: str) -> tuple[FactCheck, FactCheck]:
    return check_numbers(answer, truth, source), check_names(answer, truth, source)


def _marks(checks: Sequence[FactCheck], kind: str = "") -> list[Mark]:
    return [(start, end, kind or own) for check in checks for start, end, own in check.marks]


def _told(name: str, answer: str, truth: str, source: str) -> dict[str, Any]:
    """One answer with its facts marked, and lists of the wrong ones."""
    checks = _checks(answer, truth, source)
    lists = {
        kind: [printable(fact) for check in checks for fact in getattr(check, kind)]
        for kind in ("invented", "missing")
    }
    return {
        "name": name,
        "label": system(name).label,
        "segments": segments(answer, _marks(checks)),
        **lists,
    }


def scored(own: pd.Series, item_name: str, titles: dict[str, str]) -> dict[str, Any]:
    """An answer's scores, and for which exhibit it could be taken if not for its own."""
    metrics = [metric for metric in METRICS.values() if not pd.isna(own[metric.name])]
    nearest = own.nearest_exhibit
    mistaken = isinstance(nearest, str) and nearest != item_name
    return {
        "values": {metric.name: float(own[metric.name]) for metric in metrics},
        "shown": [(metric, metric.show(own[metric.name])) for metric in metrics],
        "taken_for": titles.get(nearest, nearest) if mistaken else "",
    }


def segments(text: str, marks: Sequence[Mark]) -> list[tuple[str, str]]:
    """`text` cut at its marks: pieces with the kind of their mark, "" between marks."""
    pieces, done = [], 0
    for start, end, kind in sorted(marks):
        start = max(start, done)
        if start < end:
            pieces += [(text[done:start], ""), (text[start:end], kind)]
            done = end
    pieces.append((text[done:], ""))
    return [(printable(piece), kind) for piece, kind in pieces if piece]


def printable(text: str) -> str:
    """`text` without control characters."""
    return CONTROL.sub("\ufffd", text)


def photo_of(photo: Image.Image | None, shows: str) -> dict[str, Any] | None:
    """A photo as a page holds it, with what it shows in words."""
    if photo is None:
        return None
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=80, optimize=True)
    return {"shows": printable(shows), **_inlined(buffer.getvalue(), "jpeg", photo.size)}


def image_of(figure: bytes) -> dict[str, Any]:
    """A figure's PNG inside a URL, and its width and height in px, by which a page keeps room."""
    return _inlined(figure, "png", open_photo(figure, name="a figure of the report").size)


def _inlined(content: bytes, kind: str, size: tuple[int, int]) -> dict[str, Any]:
    url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return {"url": url, "width": size[0], "height": size[1]}


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
                **_claiming(row.model, row.answer, titles),
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


def _claiming(name: str, answer: str, titles: Sequence[Title]) -> dict[str, Any]:
    """One answer, and the exhibits whose titles it claims; None where no title can be told."""
    return {
        "name": name,
        "label": system(name).label,
        "segments": [(printable(answer), "")] if answer else [],
        "claimed": [title.text for title in claims(answer, titles)] if titles else None,
        "invented": [],
        "missing": [],
    }
