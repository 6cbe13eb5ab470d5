"""Tables for readers, of readmes and report alike.

Scores, paired differences, what is left without the photo, costs, and the words for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..systems.registry import (
    ABLATIONS,
    CONTROLS,
    OUTSIDERS,
    TRACK_LABELS,
    ordered,
    system,
    variant,
)
from .differences import Row, sentence
from .metrics import METRICS, Metric
from .results import Results

# Rendered things, of one kind with the exhibits of the pocket museum alone.
DRAWN, POCKET = "assets/pocket_outsiders", "assets/pocket_museum"
UNCORRECTED = (
    "The intervals are not corrected for multiple comparisons: of many pairs by many metrics, "
    "about one in twenty that do not differ will seem to."
)
# What a curator asks first: what fits the right exhibit, and true words about it.
KEY = (
    "embedding_distance",
    "identity_at_1",
    "number_recall",
    "invented_number_rate",
    "name_recall",
    "invented_name_rate",
)
Score = Mapping[str, Any]  # mean, ci_low, ci_high, n
Own = Mapping[str, Mapping[str, Score]]  # system -> metric -> score


def tracks_of(results: Results) -> list[str]:
    """The tracks, the one that counts first."""
    return sorted(results.summary, key=lambda track: track != results.main_track)


def score_table(results: Results, track: str) -> dict[str, Any]:
    """One score table: a row a metric, a cell a system or control."""
    own = results.summary[track]
    names = [name for name in results.answering if name in own] or ordered(own)
    rows: list[dict[str, Any]] = [
        {"metric": METRICS[name], "cells": _cells(METRICS[name], {n: own[n][name] for n in names})}
        for name in own[names[0]]
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


def _cells(metric: Metric, scores: Mapping[str, Score]) -> list[dict[str, Any]]:
    """A metric's cells; the best system is marked, controls compete with nobody."""
    means = [s["mean"] for n, s in scores.items() if s["mean"] is not None and n not in CONTROLS]
    best = {"low": min, "high": max}.get(metric.best)
    winner = best(means) if best and len(means) > 1 else None
    return [
        {
            "mean": metric.show(score["mean"]),
            "interval": ""
            if score["ci_low"] is None
            else f"{metric.show(score['ci_low'])} – {metric.show(score['ci_high'])}",
            "n": score["n"],
            "best": winner is not None and score["mean"] == winner and name not in CONTROLS,
        }
        for name, score in scores.items()
    ]


def frames_of(results: Results) -> list[dict[str, Any]]:
    """The further tables, those that have rows: track by track, then the costs."""
    tracks = [track for track in tracks_of(results) if track in results.differences]
    fewest = results.record["bootstrap"]["fewest_exhibits"]
    ablated = (
        "The same questions with the exhibit's photo, a blank one, another exhibit's, or none. "
        f"Chance of identity: {results.record['chance_of_identity']:.2f}."
    )
    titled = []
    for track in tracks:
        rows = results.differences[track]
        title = f"Differences between systems, {TRACK_LABELS[track].lower()}"
        titled.append((title, difference_frame(rows), _note(rows, fewest)))
    for track in tracks:
        title = f"With and without the photo, {TRACK_LABELS[track].lower()}"
        titled.append((title, ablation_frame(results.summary[track]), ablated))
    recorded = "As recorded by each run, on the machine it ran on."
    titled.append(("What it costs", cost_frame(results.costs), recorded))
    return [
        {
            "title": title,
            "note": note,
            "heads": list(frame.columns),
            "rows": [(str(row[0]), list(row[1:])) for row in frame.itertuples(name=None)],
        }
        for title, frame, note in titled
        if len(frame)
    ]


def _note(rows: Sequence[Row], fewest: int) -> str:
    """How to read a track's differences, and how small ones its exhibits could have shown."""
    counts = [row["exhibits"] for row in rows if not variant(row["versus"])[1]]
    exhibits = max(counts, default=0)
    could = (
        f"{exhibits} exhibits cannot show a difference, however large: it takes {fewest} to "
        "tell one from chance."
        if exhibits < fewest
        else "An interval that holds 0 is no difference; beside it stands the smallest difference "
        f"that {exhibits} exhibits would likely have shown (four times out of five)."
    )
    return (
        "First minus second on the items of both, with a paired 95 % interval over exhibits. "
        f"{could} {UNCORRECTED}"
    )


def cell(score: Score, decimals: int = 3) -> str:
    """A mean with its 95 % interval where there is one, such as "0.31 [0.15, 0.50]"; else "–"."""
    if score["mean"] is None:
        return "–"
    if score["ci_low"] is None:
        return f"{score['mean']:.{decimals}f}"
    low, high = f"{score['ci_low']:.{decimals}f}", f"{score['ci_high']:.{decimals}f}"
    return f"{score['mean']:.{decimals}f} [{low}, {high}]"


