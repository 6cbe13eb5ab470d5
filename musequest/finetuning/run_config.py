"""The configuration of a run, resolved once and then asked by all who take part in it.

    config = RunConfig.resolve(load_profile("pocket"), load_approach("lora"), {"max_steps": "20"})
    config.settings, config.rows, config.optimizer, config.row

Settings are refused here where they are wrong together or on this machine; `training_arguments`
says which values a key may have by itself.
"""

from __future__ import annotations

import copy
import math
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import torch
from PIL import Image
from transformers import PretrainedConfig, PreTrainedModel, TrainingArguments, get_scheduler
from transformers.utils import is_torch_tf32_available

from ..core.errors import MuseQuestError
from ..core.keys import keys_of
from ..core.settings import Approach, Profile, suited, training_settings
from ..core.tables import FURTHER
from ..core.training_arguments import ARGUMENTS, OPTIMIZERS, Allowed
from ..creation.split import fingerprint, load_split, longest_dialog, messages
from .activations import Activations, RowShape, count_activations, empty_model, patch_size_of
from .callbacks import chosen_trackers, tracker_settings
from .collator import DocentCollator
from .distributed import world_size
from .gpus import devices_here
from .models import (
    base_fingerprint,
    default_device,
    load_processor,
    model_config,
    shape_alone,
    weights_dtype,
)
from .optimizer import MASTER_WEIGHTS
from .records import EVERY, RECOMPUTE, RECOMPUTE_HOW, ROWS, rows_a_step

ADAM = ("adam_beta1", "adam_beta2", "adam_epsilon")
AHEAD = ("dataloader_persistent_workers", "dataloader_prefetch_factor")
# Optimizers that take weights of which each process holds a share.
SHARDED = ("adamw_torch", "adamw_torch_fused", "sgd", "rmsprop")
STEPS_TRIED = 20
SPARSEST = 8  # of so many layers one is recomputed; what that saves, one of more hardly does
LETTERS_A_TOKEN = 4  # of English, and of the JSON around it
# A share of all steps below 1, a number of steps from 1 on.
DEFAULTS = {
    "eval_steps": 0.05,
    "report_to": "tensorboard",
    "seed": 0,
    RECOMPUTE_HOW: {"use_reentrant": False},
}
# Where there is no dataset yet: the longest published answers have about 300 words.
SUPPOSED = messages("What can you tell me about this exhibit?", "and so it went on " * 60)
UNCOUNTED = ("init_lora_weights", "lora_alpha", "use_rslora")
# Activations by all that decides them: runs and approaches that learn alike share them.
COUNTED: dict[str, Activations] = {}


