"""What scores come to, in numbers and sentences: means by track, and which systems truly differ.

Two systems are compared on the items for which both have a value, item by item, if they were asked
the same about the same photo. With few exhibits, or many systems, chance alone makes differences:
intervals are those of whole exhibits (`intervals`), and of all pairs of systems that a metric
compares on a track the p-values are adjusted by Holm's method. A difference that is not shown may
be there all the same; that there is none worth speaking of is said only within a margin that the
reader gave. Where systems were trained with several seeds, their means are compared, and a
difference no larger than seeds alone make is not shown.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import MuseQuestError
from ..systems.registry import ABLATIONS, CONTROLS, on_track, ordered, seedless, system, variant
from ..text.encoder import DECIMALS
from .intervals import LEVEL, Clustered, PairedDifference, detectable, holm
from .metrics import METRICS, Metric, metrics_of

# With 5, all of them better in one system than in another, chance would do so in 1 of 16 cases.
FEWEST_EXHIBITS = 6
DIRECTIONS = ("better", "worse", "more", "less")
NOT_SHOWN, TOO_FEW, EQUAL = "not shown", "too few exhibits", "equal within the margin"
# What a docent that looks at the photo must lose without it.
SIGHT = ("embedding_distance", "identity_at_1")

Row = dict[str, Any]
Differences = dict[str, list[Row]]  # track -> rows
# track -> system -> metric -> mean, ci_low, ci_high, n
Summary = dict[str, dict[str, dict[str, dict[str, float | int | None]]]]
Score = Mapping[str, Any]  # mean, ci_low, ci_high, n
Own = Mapping[str, Mapping[str, Score]]  # a track: system -> metric -> score
Asked = Mapping[str, pd.DataFrame]  # system -> question and photo by data_id, "" if not known


def summarize(scores: pd.DataFrame, tracks: Iterable[str]) -> Summary:
    """Mean, 95 % interval and number of items per track, system and metric.

    They are null where no item has a value, the interval also where a single exhibit has one, or
    of scores that are no rates, fewer than six. Of
    systems with several seeds they are those of the means over seeds, and `seeds` counts these,
    `seed_spread` is the standard deviation of their means.
    """
    summary: Summary = {}
    for track in tracks:
        rows = on_track(scores, track)
        spreads = seed_spreads(rows)
        summary[track] = {
            name: _aggregates(own, metrics_of(track), spreads.get(name))
            for name, own in over_seeds(rows).groupby("model", sort=False)
        }
    return summary


def over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """scores.parquet with one row a system and item, of several seeds the mean."""
    names = scores.model.map(seedless)
    first = scores[names == scores.model]
    if len(first) == len(scores):
        return scores
    key, columns = ["model", "data_id"], [name for name in METRICS if name in scores]
    means = scores.assign(model=names).groupby(key)[columns].mean()
    values = means.loc[pd.MultiIndex.from_frame(first[key])].to_numpy()
    return first.assign(**dict(zip(columns, values.T, strict=True)))


def seed_spreads(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """System -> `seeds`, and by metric the standard deviation of their means; of several alone."""
    means = rows.groupby("model")[[name for name in METRICS if name in rows]].mean()
    by_system = means.groupby(means.index.map(seedless))
    return {
        name: {"seeds": len(own), **own.std().dropna()} for name, own in by_system if len(own) > 1
    }


def _aggregates(
    own: pd.DataFrame, metrics: list[Metric], spreads: Mapping[str, float] | None
) -> dict[str, dict[str, Any]]:
    found, names = {}, own.item_name.to_numpy(object)
    for metric in metrics:
        values = own[metric.name].to_numpy()
        sample = Clustered.of(values, names)
        told = metric.limits == (0, 1) or sample.exhibits >= FEWEST_EXHIBITS
        low, high = (sample.interval(metric.limits[1]) if told else None) or (None, None)
        mean = sample.mean if sample.exhibits else None
        found[metric.name] = {
            **_rounded(mean=mean, ci_low=low, ci_high=high),
            "n": int(np.count_nonzero(~np.isnan(values))),
        }
        if spreads and mean is not None:
            spread = _rounded(seed_spread=spreads.get(metric.name))
            found[metric.name] |= {"seeds": int(spreads["seeds"]), **spread}
    return found


def _rounded(**numbers: float | None) -> dict[str, float | None]:
    return {name: None if n is None else round(n, DECIMALS) for name, n in numbers.items()}


def compare(
    scores: pd.DataFrame,
    tracks: Iterable[str],
    margins: Mapping[str, float] | None = None,
    asked: Asked | None = None,
) -> Differences:
    """All pairs of systems, and each system with its own ablations, by track and metric.

    A row holds system, versus, metric, difference (system minus versus), ci_low, ci_high, n items,
    exhibits, spread and detectable (see intervals), p_value, p_adjusted (by Holm, for all pairs of
    systems of a track and metric; an ablation's is not adjusted, for what is said of sight needs
    all of them) and verdict: better, worse, more, less, not shown, equal within the margin, or too
    few exhibits. `margins` are by metric; items that the two were asked otherwise about (`asked`)
    are left out. Metrics for which no item has two values are left out.
    """
    differences: Differences = {}
    for track in tracks:
        rows = on_track(scores, track)
        alone, means = (
            {name: own.set_index("data_id") for name, own in table.groupby("model")}
            for table in (rows, over_seeds(rows))
        )
        spreads = seed_spreads(rows)
        found = []
        for one, other in _pairs(means):
            own, noise = (alone, {}) if variant(other)[1] else (means, spreads)
            shared = own[one].index.intersection(own[other].index, sort=True)
            if asked and {one, other} <= {*asked}:
                shared = shared[asked_alike(asked[one].loc[shared], asked[other].loc[shared])]
            ours, theirs = own[one].loc[shared], own[other].loc[shared]
            names = ours.item_name.to_numpy(object)
            for metric in metrics_of(track):
                values = ours[metric.name].to_numpy() - theirs[metric.name].to_numpy()
                row = _compared(metric, values, names)
                each = [noise[name].get(metric.name, 0.0) for name in (one, other) if name in noise]
                row |= _rounded(seed_spread=float(np.hypot.reduce(each))) if row and each else {}
                found += [{"system": one, "versus": other, **row}] if row else []
        _judge(found, margins or {})
        differences[track] = found
    return differences


def _pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """(system, versus): each system with those before it, then with its ablations."""
    names = [name for name in ordered(names) if name not in CONTROLS]
    systems = [name for name in names if not variant(name)[1]]
    pairs = [(later, earlier) for earlier, later in itertools.combinations(systems, 2)]
    return pairs + [(variant(name)[0], name) for name in names if variant(name)[1] in ABLATIONS]


def asked_alike(ours: pd.DataFrame, theirs: pd.DataFrame) -> np.ndarray:
    """(n,) whether two systems were asked the same about the same photo, as far as is known."""
    return ((ours == theirs) | (ours == "") | (theirs == "")).all(axis=1).to_numpy()


def _compared(metric: Metric, values: np.ndarray, names: np.ndarray) -> Row:
    """A row without its verdict, of the differences by item; empty where no item has two values."""
    if np.isnan(values).all():
        return {}
    paired = PairedDifference(values, names, rates=metric.limits == (0, 1))
    exhibits, told = paired.all.exhibits, paired.all.exhibits >= FEWEST_EXHIBITS
    low, high = paired.interval() if told else (None, None)
    spread = paired.spread if told else 0.0
    seen = float(detectable(spread, exhibits)) if spread > 1e-9 else None
    return {
        "metric": metric.name,
        **_rounded(difference=paired.all.mean, ci_low=low, ci_high=high, detectable=seen),
        **_rounded(spread=spread if told else None, p_value=paired.p_value() if told else None),
        "n": int(np.count_nonzero(~np.isnan(values))),
        "exhibits": exhibits,
    }


def _judge(rows: list[Row], margins: Mapping[str, float]) -> None:
    """Adjust the p-values of a track's rows, and add every row's verdict."""
    families: dict[str, list[Row]] = {}
    for row in rows:
        row["p_adjusted"] = row["p_value"]
        if row["p_value"] is not None and not variant(row["versus"])[1]:
            families.setdefault(row["metric"], []).append(row)
    for family in families.values():
        adjusted = holm([row["p_value"] for row in family])
        for row, p_value in zip(family, adjusted, strict=True):
            row |= _rounded(p_adjusted=p_value)
    for row in rows:
        margin = margins.get(row["metric"])
        if margin is not None and row["ci_low"] is not None:
            row |= {"margin": margin} if max(-row["ci_low"], row["ci_high"]) < margin else {}
        row["verdict"] = _verdict(METRICS[row["metric"]], row)


def _verdict(metric: Metric, row: Row) -> str:
    mean = row["difference"]
    if row["p_value"] is None:
        return TOO_FEW
    if row["p_adjusted"] > 1 - LEVEL + 1e-9 or abs(mean) <= (row.get("seed_spread") or 0.0):
        return EQUAL if "margin" in row else NOT_SHOWN
    if not metric.best:
        return "more" if mean > 0 else "less"
    return "better" if (mean > 0) == (metric.best == "high") else "worse"


def margins_of(texts: Iterable[str]) -> dict[str, float]:
    """Metric -> margin, of "0.05" for all rates and "METRIC=0.05" for one metric.

    MuseQuestError where one is no number above 0, or of no metric.
    """
    margins: dict[str, float] = {}
    for text in sorted(texts, key=lambda text: "=" in text):
        name, _, number = text.rpartition("=")
        if not re.fullmatch(r"\d*\.?\d+", number) or not float(number):
            raise MuseQuestError(f"--margin: {text!r} is no number above 0; write 0.05, say.")
        if name and name not in METRICS:
            raise MuseQuestError(
                f"--margin: {name!r} is no metric; choose among {', '.join(METRICS)}."
            )
        rates = [metric.name for metric in METRICS.values() if metric.limits == (0, 1)]
        margins |= dict.fromkeys([name] if name else rates, float(number))
    return margins


def looking(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """System -> one sentence on whether it looks at the photo, from the rows of one track.

    It looks if every ablation costs it embedding distance or identity; else nothing shows that it
    does. Systems without ablations have no sentence.
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
    return (
        "is not shown to look at the photo: with "
        f"{' or '.join(ABLATIONS[kind] for kind in same)} its scores are not shown to be worse."
    )


