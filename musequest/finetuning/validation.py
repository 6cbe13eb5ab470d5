"""The loss of a model beside its trainer: of whatever weights, over all tokens of the answers.

What a run keeps is read back from disk before the run is done: it must be what was learned.
"""

from __future__ import annotations

import gc
import logging
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from ..creation.dataset import load_split
from ..errors import MuseQuestError
from .collator import IGNORED, DocentCollator
from .models import WEIGHTS, load_kept
from .run_config import RunConfig

LOGGER = logging.getLogger("musequest")
EVAL_ROWS = "per_device_eval_batch_size"
# By how much the validation loss may differ from the recorded one: rounding of what is computed in.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 5e-3}


def check_kept(config: RunConfig, folder: Path, recorded: float) -> float:
    """The validation loss of the weights in `folder`, as whoever uses them will load them.

    It is that of all validation rows, computed once more as the run did, on one device; where a
    GPU is too small for the whole model, on the processor. One further from `recorded` than
    rounding explains raises MuseQuestError.
    """
    if not (folder / WEIGHTS[config.approach.tuning]).is_dir():
        raise MuseQuestError(
            f"The best weights of the run in {folder} are gone, though its state is there; bring "
            "them back, or train anew with fresh=True (--fresh)."
        )
    free_memory()
    loss = _loss(config, folder, str(config.device))
    tolerance = TOLERANCES[config.autocast or config.dtype]
    if not abs(loss - recorded) <= tolerance:
        raise MuseQuestError(
            f"The weights kept in {folder} are not those that were learned: read back from disk, "
            f"their validation loss is {loss:.5f} where {recorded:.5f} was recorded (by rounding "
            f"it may differ by {tolerance:g}); check the disk, and train anew with fresh=True "
            "(--fresh)."
        )
    return loss


def free_memory() -> None:
    """Let go of what nobody refers to any more, as a trainer that has done its work."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _loss(config: RunConfig, folder: Path, device: str) -> float:
    rows = load_split(config.profile.collection, "validation")
    at_once = int(config.settings.get(EVAL_ROWS, TrainingArguments.per_device_eval_batch_size))
    try:
        model = load_kept(config.profile, config.approach, folder, device=device)
        return reference_loss(model, config.collator, rows, at_once, config.autocast)
    except torch.OutOfMemoryError:
        if device == "cpu":
            raise
    LOGGER.warning("%s is too small to read the model back; the processor does it.", device)
    free_memory()
    return _loss(config, folder, "cpu")


@torch.inference_mode()
def reference_loss(
    model: Any,
    collator: DocentCollator,
    rows: Any,
    at_once: int = 1,
    autocast: torch.dtype | None = None,
) -> float:
    """The mean loss over all tokens of the reference answers, `at_once` rows at a time.

    `autocast` is the dtype of mixed precision, if there is any.
    """
    total, count = 0.0, 0
    for first in range(0, len(rows), at_once):
        chosen = [rows[index] for index in range(first, min(first + at_once, len(rows)))]
        batch = {name: values.to(model.device) for name, values in collator(chosen).items()}
        tokens = int((batch["labels"] != IGNORED).sum())
        with torch.autocast(model.device.type, dtype=autocast, enabled=autocast is not None):
            total += float(model(**batch).loss) * tokens
        count += tokens
    return total / count
