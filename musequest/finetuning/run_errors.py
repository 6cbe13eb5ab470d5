"""Why a run died, in a sentence that says what would work."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from accelerate.utils.memory import should_reduce_batch_size

from ..errors import MuseQuestError, chain
from .checkpoints import RunFolder
from .disk import free_gib, is_full
from .machine import GIB, available_bytes
from .memory import memory_of
from .records import RECOMPUTE, ROWS, STEPS, largest_divisor
from .run_config import RunConfig
from .splitting import fullest_here, shares_here

# Bytes of a step with so many rows at a time, with activations recomputed or not.
BytesOfStep = Callable[[int, bool], int]


def explained(error: Exception, config: RunConfig, folder: RunFolder) -> Exception:
    """MuseQuestError for a full disk or used-up memory; any other error as it is."""
    if isinstance(error, MuseQuestError):
        return error
    state = folder.last_state()
    kept = f"the state of {state.name} is kept" if state else "there was no state to keep yet"
    if is_full(error):
        folder.clear_unfinished()
        return MuseQuestError(
            f"The disk of {folder.folder} became full while the run was writing "
            f"({free_gib(folder.folder):.2f} GiB are free now); {kept}, so make room and call the "
            "same again."
        )
    if any(should_reduce_batch_size(each) for each in chain(error) if isinstance(each, Exception)):
        return MuseQuestError(f"{_out_of_memory(config)}; {kept}.")
    return error


def _out_of_memory(config: RunConfig) -> str:
    """What was asked, what it takes, and which numbers would fit."""
    torch.cuda.empty_cache()
    approach, shares = config.approach, shares_here(config.approach)
    needed = memory_of(config, config.row)
    takes: BytesOfStep = partial(needed.total, shares=shares)
    if approach.layered:  # that on the fullest of the devices
        takes = partial(fullest_here, config)
    available = available_bytes(str(config.device))
    if config.device.type == "cpu":  # the weights are still loaded, and counted in what is taken
        available += needed.weights // shares
    recompute = bool(config.recompute)
    return (
        f"Out of memory on {config.device}: {config.rows} rows at a time "
        f"{'with' if recompute else 'without'} activation_checkpointing take about "
        f"{takes(config.rows, recompute) / GIB:.1f} GiB of {available / GIB:.1f} GiB usable; "
        f"{what_fits(takes, available, config.rows_a_step, not approach.parted)}"
    )


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
