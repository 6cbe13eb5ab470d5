"""Bootstrap intervals of a mean, clustered by exhibit.

Answers about one exhibit stand or fall together, so whole exhibits are drawn with replacement, not
single answers (Field and Welsh 2007, "Bootstrapping clustered data"). The draws depend only on the
exhibits and the seed: all systems and metrics of a track are drawn alike, so differences of their
draws are paired.

Percentiles of so few draws' means are too narrow: of 8 exhibits they would find a difference where
there is none in every ninth comparison instead of every twentieth. The interval is therefore the
expanded percentile one (Hesterberg 2015, "What Teachers Should Know About the Bootstrap"), which is
as wide for few exhibits as the t interval and follows the skew of the draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, stdtrit

SEED = 0
DRAWS = 10_000  # Of 6 exhibits the tails that are cut off hold 0.24 % each, so 24 draws.
LEVEL = 0.95
POWER = 0.8
# With 5, all of them better in one system than in another, chance would do so in 1 of 16 cases.
FEWEST_EXHIBITS = 6


class Draws:
    """The resamples of one track: how often each exhibit is drawn in each of them."""

    def __init__(self, item_names: Sequence[str], seed: int = SEED, draws: int = DRAWS) -> None:
        names, self.cluster = np.unique(np.array(item_names, dtype=object), return_inverse=True)
        self.exhibits = len(names)
        self.weights = _weights(self.exhibits, seed, draws)

    def means(self, values: np.ndarray) -> np.ndarray:
        """(n,) values, NaN where an item has none -> (draws,) means; NaN for a draw without any."""
        sums, counts = (self.weights @ np.stack(self._per_exhibit(values), axis=1)).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return sums / counts

    def interval(self, values: np.ndarray) -> tuple[float, float] | None:
        """The 95 % expanded percentile interval of the mean of (n,) values.

        None where fewer than 6 exhibits have a value: so few say too little about others.
        """
        exhibits = self.count_exhibits(values)
        if exhibits < FEWEST_EXHIBITS:
            return None
        means = self.means(values)
        tail = ndtr(-_widening(exhibits) * _t(exhibits, (1 + LEVEL) / 2))
        low, high = np.quantile(means[~np.isnan(means)], [tail, 1 - tail])
        return float(low), float(high)

    def detectable(self, values: np.ndarray) -> float | None:
        """The smallest mean of (n,) paired differences that so many exhibits would likely show.

        It is found, at 5 %, in four of five such evaluations (Bloom 1995, "Minimum detectable
        effects"): for many exhibits 1.96 + 0.84 standard errors. None where fewer than 6 exhibits
        have a value, or where all are alike, so that nothing is known of their spread.
        """
        exhibits = self.count_exhibits(values)
        if exhibits < FEWEST_EXHIBITS:
            return None
        error = _widening(exhibits) * float(np.nanstd(self.means(values)))
        found = error * (_t(exhibits, (1 + LEVEL) / 2) + _t(exhibits, POWER))
        return found if error > 1e-9 else None

    def count_exhibits(self, values: np.ndarray) -> int:
        """How many exhibits have a value."""
        return int(np.count_nonzero(self._per_exhibit(values)[1]))

    def _per_exhibit(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(exhibits,) sums and (exhibits,) counts of the values that are there."""
        there = ~np.isnan(values)
        sums = np.bincount(self.cluster, np.where(there, values, 0.0), self.exhibits)
        return sums, np.bincount(self.cluster, there.astype(float), self.exhibits)


@lru_cache(maxsize=2)
def _weights(exhibits: int, seed: int, draws: int) -> np.ndarray:
    """(draws, exhibits) how often each exhibit is drawn; many systems and pairs share them."""
    even = np.full(exhibits, 1 / exhibits)
    drawn = np.random.default_rng(seed).multinomial(exhibits, even, size=draws)
    return drawn.astype(float)


def _widening(exhibits: int) -> float:
    """How much wider a sample of so many spreads than its own draws' means tell."""
    return float(np.sqrt(exhibits / (exhibits - 1)))


def _t(exhibits: int, share: float) -> float:
    """The quantile of Student's distribution for a mean over so many exhibits."""
    return float(stdtrit(exhibits - 1, share))
