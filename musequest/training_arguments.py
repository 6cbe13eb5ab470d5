"""Which keys of `transformers.TrainingArguments` a run may choose, and with which values.

Every key stands in one of four groups of the table ARGUMENTS, and one that does not is refused:

    Fixed      the same for every run
    Derived    follows from another setting, the approach or the device
    Refused    would learn something else than it says, or nothing; with the reason
    Allowed    any of its values; `learned` marks those that change what is learned, and therefore
               act in every approach

A value of null leaves a key open, as if it were not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import MuseQuestError
from .keys import Block, Choice, Flag, Names, Number, Values, nearest_of

SHOWN = 40  # characters of a value in a sentence


@dataclass(frozen=True)
class Fixed:
    """The same value for every run."""

    value: Any


@dataclass(frozen=True)
class Derived:
    """What a key follows from."""

    source: str


@dataclass(frozen=True)
class Refused:
    """Why a key may not be given."""

    reason: str


@dataclass(frozen=True)
class Allowed:
    """The values of a key; `strategy` is the only one under which it is read."""

    values: Values
    learned: bool = False
    strategy: str | None = None


# Optimizers, and what each reads of optim_args; those with an Adam in them read the adam_ keys.
_RMSPROP: dict[str, Values] = {
    "momentum": Number(0, 1),
    "alpha": Number(0, 1),
    "eps": Number(0, 1, above=True),
    "centered": Flag(),
}
OPTIMIZERS: dict[str, dict[str, Values]] = {
    "adamw_torch": {},
    "adamw_torch_fused": {},
    "adamw_8bit_master_weights": {},  # our own, in optimizer.py
    "adafactor": {},
    "sgd": {"momentum": Number(0, 1)},
    "adagrad": {"lr_decay": Number(0, 1), "eps": Number(0, 1, above=True)},
    "rmsprop": _RMSPROP,
    "adamw_bnb_8bit": {},
    "adamw_8bit": {},
    "paged_adamw_32bit": {},
    "paged_adamw_8bit": {},
    "lion_32bit": {},
    "lion_8bit": {},
    "paged_lion_32bit": {},
    "paged_lion_8bit": {},
}
# Schedules that follow the validation loss are none of them: see eval_steps below.
SCHEDULES = (
    *("linear", "cosine", "cosine_with_restarts", "polynomial", "constant"),
    *("constant_with_warmup", "inverse_sqrt", "cosine_with_min_lr"),
    *("cosine_warmup_with_min_lr", "warmup_stable_decay"),
)
_ROWS = Number(1, 4096, whole=True)
_SEED = Number(0, 2**32 - 1, whole=True)
_CHECKPOINTING = Allowed(Flag())
# With the older form nothing is learned before the first trained weight.
_CHECKPOINTING_HOW = Allowed(Block({"use_reentrant": False}))
_HUB = Refused("a run uploads nothing; publish it afterwards with `python -m musequest publish`")
_ORDER = Refused(
    "the rows of an epoch come in an order drawn from data_seed (or seed) and epoch, the same for "
    "any number of processes"
)
_LOSS_ALONE = Refused("validation computes the loss and nothing else")
_COMPILE = Refused("a compiled model is the same in no two approaches")
_OPTIMIZER = Refused("it belongs to optimizers that are none of those of 'optim'")
_PARALLEL = Refused(
    "how processes share the work is said under 'parallel' in the approach's config.yaml"
)
_COMMANDS = Refused("training, validating and answering are the commands train and infer")
_MESSAGES = Refused("set TRANSFORMERS_VERBOSITY in the environment instead")
_SPACE = Refused("trackio's curves go to the Space of trackio_space_id, or stay here")
_FORKED = Refused("the processes that read ahead are those of the operating system's default")

ARGUMENTS: dict[str, Fixed | Derived | Refused | Allowed] = {
    # How long, and from how many rows a step.
    "num_train_epochs": Allowed(Number(0, 100_000, above=True), learned=True),
    "max_steps": Allowed(Number(1, 10**9, whole=True, also=(-1,)), learned=True),
    "per_device_train_batch_size": Allowed(_ROWS, learned=True),
    "gradient_accumulation_steps": Allowed(Number(1, 10**6, whole=True), learned=True),
    "auto_find_batch_size": Allowed(Flag()),
    # How a step is made.
    # However large: one at which the loss breaks stops the run there.
    "learning_rate": Allowed(Number(0, 1e30, above=True), learned=True),
    "lr_scheduler_type": Allowed(Choice(SCHEDULES), learned=True),
    "lr_scheduler_kwargs": Allowed(Block(), learned=True),
    "warmup_steps": Allowed(Number(0, 10**9, share=True), learned=True),
    "optim": Allowed(Choice(tuple(OPTIMIZERS)), learned=True),
    "optim_args": Allowed(Names(many=False), learned=True),
    "optim_target_modules": _OPTIMIZER,
    "weight_decay": Allowed(Number(0, 1), learned=True),
    "adam_beta1": Allowed(Number(0, 0.999999), learned=True),
    "adam_beta2": Allowed(Number(0, 0.999999), learned=True),
    "adam_epsilon": Allowed(Number(0, 1, above=True), learned=True),
    "max_grad_norm": Allowed(Number(0, 10**6), learned=True),
    "label_smoothing_factor": Allowed(Number(0, 0.999), learned=True),
    "average_tokens_across_devices": Fixed(True),
    "neftune_noise_alpha": Refused("its noise would be another in each approach"),
    # In which numbers, and with how much memory.
    "bf16": Allowed(Flag()),
    "fp16": Allowed(Flag()),
    "tf32": Allowed(Flag()),
    "bf16_full_eval": Refused("validation computes as training does"),
    "fp16_full_eval": Refused("validation computes as training does"),
    "activation_checkpointing": _CHECKPOINTING,
    "activation_checkpointing_kwargs": _CHECKPOINTING_HOW,
    "gradient_checkpointing": _CHECKPOINTING,
    "gradient_checkpointing_kwargs": _CHECKPOINTING_HOW,
    "torch_compile": _COMPILE,
    "torch_compile_backend": _COMPILE,
    "torch_compile_mode": _COMPILE,
    "use_liger_kernel": _COMPILE,
    "liger_kernel_config": _COMPILE,
    "use_cache": Fixed(False),
    "torch_empty_cache_steps": Refused(
        "set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True in the environment instead"
    ),
    # By which random numbers.
    "seed": Allowed(_SEED, learned=True),
    "data_seed": Allowed(_SEED, learned=True),
    "full_determinism": Refused(
        "on a processor a run is exact without, and elsewhere no test holds what it would change"
    ),
    # How rows are read.
    "dataloader_num_workers": Allowed(Number(0, 64, whole=True)),
    "dataloader_pin_memory": Allowed(Flag()),
    "dataloader_persistent_workers": Allowed(Flag()),
    "dataloader_prefetch_factor": Allowed(Number(1, 64, whole=True)),
    "dataloader_multiprocessing_context": _FORKED,
    "dataloader_in_order": Fixed(True),
    "dataloader_drop_last": Refused("every row counts, in training and in validation"),
    "remove_unused_columns": Fixed(False),
    "label_names": Refused("what is learned is the answer of each row"),
    "train_sampling_strategy": _ORDER,
    "length_column_name": _ORDER,
    "accelerator_config": _ORDER,
    "ignore_data_skip": Refused("a run that goes on would see rows twice"),
    # When is validated, logged and saved. No choice of these may change what is learned.
    "eval_strategy": Fixed("steps"),
    "eval_steps": Allowed(Number(0, 10**9, share=True, above=True)),
    "eval_delay": Refused("a run without a validation would have no best weights to keep"),
    "eval_on_start": Fixed(False),
    "per_device_eval_batch_size": Allowed(_ROWS),
    "prediction_loss_only": Fixed(True),
    "eval_do_concat_batches": _LOSS_ALONE,
    "eval_use_gather_object": _LOSS_ALONE,
    "eval_accumulation_steps": _LOSS_ALONE,
    "include_for_metrics": _LOSS_ALONE,
    "batch_eval_metrics": _LOSS_ALONE,
    "logging_strategy": Fixed("steps"),
    "logging_steps": Derived("eval_steps"),
    "logging_first_step": Fixed(False),
    "logging_nan_inf_filter": Fixed(False),
    "include_num_input_tokens_seen": Fixed("no"),
    "skip_memory_metrics": Fixed(True),
    "disable_tqdm": Fixed(True),
    "log_level": _MESSAGES,
    "log_level_replica": _MESSAGES,
    "log_on_each_node": _MESSAGES,
    "debug": Refused("a loss or gradient that is no number is found and named without"),
    "save_strategy": Fixed("steps"),
    "save_steps": Derived("eval_steps"),
    "save_total_limit": Derived("what a run keeps, the best weights and the last state"),
    "save_only_model": Refused("a run that goes on would end in other weights"),
    "save_on_each_node": Refused("all machines write to one folder"),
    "enable_jit_checkpoint": Refused("a run that is told to stop saves its state without"),
    "load_best_model_at_end": Fixed(False),
    "metric_for_best_model": Fixed("eval_loss"),
    "greater_is_better": Fixed(False),
    "restore_callback_states_from_checkpoint": Fixed(False),
    "resume_from_checkpoint": Refused("the same call goes on from the last state by itself"),
    "output_dir": Derived("the profile's and the approach's name"),
    # Where curves go.
    "report_to": Allowed(Names()),
    "run_name": Derived("the profile's and the approach's name"),
    "project": Derived("the package's name"),
    "trackio_space_id": Allowed(Names(many=False)),
    "trackio_bucket_id": _SPACE,
    "trackio_static_space_id": _SPACE,
    # On which devices.
    "use_cpu": Derived("the devices there are (CUDA_VISIBLE_DEVICES= hides the GPUs)"),
    "local_rank": Derived("the launcher"),
    "ddp_find_unused_parameters": Allowed(Flag(), strategy="ddp"),
    "ddp_bucket_cap_mb": Allowed(Number(1, 4096, whole=True), strategy="ddp"),
    "ddp_broadcast_buffers": _PARALLEL,
    "ddp_static_graph": _PARALLEL,
    "ddp_backend": _PARALLEL,
    "ddp_timeout": _PARALLEL,
    "parallelism_config": _PARALLEL,
    "fsdp": _PARALLEL,
    "fsdp_config": _PARALLEL,
    "deepspeed": _PARALLEL,
    # What is done elsewhere.
    "do_train": _COMMANDS,
    "do_eval": _COMMANDS,
    "do_predict": _COMMANDS,
    "push_to_hub": _HUB,
    "hub_token": Refused("keys stand in the environment or in .env alone"),
    "hub_private_repo": _HUB,
    "hub_model_id": _HUB,
    "hub_strategy": _HUB,
    "hub_always_push": _HUB,
    "hub_revision": _HUB,
}
# Names that the library is about to drop, and what it calls the same now.
RENAMED = {
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}
FIXED = {key: rule.value for key, rule in ARGUMENTS.items() if isinstance(rule, Fixed)}


def read(key: str, value: Any) -> Any:
    """A value as typed in a shell, read as its key wants it; what cannot be read stays as it is."""
    rule = ARGUMENTS.get(key)
    if not isinstance(value, str) or not isinstance(rule, Allowed):
        return value
    try:
        return None if value in ("null", "~") else rule.values.read(value.strip())
    except MuseQuestError:  # no YAML
        return value


def check(values: Mapping[str, Any], source: object) -> None:
    """Raise MuseQuestError at the first key that may not be chosen, or has no value of its own."""
    for key, value in values.items():
        rule = ARGUMENTS.get(key)
        if rule is None:
            allowed = {key for key, rule in ARGUMENTS.items() if isinstance(rule, Allowed)}
            raise MuseQuestError(
                f"{source}: unknown key '{key}'; the nearest known is '{nearest_of(key, allowed)}'."
            )
        if not isinstance(rule, Allowed):
            raise MuseQuestError(
                f"{source}: the training setting '{key}' cannot be chosen: {_why(rule)}; remove it."
            )
        if value is not None and not rule.values.holds(value):
            shown = repr(value)
            shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
            raise MuseQuestError(f"{source}: '{key}' is {shown}; write {rule.values}.")


def _why(rule: Fixed | Derived | Refused) -> str:
    if isinstance(rule, Refused):
        return rule.reason
    if isinstance(rule, Derived):
        return f"it follows from {rule.source}"
    return f"the same holds for every run ({str(rule.value).lower()})"
