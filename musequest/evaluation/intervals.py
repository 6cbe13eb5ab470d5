"""Bootstrap intervals of a mean, clustered by exhibit.

Answers about one exhibit stand or fall together, so whole exhibits are drawn with replacement, not
single answers (Field and Welsh 2007, "Bootstrapping clustered data"). The draws depend only on the
exhibits and the seed: all systems and metrics of a track are drawn alike, so differences of their
draws are paired.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SEED = 0
DRAWS = 2000
LEVEL = 0.95
FEWEST_EXHIBITS = 5


class Draws:
    """The resamples of one track: how often each exhibit is drawn in each of them."""

    def __init__(self, item_names: Sequence[str], seed: int = SEED, draws: int = DRAWS) -> None:
        names, self.cluster = np.unique(np.array(item_names, dtype=object), return_inverse=True)
        self.exhibits = len(names)
        rng = np.random.default_rng(seed)
        even = np.full(self.exhibits, 1 / self.exhibits)
        self.weights = rng.multinomial(self.exhibits, even, size=draws).astype(np.uint16)

    def means(self, values: np.ndarray) -> np.ndarray:
        """(n,) values, NaN where an item has none -> (draws,) means; NaN for a draw without any."""
        sums, counts = self._per_exhibit(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self.weights @ sums) / (self.weights @ counts)

    def interval(self, values: np.ndarray) -> tuple[float, float] | None:
        """The 95 % percentile interval of the mean of (n,) values.

        None where fewer than 5 exhibits have a value: so few say too little about others.
        """
        if np.count_nonzero(self._per_exhibit(values)[1]) < FEWEST_EXHIBITS:
            return None
        tail = (1 - LEVEL) / 2
        low, high = np.nanquantile(self.means(values), [tail, 1 - tail])
        return float(low), float(high)

    def _per_exhibit(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(exhibits,) sums and (exhibits,) counts of the values that are there."""
        there = ~np.isnan(values)
        sums = np.bincount(self.cluster, np.where(there, values, 0.0), self.exhibits)
        return sums, np.bincount(self.cluster, there.astype(float), self.exhibits)
