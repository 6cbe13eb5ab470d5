"""Every metric of every system and control, with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ...systems.registry import TRACK_LABELS, ordered, system, variant
from ..metrics import METRICS, Metric, item_metrics
from ..style import INK, QUIET, WIDTH, Picture, grid_lines, picture

if TYPE_CHECKING:
    from ..differences import Summary

HEAD, PITCH = 0.62, 0.23  # inches: around a panel's bars, and from one bar to the next


def metric_bars(
    summary: Summary, track: str = "all", metrics: Sequence[str] | None = None
) -> Picture:
    """One panel a metric, one bar a system or control, with 95 % intervals where there are any.

    `summary` is summary.json; `metrics` are names of METRICS, by default all that have values.
    Ablations have a figure of their own (sight.py).
    """
    systems = ordered(name for name in summary[track] if not variant(name)[1])
    own = {name: summary[track][name] for name in systems}
    chosen = [METRICS[name] for name in metrics or _with_values(own)]
    columns = max(1, min(2, len(chosen)))
    rows = max(1, -(-len(chosen) // columns))
    with picture(
        WIDTH, 0.55 + rows * (HEAD + PITCH * len(systems)), layout="constrained"
    ) as figure:
        figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes, metric in zip(panels, chosen, strict=False):
            _bars(axes, metric, {name: each[metric.name] for name, each in own.items()})
        for axes in panels[len(chosen) :]:
            axes.set_axis_off()
        items = max(value["n"] for each in own.values() for value in each.values())
        title = f"{TRACK_LABELS[track]}: {items} items, mean and 95 % interval over exhibits"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
    return figure


def _with_values(own: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> list[str]:
    """The metrics for which some system has a value; all of them where none has any."""
    names = [metric.name for metric in item_metrics()]
    return [n for n in names if any(each[n]["mean"] is not None for each in own.values())] or names


def _bars(axes: Axes, metric: Metric, values: Mapping[str, Mapping[str, float | None]]) -> None:
    for place, (name, value) in enumerate(values.items()):
        mean = value["mean"]
        if mean is None:
            axes.text(0, place, " no value", va="center", color=QUIET)
            continue
        axes.barh(place, mean, height=0.7, color=system(name).colour)
        low, high = value["ci_low"], value["ci_high"]
        if low is not None:
            for colour, width in (("white", 3.4), (INK, 1.4)):
                axes.plot(
                    [low, high], [place] * 2, color=colour, lw=width, marker="|", ms=6, mew=width
                )
        axes.annotate(
            metric.show(mean), (max(mean, high or 0), place), xytext=(6, 0),
            textcoords="offset points", va="center",
        )  # fmt: skip
    axes.set_yticks(range(len(values)), [system(name).label for name in values])
    axes.set_ylim(len(values) - 0.5, -0.5)
    highest = max([value["ci_high"] or value["mean"] or 0 for value in values.values()])
    least = 1e-3 if metric.limits[1] is None else 1.0
    axes.set_xlim(0, max(highest, least) * 1.18)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))  # five ticks at most
    axes.set_title(f"{metric.label} {metric.direction}")
    grid_lines(axes, "x")
