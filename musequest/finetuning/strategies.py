"""The trainer of a run: its model, rows and callbacks, in the strategy that its approach chooses.

A parallel strategy changes which weights a process loads, and how a step computes:

none, ddp     the whole model; the library averages the gradients of several processes
sequential    one process, its model's layers on several devices, one working at a time
1f1b          a process a stage, each with its layers, all working at once
fsdp          a process a share of the rows, and a share of every weight

Of each decoder layer, and of each layer of the vision model, a process of `fsdp` holds one part in
as many as there are processes, with its gradients and optimizer states. Just before a layer
computes, the processes give each other their parts, and let go of them again behind it (Zhao et
al., 2023, https://arxiv.org/abs/2304.11277). Accelerate and `fully_shard` of torch do that.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import FullyShardedDataParallelPlugin, dispatch_model
from accelerate.utils import DistributedType, enable_fsdp_ram_efficient_loading
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedModel,
    PrinterCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer import FSDP_MODEL_NAME
from transformers.utils import logging as transformers_logging

from ..core.errors import MuseQuestError
from ..core.settings import STRATEGIES, Approach
from ..core.training_arguments import FIXED
from .anatomy import module_of
from .callbacks import Clock, ShowProgress, StopOnUnlearned, tracker_callbacks, tracker_settings
from .checkpoints import KeepBestAndLast, RunFolder, check_disk
from .collator import EncodedDialogs, FilledRows
from .distributed import local_world_size, rank
from .fitting import fit
from .gpus import devices_here
from .memory import memory_of
from .models import TUNINGS, load_model
from .optimizer import as_arguments
from .pipeline import PipelineTrainer, disable_data_parallel, load_stage
from .records import RECOMPUTE, ROWS, RunRecord
from .run_config import RunConfig
from .splitting import split
from .trainer import DocentTrainer

# Of the keys of `parallel` these are ours, the others FullyShardedDataParallelPlugin's.
OURS = {"strategy", *STRATEGIES["fsdp"]}
DEFAULTS = {
    "fsdp_version": 2,
    "auto_wrap_policy": "transformer_based_wrap",
    "state_dict_type": "SHARDED_STATE_DICT",
}
SHARDS = f"{FSDP_MODEL_NAME}_0"
WORKERS = "dataloader_num_workers"
MOST = 4  # of one process that trains; more are not faster than the GPU they feed
AHEAD = 2  # batches that each of them prepares ahead, as the library has it
SHARED_MEMORY = Path("/dev/shm")


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
    validation_rows = EncodedDialogs(config.validation_rows, config.collator)
    model = None if approach.parted else whole_model(config)
    fitted = record.fitted or fit(config, model)
    config = config.fitted(fitted)
    memory = memory_of(config, config.row)
    record.note(fitted=fitted, disk_needed_gib=check_disk(folder, memory.written))
    watchers = [Clock(), KeepBestAndLast(folder, record.asked), StopOnUnlearned()]
    watchers += tracker_callbacks(config.settings, folder.folder)
    if progress and rank() == 0:
        watchers.append(ShowProgress())
    arguments = _arguments(config, folder)
    prepare(approach)
    scaled = scale_learning_rate(arguments, approach)
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
    trainer.memory = memory
    trainer.rates = {part: rate * scaled for part, rate in profile.learning_rates.items()}
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
    efficient = (approach.parallel or {}).get("cpu_ram_efficient_loading")
    if approach.strategy == "fsdp" and efficient:
        enable_fsdp_ram_efficient_loading()


def whole_model(config: RunConfig, device: str | None = None) -> nn.Module:
    """The model as a single device trains it; the seed decides how an adapter begins."""
    quantization = config.approach.quantization
    model = load_model(config.profile, quantization=quantization, device=device)
    set_seed(config.settings["seed"])
    return TUNINGS[config.approach.tuning](model, config.approach)


def _of_strategy(config: RunConfig, model: nn.Module | None, **options: Any) -> DocentTrainer:
    """The trainer of the approach's strategy with the weights that this process needs.

    `model` is the whole one, None where it is parted over devices; `options` are those of the
    library's trainer.
    """
    if model is not None:
        return DocentTrainer(model=model, **options)
    strategy = config.approach.strategy
    if strategy == "fsdp":
        return ShardedTrainer(config, model=whole_model(config, "cpu"), **options)
    chosen = split(config, config.parted_over)
    if strategy == "1f1b":
        stage = load_stage(config, chosen, rank(), options["args"].device)
        trainer = PipelineTrainer(stage, chosen.micro_batches or 1, **options)
    else:
        model = whole_model(config, "cpu")
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


class ShardedTrainer(DocentTrainer):
    """The trainer of every approach, its model sharded when training begins."""

    plugin: FullyShardedDataParallelPlugin

    def __init__(self, config: RunConfig, **options: Any) -> None:
        self.mixed = config.autocast
        plugin = plugin_settings(config.approach, options["model"])
        if config.recompute is not None:
            plugin[RECOMPUTE] = config.recompute
        options["args"].fsdp_plugin_args = plugin
        super().__init__(**options)

    def _build_accelerator_args(self, **kwargs: Any) -> dict[str, Any]:
        """Gather weights in the dtype of mixed precision, sum gradients in float32.

        The library's own policy would also round losses to that dtype.
        """
        reduced = self.mixed and torch.float32
        policy = MixedPrecisionPolicy(param_dtype=self.mixed, reduce_dtype=reduced)
        self.plugin = kwargs["fsdp_plugin"]
        self.plugin.mixed_precision_policy = policy
        return super()._build_accelerator_args(**kwargs)

    def create_accelerator_and_postprocess(self) -> None:
        """Shard without GPUs too, where Accelerate falls back to whole copies."""
        super().create_accelerator_and_postprocess()
        state = self.accelerator.state
        if state.distributed_type == DistributedType.MULTI_CPU:
            state.distributed_type, state.fsdp_plugin = DistributedType.FSDP, self.plugin
            self.is_fsdp_enabled = True

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the configurations; the library writes the shards beside them."""
        if self.args.should_save:
            self.model.config.save_pretrained(output_dir or self.args.output_dir)
            self.model.generation_config.save_pretrained(output_dir or self.args.output_dir)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; a checkpoint that failed raises RuntimeError with what each process says of it.

        The library raises a BaseException, which passes by all who look after errors.
        """
        try:
            return super().train(*args, **kwargs)
        except CheckpointException as error:
            said = (f"rank {number}: {cause}" for number, (cause, _) in error.failures.items())
            raise RuntimeError("; ".join(said)) from error


def plugin_settings(approach: Approach, model: PreTrainedModel) -> dict[str, Any]:
    """Keys of FullyShardedDataParallelPlugin: ours, and those that the approach chooses."""
    chosen = {key: value for key, value in (approach.parallel or {}).items() if key not in OURS}
    lists = (module_of(model, part) for part in ("layers", "vision_layers"))
    wrapped = {"transformer_cls_names_to_wrap": [type(layers[0]).__name__ for layers in lists]}
    return {**DEFAULTS, **wrapped, **chosen}


def scale_learning_rate(arguments: TrainingArguments, approach: Approach) -> float:
    """Multiply the learning rate by the square root of the global batch over a given one.

    Returns the factor.

    The noise of a gradient falls with the root of the rows it is made of (Krizhevsky, 2014,
    https://arxiv.org/abs/1404.5997). `parallel.square_root_scaling_from` gives the rows a step for
    which the learning rate is meant; without it nothing is scaled.
    """
    meant_for = (approach.parallel or {}).get("square_root_scaling_from")
    if not meant_for:
        return 1.0
    rows = arguments.train_batch_size * arguments.gradient_accumulation_steps
    factor = math.sqrt(rows * arguments.world_size / meant_for)
    arguments.learning_rate *= factor
    return factor


def merge_shards(checkpoint: Path, dtype: str) -> None:
    """Make an ordinary model of a checkpoint's shards, in place; without shards, do nothing.

    The shards are removed when the model is there: a process killed in between merges them again.
    """
    shards = checkpoint / SHARDS
    if not shards.is_dir():
        return
    with tempfile.TemporaryDirectory(dir=checkpoint.parent) as folder:
        whole = Path(folder) / "model.pt"
        dcp_to_torch_save(shards, whole)
        weights = torch.load(whole, mmap=True, weights_only=True)["model"]
        config = AutoConfig.from_pretrained(checkpoint)
        dtype = config.dtype if dtype == "auto" else getattr(torch, dtype)
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
        model.load_state_dict({n: w.to(dtype) for n, w in weights.items()}, assign=True)
        model.generation_config = GenerationConfig.from_pretrained(checkpoint)
        model.save_pretrained(checkpoint)
    shutil.rmtree(shards)


def loader_settings(
    settings: dict[str, Any], row: Mapping[str, torch.Tensor], device: torch.device
) -> dict[str, Any]:
    """Keys of TrainingArguments for reading ahead, where the settings leave that open.

    A photo of 800 px takes a processor core about as long to encode as a large GPU to learn from.
    Batches come through shared memory, of which containers may have little: `row`, the largest one,
    says what they take. On a processor, whose cores all compute, nothing is read ahead.
    """
    if device.type != "cuda" or settings.get(WORKERS) is not None:
        return {}
    together = local_world_size()
    batch = int(settings.get(ROWS, 8)) * sum(tensor.nbytes for tensor in row.values())
    counted = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if counted else os.cpu_count() or 1
    room = shutil.disk_usage(SHARED_MEMORY).free // 2 if SHARED_MEMORY.is_dir() else 0
    workers = min(MOST, cores // together - 1, room // (together * AHEAD * batch))
    return {WORKERS: workers, "dataloader_persistent_workers": True} if workers > 0 else {}
