"""The figures that a profile gets, drawn and in words, and those of training and confidence.

Each is a function that takes tables and returns a Picture (a matplotlib Figure that a notebook
shows by itself); those of scores are in `score_figures`. To add one, write such a function and a
line in FIGURES: it is drawn for every profile into results/<profile>/figures/, and stands in the
report, with its values in words for readers who do not see it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from ..core.files import digests_of, file_digest, read_remade, write_json
from ..core.home import run_dir
from ..creation.split import split_path
from ..systems.registry import SystemStyle, is_system, on_track, ordered, system, variant
from .differences import unbounded
from .drawing import INK, QUIET, WIDTH, Label, Picture, grid_lines, head, label_points, picture
from .metrics import METRICS, Metric, metrics_of
from .risk_coverage import area_under, by_system
from .score_figures import (
    SIGHT_METRICS,
    STATUS,
    fact_bars,
    metric_bars,
    of_exhibits,
    per_item,
    sight_points,
)

if TYPE_CHECKING:
    from .results import Results

COSTS = {
    "minutes": "training minutes",
    "memory_gib": "peak memory per GPU (or CPU), GiB",
    "usd": "rent of the machine, USD",
}


def loss_curves(runs: Mapping[str, pd.DataFrame]) -> Picture:
    """Training and validation loss over the steps; run name -> metrics.parquet as a table.

    The training loss is the thin line, the validation loss the one with points; a ring marks the
    lowest validation loss, whose weights are kept.
    """
    with picture(WIDTH, 3.6, layout="constrained") as figure:
        axes = figure.subplots()
        for name in ordered(runs):
            _loss_curve(axes, system(name, runs), runs[name].sort_values("step"))
        axes.set_title("Loss of the answers' tokens", pad=22)
        axes.set_xlabel("training step")
        axes.set_ylim(bottom=0)
        grid_lines(axes, "y")
        if axes.lines:
            axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.99), ncols=4, borderaxespad=0.2)
    return figure


def _loss_curve(axes: Axes, look: SystemStyle, metrics: pd.DataFrame) -> None:
    train = metrics[np.isfinite(metrics.train_loss)]
    held = metrics[np.isfinite(metrics.eval_loss)]
    label = f"{look.label}: training"
    axes.plot(train.step, train.train_loss, color=look.colour, alpha=0.45, lw=1.2, label=label)
    if held.empty:
        return
    label = f"{look.label}: validation"
    axes.plot(
        held.step, held.eval_loss, color=look.colour, lw=1.6, marker=look.marker, ms=4, label=label
    )
    best = held.loc[held.eval_loss.idxmin()]
    axes.plot(best.step, best.eval_loss, "o", ms=12, mfc="none", mec=INK, mew=1.2)
    side = "right" if best.step > metrics.step.max() / 2 else "left"
    axes.annotate(
        f"best {best.eval_loss:.3f} at step {int(best.step)}", (best.step, best.eval_loss),
        xytext=(0, 12), textcoords="offset points", ha=side, color=INK,
    )  # fmt: skip


def quality_costs(costs: pd.DataFrame, metric: str, title: str | None = None) -> Picture:
    """Three panels, one point a run: `metric` upwards, and what the run took to the right.

    `costs` has the columns approach, hardware, minutes, memory_gib, usd, and mean, ci_low, ci_high
    of the metric; NaN where something is not known, which is counted under the panel. Costs are on
    a scale of powers of ten. `title` says whose runs they are where they are not one's own.
    """
    chosen = METRICS[metric]
    runs = costs[costs["mean"].notna() & costs[[*COSTS]].notna().any(axis=1)]
    with picture(WIDTH, 3.7, layout="constrained") as figure:
        panels = figure.subplots(1, len(COSTS), sharey=True)
        labels = [
            _cost_panel(axes, runs, *each) for axes, each in zip(panels, COSTS.items(), strict=True)
        ]
        panels[0].set_ylabel(f"{chosen.name} {chosen.direction}")
        highest = costs[["mean", "ci_high"]].max().max()
        panels[0].set_ylim(0, 1.2 * highest if highest > 0 else 1)
        head(figure, title or f"{chosen.label} and what it cost")
        handles, names = panels[0].get_legend_handles_labels()
        if handles:
            drawn = dict(zip(names, handles, strict=True))
            names = [system(name).label for name in ordered(set(costs.approach))]
            shown = {name: drawn[name] for name in names if name in drawn}
            figure.legend(shown.values(), shown.keys(), loc="outside lower left", ncols=6)
        label_points(figure, list(zip(panels, labels, strict=True)))
    return figure


def _cost_panel(axes: Axes, runs: pd.DataFrame, column: str, name: str) -> list[Label]:
    """Draw the runs of which a cost is known; what each ran on, the cheapest first."""
    known = runs[runs[column].notna()]
    for row in known.to_dict("records"):
        look, x = system(row["approach"], runs.approach), row[column]
        axes.plot(
            x, row["mean"], look.marker, color=look.colour, ms=8, mec="white", mew=0.6,
            label=look.label,
        )  # fmt: skip
        if pd.notna(row["ci_low"]):
            axes.plot([x, x], [row["ci_low"], row["ci_high"]], color=look.colour, lw=1.4, zorder=1)
    grid_lines(axes, "y")
    axes.set_xlabel(name)
    if known.empty:
        axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", color=QUIET)
        axes.set_xticks([])
        return []
    if len(known) < len(runs):
        axes.set_xlabel(f"{name}\n{len(runs) - len(known)} of {len(runs)} runs state none")
    axes.set_xscale("log")
    axes.set_xlim(known[column].min() / 2.2, known[column].max() * 2.2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    cheapest = known.sort_values([column, "mean"])
    return list(zip(cheapest[column], cheapest["mean"], cheapest.hardware, strict=True))


def risk_coverage_curves(curves: Mapping[str, pd.DataFrame]) -> Picture:
    """A step line a system: the share of wrong answers over the share of photos answered."""
    with picture(WIDTH, 3.6, layout="constrained") as figure:
        axes = figure.subplots()
        for name, curve in curves.items():
            look = system(name, curves)
            label = f"{look.label}, area {area_under(curve):.3f}"
            axes.step(
                curve.coverage, curve.risk, where="pre", color=look.colour, lw=1.6, label=label,
                marker=look.marker, ms=4, markevery=[len(curve) - 1],
            )  # fmt: skip
        axes.set(xlim=(0, 1.02), xlabel="coverage: share of photos answered, the surest first")
        axes.set(ylim=(0, None), ylabel="risk: share of wrong answers")
        axes.set_title("Risk and coverage", pad=22)
        grid_lines(axes, "y")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.99), ncols=4, borderaxespad=0.2)
    return figure


class Kind(NamedTuple):
    """A figure of the report."""

    caption: str
    draw: Callable[[Results], Picture | None]  # None if there is nothing to draw
    tell: Callable[[Results], str]  # its values, as sentences


def _listed(values: Mapping[str, str]) -> str:
    """System -> value, as "LoRA 0.12, Full 0.10"."""
    return ", ".join(f"{system(name).label} {value}" for name, value in values.items())


def _told(results: Results, names: Iterable[str], metrics: Iterable[Metric]) -> str:
    """A sentence a metric: each system's mean and interval on the main track."""
    own, names, sentences = results.summary[results.main_track], ordered(names), []
    for metric in metrics:
        values = {}
        for name in names:
            score = own[name].get(metric.name, {"mean": None})
            if score["mean"] is not None:
                low, high = metric.show(score["ci_low"]), metric.show(score["ci_high"])
                bounds = unbounded(score) if score["ci_low"] is None else f"{low} to {high}"
                values[name] = metric.show(score["mean"]) + (f" ({bounds})" if bounds else "")
        sentences += [f"{metric.label}: {_listed(values)}."] if values else []
    return " ".join(sentences)


