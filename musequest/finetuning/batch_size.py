"""What a device lets a run do: rows at a time, recomputing of activations, bf16.

It is found once and remembered in run.json. None of it changes what is learned: the rows of an
optimizer step stay as they were asked, only more of them follow one another.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import nn

from ..errors import MuseQuestError
from ..settings import Approach, Profile
from .activations import largest_row, row_shape
from .collator import DocentCollator, EncodedDialogs
from .distributed import any_rank
from .memory import autocast_dtype, available_bytes, memory_of
from .models import default_device, model_config
from .records import RECOMPUTE, ROWS, STEPS, largest_divisor, recomputing, rows_a_step
from .splitting import fullest_here, shares_here

LOGGER = logging.getLogger("musequest")


def fit(
    profile: Profile,
    approach: Approach,
    settings: dict[str, Any],
    model: nn.Module | None,
    collator: DocentCollator,
    rows: Any,
) -> dict[str, Any]:
    """Keys of TrainingArguments that suit this device, where the settings leave them open.

    bf16: where a GPU has it. activation_checkpointing: if a step would not fit without; by its
    estimate, or where layers are split over devices, if no split of them fits. With
    auto_find_batch_size the rows at a time are tried out, and halved or more, to a number that
    divides what was asked for, until a step of the largest rows passes; they are accumulated to
    what was asked for. Without a `model` it is parted over devices, and nothing is tried out.
    """
    device = torch.device(default_device()) if model is None else next(model.parameters()).device
    found: dict[str, Any] = {"bf16": _has_bf16(device)} if _open(settings, "bf16", "fp16") else {}
    if model is None:
        _refuse_trying(approach, settings)
    if recomputing(approach, settings) is None:
        asked = settings | found
        large = _needs_recomputing(profile, approach, asked, collator, rows, device)
        found[RECOMPUTE] = any_rank(large)  # each decides by its own device, and all do the same
    if settings.get("auto_find_batch_size"):
        tries = (found[RECOMPUTE], True) if RECOMPUTE in found else (bool(settings.get(RECOMPUTE)),)
        largest = collator.encode(largest_row(profile, rows))
        found |= _by_trying(model, collator, largest, settings | found, tries)
    return found


def _open(settings: dict[str, Any], *keys: str) -> bool:
    return all(settings.get(key) is None for key in keys)


def _has_bf16(device: torch.device) -> bool:
    """Processors compute it too, but slower than float32, and not to the same last digit."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _needs_recomputing(
    profile: Profile,
    approach: Approach,
    settings: dict[str, Any],
    collator: DocentCollator,
    rows: Any,
    device: torch.device,
) -> bool:
    """Whether a step with all activations kept is estimated to be too large for the device.

    A parted model is not loaded yet; else, on a processor, free memory is what its weights left.
    """
    available, count = available_bytes(str(device)), int(settings.get(ROWS, 8))
    if approach.layered:
        encoded, mixed = EncodedDialogs(rows, collator), autocast_dtype(settings)
        fullest = fullest_here(profile, approach, encoded, count, autocast=mixed)
        return fullest > available
    row = row_shape(profile, collator, rows, model_config(profile).vision_config.patch_size)
    needed = memory_of(profile, approach, settings, row)
    loaded = needed.weights if device.type == "cpu" and not approach.parted else 0
    return needed.total(count, False, shares_here(approach)) - loaded > available


def _refuse_trying(approach: Approach, settings: dict[str, Any]) -> None:
    if settings.get("auto_find_batch_size"):
        raise MuseQuestError(
            f"auto_find_batch_size tries a step on one device, and '{approach.name}' parts its "
            "model over several; leave it out and give per_device_train_batch_size instead "
            "(`python -m musequest preflight` says how many rows fit)."
        )


def _by_trying(
    model: nn.Module,
    collator: DocentCollator,
    largest: Mapping[str, torch.Tensor],
    settings: dict[str, Any],
    tries: tuple[bool, ...],
) -> dict[str, Any]:
    """The most rows at a time that pass; `tries`: with activations recomputed, or not, in turn."""
    total = rows_a_step(settings)
    for recompute in dict.fromkeys(tries):
        rows = int(settings.get(ROWS, 8))
        while rows:
            passes = _passes(model, collator, largest, rows, recompute, autocast_dtype(settings))
            if _everywhere(passes, model):
                found = {ROWS: rows, STEPS: total // rows, RECOMPUTE: recompute}
                LOGGER.info("%s rows fit at a time, %s times a step.", rows, found[STEPS])
                return found
            rows = largest_divisor(total, rows // 2)
    raise MuseQuestError(
        "Not even one row fits into the memory of this device, the weights beside it; choose a "
        "larger one or another approach (`python -m musequest preflight` says what fits where)."
    )


def _passes(
    model: nn.Module,
    collator: DocentCollator,
    largest: Mapping[str, torch.Tensor],
    rows: int,
    recompute: bool,
    autocast: torch.dtype | None,
) -> bool:
    """Whether one step of `rows` of the largest row stays within memory; leaves no trace."""
    device = next(model.parameters()).device
    was_training = model.training
    model.train()
    if recompute:
        model.activation_checkpointing_enable({"use_reentrant": False})
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            batch = {name: held.to(device) for name, held in collator([largest] * rows).items()}
            with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
                loss = model(**batch).loss
            loss.backward()
            states = [(torch.empty_like(p), torch.empty_like(p)) for p in _trained(model)]
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


def _everywhere(passes: bool, model: nn.Module) -> bool:
    """Whether it passed on the devices of all processes: they have to use the same number."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return passes
    verdict = torch.tensor(int(passes), device=next(model.parameters()).device)
    torch.distributed.all_reduce(verdict, torch.distributed.ReduceOp.MIN)
    return bool(verdict.item())


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