def sentence(row: Mapping[str, Any]) -> str:
    """A difference as a reader is told it, such as "+0.21 [+0.10, +0.33] better"."""
    digits = max(METRICS[row["metric"]].decimals, 1)
    if row["verdict"] == TOO_FEW:
        return f"{row['difference']:+.{digits}f} ({TOO_FEW})"
    interval = f"[{row['ci_low']:+.{digits}f}, {row['ci_high']:+.{digits}f}]"
    within = f"equal within {row['margin']:g}" if "margin" in row else ""
    if row["verdict"] in DIRECTIONS:
        yet = f", yet {within}" if within else ""
        return f"{row['difference']:+.{digits}f} {interval} {row['verdict']}{yet}"
    if within:
        return f"{within} {interval}"
    if (noise := row.get("seed_spread")) and abs(row["difference"]) <= noise:
        reason = f"; seeds alone differ by {noise:.{digits}f}"
    elif row["ci_low"] > 0 or row["ci_high"] < 0:
        reason = " among so many pairs"
    else:
        seen = row["detectable"]
        reason = "" if seen is None else f"; could have shown {seen:.{digits}f}"
    return f"{NOT_SHOWN} {interval}{reason}"


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


def recognising(outside: Own, inside: Own | None = None) -> list[str]:
    """A sentence a system on how often it takes other things for exhibits, and refuses exhibits.

    `outside` is the track of outsiders of summary.json, `inside` one of exhibits; systems without
    a value have none.
    """
    rates = {name: scores["false_recognition_rate"] for name, scores in outside.items()}
    told = []
    for name, rate in rates.items():
        if rate["mean"] is not None:
            own, also = (inside or {}).get(name, {}), ""
            if refused := own.get("wrong_refusal_rate"):
                also = f", and refuses {_percent(refused)} of the questions about exhibits"
            told.append(
                f"{system(name).label} mistook {rate['mean'] * rate['n']:.0f} of {rate['n']} "
                f"unknown objects for exhibits: {_percent(rate)}{also}."
            )
    return told


def unbounded(score: Score) -> str:
    """What stands beside a 0 or 1 that has no interval, such as that of one exhibit; else ""."""
    return TOO_FEW if score["ci_low"] is None and score["mean"] in (0, 1) else ""


def _percent(score: Score) -> str:
    if score["mean"] is None:
        return "an unknown share"
    mean = f"{score['mean']:.0%}"
    if score["ci_low"] is None:
        return f"{mean} (of one exhibit, which tells nothing of others)"
    return f"{mean} ({score['ci_low']:.0%} to {score['ci_high']:.0%})"