def headed(name: str) -> str:
    """A metric's label with the value that is best."""
    return f"{METRICS[name].label} {METRICS[name].direction}".strip()


def score_frame(own: Own) -> pd.DataFrame:
    """One track of summary.json: a row a metric with its best value, a column a system or control.

    Answers without the exhibit's photo have a table of their own (`ablation_frame`).
    """
    systems = {name: scores for name, scores in own.items() if not variant(name)[1]}
    table = {name: {m: cell(s) for m, s in scores.items()} for name, scores in systems.items()}
    return pd.DataFrame(table).rename(
        lambda metric: f"{metric} {METRICS[metric].direction}".strip()
    )


def difference_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row a pair of systems, a column a key metric: first minus second, and what it means.

    `rows` are those of one track of differences.json; pairs with ablations are left out. A track
    without key metrics, such as that of things from outside, has its own as columns.
    """
    table: dict[str, dict[str, str]] = {}
    there = dict.fromkeys(row["metric"] for row in rows)
    shown = KEY if not there or set(KEY) & set(there) else tuple(there)
    for row in rows:
        if not variant(row["versus"])[1]:
            pair = f"{system(row['system']).label} vs {system(row['versus']).label}"
            own = table.setdefault(pair, dict.fromkeys(map(headed, shown), "–"))
            if row["metric"] in shown:
                own[headed(row["metric"])] = sentence(row)
    return pd.DataFrame.from_dict(table, orient="index")


def key_rows(
    rows: Iterable[Mapping[str, Any]], systems: Iterable[str] | None = None
) -> list[Mapping[str, Any]]:
    """Those rows of differences.json that are of key metrics, and between `systems` if given."""
    wanted = None if systems is None else set(systems)
    return [
        row
        for row in rows
        if row["metric"] in KEY and (wanted is None or {row["system"], row["versus"]} <= wanted)
    ]


def ablation_frame(own: Own) -> pd.DataFrame:
    """A row a system and each thing it was shown instead of the photo, a column a key metric.

    `own` is one track of summary.json; systems without ablations are left out.
    """
    there = [name for name in own if variant(name)[1] in ABLATIONS]
    names = ordered({*there, *(variant(name)[0] for name in there)})
    return pd.DataFrame.from_dict({system(n).label: key_cells(own[n]) for n in names}, "index")


def key_cells(scores: Mapping[str, Score]) -> dict[str, str]:
    """A system's key metrics: the metric with its best value -> the cell."""
    return {headed(name): cell(scores[name], METRICS[name].decimals) for name in KEY}


def cost_frame(costs: pd.DataFrame) -> pd.DataFrame:
    """results.costs_of for readers: a row a system, only columns in which something is known."""
    names = {
        "hardware": "tuned on",
        "minutes": "training minutes",
        "memory_gib": "peak memory, GiB",
        "usd": "rent, USD",
        "disk_gib": "disk, GiB",
        "index_mib": "index, MiB",
        "answers_usd": "all answers, USD",
        "ms": "milliseconds an answer",
    }
    table = costs[list(names)].set_axis([system(name).label for name in costs.approach])
    table = table.replace("", None).dropna(axis="columns", how="all").dropna(how="all")
    return table.map(_figure).rename(columns=names).rename_axis(None)


def _figure(value: object) -> str:
    if isinstance(value, str):
        return value
    return "–" if value is None or pd.isna(value) else f"{value:,.3g}"


def in_short(name: str, own: Own) -> str:
    """One sentence on a system: what its answers fit, and how many numbers are right and wrong."""
    scores = own[name]
    invented = (
        "states no numbers of its own"
        if scores["invented_number_rate"]["mean"] is None
        else f"of the numbers it states {_percent(scores['invented_number_rate'])} are invented"
    )
    return (
        f"{system(name).label} fits the right exhibit's text best in "
        f"{_percent(scores['identity_at_1'])} of its answers, states "
        f"{_percent(scores['number_recall'])} of the ground truths' numbers; {invented}."
    )


def recognising(outside: Own) -> list[str]:
    """A sentence a system on how often it takes other things for exhibits.

    `outside` is the track of outsiders of summary.json; systems without a value have none.
    """
    rates = {name: scores["false_recognition_rate"] for name, scores in outside.items()}
    return [
        f"{system(name).label} claims one of the museum's exhibits for "
        f"{rate['mean'] * rate['n']:.0f} of {rate['n']} photos of other things."
        for name, rate in rates.items()
        if rate["mean"] is not None
    ]


def _percent(score: Score) -> str:
    if score["mean"] is None:
        return "an unknown share"
    mean = f"{score['mean']:.0%}"
    if score["ci_low"] is None:
        return mean
    low, high = f"{score['ci_low']:.0%}", f"{score['ci_high']:.0%}"
    return mean if low == high else f"{mean} ({low} to {high})"
