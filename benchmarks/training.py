"""How fast a GPU tunes Idefics2-8B, and what memory that takes, by approach and rows a step.

    python benchmarks/gpu_training.py                      every single-GPU approach
    python benchmarks/gpu_training.py --record             and keep it in benchmarks/records/
    python benchmarks/gpu_training.py --shape assets/pocket_docent --photo-px 96 --rows 2
                                                           the same path on a processor

Each approach takes a few dozen steps with the rows of the published run, then with the most that
fit, activations kept and recomputed. A step's time is that from its end to the next's, reading and
encoding its photos included. The model has Idefics2-8B's shape and random weights, made here, so
nothing is downloaded; the dialogs have the published lengths and their photos are noise. Random
weights measure speed and memory, never quality. Each approach is a process of its own.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from made_up import TEXT_TOKENS, Dialogs, make_base_model
from transformers import TrainerCallback, TrainingArguments

from musequest.files import write_json
from musequest.finetuning.collator import EncodedDialogs, FilledRows, loader_settings
from musequest.finetuning.models import default_device
from musequest.finetuning.optimizer import as_arguments
from musequest.finetuning.records import (
    GIB,
    RECOMPUTE,
    ROWS,
    STEPS,
    hardware,
    peak_memory_gib,
    versions,
)
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.strategies import whole_model
from musequest.finetuning.trainer import DocentTrainer
from musequest.home import root
from musequest.settings import Profile, load_approach, load_profile

RECORD = root() / "benchmarks/records/gpu_training.json"
SHAPE = root() / "benchmarks/shapes/idefics2_8b"
PUBLISHED = "idefics2-8b"
APPROACHES = ("lora", "qlora", "full")  # those of a single GPU
WARM_UP, FEWEST_STEPS = 3, 6  # steps that are not counted, and those that are always taken
PROBE = 2  # steps that show what memory so many rows take
FEW = 8  # rows a step, doubled until they show in the memory
SHOWS = 0.05  # of the GPU's memory; what an optimizer takes beside can hide a few rows
FILLED = 0.95  # of the GPU's memory, by tensors; the rest is its context and lies in gaps


class Steps(TrainerCallback):
    """Seconds from each step's end to the next's; ends training before anything is validated.

    That is after so many steps, or seconds if a few steps were taken by then.
    """

    def __init__(self, steps: int, seconds: float) -> None:
        self.steps, self.limit, self.ends = steps, seconds, [_now()]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time, and stop training behind the last step."""
        self.ends.append(_now())
        late = self.ends[-1] - self.ends[0] > self.limit and state.global_step >= FEWEST_STEPS
        control.should_training_stop = late or state.global_step >= self.steps

    @property
    def seconds(self) -> float:
        """A step's, reading its rows included, without the first ones: their median."""
        each = [after - before for before, after in itertools.pairwise(self.ends)]
        return statistics.median(each[min(WARM_UP, len(each) - 1) :])


def _now() -> float:
    """Seconds, when all that was given to the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


class Bench:
    """One approach on this machine's GPU, tuned for a few steps with any number of rows."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        profile = profile_of(Path(chosen.base), chosen.photo_px)
        self.config = RunConfig.resolve(profile, load_approach(chosen.one))
        self.steps, self.seconds = chosen.steps, chosen.seconds
        self.model = whole_model(self.config)
        self.collator = self.config.collator
        self.dialogs = Dialogs(profile, chosen.photo_px, chosen.text_tokens)
        self.largest = self.collator.encode(self.dialogs[0])

    def run(self, rows: int, recompute: bool, steps: int | None = None) -> dict[str, Any] | None:
        """So many steps; samples a second and memory, None where that is out of memory."""
        try:
            return self._run(rows, recompute, steps or self.steps)
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
        finally:
            self._clear()
        return None

    def _settings(self, rows: int, recompute: bool) -> dict[str, Any]:
        left_out = ("eval_steps", "num_train_epochs", "report_to", "auto_find_batch_size")
        kept = {name: value for name, value in self.config.settings.items() if name not in left_out}
        return as_arguments({**kept, ROWS: rows, STEPS: 1, RECOMPUTE: recompute})

    def _run(self, rows: int, recompute: bool, steps: int) -> dict[str, Any]:
        settings = self._settings(rows, recompute)
        timer = Steps(steps, self.seconds)
        device = torch.device(default_device())
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=10 * steps,
                use_cpu=device.type == "cpu",
                save_strategy="no",
                eval_strategy="no",
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                **settings,
                **loader_settings(settings, self.largest, device),
            )
            dialogs = EncodedDialogs(self.dialogs.full_steps(rows), self.collator, cache_gib=0)
            trainer = DocentTrainer(
                model=self.model,
                args=arguments,
                data_collator=self.collator,
                train_dataset=FilledRows(dialogs),
                callbacks=[timer],
            )
            trainer.train()
        found = {
            "approach": self.config.approach.name,
            "rows_a_step": rows,
            "steps": len(timer.ends) - 1,
            "recomputed": recompute,
            "seconds_a_step": round(timer.seconds, 4),
            "samples_per_second": round(rows / timer.seconds, 3),
            "held_gib": _held_gib(),
            "peak_memory_gib": peak_memory_gib(),
        }
        print(f"{datetime.datetime.now():%H:%M:%S} {found}", file=sys.stderr, flush=True)
        return found

    def _clear(self) -> None:
        """Let go of what a step leaves, also of one that broke off."""
        self.model.zero_grad(set_to_none=True)
        self.model.activation_checkpointing_disable()
        gc.collect()
        torch.cuda.empty_cache()


