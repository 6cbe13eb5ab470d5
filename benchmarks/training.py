"""How fast the published recipe tunes a model, and how fast this package does, on one machine.

    python benchmarks/training.py scaled             about 12 minutes on two cores, without a GPU
    python benchmarks/training.py 8b                 the shape of Idefics2-8B, on a GPU
    python benchmarks/training.py scaled --record    and keep it in benchmarks/records/

The published recipe is the library's trainer with the model as it comes: photos prepared anew for
every step, the vision tower in every step and with its mask, padding to the longest row, logits of
all tokens, all of the model recomputed in the backward pass (in the reentrant form), and after
every 5 % of the steps a validation and a whole checkpoint, of which 20 are kept.

`scaled` is an Idefics2 with the proportions of the 8B model. Whole runs of three epochs by either
recipe, in a process each, give time, memory and disk. Then steps of each way to train are timed in
turn, again and again: ours, and ours without one technique, whose ratio to ours is what it brings.
A ratio is always taken within a round, for a machine's speed varies; several give their median.

`8b` times steps alone, with the rows of the published run and with the most that fit. Each
measurement is kept at once.

Weights are random and made here, photos are noise, dialogs have the published lengths. They measure
speed, memory and disk, never quality. A step's time is that from its end to the next's.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from made_up import TEXT_TOKENS, Dialogs, make_base_model, write_dataset
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForImageTextToText,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from musequest.core.files import write_json
from musequest.core.home import root
from musequest.core.settings import Profile, load_approach, load_profile
from musequest.creation.dataset import load_split
from musequest.finetuning.collator import EncodedDialogs, FilledRows
from musequest.finetuning.distributed import python
from musequest.finetuning.models import TUNINGS, default_device
from musequest.finetuning.optimizer import as_arguments
from musequest.finetuning.records import (
    GIB,
    RECOMPUTE,
    ROWS,
    STEPS,
    disk_gib,
    hardware,
    peak_memory_gib,
    versions,
)
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.strategies import loader_settings, whole_model
from musequest.finetuning.trainer import DocentTrainer
from musequest.finetuning.training import train
from musequest.finetuning.vision import vision_model

RECORDS = {
    "scaled": root() / "benchmarks/records/training.json",
    "8b": root() / "benchmarks/records/gpu_training.json",
}
SHAPES = root() / "benchmarks/shapes"
PUBLISHED = "idefics2-8b"
COLLECTION = "made_up"
APPROACHES = {"scaled": ("lora", "full"), "8b": ("lora", "qlora", "full")}
RECOMPUTE_HOW = f"{RECOMPUTE}_kwargs"
CHECKPOINTS = 20
WARM_UP, FEWEST_STEPS = 3, 6  # steps that are not counted, and those that are always taken
PROBE = 2  # steps that show what memory so many rows take
FEW = 8  # rows a step, doubled until they show in the memory
SHOWS = 0.05  # of the GPU's memory; what an optimizer takes beside can hide a few rows
FILLED = 0.95  # of the GPU's memory, by tensors; the rest is its context and lies in gaps


@dataclass(frozen=True)
class Way:
    """A way to train: that of this package unless something of it is left out."""

    settings: dict[str, Any] = field(default_factory=dict)  # keys of TrainingArguments
    encoded_once: bool = True
    stored: bool = True  # what the tower made of a photo is read where it is there
    own_tower: bool = True  # no mask, no gradients through it
    own_trainer: bool = True

    @contextmanager
    def applied(self, model: torch.nn.Module) -> Iterator[None]:
        """The model so, and behind the block as it was."""
        tower = vision_model(model)
        ours = [(tower, tower.forward, tower.forward.store, dict(tower._forward_pre_hooks))]
        try:
            for tower, frozen, _, _ in ours:
                if not self.stored:
                    frozen.store = None
                if not self.own_tower:
                    del tower.forward  # that of the library's class comes forth
                    tower._forward_pre_hooks.clear()  # which keep it in eval mode
            yield
        finally:
            for tower, frozen, store, hooks in ours:
                tower.forward, frozen.store = frozen, store
                tower._forward_pre_hooks.update(hooks)
            model.zero_grad(set_to_none=True)
            model.activation_checkpointing_disable()
            if getattr(model, "_require_grads_hooks", None):
                model.disable_input_require_grads()


REENTRANT = {RECOMPUTE: True, RECOMPUTE_HOW: {"use_reentrant": True}, "optim": "adamw_torch"}
WAYS = {
    "ours": Way(),
    "published": Way(
        REENTRANT, encoded_once=False, stored=False, own_tower=False, own_trainer=False
    ),
    "without the vision store": Way(stored=False),
    "with the library's masked tower": Way(stored=False, own_tower=False),
    "with all activations recomputed": Way({RECOMPUTE: True}),
    "with photos prepared in every step": Way(encoded_once=False),
    "with the library's loss and order": Way(own_trainer=False),
}


class Steps(TrainerCallback):
    """Seconds from each step's end to the next's; ends training before anything is validated.

    That is after so many steps, or seconds if a few steps were taken by then.
    """

    def __init__(self, steps: int, seconds: float, warm_up: int = WARM_UP) -> None:
        self.steps, self.limit, self.warm_up, self.ends = steps, seconds, warm_up, [_now()]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time, and stop training behind the last step."""
        self.ends.append(_now())
        late = self.ends[-1] - self.ends[0] > self.limit and state.global_step >= FEWEST_STEPS
        control.should_training_stop = late or state.global_step >= self.steps

    @property
    def seconds(self) -> float:
        """A step's, reading its rows included, without the first ones: their median."""
        each = [after - before for before, after in itertools.pairwise(self.ends)]
        return statistics.median(each[min(self.warm_up, len(each) - 1) :])


