"""Why a run died, in a sentence that says what would work."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from transformers import AutoConfig

from ..creation.dataset import load_split
from ..errors import MuseQuestError
from ..settings import Approach, Profile
from .checkpoints import RunFolder
from .collator import DocentCollator
from .disk import free_gib, is_full
from .hub import chain, of_base_model
from .memory import GIB, Memory, available_bytes, memory_of
from .models import default_device, load_processor
from .records import RECOMPUTE, ROWS, STEPS, dividing, recomputing, rows_a_step
from .row_shape import row_shape
from .splitting import shares_here


def explained(
    error: Exception,
    profile: Profile,
    approach: Approach,
    settings: dict[str, Any],
    folder: RunFolder,
) -> Exception:
    """MuseQuestError for a full disk or used-up memory; any other error as it is."""
    if isinstance(error, MuseQuestError):
        return error
    if is_full(error):
        folder.clear_unfinished()
        return MuseQuestError(
            f"The disk of {folder.folder} became full while the run was writing "
            f"({free_gib(folder.folder):.2f} GiB are free now); {_what_is_kept(folder)}, so make "
            "room and call the same again."
        )
    if any(should_reduce_batch_size(each) for each in chain(error) if isinstance(each, Exception)):
        return MuseQuestError(_out_of_memory(profile, approach, settings, folder))
    return error


def _what_is_kept(folder: RunFolder) -> str:
    state = folder.last_state()
    return f"the state of {state.name} is kept" if state else "there was no state to keep yet"


def _out_of_memory(
    profile: Profile, approach: Approach, settings: dict[str, Any], folder: RunFolder
) -> str:
    """What was asked, what it takes, and which numbers would fit."""
    torch.cuda.empty_cache()
    device = default_device()
    row = estimate_row(profile)
    needed = memory_of(profile, approach, settings, row)
    available = available_bytes(device)
    shares = shares_here(approach)
    if device == "cpu":  # the weights are still loaded, and are counted in `needed`
        available += needed.weights // shares
    recompute = bool(recomputing(approach, settings))
    rows = int(settings.get(ROWS, 8))
    return (
        f"Out of memory on {device}: {rows} rows at a time "
        f"{'with' if recompute else 'without'} activation_checkpointing take about "
        f"{needed.total(rows, recompute, shares) / GIB:.1f} GiB of {available / GIB:.1f} GiB "
        f"usable; {what_fits(needed, available, rows_a_step(settings), shares)}; "
        f"{_what_is_kept(folder)}."
    )


def what_fits(needed: Memory, available: int, total: int, shares: int = 1) -> str:
    """The settings under which a step of `total` rows, no more and no less, would fit, or none.

    They can be tried out too, but not where several devices hold `shares` of the model.
    """
    for recompute in (False, True):
        rows = dividing(total, min(needed.fitting(available, recompute, shares), total))
        if rows:
            found = (
                f"{ROWS}={rows} with {STEPS}={total // rows} and "
                f"{RECOMPUTE}={str(recompute).lower()} would fit"
            )
            tried = ", or let auto_find_batch_size=true find them"
            return found + (tried if shares == 1 else "")
    return (
        f"not one row would fit, for it takes {needed.total(1, True, shares) / GIB:.1f} GiB, so "
        "choose another approach or a larger device (`python -m musequest preflight` says which)"
    )


def estimate_row(profile: Profile) -> Any:
    """The largest row of the profile's dataset, or a supposed one where there is none."""
    try:
        rows = load_split(profile.collection, "train")
    except MuseQuestError:
        rows = None
    patch = of_base_model(AutoConfig.from_pretrained, profile).vision_config.patch_size
    return row_shape(profile, DocentCollator(load_processor(profile)), rows, patch)
