"""The training settings of a run: chosen, and refused where they are wrong together or here.

`training_arguments` says which values a key may have by itself.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import torch
from transformers import TrainingArguments, get_scheduler
from transformers.utils import is_torch_tf32_available

from ..errors import MuseQuestError
from ..keys import keys_of
from ..settings import Approach, Profile, training_settings
from ..training_arguments import ARGUMENTS, OPTIMIZERS, Allowed
from .models import weights_dtype
from .optimizer import default_optimizer
from .trackers import chosen_trackers

ADAM = ("adam_beta1", "adam_beta2", "adam_epsilon")
AHEAD = ("dataloader_persistent_workers", "dataloader_prefetch_factor")
# Optimizers that take weights of which each process holds a share.
SHARDED = ("adamw_torch", "adamw_torch_fused", "sgd", "rmsprop")
STEPS_TRIED = 20
# A share of all steps below 1, a number of steps from 1 on.
DEFAULTS = {
    "eval_steps": 0.05,
    "report_to": "tensorboard",
    "seed": 0,
    "activation_checkpointing_kwargs": {"use_reentrant": False},
}


def chosen_settings(
    profile: Profile, approach: Approach, overrides: dict[str, str] | None = None
) -> dict[str, Any]:
    """Keys of TrainingArguments: our defaults, then the profile's, the approach's, the typed.

    One that may not be chosen, or has no effect beside the others, raises MuseQuestError.
    """
    chosen = training_settings(profile, approach, overrides)
    settings = {**DEFAULTS, **default_optimizer(profile, approach, chosen), **chosen}
    check_together(settings, approach)
    return settings


def check_precision(profile: Profile, approach: Approach, settings: dict[str, Any]) -> None:
    """Raise MuseQuestError if numbers are asked for that cannot be learned or computed in here."""
    if approach.tuning == "full" and weights_dtype(profile) == torch.float16:
        raise MuseQuestError(
            f"'{approach.name}' learns the weights themselves, which cannot be done in float16; "
            "set dtype: float32 in the profile (with fp16=true on a GPU without bfloat16), or "
            "choose an approach with adapters, such as lora."
        )
    if approach.strategy == "1f1b" and settings.get("fp16"):
        raise MuseQuestError(
            f"The stages of '{approach.name}' cannot scale their gradients together as fp16=true "
            "asks; use bf16=true, fp16=false, or another approach such as full_fsdp."
        )
    check_device(settings)


def check_together(settings: dict[str, Any], approach: Approach) -> None:
    """Raise MuseQuestError at a setting that would have no effect, or fail, beside the others."""
    installed = keys_of(TrainingArguments)
    for key in settings:
        only = rule.strategy if isinstance(rule := ARGUMENTS[key], Allowed) else None
        if key not in installed:
            raise _wrong(key, "is none of the installed transformers; install the version tested")
        if only and approach.strategy != only:
            raise _wrong(key, f"has no effect in '{approach.name}'; say it under lora_ddp alone")
    _check_optimizer(settings, approach)
    _check_schedule(settings)
    if settings.get("fp16") and settings.get("bf16"):
        raise _wrong("fp16", "and 'bf16' are both true; keep one of them")
    for key in AHEAD:
        if settings.get(key) and not settings.get("dataloader_num_workers"):
            raise _wrong(key, "has no effect without processes; set dataloader_num_workers too")
    if settings.get("trackio_space_id") and "trackio" not in chosen_trackers(settings):
        raise _wrong("trackio_space_id", "has no effect without trackio; set report_to=trackio")


def check_device(settings: dict[str, Any]) -> None:
    """Raise MuseQuestError at a number format that this machine does not compute in."""
    gpu = torch.cuda.is_available()
    if settings.get("fp16") and not gpu:
        raise _wrong("fp16", "needs a GPU, and there is none here; leave it out")
    if settings.get("bf16") and gpu and not torch.cuda.is_bf16_supported(False):
        raise _wrong("bf16", "is nothing this GPU computes in; use fp16=true")
    if settings.get("tf32") and not is_torch_tf32_available():
        raise _wrong("tf32", "needs a GPU of NVIDIA's Ampere or newer; leave it out")


def _check_optimizer(settings: dict[str, Any], approach: Approach) -> None:
    """The optimizer is installed, fits the approach, and reads what is meant for it."""
    optimizer = settings.get("optim", TrainingArguments.default_optim)
    if _of_bitsandbytes(optimizer) and find_spec("bitsandbytes") is None:
        raise _wrong("optim", f"is '{optimizer}', which needs `pip install bitsandbytes`")
    if approach.strategy == "fsdp" and optimizer not in SHARDED:
        raise _wrong("optim", f"is '{optimizer}', which takes no shares; use {SHARDED[0]}")
    adam = [key for key in ADAM if key in settings]
    read = ADAM if "adamw" in optimizer else ADAM[:2] if "lion" in optimizer else ()
    for key in adam:
        if key not in read:
            raise _wrong(key, f"has no effect on the optimizer '{optimizer}'; leave it out")
    for part in filter(None, settings.get("optim_args", "").replace(" ", "").split(",")):
        name, _, value = part.partition("=")
        known = OPTIMIZERS[optimizer]
        if name not in known:
            has = f"those are {', '.join(known)}" if known else "it has none"
            raise _wrong("optim_args", f"has '{name}', no argument of '{optimizer}'; {has}")
        if not known[name].holds(known[name].read(value)):
            raise _wrong("optim_args", f"has {name}={value!r}; write {known[name]}")


def _of_bitsandbytes(optimizer: str) -> bool:
    return optimizer.startswith(("paged_", "lion_", "adamw_8bit", "adamw_bnb"))


def _check_schedule(settings: dict[str, Any]) -> None:
    """Try the learning rate's schedule for a few steps."""
    name, chosen = settings.get("lr_scheduler_type", "linear"), settings.get("lr_scheduler_kwargs")
    rate = settings.get("learning_rate", TrainingArguments.learning_rate)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    options = {"num_warmup_steps": 1, "num_training_steps": STEPS_TRIED}
    try:
        schedule = get_scheduler(name, optimizer, **options, scheduler_specific_kwargs=chosen)
        rates = []
        for _ in range(STEPS_TRIED):
            optimizer.step()
            schedule.step()
            rates += schedule.get_last_lr()
        reason = "" if all(math.isfinite(rate) and rate >= 0 for rate in rates) else "not a rate"
    except (TypeError, ValueError, ArithmeticError) as error:
        reason = str(error).splitlines()[0]
    if reason:
        raise _wrong("lr_scheduler_kwargs", f"is {chosen!r}, with which '{name}' fails ({reason})")


def _wrong(key: str, why: str) -> MuseQuestError:
    return MuseQuestError(f"The training setting '{key}' {why}.")
