"""What the 1F1B schedule brings over one device working at a time, on two processor cores.

    python benchmarks/pipeline.py             some minutes
    python benchmarks/pipeline.py --record    and keep it in benchmarks/records/pipeline.json

Both split the model's layers over two devices; here each device is one thread. `sequential` is one
process whose devices take turns, as in the published runs; in `1f1b` each device is a process, and
they work on different rows of the batch at once. With m micro-batches on d devices the best to be
had is d x m / (m + d - 1) times; so batches of several sizes are tried, in micro-batches of two
rows each. The model has the proportions of Idefics2-8B, random weights and made-up rows
(benchmarks/training.py).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

from made_up import TEXT_TOKENS, Dialogs, make_base_model, write_dataset
from measurement import Measurement
from ways import COLLECTION, SHAPES, Steps, profile_of

from musequest.core.home import run_dir
from musequest.core.settings import load_approach
from musequest.finetuning.checkpoints import RunFolder
from musequest.finetuning.distributed import python, rank
from musequest.finetuning.records import ROWS, RunRecord, peak_memory_gib
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.strategies import build_trainer

APPROACH, DEVICES = "full_mp", 2
STRATEGIES = ("sequential", "1f1b")
MICRO_ROWS = 2
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step under one strategy, in this process or its share of it."""
    approach = load_approach(APPROACH)
    pieces = {"micro_batches": chosen.rows // MICRO_ROWS} if chosen.one == "1f1b" else {}
    approach = replace(approach, parallel={"strategy": chosen.one, **pieces})
    processes = DEVICES if chosen.one == "1f1b" else 1
    profile = replace(profile_of(Path(chosen.base), chosen), name=f"pipeline-{chosen.one}")
    asked = {"max_steps": str(10 * chosen.steps), "eval_steps": str(10 * chosen.steps)}
    config = RunConfig.resolve(profile, approach, {**asked, "report_to": "none"}, processes)
    folder = RunFolder(run_dir(profile.name, approach.name))
    record = RunRecord(folder.folder, config.asked)
    record.begin()
    trainer = build_trainer(config, folder, record, progress=False)
    timer = Steps(chosen.steps, math.inf)  # or one process would wait for the other
    trainer.add_callback(timer)
    trainer.args.save_strategy = trainer.args.eval_strategy = "no"
    trainer.train()
    return {
        "strategy": chosen.one,
        "rows_a_step": config.settings[ROWS],
        "seconds_a_step": round(timer.seconds, 4),
        "peak_memory_gib": peak_memory_gib()["cpu"],
    }


def in_own_process(
    strategy: str, rows: int, base: Path, chosen: argparse.Namespace
) -> dict[str, Any]:
    """`measure` in fresh processes, one thread each."""
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={DEVICES}"]
    command = [python(), *(several if strategy == "1f1b" else []), __file__]
    command += ["--one", strategy, "--rows", str(rows), "--base", str(base)]
    for name in ("steps", "photo_px", "text_tokens"):
        command += [f"--{name.replace('_', '-')}", str(getattr(chosen, name))]
    environment = {**os.environ, **ONE_THREAD}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def ratio(runs: list[dict[str, Any]], rows: int) -> dict[str, Any]:
    """How many times as fast 1F1B is with so many rows a step, and could be at best."""
    seconds = [run["seconds_a_step"] for run in runs if run["rows_a_step"] == rows]
    times = [one / both for one, both in zip(seconds[::2], seconds[1::2], strict=True)]
    pieces = rows // MICRO_ROWS
    return {
        "rows_a_step": rows,
        "micro_batches": pieces,
        "times_sequential": round(statistics.median(times), 3),
        "times_sequential_at_best": round(DEVICES * pieces / (pieces + DEVICES - 1), 3),
    }


def main() -> None:
    """Measure, print, and keep the record."""
    measurement = Measurement(__doc__, "pipeline")
    parser = measurement.parser
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16], help="rows a step")
    parser.add_argument("--photo-px", type=int, default=364)
    parser.add_argument("--text-tokens", type=int, default=TEXT_TOKENS[1])
    parser.add_argument("--shape", type=Path, default=SHAPES / "idefics2_scaled")
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--base", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        result = sys.stdout
        with redirect_stdout(sys.stderr):
            found = measure(chosen)
        if rank() == 0:
            print(json.dumps(found), file=result, flush=True)
        return
    runs = []
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / "base"
        base.mkdir()
        os.environ["MUSEQUEST_HOME"] = temporary
        make_base_model(chosen.shape, base)
        count = 2 * max(chosen.batches)
        dialogs = Dialogs(profile_of(base, chosen), chosen.photo_px, chosen.text_tokens, count + 2)
        counts = {"train": count, "validation": 1, "test": 1}
        write_dataset(Path(temporary), COLLECTION, dialogs, counts)
        for number in range(chosen.rounds):
            for rows in chosen.batches:
                for strategy in STRATEGIES:
                    found = in_own_process(strategy, rows, base, chosen)
                    runs.append({"round": number, **found})
                    print(runs[-1], file=sys.stderr, flush=True)
    schedules = [ratio(runs, rows) for rows in chosen.batches]
    figures = {"shape": chosen.shape.name, "devices": DEVICES, "runs": runs}
    measurement.tell({**figures, "schedules": schedules}, chosen.record)


if __name__ == "__main__":
    main()