def _metric_bars_told(results: Results) -> str:
    names = [name for name in results.summary[results.main_track] if not variant(name)[1]]
    return _told(results, names, metrics_of("all"))


def _sight(results: Results) -> Picture | None:
    own, chance = results.summary[results.main_track], results.record["chance_of_identity"]
    return sight_points(own, chance) if results.record["ablations"] else None


def _sight_told(results: Results) -> str:
    own = results.summary[results.main_track]
    names = [name for name in own if is_system(variant(name)[0])]
    return _told(results, names, [METRICS[name] for name in SIGHT_METRICS])


def _facts_told(results: Results) -> str:
    rows = on_track(results.scores, results.main_track)
    facts, items = results.facts, rows.groupby("model").data_id.nunique()
    counts = facts[facts.data_id.isin(set(rows.data_id))].groupby(["model", "status"]).size()
    told = []
    for name in ordered(name for name in items.index if not variant(name)[1]):
        each = [f"{counts.get((name, kind), 0) / items[name]:.1f} {kind}" for kind in STATUS]
        told.append(f"{system(name).label} {', '.join(each)}")
    return f"Facts an answer: {'; '.join(told)}."


def _per_item(results: Results) -> Picture:
    photos, published = results.thumbnails(), results.published_means
    return per_item(results.scores, photos, results.titles, published=published)


