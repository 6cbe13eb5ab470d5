"""The trainer of a run: its model, rows and callbacks, in the strategy that its approach chooses.

A parallel strategy changes which weights a process loads, and how a step computes:

none, ddp     the whole model; the library averages the gradients of several processes
sequential    one process, its model's layers on several devices, one working at a time
1f1b          a process a stage, each with its layers, all working at once
fsdp          a process a share of the rows, and a share of every weight
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from accelerate import dispatch_model
from accelerate.utils import enable_fsdp_ram_efficient_loading
from torch import nn
from transformers import PreTrainedModel, PrinterCallback, TrainingArguments, set_seed
from transformers.utils import logging as transformers_logging

from ..creation.dataset import load_split
from ..errors import MuseQuestError
from ..settings import Approach, Profile
from ..training_arguments import FIXED
from .activations import empty_model, largest_row
from .batch_size import fit
from .callbacks import Clock, ShowProgress, StopOnBrokenLoss, StopOnUnlearned
from .checkpoints import KeepBestAndLast, RunFolder
from .collator import DocentCollator, EncodedDialogs
from .data_loading import FilledRows, loader_settings
from .disk import check_disk, written_by
from .distributed import rank
from .fsdp import ShardedTrainer, scale_learning_rate
from .memory import autocast_dtype
from .models import TUNINGS, default_device, load_model, load_processor, model_config
from .optimizer import as_arguments
from .pipeline import PipelineTrainer, disable_data_parallel, load_stage
from .planner import Plan
from .records import RECOMPUTE, RunRecord
from .splitting import devices_here, micro_batches_of, shares_here, split
from .trackers import tracker_callbacks, tracker_settings
from .trainer import DocentTrainer


def build_trainer(
    profile: Profile,
    approach: Approach,
    settings: dict[str, Any],
    folder: RunFolder,
    record: RunRecord,
    progress: bool = True,
) -> DocentTrainer:
    """The trainer of one run: model with its adapter, encoded rows, callbacks.

    What of the settings the device decides is noted in `record`, and taken from there if it is
    known already.
    """
    trackers = tracker_settings(settings, f"{profile.name}-{approach.name}")
    transformers_logging.disable_progress_bar()
    longest = model_config(profile).get_text_config().max_position_embeddings
    collator = DocentCollator(load_processor(profile), max_tokens=longest)
    train_rows = EncodedDialogs(load_split(profile.collection, "train"), collator)
    validation_rows = EncodedDialogs(load_split(profile.collection, "validation"), collator)
    model = None if approach.parted else whole_model(profile, approach, settings["seed"])
    fitted = record.fitted or fit(profile, approach, settings, model, collator, train_rows.rows)
    largest = collator.encode(largest_row(profile, train_rows.rows))
    loading = loader_settings({**settings, **fitted}, largest, torch.device(default_device()))
    saved = empty_model(profile, approach) if model is None else model
    written = written_by(saved, approach, {**settings, **fitted})
    record.note(fitted=fitted, disk_needed_gib=check_disk(folder, written))
    watchers = [Clock(), StopOnBrokenLoss(), KeepBestAndLast(folder, record.asked)]
    watchers += [StopOnUnlearned()]
    watchers += tracker_callbacks(settings, folder.folder)
    settings = {**settings, **fitted, **loading, **trackers, "auto_find_batch_size": False}
    approach, settings = _sharded_own(approach, settings)
    arguments = _arguments(settings, folder)
    prepare(approach)
    processes = arguments.world_size
    together = processes * arguments.per_device_train_batch_size if processes > 1 else 1
    train_rows = FilledRows(train_rows, together)
    together = processes * arguments.per_device_eval_batch_size if processes > 1 else 1
    validation_rows = FilledRows(validation_rows, together)
    trainer = make_trainer(
        profile,
        approach,
        train_rows.rows,
        model,
        args=arguments,
        data_collator=collator,
        train_dataset=train_rows,
        eval_dataset=validation_rows,
        callbacks=[*watchers, ShowProgress()] if progress and rank() == 0 else watchers,
    )
    trainer.remove_callback(PrinterCallback)
    learned_tokens = validation_rows.rows.learned_tokens()
    trainer.validation_tokens_a_row = learned_tokens / len(validation_rows)
    return trainer


def _sharded_own(approach: Approach, settings: dict[str, Any]) -> tuple[Approach, dict[str, Any]]:
    """Where weights are sharded, recomputing is a key of `parallel`, which excludes the other."""
    if approach.strategy != "fsdp" or settings.get(RECOMPUTE) is None:
        return approach, settings
    chosen = {**approach.parallel, RECOMPUTE: settings[RECOMPUTE]}
    return replace(approach, parallel=chosen), {**settings, RECOMPUTE: False}


def _arguments(settings: dict[str, Any], folder: RunFolder) -> TrainingArguments:
    every = settings["eval_steps"]
    derived = {"output_dir": str(folder.unfinished), "logging_steps": every, "save_steps": every}
    gpu = torch.cuda.is_available()
    # Without the second key, processes without a GPU would train each for itself.
    device = {"dataloader_pin_memory": gpu, "use_cpu": not gpu}
    try:
        arguments = TrainingArguments(**{**device, **as_arguments(settings), **FIXED, **derived})
    except (TypeError, ValueError) as error:
        raise MuseQuestError(
            f"transformers.TrainingArguments refuses the settings ({str(error).splitlines()[0]}); "
            "correct them in the profile, the approach's config.yaml or --set."
        ) from error
    # A process trains on one device: the library would copy the model to all GPUs it sees.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def prepare(approach: Approach) -> None:
    """What has to be so once the library knows of all processes, and before a model is loaded."""
    if approach.strategy == "1f1b":
        disable_data_parallel()
    if approach.strategy == "fsdp" and approach.parallel.get("cpu_ram_efficient_loading"):
        enable_fsdp_ram_efficient_loading()


def whole_model(profile: Profile, approach: Approach, seed: int) -> nn.Module:
    """The model as a single device trains it; `seed` decides how an adapter begins."""
    model = load_model(profile, quantization=approach.quantization)
    set_seed(seed)
    return TUNINGS[approach.tuning](model, approach)


def make_trainer(
    profile: Profile,
    approach: Approach,
    rows: EncodedDialogs,
    model: nn.Module | None,
    **options: Any,
) -> DocentTrainer:
    """The trainer of the approach's strategy with the weights that this process needs.

    `rows` are those trained on, from which the memory of a step is foretold; `model` is the whole
    one, None where it is parted over devices; `options` are those of the library's trainer.
    """
    arguments: TrainingArguments = options["args"]
    strategy = approach.strategy
    scale_learning_rate(arguments, approach)
    if model is not None:
        return DocentTrainer(model=model, **options)
    if strategy == "fsdp":
        model = TUNINGS[approach.tuning](load_model(profile, device="cpu"), approach)
        return ShardedTrainer(approach, model=model, **options)
    number = shares_here(approach)
    micro_batches = micro_batches_of(approach, number)
    count = arguments.per_device_train_batch_size
    checkpointing = bool(arguments.activation_checkpointing)
    mixed = autocast_dtype({"bf16": arguments.bf16, "fp16": arguments.fp16})
    chosen = split(profile, approach, rows, number, count, micro_batches, checkpointing, mixed)
    if strategy == "1f1b":
        stage = load_stage(profile, approach, chosen, rank(), arguments.device)
        trainer = PipelineTrainer(stage, micro_batches, **options)
    else:
        trainer = DocentTrainer(model=load_over_devices(profile, approach, chosen), **options)
    trainer.plan = chosen
    return trainer


def load_over_devices(profile: Profile, approach: Approach, chosen: Plan) -> PreTrainedModel:
    """The model with its layers on several devices; what passes between them is moved along."""
    model = load_model(profile, device="cpu")
    model = TUNINGS[approach.tuning](model, approach)
    untie_head(model)
    device_map = chosen.device_map(devices_here())
    return dispatch_model(model, device_map, force_hooks=True)


def untie_head(model: PreTrainedModel) -> None:
    """Give a head that shares the embeddings' weights a copy, for it lies on another device.

    Both are frozen, so they stay the same; what is saved holds the weights once, as before.
    """
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head.weight is not embeddings.weight:
        return
    head.weight = nn.Parameter(embeddings.weight.detach().clone(), requires_grad=False)
    model._keys_to_ignore_on_save |= model.all_tied_weights_keys.keys()
    # Else the library ties them again when a state is loaded.
    model._tied_weights_keys = None
