"""Scores the answers of every system on one scale and writes what the scores say.

    python -m musequest score NAME=predictions.parquet ... [--exhibits exhibits.parquet] --out DIR

writes scores.parquet (a row an answer), summary.json (track -> system -> metric -> mean, ci_low,
ci_high, n) and scoring.json (which files, how many shared items, what was left out). The same
files give the same scores to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import LOGGER, MuseQuestError
from ..files import write_json
from ..home import collection_dir, results_dir
from ..settings import Profile, load_profile
from ..tables import write_table
from . import encoder as encoders
from .answers import Answers, gather
from .intervals import DRAWS, FEWEST_EXHIBITS, LEVEL, SEED, Draws
from .items import tracks_of
from .metrics import DECIMALS, METRICS, References, Sheet
from .systems import find_answers

Summary = dict[str, dict[str, dict[str, dict[str, float | int | None]]]]


def score(
    predictions: Mapping[str, str | Path],
    exhibits: str | Path | None,
    out: str | Path,
    profile: Profile | None = None,
) -> Summary:
    """Score systems (name -> predictions.parquet) on the items they share, and write to `out`.

    With a profile the tracks come from its dataset. Returns what summary.json holds; what was
    left out or cut is logged and kept in scoring.json. Unusable input raises MuseQuestError.
    """
    answers = gather(predictions, exhibits, tracks_of(profile) if profile else None)
    return _write(answers, Path(out))


def evaluate(profile: Profile | str) -> Summary:
    """Score every finished system of a profile, draw the figures, and write results/<profile>/.

    Answers to another dataset than the collection's present one raise MuseQuestError.
    """
    from ..creation.dataset import fingerprint
    from .figures import draw_figures
    from .results import load_results

    profile = load_profile(profile) if isinstance(profile, str) else profile
    found, left_out = find_answers(profile, fingerprint(profile.collection))
    exhibits = collection_dir(profile.collection) / "exhibits.parquet"
    answers = gather(found, exhibits if exhibits.is_file() else None, tracks_of(profile))
    answers.notices[:0] = left_out
    summary = _write(answers, results_dir(profile.name))
    draw_figures(load_results(profile))
    return summary


def compute_scores(answers: Answers) -> pd.DataFrame:
    """One row a (model, data_id), one column a metric; NaN where a metric has no value."""
    items = answers.items
    encoder = encoders.load_encoder()
    texts = [*items.ground_truth, *(text for each in answers.by_system.values() for text in each)]
    vectors = np.split(encoder.encode(texts), len(answers.by_system) + 1)
    references = References.of(items.item_name, vectors[0])
    sources = [answers.sources[name] for name in items.item_name]
    tables = []
    for (name, own), own_vectors in zip(answers.by_system.items(), vectors[1:], strict=True):
        sheet = Sheet(
            list(items.item_name), list(items.ground_truth), own, sources, vectors[0], own_vectors,
            references, encoder,
        )  # fmt: skip
        columns = {
            metric.name: _values(metric.compute(sheet), metric.name) for metric in METRICS.values()
        }
        rows = {"model": name, "data_id": items.data_id, "item_name": items.item_name}
        tables.append(pd.DataFrame({**rows, "track": items.track, **columns}))
    return pd.concat(tables, ignore_index=True)


def _values(values: np.ndarray, name: str) -> np.ndarray:
    if np.isinf(values).any():
        raise MuseQuestError(f"The metric {name} gave an infinite score; mend it in metrics.py.")
    return values


def summarize(scores: pd.DataFrame, tracks: list[str]) -> Summary:
    """Mean, 95 % interval and number of items per track, system and metric."""
    summary: Summary = {}
    for track in tracks:
        rows = scores if track == "all" else scores[scores.track == track]
        systems = dict(iter(rows.groupby("model", sort=False)))
        draws = Draws(list(next(iter(systems.values())).item_name))
        summary[track] = {
            name: {metric: _aggregate(own[metric].to_numpy(), draws) for metric in METRICS}
            for name, own in systems.items()
        }
    return summary


def _aggregate(values: np.ndarray, draws: Draws) -> dict[str, float | int | None]:
    """A mean and its interval; null where no item has a value, or too few exhibits have one."""
    there = values[~np.isnan(values)]
    low, high = draws.interval(values) or (None, None)
    mean = float(there.mean()) if len(there) else None
    rounded = [None if v is None else round(v, DECIMALS) for v in (mean, low, high)]
    return dict(zip(("mean", "ci_low", "ci_high"), rounded, strict=True)) | {"n": len(there)}


def _write(answers: Answers, out: Path) -> Summary:
    for notice in answers.notices:
        LOGGER.warning("%s", notice)
    scores = compute_scores(answers)
    summary = summarize(scores, answers.tracks)
    write_table("scores", out / "scores.parquet", scores)
    write_json(out / "summary.json", summary)
    write_json(out / "scoring.json", _record(answers))
    return summary


def _record(answers: Answers) -> dict[str, Any]:
    """What the scores were computed from."""
    tracks = {track: int(answers.rows_of(track).sum()) for track in answers.tracks}
    return {
        "systems": answers.files,
        "shared_items": len(answers.items),
        "items_per_track": tracks,
        "exhibits": int(answers.items.item_name.nunique()),
        "notices": answers.notices,
        "encoder_sha256": encoders.SHA256,
        "bootstrap": {
            "draws": DRAWS, "level": LEVEL, "seed": SEED, "clusters": "exhibits",
            "fewest_exhibits": FEWEST_EXHIBITS,
        },
        "metrics": {
            m.name: {"direction": m.direction, "meaning": m.meaning} for m in METRICS.values()
        },
    }  # fmt: skip
