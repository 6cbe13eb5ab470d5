"""Tables for readers, of readmes and report alike.

Scores, paired differences, what is left without the photo, costs, and the notes beneath them.
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
    TUNED,
    on_track,
    ordered,
    system,
    variant,
)
from .differences import FEWEST_EXHIBITS, Own, Row, Score, over_seeds, sentence, unbounded
from .intervals import exhibits_needed
from .metrics import METRICS, Metric
from .results import Results
from .risk_coverage import gate_cells, gated

# Rendered things, of one kind with the exhibits of the pocket museum alone.
DRAWN, POCKET = "assets/pocket_outsiders", "assets/pocket_museum"
CORRECTED = (
    "Better, worse, more and less are said where the difference holds among all pairs of a metric "
    "(p of 5 % at most after Holm's correction); each interval is that of its pair alone. Metrics "
    "are not corrected for one another."
)
PLANNED = (0.05, 0.1, 0.2)  # differences of rates that one may want to see
# What a curator asks first: what fits the right exhibit, and true words about it.
KEY = (
    "embedding_distance",
    "identity_at_1",
    "number_recall",
    "invented_number_rate",
    "name_recall",
    "invented_name_rate",
)


def tracks_of(results: Results) -> list[str]:
    """The tracks, the one that counts first."""
    return sorted(results.summary, key=lambda track: track != results.main_track)


def score_table(results: Results, track: str) -> dict[str, Any]:
    """One score table: a row a metric, a cell a system or control."""
    own = results.summary[track]
    names = [name for name in results.answering if name in own] or ordered(own)
    items = over_seeds(on_track(results.scores, track)).set_index("data_id").groupby("model")
    rows: list[dict[str, Any]] = []
    for name in own[names[0]]:
        competing = [n for n in names if n not in CONTROLS and own[n][name]["n"]]
        counted = {frozenset(items.get_group(n)[name].dropna().index) for n in competing}
        alike = len(counted) == 1 and not results.record.get("asked_otherwise")
        scores = {n: own[n][name] for n in names}
        rows.append({"metric": METRICS[name], "cells": _cells(METRICS[name], scores, alike)})
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


def _cells(metric: Metric, scores: Mapping[str, Score], alike: bool) -> list[dict[str, Any]]:
    """A metric's cells; the best system is marked, controls compete with nobody.

    None is best unless all systems have values of the same items (`alike`).
    """
    means = [s["mean"] for n, s in scores.items() if s["mean"] is not None and n not in CONTROLS]
    best = {"low": min, "high": max}.get(metric.best)
    winner = best(means) if best and alike and len(means) > 1 else None
    return [
        {
            "mean": metric.show(score["mean"]),
            "interval": unbounded(score)
            if score["ci_low"] is None
            else f"{metric.show(score['ci_low'])} – {metric.show(score['ci_high'])}",
            "seeds": _seeds(score, metric.decimals),
            "n": score["n"],
            "best": winner is not None and score["mean"] == winner and name not in CONTROLS,
        }
        for name, score in scores.items()
    ]


def _seeds(score: Score, decimals: int) -> str:
    """How far the means of several seeds lie apart, such as "± 0.02 of 3 seeds"; else ""."""
    if score.get("seed_spread") is None:
        return ""
    return f"± {score['seed_spread']:.{decimals}f} of {score['seeds']} seeds"


def frames_of(results: Results) -> list[dict[str, Any]]:
    """The further tables, those that have rows: track by track, then the costs."""
    tracks = [track for track in tracks_of(results) if track in results.differences]
    ablated = (
        "The same questions with the exhibit's photo, a blank one, another exhibit's, or none. "
        f"Chance of identity: {results.record['chance_of_identity']:.2f}."
    )
    titled = []
    for track in tracks:
        rows = results.differences[track]
        title = f"Differences between systems, {TRACK_LABELS[track].lower()}"
        titled.append((title, "Pair", difference_frame(rows), _note(rows, results)))
    rows = results.differences.get(results.main_track, [])
    title = "How many exhibits a difference would need"
    titled.append((title, "Metric", needed_frame(rows), NEEDED))
    for track in tracks:
        title = f"With and without the photo, {TRACK_LABELS[track].lower()}"
        titled.append((title, "System", ablation_frame(results.summary[track]), ablated))
    titled.append(
        ("With and without the gate", "System", gate_frame(results), _calibrated(results))
    )
    recorded = "As recorded by each run, on the machine it ran on."
    titled.append(("What it costs", "System", cost_frame(results.costs), recorded))
    return [
        {
            "title": title,
            "corner": corner,
            "note": note,
            "heads": list(frame.columns),
            "rows": [(str(row[0]), list(row[1:])) for row in frame.itertuples(name=None)],
        }
        for title, corner, frame, note in titled
        if len(frame)
    ]


def gate_frame(results: Results) -> pd.DataFrame:
    """What the gate changes, on the main track and of the outsiders: two rows a system, by label.

    No row where the profile has no gate (retrieval makes its index).
    """
    return gate_cells(gated(results.scores, results.main_track))


def _calibrated(results: Results) -> str:
    """Of what the gate was learned, and what it promises."""
    if not (gate := results.record.get("gate")):
        return ""
    told = (
        "In brackets 95 % intervals. The gate leaves a photo alone that is not near enough to any "
        "exhibit. Its threshold, a "
        f"likeness of {gate['threshold']:.3f}, was learned from {gate['validation_photos']} "
        "validation photos: of further photos like these it refuses at most "
        f"{gate['wrong_refusals']:.1%}."
    )
    if gate["strangers"]:
        told += (
            f" Of {gate['strangers']} strangers of the validation, which it did not learn from, it "
            f"takes {gate['strangers_recognised']:.1%} for an exhibit."
        )
    return told


NEEDED = (
    "So many exhibits would likely show a difference of that size (four times out of five, at "
    "5 %), if they spread as those of this evaluation: of all pairs of systems, the one whose "
    "exhibits lie farthest apart decides. A dash where no spread was seen."
)


def needed_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """A row a rate, a column a planned difference: how many exhibits it would take.

    `rows` are those of one track of differences.json; pairs with ablations are left out.
    """
    spreads: dict[str, float] = {}
    for row in rows:
        rate = METRICS[row["metric"]].limits == (0, 1) and row["metric"] in KEY
        if rate and not variant(row["versus"])[1] and row.get("spread") is not None:
            spreads[row["metric"]] = max(row["spread"], spreads.get(row["metric"], 0.0))
    table = {
        METRICS[name].label: {f"{planned:g}": _needed(spread, planned) for planned in PLANNED}
        for name, spread in spreads.items()
    }
    return pd.DataFrame.from_dict(table, orient="index")


def _needed(spread: float, planned: float) -> str:
    if not spread:
        return "–"
    found = exhibits_needed(spread, planned)
    return "over 10,000" if found is None else f"{max(found, FEWEST_EXHIBITS):,}"


def _note(rows: Sequence[Row], results: Results) -> str:
    """How to read a track's differences, and how small ones its exhibits could have shown."""
    counts = [row["exhibits"] for row in rows if not variant(row["versus"])[1]]
    exhibits = max(counts, default=0)
    could = (
        f"{exhibits} exhibits cannot show a difference, however large: it takes "
        f"{FEWEST_EXHIBITS} to tell one from chance."
        if exhibits < FEWEST_EXHIBITS
        else "Not shown is not the same as none: beside it stands the smallest difference that "
        f"{exhibits} exhibits would likely have shown (four times out of five)."
    )
    within = ", ".join(
        f"{METRICS[n].label} {m:g}" for n, m in results.record.get("margins", {}).items()
    )
    margin = (
        f" Equal within a margin: the whole interval lies inside it ({within})." if within else ""
    )
    seeded = {variant(name)[0] for name in results.record.get("seeds", {})}
    once = [system(n).label for n in results.systems if n in TUNED and n not in seeded]
    noise = (
        f" {', '.join(once)}: a single training each, so what another seed would change is in no "
        "interval."
        if once
        else ""
    )
    return (
        "First minus second on the items of both, with a paired 95 % interval over exhibits. "
        f"{could}{margin} {CORRECTED}{noise}"
    )


