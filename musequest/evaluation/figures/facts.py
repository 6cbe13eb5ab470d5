"""What the answers do with facts: recalled, missing, invented."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ...systems.registry import TRACK_LABELS, on_track, ordered, system, variant
from ..style import LINE, QUIET, WIDTH, Picture, grid_lines, picture

COLOURS = {"recalled": "#009e73", "missing": "#dfe2e6", "invented": "#d55e00"}
KINDS = {"number": "Numbers and years", "name": "Proper names"}
PITCH = 0.3  # inches from one bar to the next


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
    with picture(WIDTH, 1.35 + PITCH * len(systems), layout="constrained") as figure:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (kind, label) in zip(panels, KINDS.items(), strict=True):
            means = {
                name: {s: counts.get((name, kind, s), 0) / items[name] for s in COLOURS}
                for name in systems
            }
            _panel(axes, label, means)
        _head(figure, f"{TRACK_LABELS[track]}: facts an answer, mean of {items.max()} answers")
    return figure


def _panel(axes: Axes, label: str, means: Mapping[str, Mapping[str, float]]) -> None:
    for place, own in enumerate(means.values()):
        recalled, missing, invented = (own[status] for status in COLOURS)
        axes.barh(place, recalled, height=0.66, color=COLOURS["recalled"])
        axes.barh(place, missing, left=recalled, height=0.66, color=COLOURS["missing"])
        axes.barh(place, -invented, height=0.66, color=COLOURS["invented"])
        _note(axes, -invented, place, invented, "right")
        _note(axes, recalled + missing, place, recalled, "left")
    axes.axvline(0, color=QUIET, lw=0.8)
    axes.set_yticks(range(len(means)), [system(name).label for name in means])
    axes.set_ylim(len(means) - 0.5, -0.5)
    axes.margins(x=0.16)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_title(label)
    grid_lines(axes, "x")


def _note(axes: Axes, x: float, place: int, value: float, side: str) -> None:
    """The number of invented facts left of a bar, of recalled ones right of it."""
    shift = -4 if side == "right" else 4
    axes.annotate(
        f"{value:.1f}", (x, place), xytext=(shift, 0), textcoords="offset points",
        ha=side, va="center", fontsize=8,
    )  # fmt: skip


def _head(figure: Picture, title: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
    meanings = {
        "invented": "invented (stated nowhere)",
        "recalled": "of the ground truth, recalled",
        "missing": "of the ground truth, missing",
    }
    patches = [Patch(fc=COLOURS[n], ec=LINE, label=text) for n, text in meanings.items()]
    figure.legend(handles=patches, loc="outside lower left", ncols=3)
