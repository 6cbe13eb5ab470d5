"""What systems cost: training minutes, memory, rent, disk, index size, price of answers.

Rent is what the run's GPUs cost an hour (benchmarks/records/gpu_rental.csv, prices the published
experiment paid in January 2025) for as long as it trained.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..files import read_json
from ..home import root, run_dir

RECORDS = Path("benchmarks/records")
COLUMNS = ["approach", "hardware", "minutes", "memory_gib", "usd", "disk_gib"]
COLUMNS += ["index_mib", "answers_usd"]


def costs_of(profile_name: str, systems: Sequence[str]) -> pd.DataFrame:
    """A row a system: training minutes, peak memory of one device (GiB), rent (USD), disk (GiB),
    index (MiB), price of all answers (USD); NaN for what is not known or does not apply."""
    rows = [_cost(run_dir(profile_name, name), name) for name in systems]
    return pd.DataFrame(rows, columns=COLUMNS)


def _cost(folder: Path, name: str) -> dict[str, Any]:
    records = [folder / file for file in ("infer.json", "run.json")]
    merged: dict[str, Any] = {}
    for path in records:
        merged |= read_json(path) if path.is_file() else {}
    cost = merged.get("cost", {})
    gpus = merged.get("hardware", {}).get("gpus", []) if "minutes" in merged else []
    peaks = merged.get("peak_memory_gib", {})
    on_gpus = [held for device, held in peaks.items() if device != "cpu"]
    index = cost.get("index_bytes")
    return {
        "approach": name,
        "hardware": _hardware(gpus) if "minutes" in merged else "",
        "minutes": merged.get("minutes"),
        "memory_gib": max(on_gpus or peaks.values(), default=None),
        "usd": rent_usd(gpus, merged.get("minutes")),
        "disk_gib": merged.get("disk_gib"),
        "index_mib": None if index is None else index / 2**20,
        "answers_usd": cost.get("usd"),
    }


def published_costs() -> pd.DataFrame:
    """The published runs in the same columns, with their similarity score as `mean`."""
    runs = pd.read_csv(root() / RECORDS / "published_runs.csv")
    runs = runs[runs.training_minutes.notna()]
    counts = zip(runs.gpu, runs.gpu_count, strict=True)
    gpus = [[name] * int(count) for name, count in counts]
    frame = pd.DataFrame(
        {
            "approach": list(runs.approach),
            "hardware": [_hardware(each) for each in gpus],
            "minutes": list(runs.training_minutes),
            # Published in GB, as the peak at the first step.
            "memory_gib": [gb * 1e9 / 2**30 for gb in runs.peak_vram_gb_step_1],
            "usd": [rent_usd(*each) for each in zip(gpus, runs.training_minutes, strict=True)],
            "mean": list(runs.similarity_score),
        }
    )
    return frame.assign(ci_low=float("nan"), ci_high=float("nan"))


def rent_usd(gpus: Sequence[str], minutes: float | None) -> float | None:
    """What renting these GPUs so long cost; None where there is none, or no price of one."""
    prices = pd.read_csv(root() / RECORDS / "gpu_rental.csv")
    hourly = {_model(row.gpu): row.usd_per_hour_jan_2025 for row in prices.itertuples()}
    if not gpus or minutes is None or any(_model(gpu) not in hourly for gpu in gpus):
        return None
    return round(sum(hourly[_model(gpu)] for gpu in gpus) * minutes / 60, 3)


def _model(gpu: str) -> str:
    """ "A100" of "NVIDIA A100 80GB PCIe"."""
    found = re.search(r"\b[A-Z]{1,2}\d{2,4}\b", gpu)
    return found[0] if found else gpu


def _hardware(gpus: Sequence[str]) -> str:
    return f"{len(gpus)} × {_model(gpus[0])}" if gpus else "CPU"
