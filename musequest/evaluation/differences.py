"""What scores come to: means with intervals by track, and which systems truly differ.

Answers about one exhibit stand or fall together, so whole exhibits are drawn with replacement, not
single answers (Field and Welsh 2007, "Bootstrapping clustered data"). The draws depend only on the
exhibits and the seed: all systems and metrics of a track are drawn alike, so differences of their
draws are paired. Two systems are compared on the items for which both have a value, item by item;
a difference whose 95 % interval holds 0 is no difference.

Percentiles of so few draws' means are too narrow: of 8 exhibits they would find a difference where
there is none in every ninth comparison instead of every twentieth. The interval is therefore the
expanded percentile one (Hesterberg 2015, "What Teachers Should Know About the Bootstrap"), which is
as wide for few exhibits as the t interval and follows the skew of the draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from ..systems.registry import ABLATIONS, CONTROLS, on_track, ordered, system, variant
from ..text.encoder import DECIMALS
from .metrics import METRICS, Metric, metrics_of

SEED = 0
DRAWS = 10_000  # Of 6 exhibits the tails that are cut off hold 0.24 % each, so 24 draws.
LEVEL, POWER = 0.95, 0.8
# With 5, all of them better in one system than in another, chance would do so in 1 of 16 cases.
FEWEST_EXHIBITS = 6
NONE, TOO_FEW = "no difference", "too few exhibits"
# What a docent that looks at the photo must lose without it.
SIGHT = ("embedding_distance", "identity_at_1")

Row = dict[str, Any]
Differences = dict[str, list[Row]]  # track -> rows
# track -> system -> metric -> mean, ci_low, ci_high, n
Summary = dict[str, dict[str, dict[str, dict[str, float | int | None]]]]


class Draws:
    """The resamples of one track: how often each exhibit is drawn in each of them."""

    def __init__(self, item_names: Sequence[str]) -> None:
        names, self.cluster = np.unique(np.array(item_names, dtype=object), return_inverse=True)
        self.exhibits = len(names)
        self.weights = _weights(self.exhibits)

    def means(self, values: np.ndarray) -> np.ndarray:
        """(n,) values, NaN where an item has none -> (draws,) means; NaN for a draw without any."""
        sums, counts = (self.weights @ np.stack(self._per_exhibit(values), axis=1)).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums / counts

    def interval(self, values: np.ndarray) -> tuple[float, float] | None:
        """The 95 % expanded percentile interval of the mean of (n,) values.

        None where fewer than 6 exhibits have a value: so few say too little about others.
        """
        exhibits = self.count_exhibits(values)
        if exhibits < FEWEST_EXHIBITS:
            return None
        means = self.means(values)
        tail = ndtr(-_widening(exhibits) * stdtrit(exhibits - 1, (1 + LEVEL) / 2))
        low, high = np.quantile(means[~np.isnan(means)], [tail, 1 - tail])
        return float(low), float(high)

    def detectable(self, values: np.ndarray) -> float | None:
        """The smallest mean of (n,) paired differences that so many exhibits would likely show.

        It is found, at 5 %, in four of five such evaluations (Bloom 1995, "Minimum detectable
        effects"): for many exhibits 1.96 + 0.84 standard errors. None where fewer than 6 exhibits
        have a value, or where all are alike, so that nothing is known of their spread.
        """
        exhibits = self.count_exhibits(values)
        if exhibits < FEWEST_EXHIBITS:
            return None
        error = _widening(exhibits) * float(np.nanstd(self.means(values)))
        found, power = (float(stdtrit(exhibits - 1, p)) for p in ((1 + LEVEL) / 2, POWER))
        return error * (found + power) if error > 1e-9 else None

    def count_exhibits(self, values: np.ndarray) -> int:
        """How many exhibits have a value."""
        return int(np.count_nonzero(self._per_exhibit(values)[1]))

    def _per_exhibit(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(exhibits,) sums and (exhibits,) counts of the values that are there."""
        there = ~np.isnan(values)
        sums = np.bincount(self.cluster, np.where(there, values, 0.0), self.exhibits)
        return sums, np.bincount(self.cluster, there.astype(float), self.exhibits)


@lru_cache(maxsize=2)
def _weights(exhibits: int) -> np.ndarray:
    """(draws, exhibits) how often each exhibit is drawn; many systems and pairs share them."""
    even = np.full(exhibits, 1 / exhibits)
    return np.random.default_rng(SEED).multinomial(exhibits, even, size=DRAWS).astype(float)


def _widening(exhibits: int) -> float:
    """How much wider a sample of so many spreads than its own draws' means tell."""
    return float(np.sqrt(exhibits / (exhibits - 1)))


def summarize(scores: pd.DataFrame, tracks: Iterable[str]) -> Summary:
    """Mean, 95 % interval and number of items per track, system and metric.

    They are null where no item has a value, the interval also where too few exhibits have one.
    """
    return {
        track: {
            name: _aggregates(own, metrics_of(track))
            for name, own in on_track(scores, track).groupby("model", sort=False)
        }
        for track in tracks
    }


def _aggregates(own: pd.DataFrame, metrics: list[Metric]) -> dict[str, dict[str, Any]]:
    draws, found = Draws(list(own.item_name)), {}
    for metric in metrics:
        values = own[metric.name].to_numpy()
        there = values[~np.isnan(values)]
        low, high = draws.interval(values) or (None, None)
        mean = float(there.mean()) if len(there) else None
        found[metric.name] = {**_rounded(mean=mean, ci_low=low, ci_high=high), "n": len(there)}
    return found


def _rounded(**numbers: float | None) -> dict[str, float | None]:
    return {name: None if n is None else round(n, DECIMALS) for name, n in numbers.items()}


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
        differences[track] = [
            {"system": one, "versus": other, **row}
            for one, other in _pairs(systems)
            for row in _compared(systems[one], systems[other], metrics_of(track))
        ]
    return differences


def _pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """(system, versus): each system with those before it, then with its ablations."""
    names = [name for name in ordered(names) if name not in CONTROLS]
    systems = [name for name in names if not variant(name)[1]]
    pairs = [(later, earlier) for earlier, later in itertools.combinations(systems, 2)]
    return pairs + [(variant(name)[0], name) for name in names if variant(name)[1] in ABLATIONS]


def _compared(ours: pd.DataFrame, theirs: pd.DataFrame, metrics: list[Metric]) -> Iterable[Row]:
    shared = ours.index.intersection(theirs.index, sort=True)
    if not len(shared):
        return
    draws = Draws(list(ours.loc[shared, "item_name"]))
    for metric in metrics:
        values = (ours.loc[shared, metric.name] - theirs.loc[shared, metric.name]).to_numpy()
        if np.isnan(values).all():
            continue
        mean, interval = float(np.nanmean(values)), draws.interval(values)
        low, high = interval or (None, None)
        seen = draws.detectable(values)
        yield {
            "metric": metric.name,
            **_rounded(difference=mean, ci_low=low, ci_high=high, detectable=seen),
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
    verdicts: dict[str, set[str]] = {}
    for row in rows:
        verdicts.setdefault(variant(row["versus"])[1], set()).add(row["verdict"])
    if {TOO_FEW} in verdicts.values():
        return "has answered about too few exhibits to tell whether it looks at the photo."
    same = [kind for kind, told in verdicts.items() if "better" not in told]
    if not same:
        return "looks at the photo: it scores worse without the right one."
    worse = any("worse" in verdicts[kind] for kind in same)
    return (
        "is not looking, as far as these exhibits can tell: with "
        f"{' or '.join(ABLATIONS[kind] for kind in same)} it scores "
        f"{'no worse than' if worse else 'the same as'} with the photo."
    )


def sentence(row: Mapping[str, Any]) -> str:
    """A difference as a reader is told it, such as "+0.21 [0.10, 0.33] better"."""
    digits = max(METRICS[row["metric"]].decimals, 1)
    if row["verdict"] == TOO_FEW:
        return f"{row['difference']:+.{digits}f} ({TOO_FEW})"
    interval = f"[{row['ci_low']:+.{digits}f}, {row['ci_high']:+.{digits}f}]"
    if row["verdict"] == NONE:
        seen = row["detectable"]
        could = "" if seen is None else f"; could have shown {seen:.{digits}f}"
        return f"{NONE} {interval}{could}"
    return f"{row['difference']:+.{digits}f} {interval} {row['verdict']}"
