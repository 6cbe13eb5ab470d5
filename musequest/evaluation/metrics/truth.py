"""Whether the numbers and names that an answer states are the museum's."""

from __future__ import annotations

import numpy as np

from ...text.facts import FactCheck
from ..scoring_batch import ScoringBatch, as_values
from .registry import metric

RECALL = "recall of facts, as in slot error rates of data-to-text generation (Dusek et al. 2020)"
INVENTED = "rate of unsupported facts (Maynez et al. 2020: extrinsic hallucination)"


@metric(
    "Number recall",
    best="high",
    meaning="Share of the ground truth's numbers in the answer.",
    formula="different numbers of the ground truth that the answer states / different numbers of "
    "the ground truth; no value where there are none",
    source=RECALL,
)
def number_recall(batch: ScoringBatch) -> np.ndarray:
    """Numbers of the ground truth that the answer states / numbers of the ground truth.

    0 to 1 (best); NaN where the ground truth has no number.
    """
    return _recall(batch.number_checks)


@metric(
    "Invented numbers",
    best="low",
    meaning="Share of the answer's numbers that the museum never stated.",
    formula="different numbers of the answer that neither the ground truth nor the exhibit's texts "
    "state / different numbers of the answer; no value where it states none",
    source=INVENTED,
)
def invented_number_rate(batch: ScoringBatch) -> np.ndarray:
    """Numbers the answer states that neither ground truth nor exhibit does / numbers it states.

    0 (best) to 1; NaN where the answer states no number.
    """
    return _invented(batch.number_checks)


@metric(
    "Name recall",
    best="high",
    meaning="Share of the ground truth's proper names in the answer.",
    formula="different names of the ground truth, word by word, that the answer holds / different "
    "names of the ground truth; no value where there are none",
    source=RECALL,
)
def name_recall(batch: ScoringBatch) -> np.ndarray:
    """Names of the ground truth that the answer holds / names of the ground truth.

    0 to 1 (best); NaN where the ground truth has no name.
    """
    return _recall(batch.name_checks)


@metric(
    "Invented names",
    best="low",
    meaning="Share of the answer's proper names that the museum never wrote.",
    formula="different names of the answer, word by word, that occur in neither the ground truth "
    "nor the exhibit's texts / different names of the answer; no value where it holds none",
    source=INVENTED,
)
def invented_name_rate(batch: ScoringBatch) -> np.ndarray:
    """Names in the answer that neither ground truth nor exhibit holds / names in the answer.

    0 (best) to 1; NaN where the answer holds no name.
    """
    return _invented(batch.name_checks)


def _recall(checks: list[FactCheck]) -> np.ndarray:
    return as_values(check.recall for check in checks)


def _invented(checks: list[FactCheck]) -> np.ndarray:
    return as_values(check.invented_rate for check in checks)
