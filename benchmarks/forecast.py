"""How well minutes and memory are foreseen: constants fitted to measured runs, each left out once.

    python benchmarks/forecast.py            print each run, as it was and as foreseen without it
    python benchmarks/forecast.py --record   and keep constants and table in benchmarks/records/

Measured are the tuned runs of the published experiment (published_runs.csv) and this project's
steps on a GPU (gpu_training.json). The published recipe is modelled as such: everything is
recomputed, the frozen vision tower too, where the rows would not fit otherwise; QLoRA keeps the
tower in float32; FSDP keeps all weights in float32; layers on several GPUs take turns; a whole
checkpoint is written at every validation. The constants are the non-negative ones of the least
squared relative error. A run left out is foreseen by constants to which it contributed nothing. It
needs neither GPU nor model; only the time that a photo takes to encode is measured here.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image
from scipy.optimize import nnls
from transformers import Idefics2ImageProcessorPil

from musequest.core.files import read_json, write_json
from musequest.core.home import root
from musequest.core.settings import Profile, load_profile
from musequest.finetuning.activations import RowShape
from musequest.finetuning.forecast import (
    RECORD,
    Amounts,
    Constants,
    Recipe,
    amounts_of,
    seconds_at_peak,
)
from musequest.finetuning.gpus import Setting, find_gpu
from musequest.finetuning.needs import (
    PHOTO_PX,
    PUBLISHED_ROWS,
    PUBLISHED_TOKENS,
    Need,
    Rows,
    needs_of,
)
from musequest.finetuning.records import GIB, ROWS, hardware

RUNS = root() / "benchmarks/records/published_runs.csv"
GPU = root() / "benchmarks/records/gpu_training.json"
FITTED = ("efficiency", "activation_passes", "seconds_a_launch", "disk_gb_s")
PUBLISHED = Recipe(through_tower=True, float32_tower=True, every_epoch=True, padded=True)
PADDED = Recipe(padded=True)  # as our own steps on a GPU were, when they were measured


@dataclass(frozen=True)
class Measured:
    """One run or step as it was measured, and what it does by our count."""

    name: str
    amounts: Amounts
    seconds: float | None
    held_gib: float | None  # at the peak
    counted_gib: float
    least: float | None  # seconds that a GPU which never waits would take for what is needed
    fits: bool | None = None  # by our count; of a run that did

    @property
    def features(self) -> np.ndarray:
        """What each fitted constant multiplies, (4,)."""
        done = self.amounts
        return np.array(
            [done.peak_seconds, done.activation_seconds, done.launches, done.written_gb]
        )

    @property
    def known(self) -> float:
        """Seconds that need no constant."""
        return self.amounts.weight_seconds + self.amounts.link_seconds


def published_profile() -> Profile:
    """The profile of the published experiment, its photos as they were."""
    own = load_profile("idefics2-8b")
    chosen = {
        name: {**own.approach_training.get(name, {}), "optim": "adamw_torch"}
        for name in ("full", "full_mp", "full_fsdp")
    }
    return replace(own, image_size=PHOTO_PX, approach_training=own.approach_training | chosen)


def published_needs() -> dict[str, Need]:
    """What each approach needs by the published recipe."""
    rows = Rows(*PUBLISHED_ROWS, *(_row(text) for text in PUBLISHED_TOKENS))
    needs = {}
    for need in needs_of(published_profile()):
        config, memory = need.config, replace(need.memory, row=rows.longest)
        if config.approach.layered:
            turns = replace(config.approach, parallel={"strategy": "sequential"})
            config = replace(config, approach=turns)
        if config.approach.strategy == "fsdp":  # what is frozen lies in float32 as well
            whole = 4 * need.size.all
            written = replace(memory.written, weights=whole)
            memory = replace(memory, weights=whole, written=written)
        needs[need.name] = replace(need, config=config, memory=memory, rows=rows, known={})
    return needs


def _row(text_tokens: int) -> RowShape:
    return RowShape.supposed(published_profile(), text_tokens, PHOTO_PX)


def published_runs() -> Iterator[Measured]:
    """The tuned runs, in the order of their table."""
    needs = published_needs()
    with RUNS.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["training_minutes"]]
    for row in rows:
        devices, at_once = int(row["gpu_count"]), int(row["batch_size_per_gpu"])
        gpu, own = find_gpu(row["gpu"]), needs[row["approach"]]
        need = replace(own, config=own.config.fitted({ROWS: at_once}), known={})
        setting = need.setting(gpu, devices)
        whole = setting is not None and setting.rows == at_once
        # The published recipe recomputes all layers or none.
        recompute = bool(setting.recompute) if setting and whole else True
        setting = Setting(gpu, devices, at_once, recompute)
        counted = need.bytes(at_once, setting.recompute, devices)
        peak = row["peak_vram_gb_step_1"]
        yield Measured(
            name=f"{row['approach']}, {devices} x {row['gpu']}",
            amounts=amounts_of(need, setting, PUBLISHED),
            seconds=60 * float(row["training_minutes"]),
            held_gib=float(peak) * 1e9 / GIB if peak else None,
            counted_gib=counted / GIB,
            least=seconds_at_peak(need, gpu, devices),
            fits=whole,
        )


def own_steps() -> Iterator[Measured]:
    """This project's steps on a GPU: one of each number of rows."""
    record = read_json(GPU, dict[str, Any])
    gpu = find_gpu(record["hardware"]["gpus"][0])
    own = replace(load_profile("idefics2-8b"), image_size=PHOTO_PX)
    names = dict.fromkeys(run["approach"] for run in record["runs"])
    needs = {need.name: need for need in needs_of(own, runs=list(names))}
    shortest, longest = (_row(text) for text in PUBLISHED_TOKENS)
    for run in record["runs"]:
        at_once, recomputed = run["rows_a_step"], run["recomputed"]
        need = needs[run["approach"]]
        config = need.config.fitted({ROWS: at_once, "max_steps": 1, "eval_steps": 1})
        rows = Rows(at_once, 0, shortest, longest)
        memory = replace(need.memory, row=longest)
        need = replace(need, config=config, memory=memory, rows=rows)
        amounts = amounts_of(need, Setting(gpu, 1, at_once, recomputed), PADDED)
        yield Measured(
            name=f"{run['approach']}, {at_once} rows, {gpu.name}",
            amounts=replace(amounts, written_gb=0.0),
            seconds=run.get("seconds_a_step"),
            held_gib=run["held_gib"],
            counted_gib=memory.total(at_once, recomputed) / GIB,
            least=seconds_at_peak(need, gpu, 1),
        )


