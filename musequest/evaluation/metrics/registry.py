"""What is known of a metric, and the dictionary that every table and figure reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..scoring_batch import ScoringBatch

Compute = Callable[["ScoringBatch"], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """What a metric is called, in which direction it is good, and how it is computed."""

    name: str
    label: str
    best: str  # "low", "high" or "" where neither is better
    limits: tuple[float, float | None]  # least and greatest value; None where there is none
    meaning: str  # one sentence for the reader
    formula: str
    source: str  # where the formula was published, or whose convention it is
    compute: Compute
    decimals: int = 2  # that readers are shown
    of_outsiders: bool = False  # of answers about things that are not in the collection

    @property
    def direction(self) -> str:
        """What is best, for the head of a column."""
        if not self.best:
            return ""
        bound = self.limits[0] if self.best == "low" else self.limits[1]
        return "(less is better)" if self.best == "low" and bound is None else f"({bound:g} best)"

    def show(self, value: float | None) -> str:
        """A score as readers see it; a dash where there is none."""
        return "–" if value is None or value != value else f"{value:.{self.decimals}f}"


METRICS: dict[str, Metric] = {}


def metric(
    label: str,
    *,
    meaning: str,
    formula: str,
    source: str,
    best: str = "",
    limits: tuple[float, float | None] = (0, 1),
    decimals: int = 2,
    of_outsiders: bool = False,
) -> Callable[[Compute], Compute]:
    """Register the function under its own name."""

    def register(compute: Compute) -> Compute:
        name = compute.__name__
        METRICS[name] = Metric(
            name, label, best, limits, meaning, formula, source, compute, decimals, of_outsiders
        )
        return compute

    return register
