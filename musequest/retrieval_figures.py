"""The figures in the readme of 3.2: what came of holding retrieval against a tuned model.

Each is a markdown text; readme_figures.py puts it between its marks.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from .errors import MuseQuestError
from .evaluation.metrics import METRICS
from .evaluation.report_tables import KEY, cell, cost_frame, difference_frame, headed, key_rows
from .evaluation.results import load_results
from .files import read_json, write_json
from .finetuning.machine import hardware
from .home import root, run_dir
from .markdown import machine, markdown
from .settings import load_profile
from .systems.registry import OUTSIDERS, system

RECORD = Path("benchmarks/records/pocket_retrieval.json")
COMPARED = ("base", "lora", "retrieval", "rag")
REFUSAL = "false_recognition_rate"
NONE_YET = "No comparison is recorded yet; `make notebooks` makes one.\n"


def keep_retrieval(profile_name: str) -> None:
    """Write the record of the last comparison to where the readme finds it.

    One that lacks a system is refused with MuseQuestError.
    """
    results = load_results(load_profile(profile_name))
    if missing := set(COMPARED) - set(results.systems):
        raise MuseQuestError(
            f"{results.folder} has no scores of {', '.join(sorted(missing))}; run "
            "`python -m musequest.notebooks demo --longer` first."
        )
    answered = run_dir(results.profile.name, "retrieval") / "predictions.parquet"
    moment = datetime.datetime.fromtimestamp(answered.stat().st_mtime, datetime.UTC)
    costs = results.costs[results.costs.approach.isin(COMPARED)].astype(object)
    tracks = (results.main_track, OUTSIDERS)
    record = {
        "profile": results.profile.name,
        "date": moment.date().isoformat(),
        "hardware": hardware(),
        "track": results.main_track,
        "scores": {
            track: {name: results.summary[track][name] for name in COMPARED}
            for track in tracks
            if track in results.summary
        },
        "differences": key_rows(results.differences[results.main_track], COMPARED),
        "costs": costs.where(costs.notna(), None).to_dict("records"),
    }
    write_json(root() / RECORD, record)


def retrieval_scores() -> str:
    """The key scores of tuned model, retrieval and RAG, a row a system."""
    record = _record()
    if not record:
        return NONE_YET
    rows = []
    for name in COMPARED:
        own = record["scores"][record["track"]][name]
        row = {"system": system(name).label, **{headed(m): cell(own[m], METRICS[m]) for m in KEY}}
        if outside := record["scores"].get(OUTSIDERS):
            row[headed(REFUSAL)] = cell(outside[name][REFUSAL], METRICS[REFUSAL])
        rows.append(row)
    where = f"Measured on {record['date']} ({machine(record['hardware'])})."
    return f"{where} Scores on `{record['track']}`.\n\n{markdown(pd.DataFrame(rows))}"


def retrieval_differences() -> str:
    """Which of these systems truly differ."""
    record = _record()
    if not record:
        return NONE_YET
    return markdown(difference_frame(record["differences"]).rename_axis("pair").reset_index())


def retrieval_costs() -> str:
    """What each of them costs."""
    record = _record()
    if not record:
        return NONE_YET
    costs = pd.DataFrame(record["costs"])
    return markdown(cost_frame(costs).rename_axis("system").reset_index())


def _record() -> dict[str, Any] | None:
    path = root() / RECORD
    return read_json(path) if path.exists() else None


BLOCKS: dict[str, Callable[[], str]] = {
    block.__name__: block for block in (retrieval_scores, retrieval_differences, retrieval_costs)
}
