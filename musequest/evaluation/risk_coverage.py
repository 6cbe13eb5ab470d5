"""Risk and coverage: how often a system errs, were it to answer only where it is sure enough.

How sure one may be of a photo the gate says (`systems.gate`), the same for all systems, or where
there is none the system itself (the column `confidence` of its predictions, the higher the surer,
on any scale). What lies below a threshold could be left to a person. Of every threshold the
coverage is the share of photos that it would answer, the risk the share of wrong ones among them
(El-Yaniv and Wiener 2010, "On the Foundations of Noise-free Selective Classification"). Photos of
exhibits count with those of things from outside: of the first an answer is wrong that fits another
exhibit better, of the second one that claims an exhibit.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..core.json_shapes import Verdicts
from ..systems.registry import (
    ABLATIONS,
    CONTROLS,
    OUTSIDERS,
    is_system,
    on_track,
    ordered,
    system,
    variant,
)
from .intervals import Clustered
from .metrics import METRICS

RECOGNISED, CONFIDENCE = "recognised", "gate_confidence"  # columns of scores.parquet
RATES = ("answered", "wrong_refusal_rate", "identity_at_1", "false_recognition_rate")


def risk_coverage(confidence: np.ndarray, wrong: np.ndarray) -> pd.DataFrame:
    """(n,) confidences and whether each answer is wrong -> threshold, coverage and risk.

    A row a threshold, the highest first; answers of one confidence are given or withheld together.
    Those without a confidence, NaN, are given last.
    """
    filled = np.where(np.isnan(confidence), -np.inf, confidence)
    order = np.argsort(-filled, kind="stable")
    sure, errors = filled[order], np.cumsum(np.asarray(wrong, float)[order])
    last = np.append(sure[1:] != sure[:-1], True)[: len(sure)]
    given = np.arange(1, len(sure) + 1)[last]
    columns = {"threshold": sure[last], "coverage": given / max(len(sure), 1)}
    return pd.DataFrame({**columns, "risk": errors[last] / given})


def area_under(curve: pd.DataFrame) -> float:
    """The risk averaged over coverages, 0 best (AURC; Geifman et al. 2019)."""
    shares = np.diff(curve.coverage, prepend=0.0)
    return float((shares * curve.risk).sum())


def with_verdicts(scores: pd.DataFrame, verdicts: Verdicts | None) -> pd.DataFrame:
    """scores.parquet with what the gate says of the photo behind each answer, or without.

    `recognised` is an exhibit, "" where it is near to none, None where no verdict applies: of
    controls, and of answers that were given without the photo.
    """
    scores = scores.drop(columns=[RECOGNISED, CONFIDENCE], errors="ignore")
    if verdicts is None:
        return scores
    blind = scores.model.map(lambda name: name in CONTROLS or variant(name)[1] in ABLATIONS)
    judged = ~blind & scores.data_id.isin(verdicts["confidence"].keys())
    exhibits = scores.data_id.map(lambda name: verdicts["recognised"].get(name) or "")
    return scores.assign(
        **{
            RECOGNISED: exhibits.astype(object).where(judged, None),
            CONFIDENCE: scores.data_id.map(verdicts["confidence"]).where(judged),
        }
    )


def gated(scores: pd.DataFrame, track: str) -> pd.DataFrame:
    """Two rows a system, without and with the gate before it; none where no photo has a verdict.

    answered, the share of questions about exhibits; wrong_refusal_rate, of those, by the gate or
    in the system's own words; identity_at_1 of what is answered; false_recognition_rate of the
    outsiders; each with its 95 % interval, such as `answered_ci_low`, NaN where there is none.
    `scores` is scores.parquet, of which one track of exhibits counts.
    """
    if RECOGNISED not in scores:
        return pd.DataFrame(columns=["system", "gate", *RATES])
    counted = pd.concat([on_track(scores, track), on_track(scores, OUTSIDERS)])
    judged = counted[counted.model.map(is_system) & counted[RECOGNISED].notna()]
    groups, rows = dict(iter(judged.groupby("model"))), list[dict[str, object]]()
    for name, gate in itertools.product(ordered(groups), (False, True)):
        outside = groups[name].track == OUTSIDERS
        inside, outsiders = groups[name][~outside], groups[name][outside]
        passed, claimed = (((own[RECOGNISED] != "") | (not gate)) for own in (inside, outsiders))
        answered = passed & (inside.wrong_refusal_rate == 0)
        false = outsiders.false_recognition_rate * claimed
        row: dict[str, object] = {"system": name, "gate": gate}
        rates = (answered, ~answered, inside.identity_at_1[answered], false)
        for rate, values in zip(RATES, rates, strict=True):
            names = judged.item_name.loc[values.index].to_list()
            sample = Clustered.of(values.to_numpy(float), names)
            low, high = sample.interval(1) or (np.nan, np.nan)
            row |= {rate: sample.mean, f"{rate}_ci_low": low, f"{rate}_ci_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def gate_cells(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `gated` as readers see it."""
    gate = table.gate.map({False: "without", True: "with"})
    labels = [f"{system(n).label}, {g} the gate" for n, g in zip(table.system, gate, strict=True)]
    heads = {
        "answered": "Answered",
        "wrong_refusal_rate": METRICS["wrong_refusal_rate"].label,
        "identity_at_1": "Identity of what is answered",
        "false_recognition_rate": METRICS["false_recognition_rate"].label,
    }

    def told(row: Mapping[Any, Any], name: str) -> str:  # such as "97.0% (83.2% to 99.5%)"
        share, low, high = (row.get(f"{name}{part}") for part in ("", "_ci_low", "_ci_high"))
        interval = "" if pd.isna(low) else f" ({low:.1%} to {high:.1%})"
        return "-" if pd.isna(share) else f"{share:.1%}{interval}"

    rows = [{h: told(row, name) for name, h in heads.items()} for row in table.to_dict("records")]
    return pd.DataFrame(rows, labels, [*heads.values()])


def by_system(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The curve of every system of whose photos scores.parquet tells how sure one may be."""
    known = [name for name in (CONFIDENCE, "confidence") if name in scores]
    if not known:
        return {}
    rows = scores[scores.model.map(is_system) & scores[known[0]].notna()]
    wrong = np.where(rows.track == OUTSIDERS, rows.false_recognition_rate, 1 - rows.identity_at_1)
    judged = rows.assign(wrong=wrong)[~np.isnan(wrong)]
    groups = dict(iter(judged.groupby("model")))
    return {
        name: risk_coverage(groups[name][known[0]].to_numpy(), groups[name].wrong.to_numpy())
        for name in ordered(groups)
    }
