"""Scores the answers of every system on one scale and writes what the scores say.

    python -m musequest score NAME=predictions.parquet ... [--exhibits exhibits.parquet] --out DIR

writes scores.parquet (a row an answer), facts.parquet (a row a number or name of an answer or its
ground truth), summary.json (track -> system -> metric -> mean, ci_low, ci_high, n),
differences.json (track -> paired differences) and scoring.json (which files, how many shared items,
what was left out). The same files give the same scores to the last digit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.errors import LOGGER, MuseQuestError
from ..core.files import write_json
from ..core.home import results_dir, run_dir
from ..core.json_shapes import Calibration, Verdicts
from ..core.settings import Profile, load_profile
from ..core.tables import write_table
from ..creation.split import fingerprint
from ..systems.registry import (
    ABLATIONS,
    CONTROLS,
    OUTSIDERS,
    PREDICTIONS,
    exhibits_path,
    find_answers,
    seedless,
    variant,
    why_unusable,
)
from ..text.encoder import DECIMALS, SHA256, load_encoder
from ..text.titles import untold
from .answers import Answers, gather
from .base_model import BaseModel
from .controls import with_controls
from .differences import FEWEST_EXHIBITS, Summary, compare, summarize
from .intervals import LEVEL
from .metrics import METRICS
from .results import REPORT, dataset_items
from .risk_coverage import with_verdicts
from .scores import KeptScores, compute_scores, digests_of_files

NO_TEXTS = (
    "Without --exhibits nobody knows the museum's own texts: invented numbers and names are those "
    "that the ground truths alone do not bear out."
)


def score(
    predictions: Mapping[str, str | Path],
    exhibits: str | Path | None,
    out: str | Path,
    profile: Profile | None = None,
    margins: Mapping[str, float] | None = None,
) -> Summary:
    """Score systems (name -> predictions.parquet) on the items they share, and write to `out`.

    With a profile the tracks come from its dataset, which the answers must be of, and its base
    model gives similarity_score. `margins` are by metric: systems whose difference surely is
    smaller are called equal within it. Returns what summary.json holds; what was left out or cut
    is logged and kept in scoring.json. Unusable input raises MuseQuestError, as does a folder
    whose report shows other scores.
    """
    _check_out(Path(out))
    if profile:
        _check_records(predictions, profile)
    answers = gather(predictions, exhibits, dataset_items(profile) if profile else None)
    if exhibits is None:
        answers.notices.append(NO_TEXTS)
    return _write(answers, Path(out), profile, margins)


def evaluate(
    profile: Profile | str,
    margins: Mapping[str, float] | None = None,
    seeds: int | None = None,
) -> Summary:
    """Score every finished system of a profile, and write the scores to results/<profile>/.

    Figures are drawn with the report (`build_report`), so that both tell of the same scores.

    Answers to another dataset than the collection's present one are left out, which is told.
    Approaches that were trained with further seeds too are scored with all that have answered, or
    with `seeds` of them, the profile's own counted; MuseQuestError where one of those lacks.
    `margins` as for `score`.
    """
    profile = load_profile(profile)
    found, left_out = find_answers(profile, fingerprint(profile.collection), seeds)
    answers = gather(found, exhibits_path(profile), dataset_items(profile))
    answers.notices[:0] = left_out
    gate = _gate(profile, answers)
    return _write(answers, results_dir(profile.name), profile, margins, gate)


def _gate(profile: Profile, answers: Answers) -> tuple[Verdicts, Calibration] | None:
    """What the gate says of the photos, and how it was calibrated, where retrieval has an index."""
    if not (run_dir(profile.name, "retrieval") / "index.parquet").is_file():
        return None
    from ..systems.gate import open_gate

    try:
        gate = open_gate(profile)
        return gate.verdicts(), gate.calibration
    except MuseQuestError as error:
        answers.notices.append(f"The gate is left out: {error}")
        return None


def _check_out(out: Path) -> None:
    """Refuse a place that cannot be a folder, or whose report shows other scores."""
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        why = "may not be written to" if there.is_dir() else "is no folder"
        raise MuseQuestError(f"Scores cannot be written to {out}: {there} {why}; give another.")
    if (report := out / REPORT).exists():
        raise MuseQuestError(f"{report} shows the scores that lie beside it; give another --out.")


def _check_records(predictions: Mapping[str, str | Path], profile: Profile) -> None:
    """Refuse a run's answers whose own infer.json tells that they are not of the profile's data."""
    present = fingerprint(profile.collection)
    for name, path in predictions.items():
        path = Path(path).absolute()
        if path.name != PREDICTIONS or not path.with_name("infer.json").is_file():
            continue
        if reason := why_unusable(path, profile, present):
            raise MuseQuestError(f"{name} ({path}) cannot be scored: {reason}.")


def _write(
    answers: Answers,
    out: Path,
    profile: Profile | None,
    margins: Mapping[str, float] | None = None,
    gate: tuple[Verdicts, Calibration] | None = None,
) -> Summary:
    base = _base_model(profile, out, answers)
    scores, facts, digests = compute_scores(answers, base, KeptScores(out))
    scores = with_verdicts(scores, gate[0] if gate else None)
    answers.notices += _cut_by_encoder(answers, scores)
    for notice in answers.notices:
        LOGGER.warning("%s", notice)
    tracks = [*answers.tracks, *([OUTSIDERS] if answers.outsiders else [])]
    summary = summarize(scores, tracks)
    record = _record(answers, summary, margins or {})
    record |= {"gate": gate[1]} if gate else {}
    write_table("scores", out / "scores.parquet", scores)
    write_table("facts", out / "facts.parquet", facts)
    record["kept"] = {"files": digests_of_files(out), "systems": digests}
    write_json(out / "summary.json", summary)
    write_json(out / "differences.json", compare(scores, tracks, margins, answers.asked))
    write_json(out / "scoring.json", record)
    return summary


def _cut_by_encoder(answers: Answers, scores: pd.DataFrame) -> list[str]:
    """A sentence where answers of a system, or ground truths, are not read to their end."""
    encoder = load_encoder()
    tokens = {f"answers of {n}": scores.answer_tokens[scores.model == n] for n in answers.systems}
    tokens["ground truths"] = encoder.count_tokens(list(answers.items.ground_truth))
    cut = {what: int((counts > encoder.longest).sum()) for what, counts in tokens.items()}
    return [
        f"{count} {what} are longer than the encoder's 256 word pieces; only their beginning "
        "counts for embedding_distance, identity and sibling_confusion."
        for what, count in cut.items()
        if count
    ]


def _base_model(profile: Profile | None, out: Path, answers: Answers) -> BaseModel | None:
    """The base model, all answers read; None, with a notice, where it cannot read them all."""
    if profile is None:
        return None
    truths = answers.items.ground_truth
    try:
        base = BaseModel(profile, out / "similarity.json")
        for own in with_controls(answers).values():
            base.distances(list(truths.iloc[own.places]), own.answers)
        return base
    except MuseQuestError as error:
        answers.notices.append(f"similarity_score is left out: {error}")
        return None


def _record(answers: Answers, summary: Summary, margins: Mapping[str, float]) -> dict[str, Any]:
    """What the scores were computed from."""
    exhibits = int(answers.items.item_name.nunique())
    return {
        "systems": {name: answers.files[name] for name in answers.systems},
        "controls": [name for name in CONTROLS if name in summary["all"]],
        "ablations": _files(answers, ABLATIONS),
        "seeds": {name: file for name, file in answers.files.items() if seedless(name) != name},
        "asked_otherwise": answers.asked_otherwise,
        "outsiders": _files(answers, [OUTSIDERS]),
        "exhibits_sha256": answers.exhibits_sha256,
        "untold_titles": untold(answers.titles),
        "shared_items": len(answers.items),
        "items_per_track": answers.tracks,
        "exhibits": exhibits,
        "chance_of_identity": round(1 / exhibits, DECIMALS),
        "notices": answers.notices,
        "encoder_sha256": SHA256,
        "intervals": {
            "level": LEVEL, "clusters": "exhibits", "fewest_exhibits": FEWEST_EXHIBITS,
            "adjusted": "Holm, of the pairs of systems by track and metric",
        },
        "margins": dict(margins),
        "metrics": {
            m.name: {"direction": m.direction, "meaning": m.meaning, "formula": m.formula}
            for m in METRICS.values()
        },
    }  # fmt: skip


def _files(answers: Answers, kinds: Any) -> dict[str, dict[str, object]]:
    """The scored variants of those kinds."""
    scored = {*answers.given, *(f"{name}__{OUTSIDERS}" for name in answers.outsiders)}
    return {
        name: file
        for name, file in answers.files.items()
        if name in scored and variant(name)[1] in kinds
    }