def _per_item_told(results: Results) -> str:
    told = {}
    for name, own in of_exhibits(results.scores).groupby("model"):
        means, mean = own.groupby("item_name").embedding_distance.mean(), own.embedding_distance
        told[name] = (
            f"{mean.mean():.2f} on average, {means.min():.2f} to {means.max():.2f} by exhibit"
        )
    return f"Embedding distance: {_listed({name: told[name] for name in ordered(told)})}."


def _quality_costs_told(results: Results) -> str:
    told = {}
    for row in results.costs.to_dict("records"):
        known = [f"{row[key]:.3g} {label}" for key, label in COSTS.items() if pd.notna(row[key])]
        if known:
            told[row["approach"]] = f"{row['mean']:.2f} for {', '.join(known)}"
    return f"Embedding distance: {_listed(told)}." if told else "No run states its costs."


def _loss_curves_told(results: Results) -> str:
    told = {}
    for name, metrics in results.training.items():
        held = metrics.dropna(subset=["eval_loss"])
        if len(held):
            best = held.loc[held.eval_loss.idxmin()]
            told[name] = f"{best.eval_loss:.3f} at step {best.step:.0f}"
    return f"Lowest validation loss: {_listed(told)}." if told else ""


def _risk_coverage(results: Results) -> Picture | None:
    curves = by_system(results.scores)
    return risk_coverage_curves(curves) if curves else None


def _risk_coverage_told(results: Results) -> str:
    curves = by_system(results.scores)
    areas = {name: f"{area_under(curve):.3f}" for name, curve in curves.items()}
    return f"Area under the curve, 0 best: {_listed(areas)}." if areas else ""


# By the file's name.
FIGURES: dict[str, Kind] = {
    "metric_bars": Kind(
        "Every metric with its 95 % interval.",
        lambda of: metric_bars(of.summary, of.main_track),
        _metric_bars_told,
    ),
    "facts": Kind(
        "Facts an answer: recalled, missing, invented.",
        lambda of: fact_bars(of.facts, of.scores, of.main_track),
        _facts_told,
    ),
    "sight": Kind("What is left of each system's scores without the photo.", _sight, _sight_told),
    "per_item": Kind(
        "Each row is an exhibit, each point a system's answers about it, of all tracks; "
        "the further left, the closer to the ground truth.",
        _per_item,
        _per_item_told,
    ),
    "quality_costs": Kind(
        "Quality against what the tuning cost.",
        lambda of: quality_costs(of.costs, "embedding_distance") if of.training else None,
        _quality_costs_told,
    ),
    "risk_coverage": Kind(
        "How often each system errs, were it to answer only where it is sure enough.",
        _risk_coverage,
        _risk_coverage_told,
    ),
    "loss_curves": Kind(
        "The loss while tuning.",
        lambda of: loss_curves(of.training) if of.training else None,
        _loss_curves_told,
    ),
}


def draw_figures(results: Results) -> dict[str, Path]:
    """Draw every figure of a profile that there is something to draw for; name -> path of PNG.

    If all were drawn of the same before, as .cache/figures.json tells, they are left as they are.
    """
    folder, kept = results.folder / "figures", results.folder / ".cache" / "figures.json"
    told, made_for = read_remade(kept), _drawn_from(results)
    if told == {"made_for": made_for, "files": digests_of(folder, folder.glob("*.png"))}:
        return {name: folder / f"{name}.png" for name in FIGURES if f"{name}.png" in told["files"]}
    drawn = {name: kind.draw(results) for name, kind in FIGURES.items()}
    for old in folder.glob("*.png"):
        if not drawn.get(old.stem):
            old.unlink()
    paths = {name: each.save(folder / f"{name}.png") for name, each in drawn.items() if each}
    write_json(kept, {"made_for": made_for, "files": digests_of(folder, paths.values())})
    return paths


def _drawn_from(results: Results) -> str:
    """The digest of all that figures depend on: scores, photos, runs, code and libraries."""
    from .scores import code_digest, digest_of

    profile, package = results.profile, Path(__file__).parents[1]
    files = [
        *(results.folder / name for name in ("scores.parquet", "facts.parquet")),
        *(results.folder / name for name in ("summary.json", "scoring.json")),
        *(run_dir(profile.name, name) / "metrics.parquet" for name in results.systems),
        split_path(profile.collection, profile.evaluation_split),
        *(package / name for name in ("systems/registry.py", "core/photos.py")),
    ]
    told = [results.costs.to_dict("list"), results.titles, results.published_means, [*FIGURES]]
    libraries = {name: version(name) for name in ("matplotlib", "pandas", "pillow")}
    return digest_of(code_digest(), [file_digest(path) for path in files], told, libraries)
