"""The figures of stage 3, and which of them a profile gets.

Each function takes tables and returns a Picture (a matplotlib Figure that a notebook shows by
itself). To add one, write such a function and a line in FIGURES: it is drawn for every profile into
results/<profile>/figures/, and stands in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from ..systems.registry import (
    ABLATIONS,
    TRACK_LABELS,
    SystemStyle,
    on_track,
    ordered,
    system,
    variant,
)
from .differences import Summary
from .drawing import (
    INK,
    LINE,
    QUIET,
    WIDTH,
    Label,
    Picture,
    grid_lines,
    head,
    label_points,
    picture,
    system_rows,
)
from .metrics import METRICS, Metric, metrics_of
from .per_item_figure import per_item
from .risk_coverage import by_system, risk_coverage_curves

if TYPE_CHECKING:
    from .results import Results

Own = Mapping[str, Mapping[str, Mapping[str, Any]]]  # system -> metric -> mean, ci_low, ci_high
PANEL, BAR, FACTS, SIGHT = 0.62, 0.23, 0.3, 0.78  # inches: around a panel's bars; of one system
# What becomes of a fact: its colour, and the legend.
STATUS = {
    "recalled": ("#009e73", "of the ground truth, recalled"),
    "missing": ("#dfe2e6", "of the ground truth, missing"),
    "invented": ("#d55e00", "invented (stated nowhere)"),
}
KINDS = {"number": "Numbers and years", "name": "Proper names"}
SIGHT_METRICS = ("identity_at_1", "embedding_distance", "number_recall")
# What the system was shown: the legend, colour and marker.
SHOWN = {
    "": ("the exhibit's photo", INK, "o"),
    "blank_photo": (ABLATIONS["blank_photo"], "#56b4e9", "s"),
    "wrong_photo": (ABLATIONS["wrong_photo"], "#d55e00", "X"),
    "no_photo": (ABLATIONS["no_photo"], "#8a8f98", "v"),
}
COSTS = {
    "minutes": "training minutes",
    "memory_gib": "peak memory per GPU (or CPU), GiB",
    "usd": "rent of the machine, USD",
}


def metric_bars(summary: Summary, track: str = "all") -> Picture:
    """One panel a metric, one bar a system or control, with 95 % intervals where there are any.

    `summary` is summary.json. Metrics without any value are left out, and so are ablations, which
    have a figure of their own (`sight_points`).
    """
    systems = ordered(name for name in summary[track] if not variant(name)[1])
    own = {name: summary[track][name] for name in systems}
    metrics = [m for m in metrics_of("all") if all(m.name in each for each in own.values())]
    known = [m for m in metrics if any(each[m.name]["mean"] is not None for each in own.values())]
    chosen = known or metrics
    columns = min(2, len(chosen))
    rows = -(-len(chosen) // columns)
    height = 0.55 + rows * (PANEL + BAR * len(systems))
    with picture(WIDTH, height, layout="constrained") as figure:
        figure.set_layout_engine("constrained", h_pad=0.1, w_pad=0.1)
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes, metric in zip(panels, chosen, strict=False):
            _bars(axes, metric, {name: each[metric.name] for name, each in own.items()})
        for axes in panels[len(chosen) :]:
            axes.remove()
        items = max(value["n"] or 0 for each in own.values() for value in each.values())
        head(figure, f"{TRACK_LABELS[track]}: {items} items, mean and 95 % interval over exhibits")
    return figure


def _bars(axes: Axes, metric: Metric, values: Mapping[str, Mapping[str, float | None]]) -> None:
    for place, (name, value) in enumerate(values.items()):
        mean, low, high = value["mean"], value["ci_low"], value["ci_high"]
        if mean is None:
            axes.text(0, place, " no value", va="center", color=QUIET)
            continue
        axes.barh(place, mean, height=0.7, color=system(name, values).colour)
        if low is not None and high is not None:
            for colour, width in (("white", 3.4), (INK, 1.4)):
                axes.plot(
                    [low, high], [place] * 2, color=colour, lw=width, marker="|", ms=6, mew=width
                )
        axes.annotate(
            metric.show(mean), (max(mean, high or 0), place), xytext=(6, 0),
            textcoords="offset points", va="center",
        )  # fmt: skip
    system_rows(axes, list(values), f"{metric.label} {metric.direction}")
    highest = max([value["ci_high"] or value["mean"] or 0 for value in values.values()])
    least = 1e-3 if metric.limits[1] is None else 1.0
    axes.set_xlim(0, max(highest, least) * 1.18)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))  # five ticks at most


def fact_bars(facts: pd.DataFrame, scores: pd.DataFrame, track: str = "all") -> Picture:
    """Facts an answer: to the right the ground truth's, recalled or missing; to the left invented.

    `facts` and `scores` are facts.parquet and scores.parquet as tables; systems and controls are
    drawn, ablations are not.
    """
    rows = on_track(scores, track)
    items = rows.groupby("model").data_id.nunique()
    systems = ordered(name for name in items.index if not variant(name)[1])
    there = facts[facts.data_id.isin(set(rows.data_id))]
    counts = there.groupby(["model", "kind", "status"]).size()
    with picture(WIDTH, 1.35 + FACTS * len(systems), layout="constrained") as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (kind, label) in zip(panels, KINDS.items(), strict=True):
            for place, name in enumerate(systems):
                means = [counts.get((name, kind, s), 0) / items[name] for s in STATUS]
                _fact_bar(axes, place, *means)
            axes.axvline(0, color=QUIET, lw=0.8)
            axes.margins(x=0.16)
            axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
            system_rows(axes, systems, label)
        head(figure, f"{TRACK_LABELS[track]}: facts an answer, mean of {items.max()} answers")
        patches = [Patch(fc=colour, ec=LINE, label=text) for colour, text in STATUS.values()]
        figure.legend(handles=[patches[2], *patches[:2]], loc="outside lower left", ncols=3)
    return figure


def _fact_bar(axes: Axes, place: int, recalled: float, missing: float, invented: float) -> None:
    """A bar of three parts; left of it the number of invented facts, right of recalled ones."""
    parts = {"recalled": (recalled, 0), "missing": (missing, recalled), "invented": (-invented, 0)}
    for status, (width, left) in parts.items():
        axes.barh(place, width, left=left, height=0.66, color=STATUS[status][0])
    notes = ((-invented, invented, -4, "right"), (recalled + missing, recalled, 4, "left"))
    for x, value, shift, side in notes:
        axes.annotate(
            f"{value:.1f}", (x, place), xytext=(shift, 0), textcoords="offset points",
            ha=side, va="center", fontsize=8,
        )  # fmt: skip


def sight_points(own: Own, chance: float) -> Picture:
    """One row a system, one point for each thing it was shown, with 95 % intervals.

    `own` is one track of summary.json; `chance` of identity_at_1 is drawn as a line. A system whose
    points lie on one another is not looking.
    """
    systems = [name for name in ordered(own) if any(f"{name}__{kind}" in own for kind in ABLATIONS)]
    with picture(WIDTH, 1.25 + SIGHT * len(systems), layout="constrained") as figure:
        panels = figure.subplots(1, len(SIGHT_METRICS), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, SIGHT_METRICS, strict=True):
            for place, each in enumerate(systems):
                _sight_row(axes, place, each, name, own)
            axes.set_xlim(-0.03, max(1.0, axes.dataLim.x1) + 0.03)
            system_rows(axes, systems, f"{METRICS[name].label} {METRICS[name].direction}")
        panels[0].axvline(chance, color=QUIET, lw=1, ls=(0, (4, 3)))
        head(figure, "What is left without the photo")
        handles = [
            Line2D([], [], color=colour, marker=marker, ls="", label=label)
            for label, colour, marker in SHOWN.values()
        ]
        handles.append(Line2D([], [], color=QUIET, ls=(0, (4, 3)), label="chance"))
        figure.legend(handles=handles, loc="outside lower left", ncols=5)
    return figure


def _sight_row(axes: Axes, place: int, name: str, metric: str, own: Own) -> None:
    for step, (kind, (_, colour, marker)) in enumerate(SHOWN.items()):
        value = own.get(f"{name}__{kind}" if kind else name, {}).get(metric, {"mean": None})
        if value["mean"] is None:
            continue
        y = place + 0.17 * (step - 1.5)
        if value["ci_low"] is not None:
            axes.plot([value["ci_low"], value["ci_high"]], [y, y], color=colour, lw=1.4)
        axes.plot(value["mean"], y, marker, color=colour, ms=6, mec="white", mew=0.6)


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


def _per_item(results: Results) -> Picture:
    photos, published = results.thumbnails(), results.published_means
    return per_item(results.scores, photos, results.titles, published=published)


def _sight(results: Results) -> Picture | None:
    own, chance = results.summary[results.main_track], results.record["chance_of_identity"]
    return sight_points(own, chance) if results.record["ablations"] else None


def _risk_coverage(results: Results) -> Picture | None:
    curves = by_system(results.scores)
    return risk_coverage_curves(curves) if curves else None


# The file's name -> what the report says of it, and how it is drawn; None if there is nothing to.
FIGURES: dict[str, tuple[str, Callable[[Results], Picture | None]]] = {
    "metric_bars": (
        "Every metric with its 95 % interval.",
        lambda of: metric_bars(of.summary, of.main_track),
    ),
    "facts": (
        "Facts an answer: recalled, missing, invented.",
        lambda of: fact_bars(of.facts, of.scores, of.main_track),
    ),
    "sight": ("What is left of each system's scores without the photo.", _sight),
    "per_item": (
        "Each row is an exhibit, each point a system's answers about it, of all tracks; "
        "the further left, the closer to the ground truth.",
        _per_item,
    ),
    "quality_costs": (
        "Quality against what the tuning cost.",
        lambda of: quality_costs(of.costs, "embedding_distance") if of.training else None,
    ),
    "risk_coverage": (
        "How often each system errs, were it to answer only where it is sure enough.",
        _risk_coverage,
    ),
    "loss_curves": (
        "The loss while tuning.",
        lambda of: loss_curves(of.training) if of.training else None,
    ),
}


def draw_figures(results: Results) -> dict[str, Path]:
    """Draw every figure of a profile that there is something to draw for; name -> path of PNG."""
    drawn = {name: draw(results) for name, (_, draw) in FIGURES.items()}
    folder = results.folder / "figures"
    for old in folder.glob("*.png"):
        if not drawn.get(old.stem):
            old.unlink()
    return {name: each.save(folder / f"{name}.png") for name, each in drawn.items() if each}
