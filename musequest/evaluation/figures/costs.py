"""Quality against what the tuning cost: minutes, memory, dollars."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from ..metrics import METRICS
from ..style import QUIET, WIDTH, Picture, grid_lines, picture
from ..systems import ordered, system

PANELS = {
    "minutes": "training minutes",
    "memory_gib": "peak memory, GiB",
    "usd": "rent of the machine, USD",
}


def quality_costs(costs: pd.DataFrame, metric: str) -> Picture:
    """Three panels, one point a run: `metric` upwards, and what the run took to the right.

    `costs` has the columns approach, hardware, minutes, memory_gib, usd, and mean, ci_low, ci_high
    of the metric; NaN where something is not known. Costs are on a scale of powers of ten.
    """
    chosen = METRICS[metric]
    with picture(WIDTH, 3.7, layout="constrained") as figure:
        panels = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (column, label) in zip(panels, PANELS.items(), strict=True):
            _panel(axes, costs[costs[column].notna() & costs["mean"].notna()], column)
            axes.set_xlabel(label)
        panels[0].set_ylabel(f"{chosen.name} {chosen.direction}")
        highest = costs[["mean", "ci_high"]].max().max()
        panels[0].set_ylim(0, 1.2 * highest if highest > 0 else 1)
        title = f"{chosen.label} and what it cost"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
        handles, labels = panels[0].get_legend_handles_labels()
        if handles:
            by_label = dict(zip(labels, handles, strict=True))
            labels = [system(name).label for name in ordered(set(costs.approach))]
            shown = {label: by_label[label] for label in labels if label in by_label}
            figure.legend(shown.values(), shown.keys(), loc="outside lower left", ncols=6)
    return figure


def _panel(axes: Axes, costs: pd.DataFrame, column: str) -> None:
    for place, row in enumerate(costs.sort_values([column, "mean"]).to_dict("records")):
        look = system(row["approach"])
        x, y = row[column], row["mean"]
        axes.plot(
            x, y, look.marker, color=look.colour, ms=8, mec="white", mew=0.6, label=look.label
        )
        if pd.notna(row["ci_low"]):
            axes.plot([x, x], [row["ci_low"], row["ci_high"]], color=look.colour, lw=1.4, zorder=1)
        axes.annotate(
            row["hardware"], (x, y), xytext=(7 if place % 2 else -7, 0), textcoords="offset points",
            ha="left" if place % 2 else "right", va="center", fontsize=6.5, color=QUIET,
        )  # fmt: skip
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
