"""Whether a base model can be made a docent, seen before anything is rented or trained.

    for finding in examine(load_profile("qwen3-vl-4b")):
        print(finding)

Walks the road of a run with one dialog about one photo: its tokens, the parts that were found, what
each tuning trains, a step, an answer, and the merged model read back from disk. Where the weights
are not here, a random model of the same build with few and narrow layers takes their place; the
configuration and the processor have to be here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel

from ..core.errors import MuseQuestError
from ..core.hub import file_here
from ..core.settings import Profile, load_approach, suited
from ..creation.split import messages
from .anatomy import anatomy_of, inner, parameter_counts, trainable_table
from .collator import DocentCollator, coloured_tokens
from .generation import generate
from .models import (
    TUNINGS,
    WEIGHT_FILES,
    free_memory,
    load_model,
    load_processor,
    model_config,
)
from .processors import closing_token
from .trainer import predicting
from .vision import freeze_vision

DIALOG = messages("What is this?", "This is a red jug, made in 1820.")
LAYERS, NARROW = 4, 64  # of a random model: decoder layers, and the width between their matrices
TOKENS = 8  # of the answer
TUNED = {"lora": "lora", "full": "full"}  # a tuning, and the approach that stands for it
# By how much logits may differ from the merged model's, both in float32.
TOLERANCE = 1e-3


def examine(profile: Profile) -> Iterator[str]:
    """What is found about the profile's base model, a paragraph each, as it is found.

    What stands in the way raises MuseQuestError, which says what to do.
    """
    processor = load_processor(profile)
    collator = DocentCollator(processor)
    row = _row(profile)
    encoded = collator.encode(row)
    yield _tokens(collator, row, encoded, closing_token(processor))
    real = any(file_here(profile, name) for name in WEIGHT_FILES)
    yield _parts(_model(profile, real), real)
    for tuning, name in TUNED.items():
        free_memory()  # for there may be room for one model alone
        tuned = TUNINGS[tuning](_model(profile, real), suited(load_approach(name), profile))
        yield _step(tuning, tuned, collator, row)
        if tuning == "lora":
            yield _answer(tuned.eval(), profile, row)
            yield _read_back(tuned, collator, row)
        del tuned


def _row(profile: Profile) -> dict[str, Any]:
    """A row of a dataset, its photo wider than high."""
    side = profile.image_size
    photo = Image.new("RGB", (side, max(1, 3 * side // 4)), (200, 60, 40))
    return {"data_id": "doctor", "image": photo, "dialog": DIALOG} | dict.fromkeys(
        ("item_name", "image_name"), "jug"
    )


def _tokens(
    collator: DocentCollator, row: dict[str, Any], encoded: dict[str, torch.Tensor], closing: str
) -> str:
    """The dialog as the model reads it, what is learned in brackets, runs of a token counted."""
    shown, run, count = "", "", 0
    for text, learned in [*coloured_tokens(collator, row), ("", False)]:
        text = f"[{text}]" if learned else text
        if text == run:
            count += 1
            continue
        shown += run + (f"(x{count})" if count > 1 else "")
        run, count = text, 1
    shapes = ", ".join(
        f"{name} {' x '.join(map(str, held.shape))}"
        for name, held in encoded.items()
        if held.shape != encoded["input_ids"].shape
    )
    return (
        f"A dialog has {len(encoded['input_ids'])} tokens; learned are those in brackets, the "
        f"answer and {closing}, which closes it:\n{shown.strip()}\nThe photo is given as {shapes}."
    )


def _model(profile: Profile, real: bool) -> PreTrainedModel:
    """The base model, or one of its build with random weights; its vision model frozen."""
    if real:
        return load_model(profile)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(_small(model_config(profile)))
    anatomy_of(model, profile.anatomy)
    freeze_vision(model)
    return model.eval()


def _small(config: PretrainedConfig) -> PretrainedConfig:
    """The configuration with few decoder layers, and with narrow layers, in float32."""
    text = config.get_text_config()
    text.num_hidden_layers = min(LAYERS, text.num_hidden_layers)
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[-text.num_hidden_layers :]
    for part in (text, config.vision_config):
        if hasattr(part, "intermediate_size"):
            part.intermediate_size = min(NARROW, part.intermediate_size)
    config.dtype = text.dtype = config.vision_config.dtype = torch.float32
    return config


def _parts(model: PreTrainedModel, real: bool) -> str:
    anatomy = anatomy_of(model)
    what = "The base model" if real else "A random model of the same build, with few narrow layers,"
    named = {
        "vision model": anatomy.vision_model,
        "connector": ", ".join(anatomy.connector) or "none",
        "decoder layers": anatomy.layers,
        "embeddings": anatomy.embeddings,
        "head": anatomy.head,
    }
    lines = [f"  {part}: {name}" for part, name in named.items()]
    return f"{what} is a {type(inner(model)).__name__}. Its parts:\n" + "\n".join(lines)


def _step(tuning: str, model: Any, collator: DocentCollator, row: dict[str, Any]) -> str:
    """One step of training; MuseQuestError where something that is to learn gets no gradient."""
    trainable, total = parameter_counts(model)
    batch = {name: held.to(model.device) for name, held in collator([row]).items()}
    loss = model.train()(**batch, **predicting(batch["labels"])).loss
    loss.backward()
    silent = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if silent or not torch.isfinite(loss):
        first = f"{len(silent)} weights get no gradient, first {silent[0]}" if silent else ""
        raise MuseQuestError(
            f"A step of '{tuning}' cannot be learned from: {first or f'its loss is {loss}'}; set "
            "anatomy.projections in the profile to modules that every dialog passes."
        )
    table = trainable_table(model).set_index("part")["trainable"].drop("all")
    shares = ", ".join(f"{part} {count:,}" for part, count in table.items())
    return (
        f"Tuning '{tuning}' trains {trainable:,} of {total:,} numbers ({shares}); the loss of one "
        f"step is {float(loss.detach()):.3f}, and each of them gets a gradient."
    )


def _answer(model: Any, profile: Profile, row: dict[str, Any]) -> str:
    short = replace(profile, max_new_tokens=TOKENS, generation_batch_size=1)
    [said] = generate(model, load_processor(profile), [row], short, progress=False)
    return f"It answers, in at most {TOKENS} tokens and untrained: {said['answer']!r}"


@torch.inference_mode()
def _read_back(tuned: Any, collator: DocentCollator, row: dict[str, Any]) -> str:
    """Merge an adapter that changes something, and read the model back as others would."""
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.02)
    batch = {name: held.to(tuned.device) for name, held in collator([row]).items()}
    before = tuned(**batch).logits
    merged = tuned.merge_and_unload(safe_merge=True)
    with tempfile.TemporaryDirectory() as folder:
        merged.save_pretrained(Path(folder))
        again = AutoModelForImageTextToText.from_pretrained(Path(folder), dtype=merged.dtype)
    after = again.eval().to(tuned.device)(**batch).logits
    apart = float((after - before).abs().max() / before.abs().max())
    if apart > TOLERANCE and merged.dtype == torch.float32:
        raise MuseQuestError(
            f"Merged, saved and read back the model differs by {apart:.2g} of its largest logit; "
            "use its adapter unmerged."
        )
    return f"Merged, saved and read back, it differs by {apart:.1g} of its largest logit."