def fit(measured: Sequence[Measured]) -> dict[str, float]:
    """The constants by which so many runs are foreseen with the least squared relative error."""
    timed = [each for each in measured if each.seconds]
    seconds = np.array([each.seconds for each in timed])
    features = np.array([each.features for each in timed]) / seconds[:, None]
    scale = features.max(axis=0)
    found, _ = nnls(features / scale, 1 - np.array([each.known for each in timed]) / seconds)
    efficiency, passes, launch, disk = found / scale
    held = [each.held_gib / each.counted_gib for each in measured if each.held_gib]
    values = (1 / efficiency, passes, launch, 1 / disk)
    return dict(zip(FITTED, map(float, values), strict=True)) | {"memory": statistics.fmean(held)}


def foreseen(each: Measured, given: dict[str, float]) -> float:
    """Seconds of one run by these constants."""
    return sum(each.amounts.seconds(Constants(**given)).values())


def table(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Each run as it was, and as foreseen from all others."""
    rows = []
    for each in measured:
        given = fit([other for other in measured if other is not each])
        row: dict[str, Any] = {"run": each.name}
        if each.fits is not None:
            row["fits"] = each.fits
        if each.seconds:
            row["minutes"] = round(each.seconds / 60, 4)
            row["minutes_foreseen"] = round(foreseen(each, given) / 60, 4)
            row["minutes_error"] = round(row["minutes_foreseen"] / row["minutes"] - 1, 3)
            row["mfu"] = each.least and round(each.least / each.seconds, 3)
        if each.held_gib:
            row["peak_gib"] = round(each.held_gib, 2)
            row["peak_gib_foreseen"] = round(each.counted_gib * given["memory"], 2)
            row["memory_error"] = round(row["peak_gib_foreseen"] / row["peak_gib"] - 1, 3)
        rows.append(row)
    return rows


def seconds_a_photo() -> float:
    """What one core takes to read a photo of 800 px and encode it: the median of some."""
    noise = np.random.default_rng(0).integers(0, 256, (PHOTO_PX, PHOTO_PX, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    encode, spent = Idefics2ImageProcessorPil(do_image_splitting=False), []
    for _ in range(7):
        begin = time.process_time()
        encode([[Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")]], return_tensors="pt")
        spent.append(time.process_time() - begin)
    return statistics.median(spent)


def main() -> None:
    """Fit, foresee each run from the others, print, and keep it if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    chosen = parser.parse_args()
    measured = [*published_runs(), *own_steps()]
    rows = table(measured)
    errors = {
        f"{of}_error": max(abs(row[f"{of}_error"]) for row in rows if f"{of}_error" in row)
        for of in ("minutes", "memory")
    }
    given = {**fit(measured), "seconds_a_photo": seconds_a_photo(), **errors}
    record = {
        "date": datetime.date.today().isoformat(),
        "data": [str(path.relative_to(root())) for path in (RUNS, GPU)],
        "constants": {name: float(f"{value:.4g}") for name, value in given.items()},
        "left_out": rows,
        "photo_measured_on": hardware(),
    }
    print(json.dumps(record, indent=2))
    if chosen.record:
        write_json(RECORD, record)


if __name__ == "__main__":
    main()
