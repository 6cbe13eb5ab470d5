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
# A difference of so many standard errors is found, at 5 %, in four of five such evaluations
# (Bloom 1995, "Minimum detectable effects"): 1.96 + 0.84.
DETECTABLE = 2.8


class Draws:
    """The resamples of one track: how often each exhibit is drawn in each of them."""

    def __init__(self, item_names: Sequence[str], seed: int = SEED, draws: int = DRAWS) -> None:
        names, self.cluster = np.unique(np.array(item_names, dtype=object), return_inverse=True)
        self.exhibits = len(names)
        rng = np.random.default_rng(seed)
        even = np.full(self.exhibits, 1 / self.exhibits)
        self.weights = rng.multinomial(self.exhibits, even, size=draws).astype(np.float32)

    def means(self, values: np.ndarray) -> np.ndarray:
        """(n,) values, NaN where an item has none -> (draws,) means; NaN for a draw without any."""
        sums, counts = self._per_exhibit(values)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self.weights @ sums) / (self.weights @ counts)

    def interval(self, values: np.ndarray) -> tuple[float, float] | None:
        """The 95 % percentile interval of the mean of (n,) values.

        None where fewer than 5 exhibits have a value: so few say too little about others.
        """
        if self.count_exhibits(values) < FEWEST_EXHIBITS:
            return None
        means = self.means(values)
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(means[~np.isnan(means)], [tail, 1 - tail])
        return float(low), float(high)

    def detectable(self, values: np.ndarray) -> float | None:
        """The smallest mean of (n,) paired differences that so many exhibits would likely show.

        2.8 standard errors of the mean, found in four of five evaluations. None where fewer than 5
        exhibits have a value, or where all are alike, so that nothing is known of their spread.
        """
        if self.count_exhibits(values) < FEWEST_EXHIBITS:
            return None
        error = float(np.nanstd(self.means(values)))
        return DETECTABLE * error if error > 1e-9 else None

    def count_exhibits(self, values: np.ndarray) -> int:
        """How many exhibits have a value."""
        return int(np.count_nonzero(self._per_exhibit(values)[1]))

    def _per_exhibit(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(exhibits,) sums and (exhibits,) counts of the values that are there."""
        there = ~np.isnan(values)
        sums = np.bincount(self.cluster, np.where(there, values, 0.0), self.exhibits)
        return sums, np.bincount(self.cluster, there.astype(float), self.exhibits)
