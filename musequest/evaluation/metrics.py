"""The metrics, one column of scores.parquet each.

A metric is a function from a ScoringBatch (one system's answers beside their ground truths) to one
value an item, NaN where it has none. To add one, write such a function here, under `@metric(...)`:
its docstring says in a sentence what it means, then its formula. Scores, summary, tables, figures
and report take it from METRICS, in this order.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rapidfuzz.distance import LCSseq

from ..systems.registry import OUTSIDERS
from ..text.claims import Verdict
from ..text.encoder import DECIMALS
from ..text.titles import claims, telling_titles
from .scoring_batch import ScoringBatch

Compute = Callable[[ScoringBatch], np.ndarray]
WORD = re.compile(r"[^\W_]+")
# "We do not know who made it" is no refusal, "I do not know what this is" is one. Nor are "I cannot
# recommend this enough" and "It was not kept in the museum before".
THIS = (
    r"(?:this|that(?! \w+ (?:is|was|are|were)\b)"
    r"|the (?:object|thing|exhibit|item|photo|picture))"
)
WHAT_IT_IS = r"what (?:this|that|it) is"
KNOW = r"(?:know|recogni[sz]e|identify|name|place|find|have|see|seen|sure of|familiar with)"
REFUSAL = re.compile(
    r"\bI(?:['’]m)? (?:\w+ ){0,2}(?:not|unable|cannot|(?:can|do|could|have)n?['’]t) (?:\w+ ){0,2}"
    rf"(?:{KNOW} (?:\w+ )?{THIS}|(?:\w+ ){{1,2}}{WHAT_IT_IS})\b(?!['’]s)"
    r"|(?<!\bwas )(?<!\bwere )\bnot (?:(?:\w+ )?one |part |have \w+ )?(?:in|of|among) "
    r"(?:the|this|our) (?:museum|collection|exhibits)\b(?!['’]s)",
    re.I,
)
# Where formulas were published.
RETRIEVAL = "recall at k of image-text retrieval (Hodosh et al. 2013)"
RECALL = "recall of facts, as in slot error rates of data-to-text generation (Dusek et al. 2020)"
INVENTED = "rate of unsupported facts (Maynez et al. 2020: extrinsic hallucination)"
CLAIMS = "slot errors of data-to-text generation (Dusek et al. 2020): wrong values and omissions"
REFUSED = "this project; the false rejection rate of open-set recognition"
REPEATED = "Welleck et al. 2020 (seq-rep-n), with n = 4 and words of any script"


@dataclass(frozen=True)
class Metric:
    """What a metric is called, in which direction it is good, and how it is computed."""

    name: str
    label: str
    meaning: str  # one sentence for the reader
    formula: str
    source: str  # where the formula was published, or whose convention it is
    compute: Compute
    best: str = ""  # "low", "high" or "" where neither is better
    limits: tuple[float, float | None] = (0, 1)  # least and greatest value; None if there is none
    decimals: int = 2  # that readers are shown
    of_outsiders: bool = False  # of answers about things that are not in the collection

    @property
    def direction(self) -> str:
        """What is best, for the head of a column."""
        bound = self.limits[0] if self.best == "low" else self.limits[1]
        return f"({bound:g} best)" if self.best else ""

    def show(self, value: float | None) -> str:
        """A score as readers see it; a dash where there is none."""
        return "–" if value is None or value != value else f"{value:.{self.decimals}f}"


METRICS: dict[str, Metric] = {}


def metric(label: str, *, source: str, **more: Any) -> Callable[[Compute], Compute]:
    """Register a function under its own name, with what its docstring says of it.

    `more` are the further fields of Metric: best, limits, decimals, of_outsiders.
    """

    def register(compute: Compute) -> Compute:
        paragraphs = (inspect.getdoc(compute) or "").partition("\n\nFormula: ")
        meaning, _, formula = (" ".join(text.split()) for text in paragraphs)
        told = (label, meaning, formula, source, compute)
        METRICS[compute.__name__] = Metric(compute.__name__, *told, **more)
        return compute

    return register


def metrics_of(track: str) -> list[Metric]:
    """The metrics of a track: of answers about exhibits, or about things from outside."""
    return [each for each in METRICS.values() if each.of_outsiders == (track == OUTSIDERS)]


@metric(
    "Embedding distance",
    best="low",
    limits=(0, 2),
    source="Reimers and Gurevych 2019 (Sentence-BERT); all-MiniLM-L6-v2",
)
def embedding_distance(batch: ScoringBatch) -> np.ndarray:
    """How far the answer's meaning lies from the ground truth.

    Formula: 1 - cos(answer, ground truth) in the frozen encoder, which reads the first 256 word
    pieces of each; an empty answer gets 1
    """
    cosines = np.einsum("nd,nd->n", batch.truth_vectors, batch.answer_vectors, dtype=float)
    return np.where(batch.empty, 1.0, np.round(np.clip(1 - cosines, 0, 2), DECIMALS))


@metric(
    "Similarity score",
    best="low",
    limits=(0, 2),
    source="the published experiment, which used each system's own model",
)
def similarity_score(batch: ScoringBatch) -> np.ndarray:
    """The published score: the distance of both texts as the base model reads them.

    Formula: 1 - cos of the texts' last hidden states, averaged over their tokens, in the base
    model for all systems; an empty answer gets 1
    """
    if batch.base is None:
        return np.full(len(batch.answers), np.nan)
    return np.where(batch.empty, 1.0, batch.base.distances(batch.ground_truths, batch.answers))


@metric("Identity at 1", best="high", source=RETRIEVAL)
def identity_at_1(batch: ScoringBatch) -> np.ndarray:
    """How often the answer fits its own exhibit better than any other.

    Formula: 1 if the answer lies nearer to its own exhibit's reference than to that of any other
    exhibit asked about, else 0; a tie is no win; an empty answer gets 0; chance is 1 / exhibits
    """
    return _within(batch, 1)


@metric("Identity at 3", best="high", source=RETRIEVAL)
def identity_at_3(batch: ScoringBatch) -> np.ndarray:
    """How often the own exhibit is among the three that the answer fits best.

    Formula: 1 if at most two other exhibits' references lie as near to the answer as its own,
    else 0; an empty answer gets 0; chance is 3 / exhibits
    """
    return _within(batch, 3)


def _within(batch: ScoringBatch, k: int) -> np.ndarray:
    """NaN where there are no more than `k` exhibits to choose from."""
    if len(batch.references.item_names) <= k:
        return np.full(len(batch.answers), np.nan)
    return np.where(batch.empty, 0.0, batch.placement.ranks <= k)


@metric("Sibling confusion", best="low", source="this project; a cell of the confusion matrix")
def sibling_confusion(batch: ScoringBatch) -> np.ndarray:
    """How often the answer fits the exhibit that is most like its own instead.

    Formula: 1 if the exhibit nearest to the answer is the own exhibit's sibling, else 0; a
    sibling is the exhibit whose reference lies nearest to the own one
    """
    if len(batch.references.item_names) < 3:  # Every mistake would be one of siblings.
        return np.full(len(batch.answers), np.nan)
    own, nearest = batch.own, batch.placement.nearest
    taken = (nearest != own) & (nearest == batch.references.siblings[own])
    return np.where(batch.empty, 0.0, taken)


@metric("Number recall", best="high", source=RECALL)
def number_recall(batch: ScoringBatch) -> np.ndarray:
    """Share of the ground truth's numbers in the answer.

    Formula: different numbers of the ground truth that the answer states / different numbers of
    the ground truth; no value where there are none
    """
    return _values(check.recall for check in batch.number_checks)


@metric("Invented numbers", best="low", source=INVENTED)
def invented_number_rate(batch: ScoringBatch) -> np.ndarray:
    """Share of the answer's numbers that the museum never stated.

    Formula: different numbers of the answer that neither the ground truth nor the exhibit's texts
    state / different numbers of the answer; no value where it states none
    """
    return _values(check.invented_rate for check in batch.number_checks)


@metric("Name recall", best="high", source=RECALL)
def name_recall(batch: ScoringBatch) -> np.ndarray:
    """Share of the ground truth's proper names in the answer.

    Formula: different names of the ground truth, word by word, that the answer holds / different
    names of the ground truth; no value where there are none
    """
    return _values(check.recall for check in batch.name_checks)


@metric("Invented names", best="low", source=INVENTED)
def invented_name_rate(batch: ScoringBatch) -> np.ndarray:
    """Share of the answer's proper names that the museum never wrote.

    Formula: different names of the answer, word by word, that occur in neither the ground truth
    nor the exhibit's texts / different names of the answer; no value where it holds none
    """
    return _values(check.invented_rate for check in batch.name_checks)


@metric("Right claims", best="high", source=CLAIMS)
def claims_right(batch: ScoringBatch) -> np.ndarray:
    """Share of the exhibit's properties that the answer tells rightly.

    Formula: properties (maker, date, place, material, measures, culture, donor) of which the answer
    says what the exhibit's structured facts say / properties of which there are facts; no value
    where there are none, or not in English
    """
    return _share(batch, "right")


@metric("Wrong claims", best="low", source=CLAIMS)
def claims_wrong(batch: ScoringBatch) -> np.ndarray:
    """Share of the exhibit's properties that the answer tells wrongly.

    Formula: properties of which the answer says what the exhibit's structured facts deny, such as
    the year of a repair for that of the making / properties of which there are facts
    """
    return _share(batch, "wrong")


@metric("Missing claims", best="low", source=CLAIMS)
def claims_missing(batch: ScoringBatch) -> np.ndarray:
    """Share of the exhibit's properties that the answer does not tell, or not in words that the
    rules understand.

    Formula: properties of which nothing was found in the answer / properties of which there are
    facts
    """
    return _share(batch, "missing")


def _share(batch: ScoringBatch, verdict: Verdict) -> np.ndarray:
    checks = batch.claim_checks
    return _values(check.count(verdict) / len(check) if check else None for check in checks)


def _values(values: Iterable[float | None]) -> np.ndarray:
    """(n,) values, NaN for None."""
    return np.array(list(values), float)


@metric(
    "ROUGE-L",
    best="high",
    source="Lin 2004 (ROUGE); words of any script, not stemmed; the subsequence by RapidFuzz",
)
def rouge_l(batch: ScoringBatch) -> np.ndarray:
    """Words shared with the ground truth in the same order.

    Formula: F-measure of the longest common subsequence of words
    """
    return _values(map(_f_measure, batch.ground_truths, batch.answers))


def _f_measure(truth: str, answer: str) -> float:
    """Of recall and precision: the words shared in order, of the truth's and of the answer's."""
    expected, said = (WORD.findall(text.casefold()) for text in (truth, answer))
    shared = LCSseq.similarity(expected, said)
    if not shared:
        return 0.0
    precision, recall = shared / len(said), shared / len(expected)
    return 2 * precision * recall / (precision + recall)


@metric("Repetition", best="low", source=REPEATED)
def repetition(batch: ScoringBatch) -> np.ndarray:
    """How much of the answer it has said before, which the other scores forgive.

    Formula: 1 - different runs of four words / runs of four words; no value for fewer words
    """
    words = (WORD.findall(answer.casefold()) for answer in batch.answers)
    runs = ([tuple(own[i : i + 4]) for i in range(len(own) - 3)] for own in words)
    return _values(1 - len({*own}) / len(own) if own else None for own in runs)


@metric("Wrong refusals", best="low", source=REFUSED)
def wrong_refusal_rate(batch: ScoringBatch) -> np.ndarray:
    """How often the system says of an exhibit that it does not know it, or says nothing.

    Formula: 1 if the answer is empty, or says in English that it does not know, recognise or
    have the thing, else 0
    """
    refused = [bool(REFUSAL.search(answer)) for answer in batch.answers]
    return (batch.empty | np.array(refused, bool)).astype(float)


@metric(
    "Answer length (word pieces)",
    limits=(0, None),
    decimals=0,
    source="a measure that all systems share; `new_tokens` counts each system's own",
)
def answer_tokens(batch: ScoringBatch) -> np.ndarray:
    """Length of the answer in the encoder's word pieces.

    Formula: word pieces of the whole answer in the frozen encoder's tokenizer
    """
    return batch.encoder.count_tokens(batch.answers).astype(float)


@metric(
    "Seconds an answer",
    best="low",
    limits=(0, None),
    source="as the system recorded it; comparable on one machine only",
)
def seconds(batch: ScoringBatch) -> np.ndarray:
    """How long the system took for it, on the machine it ran on.

    Formula: `seconds` of predictions.parquet; no value where it is not a time
    """
    return np.asarray(batch.seconds, float)


@metric(
    "False recognition",
    best="low",
    source="this project; the false positive rate of open-set recognition (Scheirer et al. 2013)",
    of_outsiders=True,
)
def false_recognition_rate(batch: ScoringBatch) -> np.ndarray:
    """How often a thing from outside the collection is called by the title of an exhibit; a
    garbled title does not count.

    Formula: 1 if the answer says what an exhibit's title names, its words side by side and one of
    them a name: those before the first 'of', 'from' and the like if two or more, else all; of a
    title with an owner or maker, that name and the thing, the one as the other's; else 0, as for
    a garbled title
    """
    titles = telling_titles(batch.titles)
    if not titles:  # None can be told from the others.
        return np.full(len(batch.answers), np.nan)
    return np.array([float(bool(claims(answer, titles))) for answer in batch.answers])