def _held_gib() -> float:
    """Most memory held by tensors at once, GiB: of the GPU, or of this process without one."""
    if not torch.cuda.is_available():
        return peak_memory_gib()["cpu"]
    return round(torch.cuda.max_memory_allocated() / GIB, 3)


def most_rows(run: Callable[[int], dict[str, Any] | None], gpu_gib: float) -> int:
    """The rows a step that would fill the GPU, foretold by the memory that fewer hold.

    They are doubled until they show in it. `run` gives the memory of so many rows as `held_gib`, or
    None where it is out of memory; the rows that were are returned then.
    """
    rows, before = FEW, run(FEW)
    while before and (after := run(2 * rows)):
        grown = after["held_gib"] - before["held_gib"]
        if grown > SHOWS * gpu_gib:
            return 2 * rows + int((FILLED * gpu_gib - after["held_gib"]) / grown * rows)
        rows, before = 2 * rows, after
    return 2 * rows if before else rows


def measure(chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One approach in this process: with the published rows, then with the most that fit.

    The most are found twice, without and with activations computed again.
    """
    bench = Bench(chosen)
    rows = chosen.rows or bench.config.rows
    published = bench.run(rows, recompute=False) or bench.run(rows, recompute=True)
    yield published or {"approach": chosen.one, "rows_a_step": rows, "reason": "out of memory"}
    if not published or chosen.rows or not torch.cuda.is_available():
        return
    gpu_gib = torch.cuda.get_device_properties(0).total_memory / GIB
    for recompute in (False, True):
        probe = partial(bench.run, recompute=recompute, steps=PROBE)
        rows = most_rows(probe, gpu_gib)
        while rows and not (found := bench.run(rows, recompute)):
            rows = rows * 19 // 20
        if rows:
            yield found


def profile_of(base: Path, photo_px: int) -> Profile:
    """The published profile with that base model; without a GPU in float32, not in bfloat16."""
    published, gpu = load_profile(PUBLISHED), torch.cuda.is_available()
    return replace(
        published,
        base_model=str(base),
        dtype=published.dtype if gpu else "float32",
        image_size=min(photo_px, published.image_size),
        training=published.training | {"bf16": gpu},
    )


def in_own_process(base: Path, approach: str, chosen: Any) -> Iterator[dict[str, Any]]:
    """`measure` in a fresh process, whose memory is its own; each as soon as it is found."""
    command = [sys.executable, __file__, "--one", approach, "--base", str(base)]
    for name in ("steps", "seconds", "photo_px", "text_tokens", "rows"):
        command += [f"--{name.replace('_', '-')}", str(getattr(chosen, name))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield from map(json.loads, process.stdout or ())
    if process.returncode:
        yield {"approach": approach, "reason": f"ended with code {process.returncode}"}


def main() -> None:
    """Measure all approaches, print, and keep the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", type=Path, default=SHAPE, help="a folder with a config.json")
    parser.add_argument("--approaches", nargs="+", default=APPROACHES, choices=APPROACHES)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=60, help="for the steps of one row")
    parser.add_argument("--photo-px", type=int, default=800)
    parser.add_argument("--text-tokens", type=int, default=TEXT_TOKENS[1])
    parser.add_argument("--rows", type=int, default=0, help="only so many rows a step")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--base", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        result = sys.stdout  # which the libraries' own lines must not get into
        with redirect_stdout(sys.stderr):
            for found in measure(chosen):
                print(json.dumps(found), file=result, flush=True)
        return
    figures = {
        "shape": chosen.shape.name,
        "weights": "random",
        "date": datetime.date.today().isoformat(),
        "photo_px": chosen.photo_px,
        "longest_text_tokens": chosen.text_tokens,
        "runs": [],
        "hardware": hardware(),
        "versions": versions(),
    }
    with tempfile.TemporaryDirectory() as folder:
        make_base_model(chosen.shape, Path(folder))
        torch.cuda.empty_cache()
        for name in chosen.approaches:
            for found in in_own_process(Path(folder), name, chosen):
                figures["runs"].append(found)
                if chosen.record:  # At once: rented time is not lost where the rest breaks off.
                    write_json(RECORD, figures)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
