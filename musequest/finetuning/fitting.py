"""What a device lets a run do: rows at a time, recomputing of activations, bf16.

They are found once and remembered in run.json. None of it changes what is learned: the rows of an
optimizer step stay as they were asked, only more of them follow one another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import nn

from ..core.errors import LOGGER, MuseQuestError
from .distributed import all_gather, any_rank
from .gpus import available_bytes
from .memory import Memory, memory_of
from .records import EVERY, GIB, RECOMPUTE, RECOMPUTE_HOW, ROWS, STEPS
from .run_config import RunConfig
from .splitting import fullest_here, largest_divisor

# Bytes of a step with so many rows at a time and that share of the layers recomputed.
BytesOfStep = Callable[[int, float], int]
# Bytes of activations with which a processor is busy: with more rows at a time it is no faster.
BUSY = 256 * 2**20


def fit(config: RunConfig, model: nn.Module | None) -> dict[str, Any]:
    """Keys of TrainingArguments that suit this device, where the settings leave them open.

    bf16: where a GPU has it. Rows at a time: on a processor no more than keep it busy. With
    auto_find_batch_size they are tried out, and halved or more until a step of the largest rows
    passes. They divide what was asked for, and are accumulated to it. activation_checkpointing: if
    a step would not fit without, of as few layers as suffice, by its estimate; or where layers are
    split, if no split of them fits. Without a `model` it is parted over devices, and its rows at a
    time stay as they were asked.
    """
    tries_rows = bool(config.settings.get("auto_find_batch_size"))
    if tries_rows and model is None:
        raise MuseQuestError(
            f"auto_find_batch_size tries a step on one device, and '{config.approach.name}' parts "
            "its model over several; leave it out and give per_device_train_batch_size instead "
            "(`python -m musequest preflight` says how many rows fit)."
        )
    device = config.device if model is None else next(model.parameters()).device
    found: dict[str, Any] = {}
    if all(config.settings.get(key) is None for key in ("bf16", "fp16")):
        # Processors compute it too, but slower than float32, and not to the same last digit.
        gpu = device.type == "cuda"
        found["bf16"] = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and model is not None and not tries_rows:
        found |= busy_rows(config.fitted(found))
    if config.recompute is None:
        share = _recomputed(config.fitted(found), device)
        share = max(all_gather(share))  # the same in all processes
        found[RECOMPUTE] = share > 0
        if 0 < share < 1:  # every n-th of the layers
            how = config.settings.get(RECOMPUTE_HOW) or {}
            found[RECOMPUTE_HOW] = {**how, EVERY: round(1 / share)}
    if tries_rows:
        chosen = found.get(RECOMPUTE, bool(config.settings.get(RECOMPUTE)))
        tries = (chosen, True) if RECOMPUTE in found else (chosen,)
        found |= _by_trying(config.fitted(found), model, tries)
    return found


def busy_rows(config: RunConfig) -> dict[str, int]:
    """Rows at a time, fewer than asked, that keep a processor busy and take less memory; or {}."""
    memory, again = memory_of(config, config.row), config.recompute or False
    rows = max(1, BUSY // memory.activations.of_row(config.row, again))
    rows = largest_divisor(config.rows, rows)
    kept = replace(memory, accumulates=True)  # gradients, from one batch to the next
    if kept.total(rows, again) >= memory.total(config.rows, again):
        return {}
    return {ROWS: rows, STEPS: config.rows_a_step // rows}


def _recomputed(config: RunConfig, device: torch.device) -> float:
    """The least share of recomputed layers with which a step is estimated to fit the device.

    A parted model is not loaded yet; else, on a processor, free memory is what its weights left.
    """
    memory, available = memory_of(config, config.row), available_bytes(str(device))
    if device.type == "cpu" and not config.approach.parted:
        available += memory.weights
    takes = bytes_of_step(config, memory)
    return next((each for each in config.shares if takes(config.rows, each) <= available), True)


def bytes_of_step(config: RunConfig, memory: Memory) -> BytesOfStep:
    """What a step is estimated to take here; of a split model, on the fullest of the devices."""
    if config.approach.layered:
        return partial(fullest_here, config)
    return partial(memory.total, shares=config.parted_over)


def _by_trying(config: RunConfig, model: nn.Module, tries: tuple[bool, ...]) -> dict[str, Any]:
    """The most rows at a time that pass; `tries`: with activations recomputed, or not, in turn."""
    total = config.rows_a_step
    for recompute in dict.fromkeys(tries):
        rows = config.rows
        while rows:
            # Processes have to use the same number.
            if not any_rank(not _passes(config, model, rows, recompute)):
                found = {ROWS: rows, STEPS: total // rows, RECOMPUTE: recompute}
                LOGGER.info("%s rows fit at a time, %s times a step.", rows, found[STEPS])
                return found
            rows = largest_divisor(total, rows // 2)
    raise MuseQuestError(
        "Not even one row fits into the memory of this device, the weights beside it; choose a "
        "larger one or another approach (`python -m musequest preflight` says what fits where)."
    )


def _passes(config: RunConfig, model: nn.Module, rows: int, recompute: bool) -> bool:
    """Whether one step of `rows` of the largest row stays within memory; leaves no trace."""
    trained = [p for p in model.parameters() if p.requires_grad]
    device = trained[0].device
    was_training = model.training
    model.train()
    if recompute:
        model.activation_checkpointing_enable({"use_reentrant": False})
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            batch = config.collator([config.largest_row] * rows)
            batch = {name: held.to(device) for name, held in batch.items()}
            mixed = config.autocast is not None
            with torch.autocast(device.type, dtype=config.autocast, enabled=mixed):
                loss = model(**batch).loss
            loss.backward()
            states = [(torch.empty_like(p), torch.empty_like(p)) for p in trained]
            del states, loss, batch
        return True
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        return False
    finally:
        model.zero_grad(set_to_none=True)
        model.train(was_training)
        if recompute:
            model.activation_checkpointing_disable()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def out_of_memory(config: RunConfig) -> str:
    """What was asked, what it takes, and which numbers would fit."""
    torch.cuda.empty_cache()
    memory, available = memory_of(config, config.row), available_bytes(str(config.device))
    takes = bytes_of_step(config, memory)
    if config.device.type == "cpu":  # the weights are still loaded, and counted in what is taken
        available += memory.weights // config.parted_over
    recompute = config.recompute or False
    return (
        f"Out of memory on {config.device}: {config.rows} rows at a time "
        f"{'with' if recompute else 'without'} activation_checkpointing take about "
        f"{takes(config.rows, recompute) / GIB:.1f} GiB of {available / GIB:.1f} GiB usable; "
        f"{what_fits(takes, available, config.rows_a_step, not config.approach.parted)}"
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
