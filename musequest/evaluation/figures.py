"""The figures of stage 3: training losses, the per-item comparison, the metrics with intervals.

Each function takes tables and returns a Picture (a matplotlib Figure that a notebook shows by
itself); `draw_figures` draws all of a profile into results/<profile>/figures/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from PIL import Image, ImageOps

from .answers import TRACK_LABELS
from .metrics import METRICS, Metric
from .style import INK, LINE, QUIET, Picture, grid_lines, picture
from .systems import ordered, system

if TYPE_CHECKING:
    from .results import Results
    from .scoring import Summary

WIDTH = 9.0  # inches
MARGIN, LABELS, RIGHT = 0.15, 2.75, 0.25  # inches: left edge, titles, right edge
FOOT, HEAD = 0.55, 0.9  # inches below and above the rows
LONGEST_TITLE = 36  # characters


def draw_figures(results: Results) -> dict[str, Path]:
    """Draw every figure of a profile; returns name -> path of the PNG."""
    track = results.main_track
    pictures = {
        "per_item": per_item(results.scores, results.thumbnails(), results.titles),
        "metric_bars": metric_bars(results.summary, track),
    }
    if results.training:
        pictures["loss_curves"] = loss_curves(results.training)
    folder = results.folder / "figures"
    return {name: each.save(folder / f"{name}.png") for name, each in pictures.items()}


def loss_curves(runs: Mapping[str, pd.DataFrame]) -> Picture:
    """Training and validation loss over the steps; run name -> metrics.parquet as a table.

    The training loss is the thin line, the validation loss the one with points; a ring marks the
    lowest validation loss, whose weights are kept.
    """
    with picture(WIDTH, 3.6, layout="constrained") as figure:
        axes = figure.subplots()
        for name in ordered(runs):
            _loss_curve(axes, name, runs[name].sort_values("step"))
        axes.set_title("Loss of the answers' tokens", pad=22)
        axes.set_xlabel("training step")
        axes.set_ylim(bottom=0)
        grid_lines(axes, "y")
        if axes.lines:
            axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.99), ncols=4, borderaxespad=0.2)
    return figure


def _loss_curve(axes: Axes, name: str, metrics: pd.DataFrame) -> None:
    look = system(name)
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
    axes.annotate(
        f"best {best.eval_loss:.3f} at step {int(best.step)}",
        (best.step, best.eval_loss),
        xytext=(0, 12),
        textcoords="offset points",
        ha="right" if best.step > metrics.step.max() / 2 else "left",
        color=INK,
    )


def per_item(
    scores: pd.DataFrame,
    thumbnails: Mapping[str, Image.Image] | None = None,
    titles: Mapping[str, str] | None = None,
    metric: str = "embedding_distance",
) -> Picture:
    """One row an exhibit, its thumbnail at the left, one point a system; the ground truth is at 0.

    `scores` is scores.parquet as a table. An exhibit with several items is drawn at their mean;
    dashed lines are each system's mean over all items. The row where the last system lies
    farthest off stands at the bottom.
    """
    rows = scores.pivot_table(index="item_name", columns="model", values=metric, aggfunc="mean")
    names = ordered(rows.columns)
    rows = rows.sort_values(names[-1], kind="stable", na_position="last")
    means = {name: scores.loc[scores.model == name, metric].mean() for name in names}
    row = float(np.clip(26 / max(len(rows), 1), 0.24, 0.46))
    head = HEAD + 0.22 * (len(names) // 4)
    with picture(WIDTH, FOOT + head + row * len(rows)) as figure:
        axes = _rows_axes(figure, len(rows), row, "plot")
        _row_labels(figure, rows.index, row, thumbnails or {}, titles or {})
        _points(axes, rows, names)
        _mean_lines(axes, means)
        _per_item_axis(axes, METRICS[metric])
        items = scores.data_id.nunique()
        title = f"{METRICS[metric].label} of each exhibit's answers ({items} items)"
        _per_item_head(figure, means, title)
    return figure


def _rows_axes(figure: Picture, rows: int, row: float, part: str) -> Axes:
    """Axes over all rows, one unit a row, the first on top: the plot, or the labels beside it."""
    width, height = figure.get_size_inches()
    left = MARGIN if part == "labels" else MARGIN + row + LABELS
    span = row + LABELS if part == "labels" else width - left - RIGHT
    axes = figure.add_axes((left / width, FOOT / height, span / width, row * rows / height))
    axes.set_ylim(rows - 0.5, -0.5)
    if part == "labels":
        axes.set_xlim(0, span / row)
        axes.set_axis_off()
    return axes


def _row_labels(
    figure: Picture,
    item_names: Sequence[str],
    row: float,
    thumbnails: Mapping[str, Image.Image],
    titles: Mapping[str, str],
) -> None:
    """Thumbnail and title of every row."""
    axes = _rows_axes(figure, len(item_names), row, "labels")
    limits = axes.get_xlim(), axes.get_ylim()
    edge = int(row * 300)
    for place, name in enumerate(item_names):
        if name in thumbnails:
            square = ImageOps.fit(thumbnails[name].convert("RGB"), (edge, edge))
            axes.imshow(
                np.asarray(square), extent=(0.04, 0.96, place + 0.46, place - 0.46), aspect="auto"
            )
        title = titles.get(name, name)
        shown = title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1].rstrip() + "…"
        size = min(9, row * 30)
        axes.text(1.2, place, shown, va="center", fontsize=size, parse_math=False)
    axes.set(xlim=limits[0], ylim=limits[1])


def _points(axes: Axes, means: pd.DataFrame, names: Sequence[str]) -> None:
    """A thin line from a row's lowest to its highest value, and one point a system."""
    places = np.arange(len(means))
    axes.hlines(places, means.min(axis=1), means.max(axis=1), color=LINE, lw=2.2, zorder=1)
    for name in names:
        look = system(name)
        axes.scatter(
            means[name], places, s=34, color=look.colour, marker=look.marker,
            edgecolor="white", linewidth=0.6, zorder=3, clip_on=False,
        )  # fmt: skip