@dataclass(frozen=True)
class RunConfig:
    """What a run is asked, and what follows from it; what has to be read is read when asked for."""

    profile: Profile
    approach: Approach  # as it suits the profile
    settings: dict[str, Any]  # keys of TrainingArguments
    processes: int = 1

    @classmethod
    def resolve(
        cls,
        profile: Profile,
        approach: Approach,
        overrides: dict[str, str] | None = None,
        processes: int = 1,
    ) -> RunConfig:
        """Our defaults, then the profile's settings, the approach's, the typed.

        One that may not be chosen, or has no effect beside the others, raises MuseQuestError.
        """
        approach = suited(approach, profile)
        chosen = training_settings(profile, approach, overrides)
        config = cls(profile, approach, {**DEFAULTS, **chosen}, processes)
        sharded = approach.strategy == "fsdp"
        if sharded and chosen.get("optim") == MASTER_WEIGHTS:
            raise MuseQuestError(
                f"optim: {MASTER_WEIGHTS} updates whole weights, and '{approach.name}' shards "
                "them; use optim: adamw_torch with bf16: true, under which shards are kept in "
                "float32."
            )
        # An adapter is learned in float32, and so are sharded weights under mixed precision.
        if approach.tuning == "full" and not sharded and config.dtype == torch.bfloat16:
            config.settings.setdefault("optim", MASTER_WEIGHTS)
        _check_together(config.settings, approach)
        return config

    def fitted(self, found: dict[str, Any]) -> RunConfig:
        """The same run with what its device allows; what was read already is kept."""
        other = copy.copy(self)
        object.__setattr__(other, "settings", self.settings | found)
        return other

    @property
    def asked(self) -> dict[str, Any]:
        """What decides the outcome of the run: models, data and settings; keys of run.json."""
        profile, approach = self.profile, self.approach
        return {
            "profile": profile.name,
            "approach": approach.name,
            "base_model": profile.base_model,
            "base_model_fingerprint": base_fingerprint(profile),
            "collection": profile.collection,
            "dataset_fingerprint": fingerprint(profile.collection),
            "image_size": profile.image_size,
            "image_splitting": profile.image_splitting,
            "dtype": profile.dtype,
            "tuning": approach.tuning,
            "training": self.settings,
            "lora": approach.lora,
            "anatomy": profile.anatomy,
            "learning_rates": profile.learning_rates,
            "quantization": approach.quantization,
            "parallel": approach.parallel,
            "world_size": self.processes,
            "seed": self.settings["seed"],
        }

    @property
    def rows(self) -> int:
        """Rows at a time on one device."""
        return int(self.settings.get(ROWS, TrainingArguments.per_device_train_batch_size))

    @property
    def rows_a_step(self) -> int:
        """Rows of one optimizer step on one device."""
        return rows_a_step(self.settings)

    @property
    def recompute(self) -> float | None:
        """The share of the decoder's layers whose activations are recomputed: False, True, between.

        None if neither setting nor `parallel` says so.
        """
        for chosen in (self.settings.get(RECOMPUTE), (self.approach.parallel or {}).get(RECOMPUTE)):
            if chosen is not None:
                every = (self.settings.get(RECOMPUTE_HOW) or {}).get(EVERY, 1)
                return 1 / every if chosen and every > 1 else bool(chosen)
        return None

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares that `recompute` may be here, the least first: every n-th layer or all."""
        if self.recompute is not None:
            return (self.recompute,)
        whole = self.approach.parted or self.settings.get("auto_find_batch_size")
        return False, *(1 / n for n in range(SPARSEST, 1, -1) if not whole), True

    @property
    def parted_over(self) -> int:
        """Over how many devices the model is parted here; 1 if each has all of it."""
        if self.approach.strategy == "sequential":
            return len(devices_here())
        return world_size() if self.approach.parted else 1

    @property
    def optimizer(self) -> str:
        """Its name in TrainingArguments, or that of our own."""
        return str(self.settings.get("optim", TrainingArguments.default_optim))

    @property
    def autocast(self) -> torch.dtype | None:
        """The dtype of mixed precision, if there is any."""
        if self.settings.get("bf16"):
            return torch.bfloat16
        return torch.float16 if self.settings.get("fp16") else None

    def activations(self, model: PreTrainedModel) -> Activations:
        """What training keeps of the tuned `model`, one without memory; it is counted once.

        How an adapter begins, and by what it is scaled, changes nothing of it.
        """
        approach, shape = self.approach, model.config.to_json_string()
        lora = {name: each for name, each in approach.lora.items() if name not in UNCOUNTED}
        decisive = (shape, model.dtype, self.profile.anatomy, self.autocast)
        key = repr((*decisive, approach.tuning, lora, approach.quantization))
        if key not in COUNTED:
            COUNTED[key] = count_activations(model, self.autocast)
        return COUNTED[key]

    @cached_property
    def empty(self) -> PreTrainedModel:
        """The model as it is tuned, without memory for its weights."""
        return empty_model(self.profile, self.approach)

    @cached_property
    def base_config(self) -> PretrainedConfig:
        """The configuration of the base model."""
        return model_config(self.profile)

    @cached_property
    def dtype(self) -> torch.dtype:
        """That of the weights as they are loaded."""
        return weights_dtype(self.profile)

    @cached_property
    def collator(self) -> DocentCollator:
        """Makes batches of what the base model takes at most."""
        text = self.base_config.get_text_config()
        longest = getattr(text, "max_position_embeddings", None)
        return DocentCollator(load_processor(self.profile), max_tokens=longest)

    @cached_property
    def train_rows(self) -> Any:
        """The rows that are trained on; MuseQuestError if there is no dataset."""
        return load_split(self.profile.collection, "train")

    @cached_property
    def validation_rows(self) -> Any:
        """The rows of validation; MuseQuestError if there is no dataset."""
        return load_split(self.profile.collection, "validation")

    @cached_property
    def longest_dialog(self) -> tuple[int, str]:
        """That which is trained on: its photos, its text. Without a dataset a supposed one."""
        with suppress(MuseQuestError):
            return longest_dialog(self.train_rows)
        return 1, SUPPOSED

    @cached_property
    def largest_row(self) -> dict[str, torch.Tensor]:
        """The longest dialog with square photos, encoded."""
        shown, dialog = self.longest_dialog
        supposed = dialog is SUPPOSED  # of which nothing is refused
        collator = DocentCollator(load_processor(self.profile)) if supposed else self.collator
        photo = Image.new("RGB", (self.profile.image_size, self.profile.image_size), "white")
        row = {"data_id": "largest", "dialog": dialog, "image": photo}
        return collator.encode(row | {FURTHER: [photo] * (shown - 1)})

    @cached_property
    def row(self) -> RowShape:
        """The shape of the largest row; a guess from its letters where the model is not here."""
        if shape_alone(self.profile) is None:
            return self.shape_of(self.largest_row)
        shown, dialog = self.longest_dialog
        tokens = math.ceil(len(dialog) / LETTERS_A_TOKEN)
        return RowShape.supposed(self.profile, tokens, shown=shown)

    def shape_of(self, encoded: dict[str, torch.Tensor], rows: int = 1) -> RowShape:
        """The shape of an encoded row, or of each in a batch of `rows`."""
        return RowShape.of(encoded, patch_size_of(self.base_config), rows)

    @property
    def itemsize(self) -> int:
        """Bytes of a number in what is computed."""
        return (self.autocast or self.dtype).itemsize

    @property
    def device(self) -> torch.device:
        """Where this process trains, if the model is not parted over several."""
        return torch.device(default_device())

    def check_here(self) -> None:
        """Raise MuseQuestError if a tracker, or numbers, are asked for that cannot be had here."""
        tracker_settings(self.settings, self.profile.name)
        approach, settings, gpu = self.approach, self.settings, torch.cuda.is_available()
        if approach.tuning == "full" and self.dtype == torch.float16:
            raise MuseQuestError(
                f"'{approach.name}' learns the weights themselves, which cannot be done in "
                "float16; set dtype: float32 in the profile (with fp16=true on a GPU without "
                "bfloat16), or choose an approach with adapters, such as lora."
            )
        if approach.strategy == "1f1b" and settings.get("fp16"):
            raise MuseQuestError(
                f"The stages of '{approach.name}' cannot scale their gradients together as "
                "fp16=true asks; use bf16=true, fp16=false, or another approach such as full_fsdp."
            )
        if settings.get("fp16") and not gpu:
            raise _wrong("fp16", "needs a GPU, and there is none here; leave it out")
        if settings.get("bf16") and gpu and not torch.cuda.is_bf16_supported(False):
            raise _wrong("bf16", "is nothing this GPU computes in; use fp16=true")
        if settings.get("tf32") and not is_torch_tf32_available():
            raise _wrong("tf32", "needs a GPU of NVIDIA's Ampere or newer; leave it out")


def _check_together(settings: dict[str, Any], approach: Approach) -> None:
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


def _check_optimizer(settings: dict[str, Any], approach: Approach) -> None:
    """The optimizer is installed, fits the approach, and reads what is meant for it."""
    optimizer = settings.get("optim", TrainingArguments.default_optim)
    of_bitsandbytes = optimizer.startswith(("paged_", "lion_", "adamw_8bit", "adamw_bnb"))
    if of_bitsandbytes and find_spec("bitsandbytes") is None:
        raise _wrong("optim", f"is '{optimizer}', which needs `pip install bitsandbytes`")
    if approach.strategy == "fsdp" and optimizer not in SHARDED:
        raise _wrong("optim", f"is '{optimizer}', which takes no shares; use {SHARDED[0]}")
    read = ADAM if "adamw" in optimizer else ADAM[:2] if "lion" in optimizer else ()
    for key in ADAM:
        if key in settings and key not in read:
            raise _wrong(key, f"has no effect on the optimizer '{optimizer}'; leave it out")
    for part in filter(None, settings.get("optim_args", "").replace(" ", "").split(",")):
        name, _, value = part.partition("=")
        known = OPTIMIZERS[optimizer]
        if name not in known:
            has = f"those are {', '.join(known)}" if known else "it has none"
            raise _wrong("optim_args", f"has '{name}', no argument of '{optimizer}'; {has}")
        if not known[name].holds(known[name].read(value)):
            raise _wrong("optim_args", f"has {name}={value!r}; write {known[name]}")


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
