"""Training and validation loss of every tuned system."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...systems.registry import ordered, system
from ..style import INK, WIDTH, Picture, grid_lines, picture


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
