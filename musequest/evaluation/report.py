"""The report: one page that needs nothing else, with scores, figures and every answer.

The page loads nothing and runs no script but its own; whatever comes from data is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from ..files import write_text
from ..numbers import find_numbers
from ..settings import Profile
from .answers import TRACK_LABELS
from .facts import Mark, NumberCheck, check_numbers
from .metrics import METRICS, Metric
from .results import Results, load_results
from .systems import system

# Characters that have no place in a page; HTML knows no way to write them.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
FIGURES = {
    "metric_bars": "Every metric with its 95 % interval.",
    "per_item": "Each row is an exhibit, each point a system's answers about it; the further left, "
    "the closer to the ground truth.",
    "loss_curves": "The loss while tuning.",
}
PHOTO_EDGE, MANY_ITEMS, SMALL_EDGE = 480, 100, 320  # px, items, px


def build_report(profile: Profile | str) -> Path:
    """Write results/<profile>/report.html from an evaluated profile; returns its path."""
    results = load_results(profile)
    path = results.folder / "report.html"
    write_text(path, render(results))
    return path


def render(results: Results) -> str:
    """The page as text."""
    loader = PackageLoader("musequest.evaluation", "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = results.systems
    looks = [
        {"name": name, "label": system(name).label, "place": i} for i, name in enumerate(names)
    ]
    css = environment.get_template("report.css.j2").render(
        colours=[system(n).colour for n in names]
    )
    script = environment.get_template("report.js.j2").render()
    return environment.get_template("report.html.j2").render(
        css=Markup(css),
        css_digest=_digest(css),
        script=Markup(script),
        script_digest=_digest(script),
        profile=results.profile,
        record=results.record,
        systems=looks,
        metrics=list(METRICS.values()),
        tables=[_table(results, track) for track in _tracks(results)],
        figures=_figures(results.folder / "figures"),
        tracks=TRACK_LABELS,
        items=_items(results),
    )


def _tracks(results: Results) -> list[str]:
    """The tracks, the one that counts first."""
    return sorted(results.summary, key=lambda track: track != results.main_track)


def _table(results: Results, track: str) -> dict[str, Any]:
    """One score table: a row a metric, a cell a system."""
    own = results.summary[track]
    rows = [
        {
            "metric": metric,
            "cells": _cells(metric, [own[name][metric.name] for name in results.systems]),
        }
        for metric in METRICS.values()
    ]
    return {"track": track, "items": results.record["items_per_track"][track], "rows": rows}


def _cells(metric: Metric, values: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    means = [value["mean"] for value in values if value["mean"] is not None]
    best = {"low": min, "high": max}.get(metric.best)
    winner = best(means) if best and len(means) > 1 else None
    return [
        {
            "mean": show(value["mean"], metric),
            "interval": ""
            if value["ci_low"] is None
            else f"{show(value['ci_low'], metric)} – {show(value['ci_high'], metric)}",
            "n": value["n"],
            "best": winner is not None and value["mean"] == winner,
        }
        for value in values
    ]


def show(value: float | None, metric: Metric) -> str:
    """A score as readers see it: whole numbers for counts, two decimals for shares."""
    if value is None or value != value:
        return "–"
    return f"{value:.0f}" if metric.limits[1] is None else f"{value:.2f}"


def _figures(folder: Path) -> list[dict[str, str]]:
    return [
        {"name": name, "text": text, "url": _data_url((folder / f"{name}.png").read_bytes(), "png")}
        for name, text in FIGURES.items()
        if (folder / f"{name}.png").is_file()
    ]


def _items(results: Results) -> list[dict[str, Any]]:
    """Every scored item with its photo, question, ground truth and answers."""
    answers = results.answers
    scores = {key: own.set_index("data_id") for key, own in results.scores.groupby("model")}
    edge = PHOTO_EDGE if len(answers.items) <= MANY_ITEMS else SMALL_EDGE
    photos = results.photos(edge)
    items = []
    for place, row in enumerate(answers.items.itertuples()):
        given = [
            _answer(
                name, number, answers.by_system[name][place], row, answers.sources, scores[name]
            )
            for number, name in enumerate(results.systems)
        ]
        items.append(
            {
                "data_id": row.data_id,
                "title": results.titles.get(row.item_name, row.item_name),
                "track": row.track,
                "photo": photo_url(photos[row.data_id]) if row.data_id in photos else "",
                "question": printable(row.question),
                "ground_truth": segments(row.ground_truth, _stated(row.ground_truth)),
                "answers": given,
                "values": json.dumps({each["name"]: each["values"] for each in given}),
            }
        )
    return items


def _answer(
    name: str, place: int, answer: str, item: Any, sources: dict[str, str], scores: pd.DataFrame
) -> dict[str, Any]:
    """One system's answer to one item, its numbers marked, its scores beside it."""
    check = check_numbers(answer, item.ground_truth, sources[item.item_name])
    own = scores.loc[item.data_id]
    values = {metric: None if pd.isna(own[metric]) else float(own[metric]) for metric in METRICS}
    return {
        "name": name,
        "label": system(name).label,
        "place": place,
        "segments": segments(answer, check.marks),
        "check": _printable_check(check),
        "values": values,
        "shown": [
            (METRICS[metric], show(value, METRICS[metric])) for metric, value in values.items()
        ],
    }


def _printable_check(check: NumberCheck) -> dict[str, list[str]]:
    return {
        "missing": [printable(text) for text in check.missing],
        "invented": [printable(text) for text in check.invented],
    }


def _stated(text: str) -> list[Mark]:
    return [(number.start, number.end, "stated") for number in find_numbers(text)]


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
    return _data_url(buffer.getvalue(), "jpeg")


def _data_url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _digest(text: str) -> str:
    """How a page's own policy names the one style sheet and the one script it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
