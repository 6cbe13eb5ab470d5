"""The figures of scores: a row a system, a row an exhibit, what is left without the photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageOps

from ..systems.registry import (
    ABLATIONS,
    OUTSIDERS,
    TRACK_LABELS,
    TUNED,
    is_system,
    on_track,
    ordered,
    system,
    variant,
)
from .differences import Own, Summary, over_seeds
from .drawing import INK, LINE, PAPER, QUIET, WIDTH, Picture, head, note, picture, system_rows
from .metrics import METRICS, Metric, metrics_of

PANEL, BAR, FACTS, SIGHT = 0.62, 0.23, 0.3, 0.78  # inches: around a panel's bars; of one system
LETTER, FEET = 0.072, 0.3  # inches: of a label's letter; below the last panels
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
MARGIN, LABELS, RIGHT = 0.15, 2.75, 0.25  # inches: left edge, titles, right edge
FOOT, HEAD = 0.55, 0.9  # inches below and above the rows
LEGEND_COLUMNS = 3
LONGEST_TITLE = 38  # characters
DASHED, DOTTED = (0, (4, 3)), (0, (1, 2))
APART = (np.nan, np.nan)  # between the pieces of one line


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
    longest = max((len(system(name).label) for name in systems), default=0)
    with picture(WIDTH, height) as figure:
        # Laid out by hand: to measure every text of so many panels takes longer than to draw them.
        place = {"left": (MARGIN + LETTER * longest) / WIDTH, "right": 1 - MARGIN / WIDTH}
        place |= {"top": 1 - PANEL / height, "bottom": FEET / height, "wspace": 0.08}
        place["hspace"] = PANEL / (BAR * max(len(systems), 1))
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True, gridspec_kw=place)
        panels = panels.ravel()
        for axes, metric in zip(panels, chosen, strict=False):
            _bars(axes, metric, {name: each[metric.name] for name, each in own.items()})
        for axes in panels[len(chosen) :]:
            axes.remove()
        titles = [f"{metric.label} {metric.direction}" for metric in chosen]
        system_rows(list(panels[: len(chosen)]), systems, titles)
        items = max(value["n"] or 0 for each in own.values() for value in each.values())
        title = f"{TRACK_LABELS[track]}: {items} items, mean and 95 % interval over exhibits"
        figure.text(0.01, 1 - 0.1 / height, title, va="top", weight="bold", fontsize=11)
    return figure


def _bars(axes: Axes, metric: Metric, values: Mapping[str, Mapping[str, float | None]]) -> None:
    bars, spans = [], []
    for place, (name, value) in enumerate(values.items()):
        mean, low, high = value["mean"], value["ci_low"], value["ci_high"]
        if mean is None:
            axes.text(0, place, " no value", va="center", color=QUIET)
            continue
        bars.append((place, mean, system(name, values).colour))
        if low is not None and high is not None:
            spans += [(low, place), (high, place), APART]
        note(axes, metric.show(mean), max(mean, high or 0), place, 6)
    if bars:
        places, means, colours = zip(*bars, strict=True)
        axes.barh(places, means, height=0.7, color=colours)
    for colour, width in (("white", 3.4), (INK, 1.4)) if spans else ():
        axes.plot(*zip(*spans, strict=True), color=colour, lw=width, marker="|", ms=6, mew=width)
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
        for axes, kind in zip(panels, KINDS, strict=True):
            means = {
                s: [counts.get((name, kind, s), 0) / items[name] for name in systems]
                for s in STATUS
            }
            _fact_bars(axes, **means)
            axes.axvline(0, color=QUIET, lw=0.8)
            axes.use_sticky_edges = False  # else no room is left beside bars that end alike
            axes.margins(x=0.16)
            axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        system_rows(panels, systems, list(KINDS.values()))
        head(figure, f"{TRACK_LABELS[track]}: facts an answer, mean of {items.max()} answers")
        patches = [Patch(fc=colour, ec=LINE, label=text) for colour, text in STATUS.values()]
        figure.legend(handles=[patches[2], *patches[:2]], loc="outside lower left", ncols=3)
    return figure


def _fact_bars(
    axes: Axes, recalled: Sequence[float], missing: Sequence[float], invented: Sequence[float]
) -> None:
    """Bars of three parts; left of each the number of invented facts, right of recalled ones."""
    places, nothing = range(len(recalled)), [0.0] * len(recalled)
    left_of_all = [-value for value in invented]
    parts = {
        "recalled": (recalled, nothing),
        "missing": (missing, recalled),
        "invented": (left_of_all, nothing),
    }
    for status, (widths, left) in parts.items():
        axes.barh(places, widths, left=left, height=0.66, color=STATUS[status][0])
    for place, own in enumerate(zip(recalled, missing, invented, strict=True)):
        note(axes, f"{own[2]:.1f}", -own[2], place, -4, fontsize=8)
        note(axes, f"{own[0]:.1f}", own[0] + own[1], place, 4, fontsize=8)


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
        titles = [f"{METRICS[name].label} {METRICS[name].direction}" for name in SIGHT_METRICS]
        system_rows(panels, systems, titles)
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


def per_item(
    scores: pd.DataFrame,
    thumbnails: Mapping[str, Image.Image] | None = None,
    titles: Mapping[str, str] | None = None,
    published: Mapping[str, float] | None = None,
) -> Picture:
    """One row an exhibit, its thumbnail at the left, one point a system; the ground truth is at 0.

    `scores` is scores.parquet as a table, of which the systems are drawn, not their controls and
    ablations. An exhibit with several items is drawn at their mean; dashed lines are each system's
    mean over all items, dotted ones the means that were published (`published`, by system). The
    row where the last tuned system, or else the last one, lies farthest off stands at the bottom.
    All tracks are drawn, and counted in the title.
    """
    scores, metric = of_exhibits(scores), METRICS["embedding_distance"]
    rows = scores.pivot_table(metric.name, index="item_name", columns="model", aggfunc="mean")
    names = ordered(rows.columns)
    sorter = [name for name in names if name in TUNED] or names
    rows = rows.sort_values(sorter[-1], kind="stable", na_position="last")
    means = {name: scores.loc[scores.model == name, metric.name].mean() for name in names}
    row = float(np.clip(26 / max(len(rows), 1), 0.24, 0.46))
    published = published or {}
    above = HEAD + 0.22 * ((len(names) + len(published)) // LEGEND_COLUMNS)
    with picture(WIDTH, FOOT + above + row * len(rows)) as figure:
        left = MARGIN + row + LABELS
        axes = _rows_axes(figure, len(rows), row, left, WIDTH - left - RIGHT)
        beside = _rows_axes(figure, len(rows), row, MARGIN, row + LABELS)
        _row_labels(beside, rows.index, row, thumbnails or {}, titles or {})
        _points(axes, rows, names)
        lines = [*((*each, DASHED) for each in means.items())]
        lines += [(*each, DOTTED) for each in published.items()]
        for name, mean, style in lines:
            axes.axvline(mean, color=system(name, names).colour, ls=style, lw=1.2, zorder=2)
        _value_axis(axes, f"{metric.name} {metric.direction}")
        _head(figure, lines, f"{metric.label} by exhibit ({_items(scores)})")
    return figure


def of_exhibits(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of systems about exhibits, of several seeds the mean."""
    scores = over_seeds(scores)
    return scores[scores.model.map(is_system) & scores.track.ne(OUTSIDERS)]


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
    side = round(edge / 0.92)  # of a row in the column of photos, which is one picture
    column = Image.new("RGB", (side, side * len(item_names)), PAPER)
    for place, name in enumerate(item_names):
        if name in thumbnails:
            square = ImageOps.fit(thumbnails[name].convert("RGB"), (edge, edge))
            column.paste(square, ((side - edge) // 2, side * place + (side - edge) // 2))
        title = titles.get(name, name)
        shown = title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1].rstrip() + "…"
        size = min(9, row * 30)
        axes.text(1.2, place, shown, va="center", fontsize=size, parse_math=False)
    if thumbnails:
        extent = (0, 1, len(item_names) - 0.5, -0.5)
        axes.imshow(np.asarray(column), extent=extent, aspect="auto")
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
