"""How an answer is worded, how long it is, and how long it took."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..sheet import Sheet, as_values
from .registry import metric

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

WORD = re.compile(r"[^\W_]+")


@metric(
    "ROUGE-L",
    best="high",
    meaning="Words shared with the ground truth in the same order.",
    formula="F-measure of the longest common subsequence of words",
    source="Lin 2004 (ROUGE), by the package rouge-score; words of any script, not stemmed",
)
def rouge_l(sheet: Sheet) -> np.ndarray:
    """F-measure of the longest common subsequence of words (Lin 2004), 0 to 1 (best).

    Words are not stemmed and may be of any script.
    """
    scorer = _rouge()
    pairs = zip(sheet.ground_truths, sheet.answers, strict=True)
    return as_values(scorer.score(truth, answer)["rougeL"].fmeasure for truth, answer in pairs)


@metric(
    "Answer length",
    limits=(0, None),
    decimals=0,
    meaning="Length of the answer in the encoder's word pieces.",
    formula="word pieces of the whole answer in the frozen encoder's tokenizer",
    source="a measure that all systems share; `new_tokens` counts each system's own",
)
def answer_tokens(sheet: Sheet) -> np.ndarray:
    """Word pieces of the frozen encoder's tokenizer, so that systems share one measure."""
    return sheet.encoder.count_tokens(sheet.answers).astype(float)


@metric(
    "Seconds an answer",
    best="low",
    limits=(0, None),
    meaning="How long the system took for it, on the machine it ran on.",
    formula="`seconds` of predictions.parquet; no value where it is not a time",
    source="as the system recorded it; comparable on one machine only",
)
def seconds(sheet: Sheet) -> np.ndarray:
    """Seconds the system took for an answer, 0 (best) and more; NaN where none were recorded."""
    return np.asarray(sheet.seconds, float)


class _Words:
    """Words in any script; rouge-score's own tokenizer keeps only a-z and digits."""

    def tokenize(self, text: str) -> list[str]:
        return WORD.findall(text.casefold())


@lru_cache(maxsize=1)
def _rouge() -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=_Words())
