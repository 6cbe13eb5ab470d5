"""Merging: an adapter becomes part of the weights, and the answers stay what they were.

The result, runs/<profile>/<approach>/merged/, is one ordinary model with its processor, which any
program that knows the base model can load. Weights kept in 4 bits are dequantised first: the
adapter was learned beside those rounded weights, and merged into 4 bits it would be rounded away
(arXiv:2305.14314 trains it so).
"""

from __future__ import annotations

import gc
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, PreTrainedModel
from transformers.utils import logging as transformers_logging

from ..core.errors import LOGGER, MuseQuestError
from ..core.files import check_digests, digests_of, hold, read_remade, write_json
from ..core.home import run_dir
from ..core.settings import Profile, load_approach, load_profile
from ..creation.dataset import load_split
from .checkpoints import (
    RunFolder,
    check_room,
    move_into_place,
    on_gpu_or_cpu,
    reference_loss,
)
from .collator import DocentCollator
from .generation import generate
from .models import load_processor, load_tuned
from .records import finished_record

MERGED, AGREEMENT = "merged", "agreement.json"
# By how much the mean loss of the reference answers may differ, relatively: rounding of the dtype.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 5e-3}


def merge(
    profile: str | Path | Profile, approach_name: str = "lora", *, rows: int = 4
) -> dict[str, Any]:
    """Merge a finished run's adapter into the base model; returns how well the two agree.

    The first `rows` questions of the evaluation split are answered by the tuned model as it was
    trained and by the merged one as it was read back from disk. merged/ is kept only if the loss
    of the reference answers is the same up to rounding; else MuseQuestError says by how much it
    differs. What was merged before, from the same run, is returned at once. Where a GPU is too
    small for it, the processor merges.
    """
    profile = profile if isinstance(profile, Profile) else load_profile(profile)
    folder = run_dir(profile.name, load_approach(approach_name).name)
    record = finished_record(folder)
    if record["tuning"] != "lora":
        raise MuseQuestError(
            f"The approach '{approach_name}' trains the model itself, so there is no adapter to "
            f"merge; its weights lie in {folder / 'model'}."
        )
    if (kept := _kept_agreement(folder, record)) is not None:
        return kept
    transformers_logging.disable_progress_bar()
    with hold(folder):
        written = folder / "unfinished" / MERGED
        shutil.rmtree(written, ignore_errors=True)  # what a killed one left is not this one's
        agreement = on_gpu_or_cpu(
            partial(_merge_on, profile, approach_name, written, rows),
            "%s has too little memory to merge; the processor does it, slower.",
        )
        agreement["run_finished_at"] = record["finished_at"]
        agreement["weights_sha256"] = digests_of(written)
        write_json(written / AGREEMENT, agreement)
        move_into_place(written, folder / MERGED)
        RunFolder(folder).clear_unfinished()
    return agreement


def _kept_agreement(folder: Path, record: dict[str, Any]) -> dict[str, Any] | None:
    """What merged/agreement.json says, if merged/ is whole and of this very run; else None."""
    told = read_remade(folder / MERGED / AGREEMENT)
    if told.get("run_finished_at") != record["finished_at"]:
        return None
    try:
        check_digests(folder / MERGED, told.get("weights_sha256", {}), "it is merged again")
    except MuseQuestError as error:
        LOGGER.warning("%s", error)
        return None
    return told


def merged_model(
    profile: Profile, approach_name: str, device: str | None = None
) -> PreTrainedModel:
    """The tuned model with its adapter merged, in the profile's dtype; not yet on disk."""
    tuned = load_tuned(profile, approach_name, dequantized=True, device=device)
    return tuned.merge_and_unload(safe_merge=True)


def _merge_on(
    profile: Profile, approach_name: str, target: Path, count: int, device: str
) -> dict[str, Any]:
    """Write the merged model to `target`, and compare it with the model as it was trained."""
    split = load_split(profile.collection, profile.evaluation_split)
    questions = [split[index] for index in range(min(count, len(split)))]
    before = _behaviour(load_tuned(profile, approach_name, device=device), profile, questions)
    model = merged_model(profile, approach_name, device)
    folder = run_dir(profile.name, approach_name)
    check_room(folder, sum(each.nbytes for each in model.parameters()), "the merged model")
    model.save_pretrained(target)
    load_processor(profile).save_pretrained(target)
    del model
    gc.collect()
    merged = AutoModelForImageTextToText.from_pretrained(target, dtype=profile.dtype)
    after = _behaviour(merged.eval().to(device), profile, questions)
    apart = abs(after["loss"] - before["loss"]) / before["loss"]
    if apart > TOLERANCES[merged.dtype]:
        raise MuseQuestError(
            f"Merged, the model of {folder} does not answer as it did: the loss of the reference "
            f"answers went from {before['loss']:.4f} to {after['loss']:.4f}; the adapter is "
            "untouched, use it as it is."
        )
    same = [old == new for old, new in zip(before["answers"], after["answers"], strict=True)]
    return {
        "rows": len(questions),
        "equal_answers": sum(same),
        "loss_unmerged": before["loss"],
        "loss_merged": after["loss"],
        "relative_difference": apart,
        "dtype": str(merged.dtype).removeprefix("torch."),
    }


def _behaviour(model: Any, profile: Profile, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Greedy answers to the rows, and the mean loss over the tokens of their reference answers."""
    processor = load_processor(profile)
    answers = [row["answer"] for row in generate(model, processor, rows, profile, progress=False)]
    return {"answers": answers, "loss": reference_loss(model, DocentCollator(processor), rows)}
