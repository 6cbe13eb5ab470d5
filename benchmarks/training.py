"""How fast the published recipe tunes a model, and how fast this package does, on one machine.

    python benchmarks/training.py scaled             about 16 minutes on two cores, without a GPU
    python benchmarks/training.py 8b                 the shape of Idefics2-8B, on a GPU
    python benchmarks/training.py scaled --record    and keep it in benchmarks/records/
    python benchmarks/training.py 8b --approaches lora --ways ours published --record
    python benchmarks/training.py 8b --approaches qlora --rows 2 --ways ours --record

The published recipe is the library's trainer with the model as it comes: photos prepared anew for
every step, the vision tower in every step and with its mask, padding to the longest row, logits of
all tokens, all of the model recomputed in the backward pass (in the reentrant form), and after
every 5 % of the steps a validation and a whole checkpoint, of which 20 are kept. Like ours, it
writes its losses for TensorBoard.

`scaled` is an Idefics2 with the proportions of the 8B model. Whole runs of three epochs by either
recipe, in a process each, give time, memory and disk. Then steps of each way to train are timed in
turn, again and again: ours, and ours without one technique, whose ratio to ours is what it brings.
A ratio is always taken within a round, for a machine's speed varies; several give their median.

`8b` times steps alone, without validation and checkpoints, with the rows of the published run and
with the most that fit. Each measurement is kept at once, beside those of other approaches that were
made on the same machine with the same versions, for a rented GPU may not be had for all at once.

Weights are random and made here, photos are noise, dialogs have the published lengths. They measure
speed, memory and disk, never quality. A step's time is that from its end to the next's.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch
from made_up import TEXT_TOKENS, Dialogs, make_base_model, write_dataset
from transformers import (
    AutoModelForImageTextToText,
    Trainer,
    TrainingArguments,
    set_seed,
)
from ways import COLLECTION, REENTRANT, SHAPES, WAYS, Bench, gflop, most_rows, profile_of

from musequest.core.files import read_json, write_json
from musequest.core.home import root
from musequest.core.settings import load_approach
from musequest.creation.split import load_split
from musequest.finetuning.distributed import python
from musequest.finetuning.models import TUNINGS, default_device
from musequest.finetuning.records import (
    GIB,
    disk_gib,
    hardware,
    peak_memory_gib,
    versions,
)
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.training import train

RECORDS = {
    "scaled": root() / "benchmarks/records/training.json",
    "8b": root() / "benchmarks/records/gpu_training.json",
}
APPROACHES = {"scaled": ("lora", "full"), "8b": ("lora", "qlora", "full")}
CHECKPOINTS = 20
PROBE = 2  # steps that show what memory so many rows take


def measure(chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One approach in this process: every way in turn, then ours with the most rows that fit.

    A way that is out of memory is so with all activations kept, and tried with them recomputed.
    """
    bench = Bench(chosen)
    rows = chosen.rows or bench.config.rows
    yield {"approach": chosen.one, "gflop": gflop(bench)}
    for number in range(chosen.rounds):
        for way in chosen.ways or [name for name, way in WAYS.items() if way.possible]:
            found = bench.run(rows, recompute=False, way=way)
            found = found or bench.run(rows, recompute=True, way=way)
            asked = {"approach": chosen.one, "way": way, "rows_a_step": rows}
            yield {"round": number, **(found or {**asked, "reason": "out of memory"})}
    if chosen.rows or not torch.cuda.is_available():
        return
    gpu_gib = torch.cuda.get_device_properties(0).total_memory / GIB
    for recompute in (False, True):
        probe = partial(bench.run, recompute=recompute, steps=PROBE)
        rows = most_rows(probe, gpu_gib)
        while rows and not (found := bench.run(rows, recompute)):
            rows = rows * 19 // 20
        if rows:
            yield found


