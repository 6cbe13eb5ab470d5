"""The ways to train that are compared: that of this package, the published one, and between.

A `Way` says what is left out of ours; a `Bench` takes steps of one approach in any of them.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import itertools
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from made_up import TEXT_TOKENS, Dialogs
from torch.utils.flop_counter import FlopCounterMode
from transformers import Trainer, TrainerCallback, TrainingArguments

from musequest.core.home import root
from musequest.core.settings import Profile, load_approach, load_profile
from musequest.finetuning.activations import ByteDropout, RowShape
from musequest.finetuning.anatomy import module_of
from musequest.finetuning.collator import EncodedDialogs, FilledRows
from musequest.finetuning.fitting import busy_rows
from musequest.finetuning.forecast import seconds_at_peak
from musequest.finetuning.gpus import gpu_here
from musequest.finetuning.memory import memory_of
from musequest.finetuning.models import default_device
from musequest.finetuning.needs import Need, Rows, Size
from musequest.finetuning.optimizer import as_arguments
from musequest.finetuning.records import GIB, RECOMPUTE, ROWS, STEPS, peak_memory_gib
from musequest.finetuning.run_config import RunConfig
from musequest.finetuning.strategies import loader_settings, whole_model
from musequest.finetuning.trainer import DocentTrainer

SHAPES = root() / "benchmarks/shapes"
PUBLISHED = "idefics2-8b"
COLLECTION = "made_up"
RECOMPUTE_HOW = f"{RECOMPUTE}_kwargs"
WARM_UP, FEWEST_STEPS = 3, 6  # steps that are not counted, and those that are always taken
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
    packed: bool = True  # no padding
    together: bool = False  # all rows of a step at once on a processor too
    own_trainer: bool = True
    compiled: str = ""  # of torch.compile the mode in which the decoder's layers are

    @property
    def possible(self) -> bool:
        """Whether it can be taken here: to compile wants a compiler, CUDA graphs a GPU."""
        compiler = shutil.which(os.environ.get("CXX", "g++")) is not None
        graphs = self.compiled == "reduce-overhead"
        return not self.compiled or compiler and (torch.cuda.is_available() or not graphs)

    @contextmanager
    def applied(self, model: torch.nn.Module) -> Iterator[None]:
        """The model so, and behind the block as it was."""
        tower = module_of(model, "vision_model")
        ours = [(tower, tower.forward, tower.forward.store, dict(tower._forward_pre_hooks))]
        try:
            for tower, frozen, _, _ in ours:
                if not self.stored:
                    frozen.store = None
                if not self.own_tower:
                    del tower.forward  # that of the library's class comes forth
                    tower._forward_pre_hooks.clear()  # which keep it in eval mode
            for layer in module_of(model, "layers") if self.compiled else ():
                layer.compile(mode=self.compiled)
            yield
        finally:
            for tower, frozen, store, hooks in ours:
                tower.forward, frozen.store = frozen, store
                tower._forward_pre_hooks.update(hooks)
            for module in model.modules():
                module._compiled_call_impl = None
                if isinstance(module, ByteDropout):
                    module.__class__ = torch.nn.Dropout
            torch.compiler.reset()
            model.zero_grad(set_to_none=True)
            model.activation_checkpointing_disable()
            if getattr(model, "_require_grads_hooks", None):
                model.disable_input_require_grads()


REENTRANT = {RECOMPUTE: True, RECOMPUTE_HOW: {"use_reentrant": True}, "optim": "adamw_torch"}
WAYS = {
    "ours": Way(),
    "published": Way(
        REENTRANT,
        encoded_once=False,
        stored=False,
        own_tower=False,
        together=True,
        own_trainer=False,
    ),
    "without the vision store": Way(stored=False),
    "with the library's masked tower": Way(stored=False, own_tower=False),
    "with all activations recomputed": Way({RECOMPUTE: True}),
    "with photos prepared in every step": Way(encoded_once=False),
    "with all rows at a time": Way(together=True),
    "with all rows at a time, padded to the longest": Way(packed=False, together=True),
    "with the library's loss and order": Way(own_trainer=False),
    "with AdamW unfused": Way({"optim": "adamw_torch"}),
    "with compiled layers": Way(compiled="default"),
    "with compiled layers and CUDA graphs": Way(compiled="reduce-overhead"),
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
    def until_even(self) -> float:
        """Of the first steps, which are not counted: what is compiled is so in them."""
        return self.ends[min(self.warm_up, len(self.ends) - 1)] - self.ends[0]

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
        self.photo_px, self.text_tokens = chosen.photo_px, (TEXT_TOKENS[0], chosen.text_tokens)
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

    def mfu(self, rows: int, seconds: float) -> float | None:
        """What a step of so many seconds took of the GPU's peak; None where that is unknown."""
        gpu, profile = gpu_here(), self.config.profile
        if gpu is None:
            return None
        config = self.config.fitted({ROWS: rows, STEPS: 1, "max_steps": 1, "eval_steps": 1})
        ends = (RowShape.supposed(profile, text, self.photo_px) for text in self.text_tokens)
        need = Need(config, memory_of(config, config.row), Size.of(config), Rows(rows, 0, *ends))
        least = seconds_at_peak(need, gpu, 1)
        return least and round(least / seconds, 4)

    def _settings(self, rows: int, recompute: bool, way: Way) -> dict[str, Any]:
        left_out = ("eval_steps", "num_train_epochs", "report_to", "auto_find_batch_size")
        kept = {name: value for name, value in self.config.settings.items() if name not in left_out}
        settings = {**kept, ROWS: rows, STEPS: 1, RECOMPUTE: recompute, **way.settings}
        if not (way.together or torch.cuda.is_available()):
            settings |= busy_rows(self.config.fitted(settings))
        return as_arguments(settings)

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
            if way.own_trainer and not way.packed:
                trainer.pack.on = False
            trainer.train()
        found = {
            "approach": self.config.approach.name,
            "way": name,
            "rows_a_step": rows,
            "steps": len(timer.ends) - 1,
            "recomputed": bool(settings[RECOMPUTE]),
            "seconds_until_even": round(timer.until_even, 1),
            "seconds_a_step": round(timer.seconds, 4),
            "samples_per_second": round(rows / timer.seconds, 3),
        }
        # A process's peak is that of all ways that it took before.
        if device.type == "cuda":
            found |= {"held_gib": _held_gib(), "peak_memory_gib": peak_memory_gib()}
            found |= {"mfu": self.mfu(rows, timer.seconds)}
        print(f"{datetime.datetime.now():%H:%M:%S} {found}", file=sys.stderr, flush=True)
        return found


def _held_gib() -> float:
    """Most memory held by tensors of the GPU at once, GiB."""
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
