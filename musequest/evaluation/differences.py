"""What scores come to, means with intervals by track, and which systems truly differ.

Two systems are compared on the items for which both have a value, item by item; whole exhibits
are drawn, as for the means. A difference whose 95 % interval holds 0 is no difference.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..systems.registry import ABLATIONS, CONTROLS, OUTSIDERS, on_track, ordered, system, variant
from ..text.encoder import DECIMALS
from .intervals import Draws
from .metrics import METRICS, Metric, item_metrics, outsider_metrics

Row = dict[str, Any]
Differences = dict[str, list[Row]]  # track -> rows
NONE, TOO_FEW = "no difference", "too few exhibits"
# What a docent that looks at the photo must lose without it.
SIGHT = ("embedding_distance", "identity_at_1")


def compare(scores: pd.DataFrame, tracks: Iterable[str]) -> Differences:
    """All pairs of systems, and each system with its own ablations, by track and metric.

    A row holds system, versus, metric, difference (system minus versus), ci_low, ci_high, n items,
    exhibits, detectable (see Draws.detectable) and verdict: better, worse, more, less, no
    difference, or too few exhibits. Metrics for which no item has two values are left out.
    """
    differences: Differences = {}
    for track in tracks:
        groups = on_track(scores, track).groupby("model")
        systems = {name: own.set_index("data_id") for name, own in groups}
        metrics = outsider_metrics() if track == OUTSIDERS else item_metrics()
        differences[track] = [
            row
            for one, other in _pairs(systems)
            for row in _compare(one, other, systems[one], systems[other], metrics)
        ]
    return differences


def _pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """(system, versus): each system with those before it, then with its ablations."""
    names = [name for name in ordered(names) if name not in CONTROLS]
    systems = [name for name in names if not variant(name)[1]]
    pairs = [(later, earlier) for earlier, later in itertools.combinations(systems, 2)]
    return pairs + [(variant(name)[0], name) for name in names if variant(name)[1] in ABLATIONS]


def _compare(
    one: str, other: str, ours: pd.DataFrame, theirs: pd.DataFrame, metrics: list[Metric]
) -> list[Row]:
    shared = ours.index.intersection(theirs.index, sort=True)
    if not len(shared):
        return []
    draws = Draws(list(ours.loc[shared, "item_name"]))
    rows = []
    for metric in metrics:
        values = (ours.loc[shared, metric.name] - theirs.loc[shared, metric.name]).to_numpy()
        if not np.isnan(values).all():
            rows.append({"system": one, "versus": other, **_row(metric, values, draws)})
    return rows


def _row(metric: Metric, values: np.ndarray, draws: Draws) -> Row:
    mean, interval = float(np.nanmean(values)), draws.interval(values)
    low, high = interval or (None, None)
    numbers = (mean, low, high, draws.detectable(values))
    names = ("difference", "ci_low", "ci_high", "detectable")
    rounded = (None if number is None else round(number, DECIMALS) for number in numbers)
    return {
        "metric": metric.name,
        **dict(zip(names, rounded, strict=True)),
        "n": int(np.count_nonzero(~np.isnan(values))),
        "exhibits": draws.count_exhibits(values),
        "verdict": _verdict(metric, mean, interval),
    }


def _verdict(metric: Metric, mean: float, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return TOO_FEW
    if interval[0] <= 0 <= interval[1]:
        return NONE
    if not metric.best:
        return "more" if mean > 0 else "less"
    return "better" if (mean > 0) == (metric.best == "high") else "worse"


def looking(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """System -> one sentence on whether it looks at the photo, from the rows of one track.

    It looks if every ablation costs it embedding distance or identity; a system that scores the
    same without the photo is not looking. Systems without ablations have no sentence.
    """
    own: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if variant(row["versus"])[1] and row["metric"] in SIGHT:
            own.setdefault(row["system"], []).append(row)
    return {name: f"{system(name).label} {_sight(each)}" for name, each in own.items()}


def _sight(rows: Sequence[Mapping[str, Any]]) -> str:
    kinds = list(dict.fromkeys(variant(row["versus"])[1] for row in rows))
    same, how = [], "the same as"
    for kind in kinds:
        verdicts = {row["verdict"] for row in rows if variant(row["versus"])[1] == kind}
        if verdicts <= {TOO_FEW}:
            return "has answered about too few exhibits to tell whether it looks at the photo."
        if "better" not in verdicts:
            same.append(ABLATIONS[kind])
            how = "no worse than" if "worse" in verdicts else how
    if not same:
        return "looks at the photo: it scores worse without the right one."
    return (
        f"is not looking, as far as these exhibits can tell: with {' or '.join(same)} it scores "
        f"{how} with the photo."
    )


def sentence(row: Mapping[str, Any]) -> str:
    """A difference as a reader is told it, such as "+0.21 [0.10, 0.33] better"."""
    metric = METRICS[row["metric"]]
    digits = max(metric.decimals, 1)
    if row["verdict"] == TOO_FEW:
        return f"{row['difference']:+.{digits}f} ({TOO_FEW})"
    interval = f"[{row['ci_low']:+.{digits}f}, {row['ci_high']:+.{digits}f}]"
    if row["verdict"] == NONE:
        seen = row["detectable"]
        could = "" if seen is None else f"; could have shown {seen:.{digits}f}"
        return f"{NONE} {interval}{could}"
    return f"{row['difference']:+.{digits}f} {interval} {row['verdict']}"


# track -> system -> metric -> mean, ci_low, ci_high, n
Summary = dict[str, dict[str, dict[str, dict[str, float | int | None]]]]


def summarize(scores: pd.DataFrame, tracks: list[str]) -> Summary:
    """Mean, 95 % interval and number of items per track, system and metric."""
    summary: Summary = {}
    for track in tracks:
        rows = on_track(scores, track)
        metrics = outsider_metrics() if track == OUTSIDERS else item_metrics()
        summary[track] = {
            name: _summarize(own, metrics) for name, own in rows.groupby("model", sort=False)
        }
    return summary


def _summarize(own: pd.DataFrame, metrics: list[Metric]) -> dict[str, dict[str, Any]]:
    draws = Draws(list(own.item_name))
    return {metric.name: _aggregate(own[metric.name].to_numpy(), draws) for metric in metrics}


def _aggregate(values: np.ndarray, draws: Draws) -> dict[str, float | int | None]:
    """A mean and its interval; null where no item has a value, or too few exhibits have one."""
    there = values[~np.isnan(values)]
    low, high = draws.interval(values) or (None, None)
    mean = float(there.mean()) if len(there) else None
    rounded = [None if v is None else round(v, DECIMALS) for v in (mean, low, high)]
    return dict(zip(("mean", "ci_low", "ci_high"), rounded, strict=True)) | {"n": len(there)}
