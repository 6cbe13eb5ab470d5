"""How an answer is worded, how long it is, and how long it took."""

from __future__ import annotations

import re

import numpy as np
from rapidfuzz.distance import LCSseq

from ..scoring_batch import ScoringBatch, as_values
from .registry import metric

WORD = re.compile(r"[^\W_]+")


@metric(
    "ROUGE-L",
    best="high",
    meaning="Words shared with the ground truth in the same order.",
    formula="F-measure of the longest common subsequence of words",
    source="Lin 2004 (ROUGE); words of any script, not stemmed; the subsequence by RapidFuzz",
)
def rouge_l(batch: ScoringBatch) -> np.ndarray:
    """F-measure of the longest common subsequence of words (Lin 2004), 0 to 1 (best).

    Words are not stemmed and may be of any script.
    """
    pairs = zip(batch.ground_truths, batch.answers, strict=True)
    return as_values(_f_measure(truth, answer) for truth, answer in pairs)


@metric(
    "Answer length (word pieces)",
    limits=(0, None),
    decimals=0,
    meaning="Length of the answer in the encoder's word pieces.",
    formula="word pieces of the whole answer in the frozen encoder's tokenizer",
    source="a measure that all systems share; `new_tokens` counts each system's own",
)
def answer_tokens(batch: ScoringBatch) -> np.ndarray:
    """Word pieces of the frozen encoder's tokenizer, so that systems share one measure."""
    return batch.encoder.count_tokens(batch.answers).astype(float)


@metric(
    "Seconds an answer",
    best="low",
    limits=(0, None),
    meaning="How long the system took for it, on the machine it ran on.",
    formula="`seconds` of predictions.parquet; no value where it is not a time",
    source="as the system recorded it; comparable on one machine only",
)
def seconds(batch: ScoringBatch) -> np.ndarray:
    """Seconds the system took for an answer, 0 (best) and more; NaN where none were recorded."""
    return np.asarray(batch.seconds, float)


def _f_measure(truth: str, answer: str) -> float:
    """Of recall and precision: the words shared in order, of the truth's and of the answer's."""
    expected, said = (WORD.findall(text.casefold()) for text in (truth, answer))
    shared = LCSseq.similarity(expected, said)
    if not shared:
        return 0.0
    precision, recall = shared / len(said), shared / len(expected)
    return 2 * precision * recall / (precision + recall)