def whole_run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Three epochs in this process by one recipe: seconds of training, memory, disk.

    They count validation and checkpoints, not loading; so do the minutes of run.json.
    """
    profile, way = profile_of(Path(chosen.base), chosen), chosen.ways[0]
    start = time.monotonic()
    if way == "ours":
        record = train(profile, chosen.one, fresh=True, progress=False)
        found = {name: record[name] for name in ("steps", "disk_gib", "best_eval_loss")}
        found |= {"seconds": round(60 * record["minutes"], 1)}
    else:
        found = published_run(RunConfig.resolve(profile, load_approach(chosen.one)))
    return {
        "approach": chosen.one,
        "recipe": way,
        **found,
        "seconds_with_loading": round(time.monotonic() - start, 1),
        "peak_cpu_gib": peak_memory_gib()["cpu"],
    }


def published_run(config: RunConfig) -> dict[str, Any]:
    """The published recipe with the same model, data, batch and settings as `config`."""
    profile, share = config.profile, config.settings["eval_steps"]
    options = {"dtype": config.dtype, "device_map": {"": default_device()}}
    model = AutoModelForImageTextToText.from_pretrained(profile.base_model, **options)
    set_seed(config.settings["seed"])
    model = TUNINGS[config.approach.tuning](model, config.approach)
    with tempfile.TemporaryDirectory() as folder:
        settings = config.settings | REENTRANT
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,  # TensorBoard's files as well
                use_cpu=not torch.cuda.is_available(),
                remove_unused_columns=False,
                disable_tqdm=True,
                eval_strategy="steps",
                save_strategy="steps",
                save_steps=share,
                logging_steps=share,
                save_total_limit=CHECKPOINTS,
                **settings,
            ),
            data_collator=config.collator,
            train_dataset=load_split(profile.collection, "train"),
            eval_dataset=load_split(profile.collection, "validation"),
        )
        start = time.monotonic()
        trainer.train()
        losses = [log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log]
        return {
            "steps": trainer.state.global_step,
            "disk_gib": disk_gib(Path(folder)),
            "best_eval_loss": min(losses),
            "seconds": round(time.monotonic() - start, 1),
        }


def ratios(runs: list[dict[str, Any]], key: str, of: str) -> dict[str, dict[str, Any]]:
    """Approach -> way -> how many times as long as ours, or as much of `key`: medians of rounds."""
    by_way: dict[tuple[str, str], dict[int, float]] = {}
    for run in runs:
        if key in run and "round" in run:
            by_way.setdefault((run["approach"], run[of]), {})[run["round"]] = run[key]
    found: dict[str, dict[str, Any]] = {}
    for (approach, way), mine in by_way.items():
        ours = by_way.get((approach, "ours"), {})
        both = [mine[number] / ours[number] for number in mine.keys() & ours.keys()]
        if both and way != "ours":
            found.setdefault(approach, {})[way] = round(statistics.median(both), 3)
    return found


def in_own_process(
    what: str, base: Path, approach: str, ways: list[str], chosen: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """`measure` or `whole_run` in a fresh process, whose memory is its own.

    Each measurement is given as soon as it is made.
    """
    command = [python(), __file__, chosen.shape, "--job", what, "--one", approach]
    command += ["--base", str(base), "--ways", *ways]
    for name in ("steps", "seconds", "photo_px", "text_tokens", "rows", "rounds", "dialogs"):
        command += [f"--{name.replace('_', '-')}", str(getattr(chosen, name))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield from map(json.loads, process.stdout or ())
    if process.returncode:
        yield {"approach": approach, "reason": f"ended with code {process.returncode}"}


DEFAULTS = {
    "scaled": {"steps": 9, "photo_px": 364, "rows": 2, "dialogs": 6},
    "8b": {"steps": 12, "photo_px": 800, "rows": 0, "dialogs": 64},
}


def parsed() -> argparse.Namespace:
    """What was asked; sizes that were left open are those of the shape."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shape", choices=RECORDS)
    parser.add_argument("--approaches", nargs="+")
    parser.add_argument("--ways", nargs="*", choices=WAYS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of a way in a round")
    parser.add_argument("--seconds", type=float, default=60, help="for these steps")
    parser.add_argument("--photo-px", type=int)
    parser.add_argument("--text-tokens", type=int, default=TEXT_TOKENS[1])
    parser.add_argument("--rows", type=int, help="rows a step; 0: as published, then the most")
    parser.add_argument("--dialogs", type=int, help="rows that are stepped through")
    parser.add_argument("--train-rows", type=int, default=14, help="of the whole runs of `scaled`")
    parser.add_argument("--folder", type=Path, help="a folder with another config.json")
    parser.add_argument("--record", action="store_true", help="write benchmarks/records/")
    for name in ("job", "one", "base"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    for name, value in DEFAULTS[chosen.shape].items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    chosen.approaches = chosen.approaches or APPROACHES[chosen.shape]
    return chosen


def work(chosen: argparse.Namespace) -> None:
    """What a process of its own has to do; the libraries' lines go elsewhere."""
    result = sys.stdout
    with redirect_stdout(sys.stderr):
        for found in measure(chosen) if chosen.job == "steps" else [whole_run(chosen)]:
            print(json.dumps(found), file=result, flush=True)


def measured(base: Path, chosen: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each measurement, with the list of the record that it belongs to."""
    if chosen.shape == "scaled":
        for number in range(chosen.rounds):
            for approach in chosen.approaches:
                for way in ("published", "ours"):
                    for found in in_own_process("whole", base, approach, [way], chosen):
                        yield "whole_runs", {"round": number, **found}
    for approach in chosen.approaches[:1] if chosen.shape == "scaled" else chosen.approaches:
        for found in in_own_process("steps", base, approach, chosen.ways or [], chosen):
            yield "runs", found


def others(figures: dict[str, Any], chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """What is on record of approaches that are not measured now, where all else is the same."""
    path = RECORDS[chosen.shape]
    kept: dict[str, Any] = read_json(path) if path.is_file() else {}
    alike = ("shape", "photo_px", "longest_text_tokens", "hardware", "versions")
    if any(kept.get(name) != figures[name] for name in alike):
        return []
    return [run for run in kept["runs"] if run["approach"] not in chosen.approaches]


def main() -> None:
    """Measure, print, and keep the record after each measurement."""
    chosen = parsed()
    if chosen.job:
        work(chosen)
        return
    shape = chosen.folder or SHAPES / f"idefics2_{chosen.shape}"
    figures: dict[str, Any] = {
        "shape": shape.name,
        "weights": "random",
        "date": datetime.date.today().isoformat(),
        "photo_px": chosen.photo_px,
        "longest_text_tokens": chosen.text_tokens,
        "hardware": hardware(),
        "versions": versions(),
        "load_before": round(os.getloadavg()[0], 1),
        "runs": [],
    }
    if chosen.record:
        figures["runs"] = others(figures, chosen)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        base.mkdir()
        os.environ["MUSEQUEST_HOME"] = folder  # of the processes started here
        make_base_model(shape, base)
        torch.cuda.empty_cache()
        if chosen.shape == "scaled":
            dialogs = Dialogs(profile_of(base, chosen), chosen.photo_px, chosen.text_tokens)
            few = max(1, chosen.train_rows // 10)
            counts = {"train": chosen.train_rows, "validation": few, "test": 1}
            write_dataset(Path(folder), COLLECTION, dialogs, counts)
        for kind, found in measured(base, chosen):
            if "gflop" in found:
                figures["gflop"] = found["gflop"]
            else:
                figures.setdefault(kind, []).append(found)
            figures["times_ours"] = {
                "seconds_a_step": ratios(figures["runs"], "seconds_a_step", "way"),
                **{
                    key: ratios(figures.get("whole_runs", []), key, "recipe")
                    for key in ("seconds", "peak_cpu_gib", "disk_gib")
                },
            }
            if chosen.record:  # At once: nothing is lost where the rest breaks off.
                write_json(RECORDS[chosen.shape], figures)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
