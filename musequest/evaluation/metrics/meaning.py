"""How near an answer's meaning comes to its ground truth."""

from __future__ import annotations

import numpy as np

from ...text.encoder import DECIMALS
from ..scoring_batch import ScoringBatch
from .registry import metric


@metric(
    "Embedding distance",
    best="low",
    limits=(0, 2),
    meaning="How far the answer's meaning lies from the ground truth.",
    formula="1 - cos(answer, ground truth) in the frozen encoder, which reads the first 256 word "
    "pieces of each; an empty answer gets 1",
    source="Reimers and Gurevych 2019 (Sentence-BERT); all-MiniLM-L6-v2",
)
def embedding_distance(batch: ScoringBatch) -> np.ndarray:
    """1 - cosine of answer and ground truth in the frozen encoder; an empty answer gets 1.

    0 (best) to 2; unrelated texts lie near 1.
    """
    cosines = np.einsum("nd,nd->n", batch.truth_vectors, batch.answer_vectors, dtype=float)
    return np.where(batch.empty, 1.0, np.round(np.clip(1 - cosines, 0, 2), DECIMALS))


@metric(
    "Similarity score",
    best="low",
    limits=(0, 2),
    meaning="The published score: the distance of both texts as the base model reads them.",
    formula="1 - cos of the texts' last hidden states, averaged over their tokens, in the base "
    "model for all systems; an empty answer gets 1",
    source="the published experiment, which used each system's own model",
)
def similarity_score(batch: ScoringBatch) -> np.ndarray:
    """1 - cosine of mean-pooled last hidden states of the base model, 0 (best) to 2.

    NaN where no base model is at hand.
    """
    if batch.base is None:
        return np.full(len(batch.answers), np.nan)
    distances = batch.base.distances(batch.ground_truths, batch.answers)
    return np.where(batch.empty, 1.0, distances)
