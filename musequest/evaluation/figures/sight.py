"""What the answers lose without the exhibit's photo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ...systems.registry import ABLATIONS, ordered, system
from ..metrics import METRICS, Metric
from ..style import INK, QUIET, WIDTH, Picture, grid_lines, picture

SHOWN = ("identity_at_1", "embedding_distance", "number_recall")
PITCH = 0.78  # inches a system
# What the system was shown: colour and marker.
LOOKS = {
    "": ("the exhibit's photo", INK, "o"),
    "blank_photo": (ABLATIONS["blank_photo"], "#56b4e9", "s"),
    "wrong_photo": (ABLATIONS["wrong_photo"], "#d55e00", "X"),
    "no_photo": (ABLATIONS["no_photo"], "#8a8f98", "v"),
}

Own = Mapping[str, Mapping[str, Mapping[str, Any]]]  # system -> metric -> mean, ci_low, ci_high


def sight_points(own: Own, chance: float) -> Picture:
    """One row a system, one point for each thing it was shown, with 95 % intervals.

    `own` is one track of summary.json; `chance` of identity_at_1 is drawn as a line. A system whose
    points lie on one another is not looking.
    """
    systems = [name for name in ordered(own) if any(f"{name}__{kind}" in own for kind in ABLATIONS)]
    with picture(WIDTH, 1.25 + PITCH * len(systems), layout="constrained") as figure:
        panels = figure.subplots(1, len(SHOWN), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, SHOWN, strict=True):
            _panel(axes, METRICS[name], systems, own)
        panels[0].axvline(chance, color=QUIET, lw=1, ls=(0, (4, 3)))
        figure.suptitle(
            "What is left without the photo", x=0.01, ha="left", fontsize=11, weight="bold"
        )
        handles = [
            Line2D([], [], color=colour, marker=marker, ls="", label=label)
            for label, colour, marker in LOOKS.values()
        ]
        handles.append(Line2D([], [], color=QUIET, ls=(0, (4, 3)), label="chance"))
        figure.legend(handles=handles, loc="outside lower left", ncols=5)
    return figure


def _panel(axes: Axes, metric: Metric, systems: list[str], own: Own) -> None:
    for place, name in enumerate(systems):
        for step, (kind, (_, colour, marker)) in enumerate(LOOKS.items()):
            shown = f"{name}__{kind}" if kind else name
            value = own.get(shown, {}).get(metric.name, {"mean": None})
            if value["mean"] is None:
                continue
            y = place + 0.17 * (step - 1.5)
            if value["ci_low"] is not None:
                axes.plot([value["ci_low"], value["ci_high"]], [y, y], color=colour, lw=1.4)
            axes.plot(value["mean"], y, marker, color=colour, ms=6, mec="white", mew=0.6)
    axes.set_yticks(range(len(systems)), [system(name).label for name in systems])
    axes.set_ylim(len(systems) - 0.5, -0.5)
    axes.set_xlim(-0.03, max(1.0, axes.dataLim.x1) + 0.03)
    axes.set_title(f"{metric.label} {metric.direction}")
    grid_lines(axes, "x")
