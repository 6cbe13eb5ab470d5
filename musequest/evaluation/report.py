"""The report: one page that needs nothing else, with scores, figures and every answer.

The page loads nothing and runs no script but its own; whatever comes from data is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..files import write_text
from ..settings import Profile
from .answers import TRACK_LABELS
from .differences import looking
from .metrics import METRICS, Metric, item_metrics
from .report_items import data_url, items_of
from .results import Results, load_results
from .rows import ablation_frame, cost_frame, difference_frame, in_short
from .systems import CONTROLS, ordered, system

FIGURES = {
    "metric_bars": "Every metric with its 95 % interval.",
    "facts": "Facts an answer: recalled, missing, invented.",
    "sight": "What is left of each system's scores without the photo.",
    "per_item": "Each row is an exhibit, each point a system's answers about it; the further left, "
    "the closer to the ground truth.",
    "quality_costs": "Quality against what the tuning cost.",
    "loss_curves": "The loss while tuning.",
}


def build_report(profile: Profile | str) -> Path:
    """Write results/<profile>/report.html from an evaluated profile; returns its path."""
    results = load_results(profile)
    path = results.folder / "report.html"
    write_text(path, render(results))
    return path


def render(results: Results) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("musequest.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = results.answering
    colours = [system(name).colour for name in names]
    css = environment.get_template("report.css.j2").render(colours=colours)
    script = environment.get_template("report.js.j2").render()
    items = items_of(results)
    return environment.get_template("report.html.j2").render(
        css=Markup(css),
        css_digest=_digest(css),
        script=Markup(script),
        script_digest=_digest(script),
        profile=results.profile,
        record=results.record,
        systems=[{"name": n, "label": system(n).label} for n in results.systems],
        metrics=item_metrics(),
        short=_short(results),
        tables=[_table(results, track) for track in _tracks(results)],
        frames=_frames(results),
        figures=_figures(results.folder / "figures"),
        tracks=TRACK_LABELS,
        items=items,
        exhibits=sorted({(item["title"], item["item_name"]) for item in items}),
    )


def _short(results: Results) -> list[str]:
    """The answer to "is the docent right, and does it look at the photo?" in sentences."""
    own = results.summary[results.main_track]
    sight = looking(results.differences[results.main_track])
    return [in_short(name, own) for name in results.systems] + list(sight.values())


def _tracks(results: Results) -> list[str]:
    """The tracks, the one that counts first."""
    return sorted(results.summary, key=lambda track: track != results.main_track)


def _table(results: Results, track: str) -> dict[str, Any]:
    """One score table: a row a metric, a cell a system or control."""
    own = results.summary[track]
    names = [name for name in results.answering if name in own] or ordered(own)
    metrics = [METRICS[name] for name in own[names[0]]]
    rows = [
        {"metric": metric, "cells": _cells(metric, {n: own[n][metric.name] for n in names})}
        for metric in metrics
    ]
    return {
        "track": track,
        "items": max(cell["n"] for row in rows for cell in row["cells"]),
        "heads": [{"label": system(n).label, "place": results.answering.index(n)} for n in names],
        "rows": [row for row in rows if any(cell["n"] for cell in row["cells"])] or rows,
    }


def _cells(metric: Metric, values: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A metric's cells; the best system is marked, controls compete with nobody."""
    means = [v["mean"] for n, v in values.items() if v["mean"] is not None and _competes(n)]
    best = {"low": min, "high": max}.get(metric.best)
    winner = best(means) if best and len(means) > 1 else None
    return [
        {
            "mean": metric.show(value["mean"]),
            "interval": ""
            if value["ci_low"] is None
            else f"{metric.show(value['ci_low'])} – {metric.show(value['ci_high'])}",
            "n": value["n"],
            "best": winner is not None and value["mean"] == winner and _competes(name),
        }
        for name, value in values.items()
    ]


def _competes(name: str) -> bool:
    return name not in CONTROLS


def _frames(results: Results) -> list[dict[str, Any]]:
    """The further tables of the main track, those that have rows."""
    track = results.main_track
    where = TRACK_LABELS[track].lower()
    frames = {
        f"Differences between systems, {where}": (
            difference_frame(results.differences[track]),
            "First minus second on the items of both, with a paired 95 % interval over exhibits. "
            "An interval that holds 0 is no difference; beside it stands the smallest difference "
            f"that {results.record['exhibits']} exhibits would likely have shown (four times out "
            "of five).",
        ),
        f"With and without the photo, {where}": (
            ablation_frame(results.summary[track]),
            "The same questions with the exhibit's photo, a blank one, another exhibit's, or none. "
            f"Chance of identity: {results.record['chance_of_identity']:.2f}.",
        ),
        "What it costs": (
            cost_frame(results.costs),
            "As recorded by each run, on the machine it ran on.",
        ),
    }
    return [
        {"title": title, "note": note, "heads": list(frame.columns), "rows": _lines(frame)}
        for title, (frame, note) in frames.items()
        if len(frame)
    ]


def _lines(frame: pd.DataFrame) -> Sequence[tuple[str, list[str]]]:
    return [(str(name), list(row)) for name, row in zip(frame.index, frame.values, strict=True)]


def _figures(folder: Path) -> list[dict[str, str]]:
    return [
        {"name": name, "text": text, "url": data_url((folder / f"{name}.png").read_bytes(), "png")}
        for name, text in FIGURES.items()
        if (folder / f"{name}.png").is_file()
    ]


def _digest(text: str) -> str:
    """How a page's own policy names the one style sheet and the one script it allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
