"""Puts labels beside their points so that none is printed over another, or over a point."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from ..style import QUIET, Picture

Label = tuple[float, float, str]  # of a point: x, y in the axes' data, text

BESIDE, STEP, STEPS = 7, 4, 12  # points: from point to label, up or down; how many of these
MARKER = 4  # points: half a marker's edge


def label_points(figure: Picture, panels: Sequence[tuple[Axes, Sequence[Label]]]) -> None:
    """Write each panel's labels, each as near to its point as there is room.

    A label that stands above or below is led to by a thin line. Call it when all else is drawn.
    """
    figure.draw_without_rendering()  # Only then is it known where the axes lie.
    for axes, labels in panels:
        taken = [_around(axes, x, y) for x, y, _ in labels]
        for label in labels:
            taken.append(_write(axes, label, taken))


def _around(axes: Axes, x: float, y: float) -> Bbox:
    """The place of a point's marker, in px."""
    left, bottom = axes.transData.transform((x, y))
    half = MARKER * axes.figure.dpi / 72
    return Bbox.from_extents(left - half, bottom - half, left + half, bottom + half)


def _write(axes: Axes, label: Label, taken: Sequence[Bbox]) -> Bbox:
    """Write a label at the first free place; returns where it stands, in px."""
    x, y, text = label
    written = axes.annotate(
        text, (x, y), (0, 0), textcoords="offset points", va="center", fontsize=6.5, color=QUIET
    )
    written.set_in_layout(False)
    for side, shift in _places():
        written.set(position=(BESIDE * side, shift), ha="left" if side > 0 else "right")
        box = written.get_window_extent()
        inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
        if inside and not any(box.overlaps(other) for other in taken):
            break
    if shift:
        axes.annotate(
            "", (x, y), written.get_position(), textcoords="offset points",
            arrowprops={"arrowstyle": "-", "color": QUIET, "lw": 0.5, "shrinkB": MARKER},
        ).set_in_layout(False)  # fmt: skip
    return box


def _places() -> Iterator[tuple[int, int]]:
    """Sides (1 right, -1 left) and shifts in points, from the nearest on."""
    shifts = [0, *(step * STEP * way for step in range(1, STEPS) for way in (1, -1))]
    return ((side, shift) for shift, side in itertools.product(shifts, (1, -1)))
