"""How fast a GPU tunes Idefics2-8B, and what memory that takes, by approach and rows a step.

    python benchmarks/gpu_training.py                      every single-GPU approach
    python benchmarks/gpu_training.py --record             and keep it in benchmarks/records/
    python benchmarks/gpu_training.py --shape assets/pocket_docent --photo-px 96 --rows 2
                                                           the same path on a processor

Each approach takes a few dozen steps with the rows of the published run, then with the most that
fit. The model has Idefics2-8B's shape and random weights, made here, so nothing is downloaded; the
dialogs have the published lengths and their photos are noise. Random weights measure speed and
memory, never quality. Each measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import io
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
from PIL import Image
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    TrainerCallback,
    TrainingArguments,
)

from musequest.files import write_json
from musequest.finetuning.batch_size import fit
from musequest.finetuning.collator import DocentCollator, EncodedDialogs
from musequest.finetuning.memory import available_bytes, memory_of
from musequest.finetuning.models import default_device, load_processor
from musequest.finetuning.records import RECOMPUTE, ROWS, hardware, peak_memory_gib, versions
from musequest.finetuning.row_shape import largest_row, shape_of
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
WARM_UP = 3  # steps that are not counted
WORDS = """a the of and in was made by from stone silver house old red small year long wood bridge
village copper winter market river guild master weaver""".split()  # noqa: SIM905


def make_base_model(shape: Path, folder: Path) -> None:
    """Write a model of that shape with random weights, and a processor that goes with it."""
    processor = AutoProcessor.from_pretrained(POCKET)
    config = AutoConfig.from_pretrained(shape)
    tokens = processor.tokenizer
    config.image_token_id = tokens.convert_tokens_to_ids("<image>")
    for part in (config, config.text_config):
        part.pad_token_id = tokens.pad_token_id
        part.bos_token_id, part.eos_token_id = tokens.bos_token_id, tokens.eos_token_id
    processor.image_seq_len = config.perceiver_config.resampler_n_latents
    torch.manual_seed(0)
    with torch.device(default_device()):
        model = AutoModelForImageTextToText.from_config(config, dtype=config.dtype)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


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

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return [row[index] for row in self.rows] if isinstance(index, str) else self.rows[index]


def _dialog(number: int, photo: Image.Image, answer: str) -> dict[str, Any]:
    question = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]
    dialog = json.dumps({"messages": messages})
    return {"image": photo, "data_id": f"{number:04d}", "dialog": dialog}


class Steps(TrainerCallback):
    """Seconds of each step; ends after so many, before anything is validated or saved."""

    def __init__(self, steps: int) -> None:
        self.steps, self.seconds, self.begun = steps, [], 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.begun = _now()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop it, and training with it after the last step."""
        self.seconds.append(_now() - self.begun)
        control.should_training_stop = state.global_step >= self.steps


def _now() -> float:
    """Seconds, when all that was given to the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Tune for some steps in this process, `chosen.rows` at a time; samples a second, memory."""
    profile = _profile(Path(chosen.base), chosen.photo_px)
    approach = load_approach(chosen.one)
    settings = chosen_settings(profile, approach, {ROWS: str(chosen.rows or 1)})
    model = whole_model(profile, approach, seed=0)
    collator = DocentCollator(load_processor(profile))
    dialogs = Dialogs(profile, chosen.photo_px, chosen.text_tokens)
    found = fit(profile, approach, settings, model, collator, dialogs)
    if not chosen.rows:
        row = collator.encode(largest_row(profile, dialogs))
        needed = memory_of(
            profile,
            approach,
            settings | found,
            shape_of(row, model.config.vision_config.patch_size),
        )
        room = available_bytes(default_device())
        return {"most": max(needed.fitting(room, recompute) for recompute in (False, True))}
    timer = Steps(chosen.steps)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=10 * chosen.steps,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            **_of_a_step(settings | found),
        )
        DocentTrainer(
            model=model,
            args=arguments,
            data_collator=collator,
            train_dataset=EncodedDialogs(dialogs, collator),
            callbacks=[timer],
        ).train()
    seconds = statistics.median(timer.seconds[min(WARM_UP, chosen.steps - 1) :])
    return {
        "approach": approach.name,
        "rows_a_step": chosen.rows,
        "steps": chosen.steps,
        "recomputed": bool((settings | found).get(RECOMPUTE)),
        "seconds_a_step": round(seconds, 4),
        "samples_per_second": round(chosen.rows / seconds, 3),
        "peak_memory_gib": peak_memory_gib(),
    }


def _profile(base: Path, photo_px: int) -> Profile:
    """The published profile with that base model; without a GPU in float32, not in bfloat16."""
    published, gpu = load_profile(PUBLISHED), torch.cuda.is_available()
    return replace(
        published,
        base_model=str(base),
        dtype=published.dtype if gpu else "float32",
        image_size=min(photo_px, published.image_size),
        training=published.training | {"bf16": gpu},
    )


def _of_a_step(settings: dict[str, Any]) -> dict[str, Any]:
    """Of the settings those that a step depends on."""
    left_out = ("eval_steps", "num_train_epochs", "report_to", "auto_find_batch_size")
    return {name: value for name, value in settings.items() if name not in left_out}


def in_own_process(base: Path, approach: str, rows: int, chosen: Any) -> dict[str, Any] | None:
    """`measure` in a fresh process; None where it ran out of memory, another error ends all."""
    command = [sys.executable, __file__, "--one", approach, "--base", str(base)]
    for name in ("steps", "photo_px", "text_tokens"):
        command += [f"--{name.replace('_', '-')}", str(getattr(chosen, name))]
    done = subprocess.run([*command, "--rows", str(rows)], capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if "out of memory" in done.stderr or done.returncode < 0:
        return None
    raise SystemExit(done.stderr)


def measured(base: Path, approach: str, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """The published rows a step (or those asked for), then the most that fit."""
    if chosen.rows:
        return [in_own_process(base, approach, chosen.rows, chosen) or _too_many(approach, chosen)]
    settings = chosen_settings(load_profile(PUBLISHED), load_approach(approach))
    found = [in_own_process(base, approach, int(settings[ROWS]), chosen)]
    rows = (in_own_process(base, approach, 0, chosen) or {"most": 0})["most"]
    rows = rows * 5 // 4  # the estimate is careful
    while rows and not (most := in_own_process(base, approach, rows, chosen)):
        rows = rows * 19 // 20
    found.append(most if rows else None)
    return [each or {"approach": approach, "reason": "out of memory"} for each in found]


def _too_many(approach: str, chosen: argparse.Namespace) -> dict[str, Any]:
    return {"approach": approach, "rows_a_step": chosen.rows, "reason": "out of memory"}


def main() -> None:
    """Measure all approaches, print, and keep the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", type=Path, default=SHAPE, help="a folder with a config.json")
    parser.add_argument("--approaches", nargs="+", default=APPROACHES, choices=APPROACHES)
    parser.add_argument("--steps", type=int, default=30)
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
    with tempfile.TemporaryDirectory() as folder:
        make_base_model(chosen.shape, Path(folder))
        torch.cuda.empty_cache()
        rows = [row for name in chosen.approaches for row in measured(Path(folder), name, chosen)]
    figures = {
        "shape": chosen.shape.name,
        "weights": "random",
        "photo_px": chosen.photo_px,
        "longest_text_tokens": chosen.text_tokens,
        "runs": rows,
        "hardware": hardware(),
        "versions": versions(),
    }
    print(json.dumps(figures, indent=2))
    if chosen.record:
        write_json(RECORD, figures)


if __name__ == "__main__":
    main()
