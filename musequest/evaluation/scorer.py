"""Scores every system's answers with all metrics: a row an answer, a column a metric."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import MuseQuestError
from . import encoder as encoders
from .answers import Answers, Given
from .base_model import BaseModel
from .controls import control_answers
from .metrics import Metric, item_metrics, outsider_metrics
from .sheet import References, Sheet
from .systems import OUTSIDERS


class Scorer:
    """Scores one system after the other, so that memory holds the vectors of one at a time."""

    def __init__(self, answers: Answers, base: BaseModel | None = None) -> None:
        self.answers, self.base = answers, base
        self.encoder = encoders.load_encoder()
        truths = list(answers.items.ground_truth)
        self.truth_vectors = self.encoder.encode(truths)
        self.place_of_truth = {text: place for place, text in enumerate(truths)}
        self.references = References.of(answers.items.item_name, self.truth_vectors)

    def score(self, name: str, given: Given) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of scores.parquet and of facts.parquet for one system's answers."""
        items = self.answers.items.iloc[given.places]
        sheet = self._sheet(items, given)
        nearest = np.array(self.references.item_names)[sheet.placement.nearest]
        rows = {
            "model": name,
            "data_id": items.data_id.to_numpy(),
            "item_name": items.item_name.to_numpy(),
            "track": items.track.to_numpy(),
            **{metric.name: _values(metric, sheet) for metric in item_metrics()},
            "nearest_exhibit": np.where(sheet.empty, None, nearest),
            **{metric.name: np.nan for metric in outsider_metrics()},
        }
        return pd.DataFrame(rows), _facts(name, items.data_id, sheet)

    def score_outsiders(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of scores.parquet for answers about things from outside the collection."""
        answers, titles = list(table.answer), self.answers.titles
        none = np.zeros((0, 0))
        sheet = Sheet([], [], answers, [], none, none, self.references, self.encoder, titles=titles)
        rows = {"model": name, "data_id": list(table.data_id), "item_name": list(table.item_name)}
        missing = dict.fromkeys((metric.name for metric in item_metrics()), np.nan)
        values = {metric.name: _values(metric, sheet) for metric in outsider_metrics()}
        return pd.DataFrame(
            {**rows, "track": OUTSIDERS, **missing, "nearest_exhibit": None} | values
        )

    def _sheet(self, items: pd.DataFrame, given: Given) -> Sheet:
        return Sheet(
            item_names=list(items.item_name),
            ground_truths=list(items.ground_truth),
            answers=given.answers,
            sources=[self.answers.sources[name] for name in items.item_name],
            truth_vectors=self.truth_vectors[given.places],
            answer_vectors=self._encode(given.answers),
            references=self.references,
            encoder=self.encoder,
            seconds=given.seconds,
            base=self.base,
            titles=self.answers.titles,
        )

    def _encode(self, answers: list[str]) -> np.ndarray:
        """(n, 384) vectors; an answer that is word for word a ground truth is not encoded again."""
        places = [self.place_of_truth.get(answer, -1) for answer in answers]
        known = np.array(places) >= 0
        vectors = self.truth_vectors[places]
        if not known.all():
            fresh = [answer for answer, there in zip(answers, known, strict=True) if not there]
            vectors[~known] = self.encoder.encode(fresh)
        return vectors


def compute_scores(
    answers: Answers, base: BaseModel | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """scores.parquet: a row a (model, data_id), a column a metric; and facts.parquet.

    Controls and ablations are models of their own; NaN where a metric has no value.
    """
    scorer = Scorer(answers, base)
    scored = [scorer.score(*each) for each in with_controls(answers).items()]
    outside = [scorer.score_outsiders(*each) for each in answers.outsiders.items()]
    scores = pd.concat([*(rows for rows, _ in scored), *outside], ignore_index=True)
    return scores, pd.concat([facts for _, facts in scored], ignore_index=True)


def with_controls(answers: Answers) -> dict[str, Given]:
    """Every system's answers, its ablations', and the controls'."""
    controls = {
        name: Given(np.arange(len(own)), own, np.full(len(own), np.nan))
        for name, own in control_answers(answers).items()
    }
    return {**answers.given, **controls}


def _values(metric: Metric, sheet: Sheet) -> np.ndarray:
    values = metric.compute(sheet)
    if np.isinf(values).any():
        raise MuseQuestError(
            f"The metric {metric.name} gave an infinite score; mend it in evaluation/metrics/."
        )
    return values


def _facts(name: str, data_ids: pd.Series, sheet: Sheet) -> pd.DataFrame:
    """Every fact that an answer recalled, left out or invented."""
    rows = [
        (name, data_id, kind, status, fact)
        for kind, checks in (("number", sheet.number_checks), ("name", sheet.name_checks))
        for data_id, check in zip(data_ids, checks, strict=True)
        for status in ("recalled", "missing", "invented")
        for fact in getattr(check, status)
    ]
    return pd.DataFrame(rows, columns=["model", "data_id", "kind", "status", "fact"], dtype=str)
