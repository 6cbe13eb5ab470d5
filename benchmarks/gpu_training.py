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
import io
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils.memory import should_reduce_batch_size
from PIL import Image
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    PretrainedConfig,
    TrainerCallback,
    TrainingArguments,
)

from musequest.files import write_json
from musequest.finetuning.collator import DocentCollator, EncodedDialogs
from musequest.finetuning.loading import loader_settings
from musequest.finetuning.memory import GIB
from musequest.finetuning.models import default_device, load_processor
from musequest.finetuning.records import RECOMPUTE, ROWS, STEPS, hardware, peak_memory_gib, versions
from musequest.finetuning.sharing import FilledRows
from musequest.finetuning.strategies import whole_model
from musequest.finetuning.trainer import DocentTrainer, chosen_settings
from musequest.home import root
from musequest.settings import Profile, load_approach, load_profile

RECORD = root() / "benchmarks/records/gpu_training.json"
SHAPE = root() / "benchmarks/shapes/idefics2_8b"
POCKET = root() / "assets/pocket_docent"  # whose processor gives the tokens
PUBLISHED = "idefics2-8b"
APPROACHES = ("lora", "qlora", "full")  # those of a single GPU
TEXT_TOKENS = (153, 364)  # of a published sequence, without its image tokens
DIALOGS = 64
WARM_UP, FEWEST_STEPS = 3, 6  # steps that are not counted, and those that are always taken
FEW = 8  # rows a step, whose memory and that of twice as many foretell how many fit
FILLED = 0.95  # of the GPU's memory, by tensors; the rest is its context and lies in gaps
WORDS = """a the of and in was made by from stone silver house old red small year long wood bridge
village copper winter market river guild master weaver""".split()  # noqa: SIM905


def make_base_model(shape: Path, folder: Path) -> None:
    """Write a model of that shape with random weights, and a processor that goes with it."""
    config = make_config(shape, folder)
    torch.manual_seed(0)
    with torch.device(default_device()):
        model = AutoModelForImageTextToText.from_config(config, dtype=config.dtype)
    model.save_pretrained(folder)


def make_config(shape: Path, folder: Path) -> PretrainedConfig:
    """Write its configuration alone, fitted to the processor, which is written beside it."""
    processor, config = AutoProcessor.from_pretrained(POCKET), AutoConfig.from_pretrained(shape)
    tokens = processor.tokenizer
    config.image_token_id = tokens.convert_tokens_to_ids("<image>")
    for part in (config, config.text_config):
        part.pad_token_id = tokens.pad_token_id
        part.bos_token_id, part.eos_token_id = tokens.bos_token_id, tokens.eos_token_id
    processor.image_seq_len = config.perceiver_config.resampler_n_latents
    processor.save_pretrained(folder)
    config.save_pretrained(folder)
    return config


class Dialogs:
    """Rows of the dataset, made up: photos of noise, answers of the published lengths."""

    def __init__(self, profile: Profile, photo_px: int, longest: int) -> None:
        tokens = load_processor(profile).tokenizer
        rng, shape = random.Random(0), (photo_px, photo_px, 3)
        self.rows = []
        for number in range(DIALOGS):
            noise = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(noise).save(buffer, "JPEG")
            words = rng.choices(WORDS, k=longest)
            wanted = longest if number == 0 else rng.randint(min(TEXT_TOKENS[0], longest), longest)
            ids = tokens(" ".join(words), add_special_tokens=False).input_ids[:wanted]
            self.rows.append(_dialog(number, Image.open(buffer), tokens.decode(ids)))

    def repeated(self, rows: int) -> list[dict[str, Any]]:
        """The dialogs, over and over until there are as many as one step takes, or more."""
        return self.rows * -(-rows // len(self.rows))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


def _dialog(number: int, photo: Image.Image, answer: str) -> dict[str, Any]:
    question = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]
    dialog = json.dumps({"messages": messages})
    return {"image": photo, "data_id": f"{number:04d}", "dialog": dialog}


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
        self.profile = profile_of(Path(chosen.base), chosen.photo_px)
        self.approach = load_approach(chosen.one)
        self.steps, self.seconds = chosen.steps, chosen.seconds
        self.settings = chosen_settings(self.profile, self.approach)
        self.model = whole_model(self.profile, self.approach, seed=0)
        self.collator = DocentCollator(load_processor(self.profile))
        self.dialogs = Dialogs(self.profile, chosen.photo_px, chosen.text_tokens)
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

    def most(self, recompute: bool) -> dict[str, Any] | None:
        """The most rows that fit: foretold from what a few and twice as many take, then tried."""
        few, more = (self.run(rows, recompute, steps=2) for rows in (FEW, 2 * FEW))
        rows = FEW
        if few and more:
            a_row = (more["held_gib"] - few["held_gib"]) / FEW
            total = torch.cuda.get_device_properties(0).total_memory / GIB
            rows += int((FILLED * total - few["held_gib"]) / a_row)
        while rows and not (found := self.run(rows, recompute)):
            rows = rows * 19 // 20
        return found if rows else None

    def _settings(self, rows: int, recompute: bool) -> dict[str, Any]:
        left_out = ("eval_steps", "num_train_epochs", "report_to", "auto_find_batch_size")
        kept = {name: value for name, value in self.settings.items() if name not in left_out}
        return {**kept, ROWS: rows, STEPS: 1, RECOMPUTE: recompute}

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
            dialogs = EncodedDialogs(self.dialogs.repeated(rows), self.collator, cache_gib=0)
            trainer = DocentTrainer(
                model=self.model,
                args=arguments,
                data_collator=self.collator,
                train_dataset=FilledRows(dialogs),
                callbacks=[timer],
            )
            trainer.train()
        found = {
            "approach": self.approach.name,
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


def measure(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """One approach in this process: with the published rows, then with the most that fit.

    The most are found twice, without and with activations computed again.
    """
    bench = Bench(chosen)
    rows = chosen.rows or int(bench.settings[ROWS])
    published = bench.run(rows, recompute=False) or bench.run(rows, recompute=True)
    if published is None:
        return [{"approach": chosen.one, "rows_a_step": rows, "reason": "out of memory"}]
    if not torch.cuda.is_available() or chosen.rows:
        return [published]
    found = [bench.most(recompute) for recompute in (False, True)]
    return [published, *filter(None, found)]


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


def in_own_process(base: Path, approach: str, chosen: Any) -> list[dict[str, Any]]:
    """`measure` in a fresh process, whose memory is its own."""
    command = [sys.executable, __file__, "--one", approach, "--base", str(base)]
    for name in ("steps", "seconds", "photo_px", "text_tokens", "rows"):
        command += [f"--{name.replace('_', '-')}", str(getattr(chosen, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return [{"approach": approach, "reason": f"ended with code {done.returncode}"}]
    return json.loads(done.stdout.splitlines()[-1])


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
        print(json.dumps(measure(chosen)))
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
            figures["runs"] += in_own_process(Path(folder), name, chosen)
            if chosen.record:
                write_json(RECORD, figures)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
