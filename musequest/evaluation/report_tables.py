"""The report's tables: scores, paired differences, what is left without the photo, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .differences import Row
from .metrics import METRICS, Metric
from .results import Results
from .rows import ablation_frame, cost_frame, difference_frame
from .systems import CONTROLS, OUTSIDERS, ordered, system, variant
from .tracks import TRACK_LABELS

# Rendered things, of one kind with the exhibits of the pocket museum alone.
DRAWN, POCKET = "assets/pocket_outsiders", "assets/pocket_museum"
UNCORRECTED = (
    "The intervals are not corrected for multiple comparisons: of many pairs by many metrics, "
    "about one in twenty that do not differ will seem to."
)
Titled = tuple[str, pd.DataFrame, str]  # title, table, note


def tracks_of(results: Results) -> list[str]:
    """The tracks, the one that counts first."""
    return sorted(results.summary, key=lambda track: track != results.main_track)


def score_table(results: Results, track: str) -> dict[str, Any]:
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
        "note": _of_outsiders(results) if track == OUTSIDERS else "",
    }


def _of_outsiders(results: Results) -> str:
    """What weakens the evidence: titles that cannot be told, drawings beside real exhibits."""
    untold = results.record.get("untold_titles", "")
    if results.profile.outsiders != DRAWN or results.profile.museum == POCKET:
        return untold
    return f"{untold} " * bool(untold) + (
        f"What was shown are the drawings of {DRAWN}, which no photo of a museum resembles: that a "
        "docent leaves them alone is weak evidence that it would leave a visitor's photo alone."
    )


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


def frames_of(results: Results) -> list[dict[str, Any]]:
    """The further tables, those that have rows: track by track, then the costs."""
    tracks = [track for track in tracks_of(results) if track in results.differences]
    titled = [
        *(_differences(results, track) for track in tracks),
        *(_ablations(results, track) for track in tracks),
        (
            "What it costs",
            cost_frame(results.costs),
            "As recorded by each run, on the machine it ran on.",
        ),
    ]
    return [
        {"title": title, "note": note, "heads": list(frame.columns), "rows": _lines(frame)}
        for title, frame, note in titled
        if len(frame)
    ]


def _differences(results: Results, track: str) -> Titled:
    rows = results.differences[track]
    fewest = results.record["bootstrap"]["fewest_exhibits"]
    note = (
        "First minus second on the items of both, with a paired 95 % interval over exhibits. "
        f"{what_could_be_seen(rows, fewest)} {UNCORRECTED}"
    )
    where = TRACK_LABELS[track].lower()
    return f"Differences between systems, {where}", difference_frame(rows), note


def what_could_be_seen(rows: Sequence[Row], fewest: int) -> str:
    """How small a difference the exhibits of a track could have shown, in a sentence or two."""
    counts = [row["exhibits"] for row in rows if not variant(row["versus"])[1]]
    exhibits = max(counts, default=0)
    if exhibits < fewest:
        return (
            f"{exhibits} exhibits cannot show a difference, however large: it takes {fewest} to "
            "tell one from chance."
        )
    return (
        "An interval that holds 0 is no difference; beside it stands the smallest difference that "
        f"{exhibits} exhibits would likely have shown (four times out of five)."
    )


def _ablations(results: Results, track: str) -> Titled:
    note = (
        "The same questions with the exhibit's photo, a blank one, another exhibit's, or none. "
        f"Chance of identity: {results.record['chance_of_identity']:.2f}."
    )
    where = TRACK_LABELS[track].lower()
    return f"With and without the photo, {where}", ablation_frame(results.summary[track]), note


def _lines(frame: pd.DataFrame) -> Sequence[tuple[str, list[str]]]:
    return [(str(name), list(row)) for name, row in zip(frame.index, frame.values, strict=True)]
