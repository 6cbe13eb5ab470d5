"""What a system costs beside what it scores: time an answer, disk, preparation, money."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from ..evaluation.systems import ordered
from ..files import read_json
from ..finetuning.models import WEIGHTS
from ..home import run_dir
from ..settings import Profile
from ..tables import read_table

MB = 1e6


def costs_table(profile: Profile, systems: Iterable[str]) -> pd.DataFrame:
    """A row a system that has answered.

    Milliseconds an answer (mean); MB on disk besides the base model: of the tuned weights or the
    index; minutes of preparation: of the training or of building the index; USD for all answers.
    A dash means none.
    """
    rows = []
    for name in ordered(systems):
        folder = run_dir(profile.name, name)
        seconds = read_table("predictions", folder / "predictions.parquet").seconds
        infer, run = _record(folder / "infer.json"), _record(folder / "run.json")
        costs = infer.get("costs", {})
        weights = sum(_size(folder / kind) for kind in WEIGHTS.values())
        minutes = run.get("minutes")
        if "index_seconds" in costs:
            minutes = costs["index_seconds"] / 60
        rows.append(
            {
                "system": name,
                "ms an answer": f"{1000 * seconds.mean():,.0f}",
                "MB besides the base model": _shown(costs.get("index_mb") or weights / MB),
                "minutes of preparation": _shown(minutes),
                "USD": _shown(costs.get("usd"), 4),
            }
        )
    return pd.DataFrame(rows)


def _record(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _shown(value: float | None, digits: int = 1) -> str:
    return f"{value:,.{digits}f}" if value else "–"
