"""What a parallel strategy changes: which weights a process loads, and how a step computes.

none, ddp     the whole model; the library averages the gradients of several processes
sequential    one process, its model's layers on several devices, one working at a time
1f1b          a process a stage, each with its layers, all working at once
fsdp          a process a share of the rows, and a share of every weight
"""

from __future__ import annotations

from typing import Any

from accelerate import dispatch_model
from accelerate.utils import enable_fsdp_ram_efficient_loading
from torch import nn
from transformers import PreTrainedModel, TrainingArguments, set_seed

from ..settings import Approach, Profile
from .collator import EncodedDialogs
from .fsdp import ShardedTrainer, scale_learning_rate
from .models import TUNINGS, load_model
from .pipeline import PipelineTrainer, seem_alone
from .planner import Plan
from .ranks import rank
from .splitting import devices_here, micro_batches_of, shares_here, split
from .stages import load_stage
from .trainer import DocentTrainer


def prepare(approach: Approach) -> None:
    """What has to be so once the library knows of all processes, and before a model is loaded."""
    if approach.strategy == "1f1b":
        seem_alone()
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
    chosen = split(profile, approach, rows, number, count, micro_batches, checkpointing)
    if strategy == "1f1b":
        stage = load_stage(profile, approach, chosen, rank(), arguments.device)
        trainer = PipelineTrainer(stage, micro_batches, **options)
    else:
        trainer = DocentTrainer(model=load_split(profile, approach, chosen), **options)
    trainer.plan = chosen
    return trainer


def load_split(profile: Profile, approach: Approach, chosen: Plan) -> PreTrainedModel:
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
