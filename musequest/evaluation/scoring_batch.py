"""One system's answers beside their ground truths, and what all metrics need to know of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..text.claims import Verdict, check_claims
from ..text.facts import FactCheck, check_names, check_numbers
from ..text.sentences import is_blank

if TYPE_CHECKING:
    from ..text.encoder import Encoder
    from .base_model import BaseModel

# Two references closer than this to an answer are a tie (float32 rounding is about 1e-7).
TIE = 1e-6


def _blocks(rows: int, at_once: int = 1024) -> list[slice]:
    """Parts of so many rows, so that memory does not grow with answers x exhibits."""
    return [slice(start, start + at_once) for start in range(0, rows, at_once)]


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

    @cached_property
    def siblings(self) -> np.ndarray:
        """(m,) places: for each exhibit the other one whose reference lies nearest to its own."""
        found = []
        for rows in _blocks(len(self.vectors)):
            cosines = self.vectors[rows] @ self.vectors.T
            np.fill_diagonal(cosines[:, rows], -np.inf)
            found.append(cosines.argmax(axis=1))
        return np.concatenate(found)


class Placement(NamedTuple):
    """Where n answers lie among the references of all exhibits."""

    ranks: np.ndarray  # (n,) 1 + the number of other exhibits whose reference is as near or nearer
    nearest: np.ndarray  # (n,) place of the nearest reference; of another's at a tie with the own


@dataclass(frozen=True)
class ScoringBatch:
    """One system's answers to n items, in the order of the items."""

    item_names: Sequence[str]
    ground_truths: Sequence[str]
    answers: Sequence[str]
    sources: Sequence[str]  # what else an item's exhibit states: description, facts
    truth_vectors: np.ndarray  # (n, 384) unit vectors
    answer_vectors: np.ndarray  # (n, 384) unit vectors
    references: References
    encoder: Encoder
    seconds: Sequence[float] | np.ndarray = ()  # NaN where none were recorded
    base: BaseModel | None = None  # for the published score
    titles: Sequence[str] = ()  # of every exhibit of the collection
    facts: Sequence[dict[str, str]] = ()  # property -> value of an item's exhibit; none without any

    @cached_property
    def empty(self) -> np.ndarray:
        """(n,) bool: there is nothing to see in the answer."""
        return np.array([is_blank(answer) for answer in self.answers], bool)

    @cached_property
    def own(self) -> np.ndarray:
        """(n,) places of the items' own exhibits among the references."""
        place = {name: index for index, name in enumerate(self.references.item_names)}
        return np.array([place[name] for name in self.item_names], int)

    @cached_property
    def placement(self) -> Placement:
        """Each answer's place among all references."""
        ranks, nearest = np.empty(len(self.own), int), np.empty(len(self.own), int)
        for rows in _blocks(len(ranks)):
            own = self.own[rows]
            cosines = self.answer_vectors[rows].astype(float) @ self.references.vectors.T
            mine = cosines[np.arange(len(own)), own]
            ranks[rows] = (cosines >= mine[:, None] - TIE).sum(axis=1)
            cosines[np.arange(len(own)), own] -= TIE
            nearest[rows] = cosines.argmax(axis=1)
        return Placement(ranks, nearest)

    @cached_property
    def number_checks(self) -> list[FactCheck]:
        """The numbers of each answer held against its ground truth and its sources."""
        return list(map(check_numbers, self.answers, self.ground_truths, self.sources))

    @cached_property
    def claim_checks(self) -> list[list[Verdict]]:
        """What each answer does with each structured fact of its exhibit, where there are any."""
        facts = self.facts or [{}] * len(self.answers)
        return [[*own.values()] for own in map(check_claims, self.answers, facts, self.sources)]

    @cached_property
    def name_checks(self) -> list[FactCheck]:
        """The proper names of each answer held against its ground truth and its sources."""
        return list(map(check_names, self.answers, self.ground_truths, self.sources))
