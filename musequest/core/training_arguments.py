"""Which keys of `transformers.TrainingArguments` a run may choose, and with which values.

Every key stands in one of four tables, and one that does not is refused:

    FIXED      the same for every run
    DERIVED    follows from another setting, the approach or the device
    REFUSED    would learn something else than it says, or nothing; by the reason
    ALLOWED    any of its values; `learned` marks those that change what is learned, and therefore
               act in every approach

A value of null leaves a key open, as if it were not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import MuseQuestError
from .keys import FLAG, NAME, NAMES, NOT_REENTRANT, NUMBERS, Number, Values, choice, nearest_of

SHOWN = 40  # characters of a value in a sentence


@dataclass(frozen=True)
class Allowed:
    """The values of a key; `strategy` is the only one under which it is read."""

    values: Values
    learned: bool = False
    strategy: str | None = None


# Optimizers, and what each reads of optim_args; those with an Adam in them read the adam_ keys.
# Of the first ones, adamw_8bit_master_weights is our own, in optimizer.py.
_PART, _SMALL = Number(0, 1), Number(0, 1, above=True)
_RMSPROP: dict[str, Values] = {"momentum": _PART, "alpha": _PART, "eps": _SMALL, "centered": FLAG}
_FIRST = "adamw_torch adamw_torch_fused adamw_8bit_master_weights adafactor"
_OF_BITSANDBYTES = (
    "adamw_bnb_8bit adamw_8bit paged_adamw_32bit paged_adamw_8bit lion_32bit lion_8bit "
    "paged_lion_32bit paged_lion_8bit"
)
OPTIMIZERS: dict[str, dict[str, Values]] = {
    **{name: {} for name in _FIRST.split()},
    "sgd": {"momentum": _PART},
    "adagrad": {"lr_decay": _PART, "eps": _SMALL},
    "rmsprop": _RMSPROP,
    **{name: {} for name in _OF_BITSANDBYTES.split()},
}
# Schedules that follow the validation loss are none of them: see eval_steps below.
SCHEDULES = (
    *("linear", "cosine", "cosine_with_restarts", "polynomial", "constant"),
    *("constant_with_warmup", "inverse_sqrt", "cosine_with_min_lr"),
    *("cosine_warmup_with_min_lr", "warmup_stable_decay"),
)
_ROWS = Number(1, 4096, whole=True)
_SEED = Number(0, 2**32 - 1, whole=True)
_CHECKPOINTING = Allowed(FLAG)
# With the older form nothing is learned before the first trained weight.
_CHECKPOINTING_HOW = Allowed(NOT_REENTRANT)

ALLOWED = {
    # How long, and from how many rows a step.
    "num_train_epochs": Allowed(Number(0, 100_000, above=True), learned=True),
    "max_steps": Allowed(Number(1, 10**9, whole=True, also=(-1,)), learned=True),
    "per_device_train_batch_size": Allowed(_ROWS, learned=True),
    "gradient_accumulation_steps": Allowed(Number(1, 10**6, whole=True), learned=True),
    "auto_find_batch_size": Allowed(FLAG),
    # How a step is made.
    # However large: one at which the loss breaks stops the run there.
    "learning_rate": Allowed(Number(0, 1e30, above=True), learned=True),
    "lr_scheduler_type": Allowed(choice(SCHEDULES), learned=True),
    "lr_scheduler_kwargs": Allowed(NUMBERS, learned=True),
    "warmup_steps": Allowed(Number(0, 10**9, share=True), learned=True),
    "optim": Allowed(choice(OPTIMIZERS), learned=True),
    "optim_args": Allowed(NAME, learned=True),
    "weight_decay": Allowed(Number(0, 1), learned=True),
    "adam_beta1": Allowed(Number(0, 0.999999), learned=True),
    "adam_beta2": Allowed(Number(0, 0.999999), learned=True),
    "adam_epsilon": Allowed(Number(0, 1, above=True), learned=True),
    "max_grad_norm": Allowed(Number(0, 10**6), learned=True),
    "label_smoothing_factor": Allowed(Number(0, 0.999), learned=True),
    # In which numbers, and with how much memory.
    "bf16": Allowed(FLAG),
    "fp16": Allowed(FLAG),
    "tf32": Allowed(FLAG),
    "activation_checkpointing": _CHECKPOINTING,
    "activation_checkpointing_kwargs": _CHECKPOINTING_HOW,
    "gradient_checkpointing": _CHECKPOINTING,
    "gradient_checkpointing_kwargs": _CHECKPOINTING_HOW,
    # By which random numbers.
    "seed": Allowed(_SEED, learned=True),
    "data_seed": Allowed(_SEED, learned=True),
    # How rows are read.
    "dataloader_num_workers": Allowed(Number(0, 64, whole=True)),
    "dataloader_pin_memory": Allowed(FLAG),
    "dataloader_persistent_workers": Allowed(FLAG),
    "dataloader_prefetch_factor": Allowed(Number(1, 64, whole=True)),
    # When is validated, logged and saved. No choice of these may change what is learned.
    "eval_steps": Allowed(Number(0, 10**9, share=True, above=True)),
    "per_device_eval_batch_size": Allowed(_ROWS),
    # Where curves go.
    "report_to": Allowed(NAMES),
    "trackio_space_id": Allowed(NAME),
    # On which devices.
    "ddp_find_unused_parameters": Allowed(FLAG, strategy="ddp"),
    "ddp_bucket_cap_mb": Allowed(Number(1, 4096, whole=True), strategy="ddp"),
}
FIXED: dict[str, Any] = {
    "average_tokens_across_devices": True,
    "use_cache": False,
    "dataloader_in_order": True,
    "remove_unused_columns": False,
    "eval_strategy": "steps",
    "eval_on_start": False,
    "prediction_loss_only": True,
    "logging_strategy": "steps",
    "logging_first_step": False,
    "logging_nan_inf_filter": False,
    "include_num_input_tokens_seen": "no",
    "skip_memory_metrics": True,
    "disable_tqdm": True,
    "save_strategy": "steps",
    "load_best_model_at_end": False,
    "metric_for_best_model": "eval_loss",
    "greater_is_better": False,
    "restore_callback_states_from_checkpoint": False,
}
DERIVED = {
    "eval_steps": "logging_steps save_steps",
    "what a run keeps, the best weights and the last state": "save_total_limit",
    "the profile's and the approach's name": "output_dir run_name",
    "the package's name": "project",
    "the devices there are (CUDA_VISIBLE_DEVICES= hides the GPUs)": "use_cpu",
    "the launcher": "local_rank",
}
REFUSED = {
    "it belongs to optimizers that are none of those of 'optim'": "optim_target_modules",
    "its noise would be another in each approach": "neftune_noise_alpha",
    "validation computes as training does": "bf16_full_eval fp16_full_eval",
    "a compiled model is the same in no two approaches": (
        "torch_compile torch_compile_backend torch_compile_mode use_liger_kernel "
        "liger_kernel_config"
    ),
    "set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True in the environment instead": (
        "torch_empty_cache_steps"
    ),
    "on a processor a run is exact without, and elsewhere no test holds what it would change": (
        "full_determinism"
    ),
    "the processes that read ahead are those of the operating system's default": (
        "dataloader_multiprocessing_context"
    ),
    "every row counts, in training and in validation": "dataloader_drop_last",
    "what is learned is the answer of each row": "label_names",
    (
        "the rows of an epoch come in an order drawn from data_seed (or seed) and epoch, the same "
        "for any number of processes"
    ): "train_sampling_strategy length_column_name accelerator_config",
    "a run that goes on would see rows twice": "ignore_data_skip",
    "a run without a validation would have no best weights to keep": "eval_delay",
    "validation computes the loss and nothing else": (
        "eval_do_concat_batches eval_use_gather_object eval_accumulation_steps "
        "include_for_metrics batch_eval_metrics"
    ),
    "set TRANSFORMERS_VERBOSITY in the environment instead": (
        "log_level log_level_replica log_on_each_node"
    ),
    "a loss or gradient that is no number is found and named without": "debug",
    "a run that goes on would end in other weights": "save_only_model",
    "all machines write to one folder": "save_on_each_node",
    "a run that is told to stop saves its state without": "enable_jit_checkpoint",
    "the same call goes on from the last state by itself": "resume_from_checkpoint",
    "trackio's curves go to the Space of trackio_space_id, or stay here": (
        "trackio_bucket_id trackio_static_space_id"
    ),
    "how processes share the work is said under 'parallel' in the approach's config.yaml": (
        "ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout parallelism_config "
        "fsdp fsdp_config deepspeed"
    ),
    "training, validating and answering are the commands train and infer": (
        "do_train do_eval do_predict"
    ),
    "a run uploads nothing; publish it afterwards with `python -m musequest publish`": (
        "push_to_hub hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision"
    ),
    "keys stand in the environment or in .env alone": "hub_token",
}
# Every key: its values, or why it cannot be chosen.
ARGUMENTS: dict[str, Allowed | str] = {
    **ALLOWED,
    **{key: f"the same holds for every run ({str(value).lower()})" for key, value in FIXED.items()},
    **{key: f"it follows from {of}" for of, keys in DERIVED.items() for key in keys.split()},
    **{key: reason for reason, keys in REFUSED.items() for key in keys.split()},
}
# Names that the library is about to drop, and what it calls the same now.
RENAMED = {
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}


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
            raise MuseQuestError(
                f"{source}: unknown key '{key}'; the nearest known is '{nearest_of(key, ALLOWED)}'."
            )
        if isinstance(rule, str):
            raise MuseQuestError(
                f"{source}: the training setting '{key}' cannot be chosen: {rule}; remove it."
            )
        if value is not None and not rule.values.holds(value):
            shown = repr(value)
            shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
            raise MuseQuestError(f"{source}: '{key}' is {shown}; write {rule.values}.")
