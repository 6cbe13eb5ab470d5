"""What a parallel strategy changes: which weights a process loads, and how a step computes.

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
from transformers import PreTrainedModel, TrainingArguments

from ..errors import MuseQuestError
from ..settings import Approach, Profile
from .activations import Load, empty_model
from .collator import EncodedDialogs
from .fsdp import ShardedTrainer, scale_learning_rate
from .models import TUNINGS, load_model
from .pipeline import PipelineTrainer, seem_alone
from .planner import Plan, check_fits, parts_of, plan
from .ranks import rank, world_size
from .stages import load_stage
from .trainer import DocentTrainer

# Without several GPUs the layers are split over the processor, twice, to rehearse.
REHEARSED_DEVICES = 2


def strategy_of(approach: Approach) -> str | None:
    """The name of the approach's strategy, None for a single process on a single device."""
    return (approach.parallel or {}).get("strategy")


def prepare(approach: Approach) -> None:
    """What has to be so once the library knows of all processes, and before a model is loaded."""
    if strategy_of(approach) == "1f1b":
        seem_alone()
    if strategy_of(approach) == "fsdp":
        enable_fsdp_ram_efficient_loading()


def make_trainer(
    profile: Profile, approach: Approach, rows: EncodedDialogs, **options: Any
) -> DocentTrainer:
    """The trainer of the approach's strategy with the weights that this process needs.

    `rows` are those trained on, from which the memory of a step is foretold; `options` are those
    of the library's trainer.
    """
    arguments: TrainingArguments = options["args"]
    strategy = strategy_of(approach)
    scale_learning_rate(arguments, approach)
    if strategy not in ("sequential", "1f1b"):
        model = load_model(
            profile,
            quantization=approach.quantization,
            device="cpu" if strategy == "fsdp" else None,
        )
        model = TUNINGS[approach.tuning](model, approach)
        if strategy == "fsdp":
            return ShardedTrainer(approach, model=model, **options)
        return DocentTrainer(model=model, **options)
    number = world_size() if strategy == "1f1b" else len(devices_here())
    chosen = plan_for(profile, approach, rows, number, arguments)
    if strategy == "1f1b":
        stage = load_stage(profile, approach, chosen, rank(), arguments.device)
        trainer = PipelineTrainer(stage, approach.parallel["micro_batches"], **options)
    else:
        trainer = DocentTrainer(model=load_split(profile, approach, chosen), **options)
    trainer.plan = chosen
    return trainer


def plan_for(
    profile: Profile,
    approach: Approach,
    rows: EncodedDialogs,
    devices: int,
    arguments: TrainingArguments,
) -> Plan:
    """The split for the longest batch that the rows can make; MuseQuestError if it cannot fit."""
    model = empty_model(profile, approach)
    load = longest_load(rows, arguments.per_device_train_batch_size, model)
    micro_batches = approach.parallel.get("micro_batches")
    micro_batches = micro_batches if strategy_of(approach) == "1f1b" else None
    parts = parts_of(model, load, arguments.gradient_checkpointing)
    chosen = plan(parts, devices, micro_batches)
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(arguments.device).total_memory
        check_fits(chosen, [memory] * devices, parts, load.rows)
    return chosen


def longest_load(rows: EncodedDialogs, count: int, model: PreTrainedModel) -> Load:
    """The load of a batch of the `count` longest dialogs."""
    lengths = [len(dialog) for dialog in rows.rows["dialog"]]
    longest = sorted(range(len(lengths)), key=lengths.__getitem__)[-count:]
    batch = rows.collator([rows[index] for index in longest])
    return Load.of(batch, model.config.vision_config.patch_size)


def load_split(profile: Profile, approach: Approach, chosen: Plan) -> PreTrainedModel:
    """The model with its layers on several devices; what passes between them is moved along."""
    model = load_model(profile, device="cpu")
    model = TUNINGS[approach.tuning](model, approach)
    device_map = chosen.device_map(devices_here())
    return dispatch_model(model, device_map, force_hooks=True)


def devices_here() -> list[Any]:
    """The GPUs of this machine; without any, the processor in place of two, to rehearse."""
    if not torch.cuda.is_available():
        return ["cpu"] * REHEARSED_DEVICES
    number = torch.cuda.device_count()
    if number < REHEARSED_DEVICES:
        raise MuseQuestError(
            "Layers can be split over two GPUs or more, and here is one; choose 'full' instead."
        )
    return list(range(number))
