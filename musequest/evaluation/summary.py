"""What scores come to: means with intervals, by track, system and metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .intervals import Draws
from .metrics import Metric, item_metrics, outsider_metrics
from .sheet import DECIMALS
from .systems import OUTSIDERS
from .tracks import on_track

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