def cell(score: Score, decimals: int = 3) -> str:
    """A mean with its 95 % interval where there is one, such as "0.31 [0.15, 0.50]"; else "–".

    Of several seeds, their spread follows: "0.31 [0.15, 0.50] ± 0.02 of 3 seeds".
    """
    if score["mean"] is None:
        return "–"
    if score["ci_low"] is not None:
        bounds = f" [{score['ci_low']:.{decimals}f}, {score['ci_high']:.{decimals}f}]"
    else:
        bounds = f" ({few})" if (few := unbounded(score)) else ""
    return f"{score['mean']:.{decimals}f}{bounds} {_seeds(score, decimals)}".strip()


def headed(name: str) -> str:
    """A metric's label with the value that is best."""
    return f"{METRICS[name].label} {METRICS[name].direction}".strip()


def score_frame(own: Own, short: bool = False) -> pd.DataFrame:
    """One track of summary.json: a row a metric with its best value, a column a system or control.

    Answers without the exhibit's photo have a table of their own (`ablation_frame`). `short` leaves
    the key metrics alone, and of a track without any, as of things from outside, all.
    """
    systems = {name: scores for name, scores in own.items() if not variant(name)[1]}
    table = {name: {m: cell(s) for m, s in scores.items()} for name, scores in systems.items()}
    frame = pd.DataFrame(table)
    key = frame.loc[frame.index.isin(KEY)]
    shown = key if short and len(key) else frame
    return shown.rename(lambda metric: f"{metric} {METRICS[metric].direction}".strip())


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
