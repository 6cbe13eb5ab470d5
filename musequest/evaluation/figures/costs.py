"""Quality against what the tuning cost: minutes, memory, dollars."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from ...systems.registry import ordered, system
from ..metrics import METRICS
from ..style import QUIET, WIDTH, Picture, grid_lines, picture
from .labels import Label, label_points

PANELS = {
    "minutes": "training minutes",
    "memory_gib": "peak memory per GPU (or CPU), GiB",
    "usd": "rent of the machine, USD",
}


def quality_costs(costs: pd.DataFrame, metric: str, title: str | None = None) -> Picture:
    """Three panels, one point a run: `metric` upwards, and what the run took to the right.

    `costs` has the columns approach, hardware, minutes, memory_gib, usd, and mean, ci_low, ci_high
    of the metric; NaN where something is not known, which is counted under the panel. Costs are on
    a scale of powers of ten. `title` says whose runs they are where they are not one's own.
    """
    chosen = METRICS[metric]
    runs = costs[costs["mean"].notna() & costs[[*PANELS]].notna().any(axis=1)]
    with picture(WIDTH, 3.7, layout="constrained") as figure:
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (column, label) in zip(panels, PANELS.items(), strict=True):
            known = runs[runs[column].notna()]
            _panel(axes, known, column)
            unknown = len(runs) - len(known)
            none = f"\n{unknown} of {len(runs)} runs state none" if unknown and len(known) else ""
            axes.set_xlabel(f"{label}{none}")
        panels[0].set_ylabel(f"{chosen.name} {chosen.direction}")
        highest = costs[["mean", "ci_high"]].max().max()
        panels[0].set_ylim(0, 1.2 * highest if highest > 0 else 1)
        title = title or f"{chosen.label} and what it cost"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
        handles, labels = panels[0].get_legend_handles_labels()
        if handles:
            by_label = dict(zip(labels, handles, strict=True))
            labels = [system(name).label for name in ordered(set(costs.approach))]
            shown = {label: by_label[label] for label in labels if label in by_label}
            figure.legend(shown.values(), shown.keys(), loc="outside lower left", ncols=6)
        label_points(
            figure, list(zip(panels, (_labels(runs, each) for each in PANELS), strict=True))
        )
    return figure


def _panel(axes: Axes, costs: pd.DataFrame, column: str) -> None:
    for row in costs.to_dict("records"):
        look = system(row["approach"])
        x, y = row[column], row["mean"]
        axes.plot(
            x, y, look.marker, color=look.colour, ms=8, mec="white", mew=0.6, label=look.label
        )
        if pd.notna(row["ci_low"]):
            axes.plot([x, x], [row["ci_low"], row["ci_high"]], color=look.colour, lw=1.4, zorder=1)
    grid_lines(axes, "y")
    if costs.empty:
        axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", color=QUIET)
        axes.set_xticks([])
        return
    axes.set_xscale("log")
    low, high = costs[column].min(), costs[column].max()
    axes.set_xlim(low / 2.2, high * 2.2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())


def _labels(costs: pd.DataFrame, column: str) -> list[Label]:
    """What each run ran on, the cheapest first."""
    known = costs[costs[column].notna()].sort_values([column, "mean"])
    return list(zip(known[column], known["mean"], known.hardware, strict=True))