def _now() -> float:
    """Seconds, when all that was given to the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


class Bench:
    """One approach on this machine, tuned for a few steps in any way with any number of rows."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        profile = profile_of(Path(chosen.base), chosen)
        self.config = RunConfig.resolve(profile, load_approach(chosen.one))
        self.steps, self.seconds = chosen.steps, chosen.seconds
        self.model = whole_model(self.config)
        self.collator = self.config.collator
        self.dialogs = Dialogs(profile, chosen.photo_px, chosen.text_tokens, chosen.dialogs)
        self.largest = self.collator.encode(self.dialogs[0])

    def run(
        self, rows: int, recompute: bool, steps: int | None = None, way: str = "ours"
    ) -> dict[str, Any] | None:
        """So many steps; samples a second and memory, None where that is out of memory."""
        try:
            with WAYS[way].applied(self.model):
                return self._run(rows, recompute, steps or self.steps, way)
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
        finally:
            gc.collect()
            torch.cuda.empty_cache()
        return None

    def _settings(self, rows: int, recompute: bool, way: Way) -> dict[str, Any]:
        left_out = ("eval_steps", "num_train_epochs", "report_to", "auto_find_batch_size")
        kept = {name: value for name, value in self.config.settings.items() if name not in left_out}
        return as_arguments({**kept, ROWS: rows, STEPS: 1, RECOMPUTE: recompute, **way.settings})

    def _run(self, rows: int, recompute: bool, steps: int, name: str) -> dict[str, Any]:
        way = WAYS[name]
        settings = self._settings(rows, recompute, way)
        timer = Steps(steps, self.seconds, min(WARM_UP, steps - 1))
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
                **(loader_settings(settings, self.largest, device) if way.encoded_once else {}),
            )
            dialogs: Any = self.dialogs.full_steps(rows)
            if way.encoded_once or way.own_trainer:
                dialogs = EncodedDialogs(dialogs, self.collator, float(way.encoded_once))
            if way.own_trainer:
                dialogs = FilledRows(dialogs)
            trainer = (DocentTrainer if way.own_trainer else Trainer)(
                model=self.model,
                args=arguments,
                data_collator=self.collator,
                train_dataset=dialogs,
                callbacks=[timer],
            )
            trainer.train()
        found = {
            "approach": self.config.approach.name,
            "way": name,
            "rows_a_step": rows,
            "steps": len(timer.ends) - 1,
            "recomputed": bool(settings[RECOMPUTE]),
            "seconds_a_step": round(timer.seconds, 4),
            "samples_per_second": round(rows / timer.seconds, 3),
            "held_gib": _held_gib(),
            "peak_memory_gib": peak_memory_gib(),
        }
        print(f"{datetime.datetime.now():%H:%M:%S} {found}", file=sys.stderr, flush=True)
        return found


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
    """One approach in this process: every way in turn, then ours with the most rows that fit.

    A way that is out of memory is so with all activations kept, and tried with them recomputed.
    """
    bench = Bench(chosen)
    rows = chosen.rows or bench.config.rows
    yield {"approach": chosen.one, "gflop": gflop(bench)}
    for number in range(chosen.rounds):
        for way in chosen.ways or WAYS:
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
        settings = config.settings | REENTRANT | {"report_to": "none"}
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
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


def gflop(bench: Bench) -> dict[str, float]:
    """Billions of operations of one forward pass of the parts, and the tokens of its row."""
    batch = {
        name: values.to(bench.model.device)
        for name, values in bench.collator([bench.dialogs[0]]).items()
    }
    with WAYS["published"].applied(bench.model), FlopCounterMode(display=False) as counter:
        bench.model(**batch)
    counts = {name: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    ends = {"vision": ".vision_model", "connector": ".connector", "text": ".text_model"}
    found = {
        part: round(max(n for name, n in counts.items() if name.endswith(end)) / 1e9, 4)
        for part, end in ends.items()
    }
    return found | {"tokens": batch["input_ids"].shape[1]}


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


def profile_of(base: Path, chosen: argparse.Namespace) -> Profile:
    """The published profile with that base model; without a GPU in float32, not in bfloat16."""
    published, gpu = load_profile(PUBLISHED), torch.cuda.is_available()
    rows = {ROWS: chosen.rows, "per_device_eval_batch_size": chosen.rows} if chosen.rows else {}
    training = published.training | {"bf16": gpu, **rows}
    return replace(
        published,
        base_model=str(base),
        collection=COLLECTION,
        dtype=published.dtype if gpu else "float32",
        image_size=min(chosen.photo_px, published.image_size),
        training=training,
        approach_training={} if chosen.rows else published.approach_training,
    )


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
    parser.add_argument("--rounds", type=int, default=2)
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
        for found in in_own_process("steps", base, approach, chosen.ways or [*WAYS], chosen):
            yield "runs", found


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
