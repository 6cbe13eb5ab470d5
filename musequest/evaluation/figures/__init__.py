"""The figures of stage 3, one file each.

Each function takes tables and returns a Picture (a matplotlib Figure that a notebook shows by
itself); `draw_figures` draws all of a profile into results/<profile>/figures/.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .bars import metric_bars
from .costs import quality_costs
from .facts import fact_bars
from .losses import loss_curves
from .per_item import per_item
from .sight import sight_points

if TYPE_CHECKING:
    from ..results import Results
    from ..style import Picture

__all__ = [
    "draw_figures",
    "fact_bars",
    "loss_curves",
    "metric_bars",
    "per_item",
    "quality_costs",
    "sight_points",
]


def draw_figures(results: Results) -> dict[str, Path]:
    """Draw every figure of a profile that there is something to draw for; name -> path of PNG."""
    track = results.main_track
    pictures: dict[str, Picture] = {
        "per_item": per_item(
            results.scores, results.thumbnails(), results.titles, published=results.published_means
        ),
        "metric_bars": metric_bars(results.summary, track),
        "facts": fact_bars(results.facts, results.scores, track),
    }
    if results.record["ablations"]:
        chance = results.record["chance_of_identity"]
        pictures["sight"] = sight_points(results.summary[track], chance)
    if results.training:
        pictures["loss_curves"] = loss_curves(results.training)
        pictures["quality_costs"] = quality_costs(results.costs, "embedding_distance")
    folder = results.folder / "figures"
    for old in folder.glob("*.png"):
        if old.stem not in pictures:
            old.unlink()
    return {name: each.save(folder / f"{name}.png") for name, each in pictures.items()}
