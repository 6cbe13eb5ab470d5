"""The published figure's form: an exhibit a row, a system a point, the ground truth at 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from PIL import Image, ImageOps

from ..systems.registry import OUTSIDERS, TRACK_LABELS, TUNED, is_system, ordered, system
from .differences import over_seeds
from .drawing import INK, LINE, WIDTH, Picture, picture
from .metrics import METRICS

MARGIN, LABELS, RIGHT = 0.15, 2.75, 0.25  # inches: left edge, titles, right edge
FOOT, HEAD = 0.55, 0.9  # inches below and above the rows
LEGEND_COLUMNS = 3
LONGEST_TITLE = 36  # characters
DASHED, DOTTED = (0, (4, 3)), (0, (1, 2))


def per_item(
    scores: pd.DataFrame,
    thumbnails: Mapping[str, Image.Image] | None = None,
    titles: Mapping[str, str] | None = None,
    metric: str = "embedding_distance",
    published: Mapping[str, float] | None = None,
) -> Picture:
    """One row an exhibit, its thumbnail at the left, one point a system; the ground truth is at 0.

    `scores` is scores.parquet as a table, of which the systems are drawn, not their controls and
    ablations. An exhibit with several items is drawn at their mean; dashed lines are each system's
    mean over all items, dotted ones the means that were published (`published`, by system). The
    row where the last tuned system, or else the last one, lies farthest off stands at the bottom.
    All tracks are drawn, and counted in the title.
    """
    scores = over_seeds(scores)
    scores = scores[scores.model.map(is_system) & scores.track.ne(OUTSIDERS)]
    rows = scores.pivot_table(index="item_name", columns="model", values=metric, aggfunc="mean")
    names = ordered(rows.columns)
    sorter = [name for name in names if name in TUNED] or names
    rows = rows.sort_values(sorter[-1], kind="stable", na_position="last")
    means = {name: scores.loc[scores.model == name, metric].mean() for name in names}
    row = float(np.clip(26 / max(len(rows), 1), 0.24, 0.46))
    published = published or {}
    head = HEAD + 0.22 * ((len(names) + len(published)) // LEGEND_COLUMNS)
    with picture(WIDTH, FOOT + head + row * len(rows)) as figure:
        left = MARGIN + row + LABELS
        axes = _rows_axes(figure, len(rows), row, left, WIDTH - left - RIGHT)
        beside = _rows_axes(figure, len(rows), row, MARGIN, row + LABELS)
        _row_labels(beside, rows.index, row, thumbnails or {}, titles or {})
        _points(axes, rows, names)
        lines = [*((*each, DASHED) for each in means.items())]
        lines += [(*each, DOTTED) for each in published.items()]
        for name, mean, style in lines:
            axes.axvline(mean, color=system(name, names).colour, ls=style, lw=1.2, zorder=2)
        _value_axis(axes, f"{METRICS[metric].name} {METRICS[metric].direction}")
        _head(figure, lines, f"{METRICS[metric].label} by exhibit ({_items(scores)})")
    return figure


def _items(scores: pd.DataFrame) -> str:
    """How many items of which tracks there are."""
    tracks = scores.drop_duplicates("data_id").track.value_counts(sort=False)
    there = {label: tracks[track] for track, label in TRACK_LABELS.items() if track in tracks}
    counted = (f"{count} {label.lower()}" for label, count in there.items())
    return ", ".join(counted) or f"{tracks.sum()} items"


def _rows_axes(figure: Picture, rows: int, row: float, left: float, span: float) -> Axes:
    """Axes over all rows, one unit a row, the first on top; `row`, `left` and `span` in inches."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, FOOT / height, span / width, row * rows / height))
    axes.set_ylim(rows - 0.5, -0.5)
    return axes


def _row_labels(
    axes: Axes,
    item_names: Sequence[str],
    row: float,
    thumbnails: Mapping[str, Image.Image],
    titles: Mapping[str, str],
) -> None:
    """Thumbnail and title of every row."""
    axes.set_axis_off()
    limits = (0, (row + LABELS) / row), axes.get_ylim()
    edge = int(row * 300)
    for place, name in enumerate(item_names):
        if name in thumbnails:
            square = ImageOps.fit(thumbnails[name].convert("RGB"), (edge, edge))
            extent = (0.04, 0.96, place + 0.46, place - 0.46)
            axes.imshow(np.asarray(square), extent=extent, aspect="auto")
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
        look = system(name, names)
        axes.scatter(
            means[name], places, s=34, color=look.colour, marker=look.marker,
            edgecolor="white", linewidth=0.6, zorder=3, clip_on=False,
        )  # fmt: skip


def _value_axis(axes: Axes, label: str) -> None:
    """The ground truth's line and the axis, which tall figures repeat at the top."""
    axes.axvline(0, color=INK, lw=1.6, zorder=2)
    axes.set_xlim(left=-0.02, right=max(axes.get_xlim()[1], 0.1))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(labeltop=axes.get_ylim()[0] > 30)
    axes.grid(True, axis="x")
    axes.set_xlabel(label)


def _head(figure: Picture, lines: Sequence[tuple[str, float, tuple]], title: str) -> None:
    """Title and legend, in which each system's mean is written, and the published ones."""
    handles = [Line2D([], [], color=INK, lw=1.6, label="Ground truth")]
    names = [name for name, _, _ in lines]
    for name, mean, style in lines:
        look, ours = system(name, names), style == DASHED
        label = f"{look.label}, {'mean' if ours else 'published'} {mean:.2f}"
        marker = look.marker if ours else None
        handles.append(
            Line2D([], [], lw=1.2, ms=6, label=label, color=look.colour, marker=marker, ls=style)
        )
    height = figure.get_size_inches()[1]
    top = 1 - MARGIN / height
    figure.text(MARGIN / WIDTH, top, title, va="top", weight="bold", fontsize=11)
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(MARGIN / WIDTH - 0.008, top - 0.24 / height),
        ncols=LEGEND_COLUMNS,
        handlelength=2.8,
    )
