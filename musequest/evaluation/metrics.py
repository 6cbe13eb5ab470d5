"""The metrics: one function each, registered in METRICS with range and direction.

A metric takes a Sheet (one system's answers beside their ground truths) and gives one value an
item, NaN where it has none. To add one, write such a function under `@metric(...)`: scores,
summary, tables, figures and report take it from METRICS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .facts import NumberCheck, check_numbers
from .names import recall_names

if TYPE_CHECKING:
    from .encoder import Encoder

# Two references closer than this to an answer are a tie (float32 rounding is about 1e-7).
TIE = 1e-6
# Digits beyond this would show how a batch was rounded, not what was answered.
DECIMALS = 6
WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class References:
    """One vector an exhibit: the mean of its ground truths' vectors over the scored items."""

    item_names: tuple[str, ...]
    vectors: np.ndarray  # (m, 384) unit vectors, a row an exhibit

    @classmethod
    def of(cls, item_names: Sequence[str], truth_vectors: np.ndarray) -> References:
        """Average (n, 384) ground truth vectors by exhibit and bring them to unit length."""
        names, place = np.unique(np.array(item_names, dtype=object), return_inverse=True)
        sums = np.zeros((len(names), truth_vectors.shape[1]))
        np.add.at(sums, place, truth_vectors)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return cls(tuple(names), sums / np.maximum(lengths, 1e-12))


@dataclass(frozen=True)
class Sheet:
    """One system's answers to n items, in the order of the items."""

    item_names: Sequence[str]
    ground_truths: Sequence[str]
    answers: Sequence[str]
    sources: Sequence[str]  # what else an item's exhibit states: description, facts
    truth_vectors: np.ndarray  # (n, 384) unit vectors
    answer_vectors: np.ndarray  # (n, 384) unit vectors
    references: References
    encoder: Encoder

    @cached_property
    def empty(self) -> np.ndarray:
        """(n,) bool: the answer has nothing in it but space."""
        return np.array([not answer.strip() for answer in self.answers], bool)

    @cached_property
    def number_checks(self) -> list[NumberCheck]:
        """The numbers of each answer held against its ground truth and its sources."""
        return [
            check_numbers(*texts)
            for texts in zip(self.answers, self.ground_truths, self.sources, strict=True)
        ]


@dataclass(frozen=True)
class Metric:
    """What a metric is called, in which direction it is good, and how it is computed."""

    name: str
    label: str
    best: str  # "low", "high" or "" where neither is better
    limits: tuple[float, float | None]
    meaning: str
    compute: Callable[[Sheet], np.ndarray]

    @property
    def direction(self) -> str:
        """What is best, for the head of a column."""
        return {"low": "(0 best)", "high": "(1 best)", "": ""}[self.best]


METRICS: dict[str, Metric] = {}


def metric(
    label: str, best: str = "", limits: tuple[float, float | None] = (0, 1), meaning: str = ""
) -> Callable[[Callable[[Sheet], np.ndarray]], Callable[[Sheet], np.ndarray]]:
    """Register the function under its own name; `meaning` is one sentence for the reader."""

    def register(compute: Callable[[Sheet], np.ndarray]) -> Callable[[Sheet], np.ndarray]:
        METRICS[compute.__name__] = Metric(compute.__name__, label, best, limits, meaning, compute)
        return compute

    return register


@metric(
    "Embedding distance", "low", (0, 2), "How far the answer's meaning lies from the ground truth."
)
def embedding_distance(sheet: Sheet) -> np.ndarray:
    """1 - cosine of answer and ground truth in the frozen encoder; an empty answer gets 1.

    0 (best) to 2; unrelated texts lie near 1.
    """
    cosines = np.einsum("nd,nd->n", sheet.truth_vectors, sheet.answer_vectors, dtype=float)
    return np.where(sheet.empty, 1.0, np.round(np.clip(1 - cosines, 0, 2), DECIMALS))


@metric(
    "Identity at 1", "high", meaning="How often the answer fits its own exhibit better than others."
)
def identity_at_1(sheet: Sheet) -> np.ndarray:
    """1 if the answer lies nearest to its own exhibit's reference among all exhibits', else 0.

    A tie is no win, nor is an empty answer. NaN where there is only one exhibit to choose from.
    """
    if len(sheet.references.item_names) < 2:
        return np.full(len(sheet.answers), np.nan)
    return np.where(sheet.empty, 0.0, rank_of_own(sheet) == 1)


def rank_of_own(sheet: Sheet) -> np.ndarray:
    """(n,) ranks: 1 + the number of other exhibits whose reference lies as near or nearer."""
    place = {name: index for index, name in enumerate(sheet.references.item_names)}
    own = np.array([place[name] for name in sheet.item_names])
    ranks = np.empty(len(own), int)
    for start in range(0, len(own), 1024):  # So that memory does not grow with the answers.
        rows = slice(start, start + 1024)
        cosines = sheet.answer_vectors[rows].astype(float) @ sheet.references.vectors.T
        mine = cosines[np.arange(len(cosines)), own[rows]]
        ranks[rows] = (cosines >= mine[:, None] - TIE).sum(axis=1)
    return ranks


@metric("Number recall", "high", meaning="Share of the ground truth's numbers in the answer.")
def number_recall(sheet: Sheet) -> np.ndarray:
    """Numbers of the ground truth that the answer states / numbers of the ground truth.

    0 to 1 (best); NaN where the ground truth has no number.
    """
    return _values(check.recall for check in sheet.number_checks)


@metric(
    "Invented numbers", "low", meaning="Share of the answer's numbers that the museum never stated."
)
def invented_number_rate(sheet: Sheet) -> np.ndarray:
    """Numbers the answer states that neither ground truth nor exhibit does / numbers it states.

    0 (best) to 1; NaN where the answer states no number.
    """
    return _values(check.invented_rate for check in sheet.number_checks)


@metric("Name recall", "high", meaning="Share of the ground truth's proper names in the answer.")
def name_recall(sheet: Sheet) -> np.ndarray:
    """Names of the ground truth that the answer holds / names of the ground truth.

    0 to 1 (best); NaN where the ground truth has no name.
    """
    texts = zip(sheet.answers, sheet.ground_truths, sheet.sources, strict=True)
    return _values(recall_names(*each) for each in texts)


@metric("ROUGE-L", "high", meaning="Words shared with the ground truth in the same order.")
def rouge_l(sheet: Sheet) -> np.ndarray:
    """F-measure of the longest common subsequence of words (Lin 2004), 0 to 1 (best).

    Words are not stemmed and may be of any script.
    """
    scorer = _rouge()
    pairs = zip(sheet.ground_truths, sheet.answers, strict=True)
    return _values(scorer.score(truth, answer)["rougeL"].fmeasure for truth, answer in pairs)


@metric("Answer length", "", (0, None), "Length of the answer in the encoder's word pieces.")
def answer_tokens(sheet: Sheet) -> np.ndarray:
    """Word pieces of the frozen encoder's tokenizer, so that systems share one measure."""
    return sheet.encoder.count_tokens(sheet.answers).astype(float)


def _values(values: object) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


class _Words:
    """Words in any script; rouge-score's own tokenizer keeps only a-z and digits."""

    def tokenize(self, text: str) -> list[str]:
        return WORD.findall(text.casefold())


@lru_cache(maxsize=1)
def _rouge() -> object:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=_Words())
