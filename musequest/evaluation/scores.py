"""The scores themselves: every system's answers against every metric, none computed twice.

scoring.json tells under `kept` what the rows of each system in scores.parquet and facts.parquet
were computed from, as one digest: its answers, the items with their ground truths, the exhibits'
texts, the encoder, the base model, and the code and libraries that score. Rows of another digest
are computed anew, and all are where a file is not the one that was written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import MuseQuestError
from ..core.files import file_digest, read_remade
from ..core.tables import read_table
from ..systems.registry import OUTSIDERS
from ..text.encoder import SHA256, load_encoder
from .answers import Answers, Given
from .base_model import BaseModel
from .controls import with_controls
from .metrics import Metric, metrics_of
from .scoring_batch import References, ScoringBatch

TEXTS = ("model", "data_id", "item_name", "track", "nearest_exhibit")  # columns that are no metric
FILES = {"scores": "scores.parquet", "facts": "facts.parquet"}
LIBRARIES = ("numpy", "rapidfuzz", "sentence-transformers", "tokenizers", "torch", "transformers")
Rows = tuple[pd.DataFrame, pd.DataFrame]  # of scores.parquet and of facts.parquet


def compute_scores(
    answers: Answers, base: BaseModel | None = None, kept: KeptScores | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """scores.parquet: a row a (model, data_id), a column a metric; facts.parquet; their digests.

    Controls and ablations are models of their own; NaN where a metric has no value. What is `kept`
    of the same digest is not computed again. Memory holds the vectors of one system at a time.
    """
    given, kept, scorer = with_controls(answers), kept or KeptScores(), _Scorer(answers, base)
    digests = digests_of_systems(answers, given, base)
    rows = [
        kept.rows(name, digests[name]) or scorer.of_system(name, own) for name, own in given.items()
    ]
    for name, table in answers.outsiders.items():
        same = kept.rows(f"{name}__{OUTSIDERS}", digests[f"{name}__{OUTSIDERS}"])
        rows.append(same or scorer.of_outsiders(name, table))
    scores, facts = (pd.concat(parts, ignore_index=True) for parts in zip(*rows, strict=True))
    # The same kind of text whether it was kept or not, so that the same scores are the same file.
    return scores.astype(dict.fromkeys(TEXTS, "str")), facts.astype("str"), digests


class _Scorer:
    """Scores one system after the other; what all need is encoded when the first one does."""

    def __init__(self, answers: Answers, base: BaseModel | None) -> None:
        self.answers, self.base, self.encoder = answers, base, load_encoder()

    @cached_property
    def truths(self) -> np.ndarray:
        """(n, 384) unit vectors of the items' ground truths."""
        return self.encoder.encode(list(self.answers.items.ground_truth))

    @cached_property
    def references(self) -> References:
        return References.of(self.answers.items.item_name, self.truths)

    def of_system(self, name: str, given: Given) -> Rows:
        """Rows about the exhibits."""
        items = self.answers.items.iloc[given.places]
        batch = ScoringBatch(
            item_names=list(items.item_name),
            ground_truths=list(items.ground_truth),
            answers=given.answers,
            sources=[self.answers.sources[name] for name in items.item_name],
            truth_vectors=self.truths[given.places],
            answer_vectors=self._encode(given.answers),
            references=self.references,
            encoder=self.encoder,
            seconds=given.seconds,
            base=self.base,
            titles=self.answers.titles,
            facts=[self.answers.facts.get(name, {}) for name in items.item_name],
        )
        nearest = np.array(self.references.item_names)[batch.placement.nearest]
        items = items.assign(confidence=given.confidence)
        scores = _scores(name, items, batch, np.where(batch.empty, None, nearest))
        return scores, _facts(name, items.data_id, batch)

    def of_outsiders(self, name: str, table: pd.DataFrame) -> Rows:
        """Rows about things that are not in the collection, of which no fact is known."""
        none, own, titles = np.zeros((0, 0)), list(table.answer), self.answers.titles
        known = References((), none)
        batch = ScoringBatch([], [], own, [], none, none, known, self.encoder, titles=titles)
        scores = _scores(name, table.assign(track=OUTSIDERS), batch, None)
        return scores, _facts(name, table.data_id[:0], batch)

    def _encode(self, answers: list[str]) -> np.ndarray:
        """(n, 384) vectors; an answer that is word for word a ground truth has its vector."""
        known = dict(zip(self.answers.items.ground_truth, self.truths, strict=True))
        fresh = [answer for answer in answers if answer not in known]
        known |= zip(fresh, self.encoder.encode(fresh), strict=True)
        return np.stack([known[answer] for answer in answers])


