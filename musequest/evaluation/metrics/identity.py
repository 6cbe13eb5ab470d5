"""Whether an answer fits the right exhibit best, judged among the references of all exhibits."""

from __future__ import annotations

import numpy as np

from ..scoring_batch import ScoringBatch
from .registry import metric

RETRIEVAL = "recall at k of image-text retrieval (Hodosh et al. 2013)"


@metric(
    "Identity at 1",
    best="high",
    meaning="How often the answer fits its own exhibit better than any other.",
    formula="1 if the answer lies nearer to its own exhibit's reference than to that of any other "
    "exhibit asked about, else 0; a tie is no win; an empty answer gets 0; chance is 1 / exhibits",
    source=RETRIEVAL,
)
def identity_at_1(batch: ScoringBatch) -> np.ndarray:
    """1 if the answer lies nearest to its own exhibit's reference among all exhibits', else 0.

    A tie is no win, nor is an empty answer. NaN where there is only one exhibit to choose from.
    """
    return _within(batch, 1)


@metric(
    "Identity at 3",
    best="high",
    meaning="How often the own exhibit is among the three that the answer fits best.",
    formula="1 if at most two other exhibits' references lie as near to the answer as its own, "
    "else 0; an empty answer gets 0; chance is 3 / exhibits",
    source=RETRIEVAL,
)
def identity_at_3(batch: ScoringBatch) -> np.ndarray:
    """1 if the own exhibit's reference is among the three nearest, else 0; NaN below 4 exhibits."""
    return _within(batch, 3)


def _within(batch: ScoringBatch, k: int) -> np.ndarray:
    if len(batch.references.item_names) <= k:
        return np.full(len(batch.answers), np.nan)
    return np.where(batch.empty, 0.0, batch.placement.ranks <= k)


@metric(
    "Sibling confusion",
    best="low",
    meaning="How often the answer fits the exhibit that is most like its own instead.",
    formula="1 if the exhibit nearest to the answer is the own exhibit's sibling, else 0; a "
    "sibling is the exhibit whose reference lies nearest to the own one",
    source="this project; a cell of the confusion matrix",
)
def sibling_confusion(batch: ScoringBatch) -> np.ndarray:
    """1 if the answer lies nearest to its exhibit's sibling, else 0 (best).

    NaN below 3 exhibits, where every mistake would be one of siblings.
    """
    if len(batch.references.item_names) < 3:
        return np.full(len(batch.answers), np.nan)
    own, nearest = batch.own, batch.placement.nearest
    taken = (nearest != own) & (nearest == batch.references.siblings[own])
    return np.where(batch.empty, 0.0, taken)
