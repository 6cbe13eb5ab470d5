"""Why a run died, in a sentence that says what would work."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from transformers import AutoConfig

from ..creation.dataset import load_split
from ..errors import MuseQuestError, chain
from ..hub import of_base_model
from ..settings import Approach, Profile
from .activations import row_shape
from .checkpoints import RunFolder
from .collator import DocentCollator, EncodedDialogs
from .disk import free_gib, is_full
from .machine import GIB
from .memory import Memory, autocast_dtype, available_bytes, memory_of
from .models import default_device, load_processor
from .records import RECOMPUTE, ROWS, STEPS, largest_divisor, recomputing, rows_a_step
from .splitting import fullest_here, shares_here

# Bytes of a step with so many rows at a time, with activations recomputed or not.
BytesOfStep = Callable[[int, bool], int]


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
    needed = memory_of(profile, approach, settings, estimate_row(profile))
    takes = _bytes_of_step(profile, approach, needed, autocast_dtype(settings))
    available = available_bytes(device)
    if device == "cpu":  # the weights are still loaded, and are counted in what a step takes
        available += needed.weights // shares_here(approach)
    recompute = bool(recomputing(approach, settings))
    rows = int(settings.get(ROWS, 8))
    return (
        f"Out of memory on {device}: {rows} rows at a time "
        f"{'with' if recompute else 'without'} activation_checkpointing take about "
        f"{takes(rows, recompute) / GIB:.1f} GiB of {available / GIB:.1f} GiB usable; "
        f"{what_fits(takes, available, rows_a_step(settings), not approach.parted)}; "
        f"{_what_is_kept(folder)}."
    )


def _bytes_of_step(
    profile: Profile, approach: Approach, needed: Memory, autocast: torch.dtype | None
) -> BytesOfStep:
    """What a step takes on a device, or on the fullest of those that share the layers."""
    if approach.layered:
        collator = DocentCollator(load_processor(profile))
        dialogs = EncodedDialogs(load_split(profile.collection, "train"), collator)
        return partial(fullest_here, profile, approach, dialogs, autocast=autocast)
    return partial(needed.total, shares=shares_here(approach))


def what_fits(takes: BytesOfStep, available: int, total: int, can_be_tried: bool) -> str:
    """The settings under which a step of `total` rows, no more and no less, would fit, or none."""
    for recompute in (False, True):
        rows = largest_divisor(total, total)
        while rows and takes(rows, recompute) > available:
            rows = largest_divisor(total, rows - 1)
        if rows:
            found = (
                f"{ROWS}={rows} with {STEPS}={total // rows} and "
                f"{RECOMPUTE}={str(recompute).lower()} would fit"
            )
            tried = ", or let auto_find_batch_size=true find them"
            return found + (tried if can_be_tried else "")
    return (
        f"not one row would fit, for it takes {takes(1, True) / GIB:.1f} GiB, so "
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