def _scores(
    name: str, items: pd.DataFrame, batch: ScoringBatch, nearest: Any = None
) -> pd.DataFrame:
    """Rows of scores.parquet; answers about things from outside have no `nearest` exhibit."""
    columns: dict[str, Any] = {"model": name}
    columns |= {column: list(items[column]) for column in ("data_id", "item_name", "track")}
    outside = nearest is None
    for metric in metrics_of("all"):
        columns[metric.name] = np.nan if outside else _values(metric, batch)
    columns["nearest_exhibit"] = nearest
    for metric in metrics_of(OUTSIDERS):
        columns[metric.name] = _values(metric, batch) if outside else np.nan
    columns["confidence"] = items.get("confidence", np.nan)
    return pd.DataFrame(columns)


def _values(metric: Metric, batch: ScoringBatch) -> np.ndarray:
    values = metric.compute(batch)
    if np.isinf(values).any():
        raise MuseQuestError(
            f"The metric {metric.name} gave an infinite score; mend it in evaluation/metrics.py."
        )
    return values


def _facts(name: str, data_ids: pd.Series, batch: ScoringBatch) -> pd.DataFrame:
    """Every fact that an answer recalled, left out or invented."""
    rows = [
        (name, data_id, kind, status, fact)
        for kind, checks in (("number", batch.number_checks), ("name", batch.name_checks))
        for data_id, check in zip(data_ids, checks, strict=True)
        for status in ("recalled", "missing", "invented")
        for fact in getattr(check, status)
    ]
    return pd.DataFrame(rows, columns=["model", "data_id", "kind", "status", "fact"], dtype=str)


class KeptScores:
    """What is kept in a folder; nothing without one, or where its files are others."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path()
        told = read_remade(folder / "scoring.json").get("kept") if folder else None
        whole = told and told["files"] == digests_of_files(self.folder)
        self.digests: dict[str, str] = told["systems"] if told and whole else {}

    @cached_property
    def tables(self) -> Rows:
        """All rows of the folder."""
        scores, facts = (read_table(kind, self.folder / name) for kind, name in FILES.items())
        return scores, facts

    def rows(self, name: str, digest: str) -> Rows | None:
        """A system's rows, or with `__outsiders` those about outside things; None if not kept."""
        if self.digests.get(name) != digest:
            return None
        scores, facts = self.tables
        model, outside = name.removesuffix(f"__{OUTSIDERS}"), name.endswith(f"__{OUTSIDERS}")
        own = scores[(scores.model == model) & ((scores.track == OUTSIDERS) == outside)]
        return own, facts[facts.model == name]


def digests_of_files(folder: Path) -> dict[str, str | None]:
    """The SHA-256 of both tables, by their names."""
    return {name: file_digest(folder / name) for name in FILES.values()}


def digests_of_systems(
    answers: Answers, given: Mapping[str, Given], base: BaseModel | None
) -> dict[str, str]:
    """Name -> SHA-256 of all that a system's scores depend on; outsiders as `lora__outsiders`."""
    read_by = [SHA256, base and [base.fingerprint, base.profile.dtype]]
    shared = digest_of(
        code_digest(), answers.items.to_dict("list"), answers.exhibits_sha256, read_by
    )
    own = {
        name: digest_of(
            shared, each.answers,
            *(np.ravel(of).tolist() for of in (each.places, each.seconds, each.confidence)),
        )
        for name, each in given.items()
    }  # fmt: skip
    outside = {
        f"{name}__{OUTSIDERS}": digest_of(shared, table.to_dict("list"))
        for name, table in answers.outsiders.items()
    }
    return own | outside


def digest_of(*parts: Any) -> str:
    """The SHA-256 of what JSON can hold, or of how it is printed."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


@cache
def code_digest() -> str:
    """Of the packages whose code decides a score, and the libraries they ask."""
    package = Path(__file__).parents[1]
    sources = [*package.glob("evaluation/*.py"), *package.glob("text/*.py")]
    sources += package.glob("text/*.yaml")
    return digest_of(
        {str(path.relative_to(package)): file_digest(path) for path in sorted(sources)},
        {name: version(name) for name in LIBRARIES},
    )
