"""The figures in words, for readers who do not see them: what each draws, value by value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from ..systems.registry import OUTSIDERS, is_system, on_track, ordered, system, variant
from .differences import over_seeds
from .figures import COSTS, SIGHT_METRICS, STATUS, Own
from .metrics import METRICS, metrics_of
from .results import Results
from .risk_coverage import area_under, by_system


def figures_in_words(results: Results) -> dict[str, str]:
    """A figure's name -> its values, as sentences; figures without any are left out."""
    told = {name: tell(results) for name, tell in TOLD.items()}
    return {name: text for name, text in told.items() if text}


def _listed(values: Mapping[str, str]) -> str:
    """System -> value, as "LoRA 0.12, Full 0.10"."""
    return ", ".join(f"{system(name).label} {value}" for name, value in values.items())


def _metrics(own: Own, names: Iterable[str], metrics: Iterable[str]) -> str:
    """A sentence a metric: each system's mean and interval."""
    sentences, names = [], [*names]
    for metric in metrics:
        show, values = METRICS[metric].show, {}
        for name in names:
            score = own[name].get(metric, {"mean": None})
            if score["mean"] is not None:
                low, high = score["ci_low"], score["ci_high"]
                bounds = "" if low is None else f" ({show(low)} to {show(high)})"
                values[name] = f"{show(score['mean'])}{bounds}"
        sentences += [f"{METRICS[metric].label}: {_listed(values)}."] if values else []
    return " ".join(sentences)


def _metric_bars(results: Results) -> str:
    own = results.summary[results.main_track]
    names = ordered(name for name in own if not variant(name)[1])
    return _metrics(own, names, [metric.name for metric in metrics_of("all")])


def _sight(results: Results) -> str:
    own = results.summary[results.main_track]
    return _metrics(
        own, [name for name in ordered(own) if is_system(variant(name)[0])], SIGHT_METRICS
    )


def _facts(results: Results) -> str:
    rows = on_track(results.scores, results.main_track)
    facts, items = results.facts, rows.groupby("model").data_id.nunique()
    counts = facts[facts.data_id.isin(set(rows.data_id))].groupby(["model", "status"]).size()
    values = {
        name: ", ".join(f"{counts.get((name, s), 0) / items[name]:.1f} {s}" for s in STATUS)
        for name in ordered(name for name in items.index if not variant(name)[1])
    }
    return (
        "Facts an answer: " + "; ".join(f"{system(n).label} {v}" for n, v in values.items()) + "."
    )


def _per_item(results: Results) -> str:
    scores = over_seeds(results.scores)
    scores = scores[scores.model.map(is_system) & scores.track.ne(OUTSIDERS)]
    rows = scores.groupby(["model", "item_name"]).embedding_distance.mean()
    told = {}
    for name in ordered(set(scores.model)):
        low, high = rows[name].min(), rows[name].max()
        mean = scores[scores.model == name].embedding_distance.mean()
        told[name] = f"{mean:.2f} on average, {low:.2f} to {high:.2f} by exhibit"
    return f"Embedding distance: {_listed(told)}."


def _quality_costs(results: Results) -> str:
    told = {}
    for row in results.costs.to_dict("records"):
        known = [f"{row[key]:.3g} {label}" for key, label in COSTS.items() if pd.notna(row[key])]
        if known:
            told[row["approach"]] = f"{row['mean']:.2f} for {', '.join(known)}"
    return f"Embedding distance: {_listed(told)}." if told else "No run states its costs."


def _loss_curves(results: Results) -> str:
    told = {}
    for name, metrics in results.training.items():
        held = metrics.dropna(subset=["eval_loss"])
        if len(held):
            best = held.loc[held.eval_loss.idxmin()]
            told[name] = f"{best.eval_loss:.3f} at step {best.step:.0f}"
    return f"Lowest validation loss: {_listed(told)}." if told else ""


def _risk_coverage(results: Results) -> str:
    curves = by_system(results.scores)
    areas = {name: f"{area_under(curve):.3f}" for name, curve in curves.items()}
    return f"Area under the curve, 0 best: {_listed(areas)}." if areas else ""


TOLD: dict[str, Callable[[Results], str]] = {
    "metric_bars": _metric_bars,
    "facts": _facts,
    "sight": _sight,
    "per_item": _per_item,
    "quality_costs": _quality_costs,
    "loss_curves": _loss_curves,
    "risk_coverage": _risk_coverage,
}