def _mean_lines(axes: Axes, means: Mapping[str, float]) -> None:
    for name, mean in means.items():
        axes.axvline(mean, color=system(name).colour, ls=(0, (4, 3)), lw=1.2, zorder=2)


def _per_item_axis(axes: Axes, metric: Metric) -> None:
    """The ground truth's line and the axis, which tall figures repeat at the top."""
    axes.axvline(0, color=INK, lw=1.6, zorder=2)
    axes.set_xlim(left=-0.02, right=max(axes.get_xlim()[1], 0.1))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(labeltop=axes.get_ylim()[0] > 30)
    axes.grid(True, axis="x")
    axes.set_xlabel(f"{metric.name} {metric.direction}")


def _per_item_head(figure: Picture, means: Mapping[str, float], title: str) -> None:
    """Title and legend, in which each system's mean is written."""
    handles = [Line2D([], [], color=INK, lw=1.6, label="Ground truth")]
    for name, mean in means.items():
        look = system(name)
        label = f"{look.label}, mean {mean:.2f}"
        style = {"color": look.colour, "marker": look.marker, "ls": (0, (4, 3))}
        handles.append(Line2D([], [], lw=1.2, ms=6, label=label, **style))
    height = figure.get_size_inches()[1]
    top = 1 - MARGIN / height
    figure.text(MARGIN / WIDTH, top, title, va="top", weight="bold", fontsize=11)
    anchor = (MARGIN / WIDTH - 0.008, top - 0.24 / height)
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=anchor, ncols=4, handlelength=2.8
    )


def metric_bars(
    summary: Summary, track: str = "all", metrics: Sequence[str] | None = None
) -> Picture:
    """One panel a metric, one bar a system, with 95 % intervals where they were computed.

    `summary` is summary.json; `metrics` are names of METRICS, all of them by default.
    """
    systems = ordered(summary[track])
    chosen = [METRICS[name] for name in metrics or METRICS]
    columns = min(2, len(chosen))
    rows = -(-len(chosen) // columns)
    panel = 0.62 + 0.3 * len(systems)
    with picture(WIDTH, 0.55 + rows * panel, layout="constrained") as figure:
        figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, metric in zip(panels, chosen, strict=False):
            _bars(axes, metric, {name: summary[track][name][metric.name] for name in systems})
        for axes in panels[len(chosen) :]:
            axes.set_axis_off()
        items = max(each["n"] for own in summary[track].values() for each in own.values())
        title = f"{TRACK_LABELS[track]}: {items} items, mean and 95 % interval over exhibits"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
    return figure


def _bars(axes: Axes, metric: Metric, values: Mapping[str, Mapping[str, float | None]]) -> None:
    for place, (name, value) in enumerate(values.items()):
        mean = value["mean"]
        if mean is None:
            axes.text(0, place, " no value", va="center", color=QUIET)
            continue
        axes.barh(place, mean, height=0.62, color=system(name).colour)
        low, high = value["ci_low"], value["ci_high"]
        if low is not None:
            for colour, width in (("white", 3.4), (INK, 1.4)):
                axes.plot(
                    [low, high], [place] * 2, color=colour, lw=width, marker="|", ms=6, mew=width
                )
        text = f"{mean:.0f}" if metric.limits[1] is None else f"{mean:.2f}"
        axes.annotate(
            text, (max(mean, high or 0), place), xytext=(6, 0), textcoords="offset points",
            va="center",
        )  # fmt: skip
    axes.set_yticks(range(len(values)), [system(name).label for name in values])
    axes.set_ylim(len(values) - 0.5, -0.5)
    highest = max([value["ci_high"] or value["mean"] or 0 for value in values.values()])
    axes.set_xlim(0, max(highest * 1.18, 1e-3) if metric.limits[1] is None else 1.12)
    axes.set_title(f"{metric.label} {metric.direction}")
    grid_lines(axes, "x")
