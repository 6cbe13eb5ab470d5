"""The report's second half: each item with its photo, and every answer with its facts marked."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
from PIL import Image

from .facts import FactCheck, Mark, check_numbers
from .metrics import item_metrics
from .names import check_names
from .results import Results
from .systems import system

# Characters that have no place in a page; HTML knows no way to write them.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
PHOTO_EDGE, MANY_ITEMS, SMALL_EDGE = 480, 100, 320  # px, items, px


def items_of(results: Results) -> list[dict[str, Any]]:
    """Every scored item with its photo, question, ground truth and answers, for the template."""
    answers = results.answers
    scores = {key: own.set_index("data_id") for key, own in results.scores.groupby("model")}
    photos = results.photos(PHOTO_EDGE if len(answers.items) <= MANY_ITEMS else SMALL_EDGE)
    items = []
    for place, row in enumerate(answers.items.itertuples()):
        source = answers.sources[row.item_name]
        truth = _checks(row.ground_truth, row.ground_truth, source)
        given = [
            {
                "place": number,
                **_told(name, answers.given[name].answers[place], row.ground_truth, source),
                **_scored(scores[name].loc[row.data_id], row.item_name, results.titles),
            }
            for number, name in enumerate(results.systems)
        ]
        items.append(
            {
                "data_id": row.data_id,
                "item_name": row.item_name,
                "title": results.titles.get(row.item_name, row.item_name),
                "track": row.track,
                "photo": photo_url(photos[row.data_id]) if row.data_id in photos else "",
                "question": printable(row.question),
                "ground_truth": segments(row.ground_truth, _marks(truth, "stated")),
                "answers": given,
                "values": json.dumps({each["name"]: each["values"] for each in given}),
            }
        )
    return items


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


def _scored(own: pd.Series, item_name: str, titles: dict[str, str]) -> dict[str, Any]:
    """An answer's scores, and for which exhibit it could be taken if not for its own."""
    metrics = [metric for metric in item_metrics() if not pd.isna(own[metric.name])]
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


def photo_url(photo: Image.Image) -> str:
    """A photo as a JPEG inside a URL."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=80, optimize=True)
    return data_url(buffer.getvalue(), "jpeg")


def data_url(content: bytes, kind: str) -> str:
    """An image inside a URL."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
