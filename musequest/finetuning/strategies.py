"""The trainer of a run: its model, rows and callbacks, in the strategy that its approach chooses.

A parallel strategy changes which weights a process loads, and how a step computes:

none, ddp     the whole model; the library averages the gradients of several processes
sequential    one process, its model's layers on several devices, one working at a time
1f1b          a process a stage, each with its layers, all working at once
fsdp          a process a share of the rows, and a share of every weight
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate import dispatch_model
from accelerate.utils import enable_fsdp_ram_efficient_loading
from torch import nn
from transformers import PreTrainedModel, PrinterCallback, TrainingArguments, set_seed
from transformers.utils import logging as transformers_logging

from ..creation.dataset import load_split
from ..errors import MuseQuestError
from ..settings import Approach
from ..training_arguments import FIXED
from .activations import empty_model
from .callbacks import Clock, ShowProgress, StopOnBrokenLoss, StopOnUnlearned
from .checkpoints import KeepBestAndLast, RunFolder
from .collator import EncodedDialogs
from .data_loading import FilledRows, loader_settings
from .disk import check_disk, written_by
from .distributed import rank
from .fsdp import ShardedTrainer, scale_learning_rate
from .memory import fit
from .models import TUNINGS, load_model
from .optimizer import as_arguments
from .pipeline import PipelineTrainer, disable_data_parallel, load_stage
from .records import RECOMPUTE, RunRecord
from .run_config import RunConfig
from .splitting import devices_here, shares_here, split
from .trackers import tracker_callbacks, tracker_settings
from .trainer import DocentTrainer


def build_trainer(
    config: RunConfig, folder: RunFolder, record: RunRecord, progress: bool = True
) -> DocentTrainer:
    """The trainer of one run: model with its adapter, encoded rows, callbacks.

    What of the settings the device decides is noted in `record`, and taken from there if it is
    known already.
    """
    profile, approach = config.profile, config.approach
    transformers_logging.disable_progress_bar()
    train_rows = EncodedDialogs(config.train_rows, config.collator)
    validation = load_split(profile.collection, "validation")
    validation_rows = EncodedDialogs(validation, config.collator)
    model = None if approach.parted else whole_model(config)
    fitted = record.fitted or fit(config, model)
    config = config.fitted(fitted)
    written = written_by(empty_model(profile, approach) if model is None else model, config)
    record.note(fitted=fitted, disk_needed_gib=check_disk(folder, written))
    watchers = [Clock(), StopOnBrokenLoss(), KeepBestAndLast(folder, record.asked)]
    watchers += [StopOnUnlearned(), *tracker_callbacks(config.settings, folder.folder)]
    if progress and rank() == 0:
        watchers.append(ShowProgress())
    arguments = _arguments(config, folder)
    prepare(approach)
    scale_learning_rate(arguments, approach)
    processes = arguments.world_size
    together = arguments.per_device_train_batch_size, arguments.per_device_eval_batch_size
    multiples = (processes * rows if processes > 1 else 1 for rows in together)
    train_rows, validation_rows = map(FilledRows, (train_rows, validation_rows), multiples)
    trainer = _of_strategy(
        config,
        model,
        args=arguments,
        data_collator=config.collator,
        train_dataset=train_rows,
        eval_dataset=validation_rows,
        callbacks=watchers,
    )
    trainer.remove_callback(PrinterCallback)
    learned_tokens = validation_rows.rows.learned_tokens()
    trainer.validation_tokens_a_row = learned_tokens / len(validation_rows)
    return trainer


def _arguments(config: RunConfig, folder: RunFolder) -> TrainingArguments:
    """The library's arguments: what is chosen, what the device allows, what all runs share."""
    settings, gpu = config.settings, torch.cuda.is_available()
    every = settings["eval_steps"]
    values = {
        # Without the second key, processes without a GPU would train each for itself.
        **{"dataloader_pin_memory": gpu, "use_cpu": not gpu},
        **as_arguments(settings),
        **loader_settings(settings, config.largest_row, config.device),
        **tracker_settings(settings, f"{config.profile.name}-{config.approach.name}"),
        **FIXED,
        **{"output_dir": str(folder.unfinished), "logging_steps": every, "save_steps": every},
        "auto_find_batch_size": False,
    }
    if config.approach.strategy == "fsdp":
        values[RECOMPUTE] = False  # which `parallel` says, and excludes the other
    try:
        arguments = TrainingArguments(**values)
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


def whole_model(config: RunConfig) -> nn.Module:
    """The model as a single device trains it; the seed decides how an adapter begins."""
    model = load_model(config.profile, quantization=config.approach.quantization)
    set_seed(config.settings["seed"])
    return TUNINGS[config.approach.tuning](model, config.approach)


def _of_strategy(config: RunConfig, model: nn.Module | None, **options: Any) -> DocentTrainer:
    """The trainer of the approach's strategy with the weights that this process needs.

    `model` is the whole one, None where it is parted over devices; `options` are those of the
    library's trainer.
    """
    profile, approach = config.profile, config.approach
    if model is not None:
        return DocentTrainer(model=model, **options)
    if approach.strategy == "fsdp":
        model = TUNINGS[approach.tuning](load_model(profile, device="cpu"), approach)
        return ShardedTrainer(config, model=model, **options)
    chosen = split(config, shares_here(approach))
    if approach.strategy == "1f1b":
        stage = load_stage(config, chosen, rank(), options["args"].device)
        trainer = PipelineTrainer(stage, chosen.micro_batches, **options)
    else:
        model = TUNINGS[approach.tuning](load_model(profile, device="cpu"), approach)
        untie_head(model)
        # What passes between the devices is moved along.
        model = dispatch_model(model, chosen.device_map(devices_here()), force_hooks=True)
        trainer = DocentTrainer(model=model, **options)
    trainer.plan = chosen
    return trainer


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
