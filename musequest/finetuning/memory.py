"""What a training run needs on a device and on a disk, in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .activations import Activations, RowShape
from .anatomy import anatomy_of, module_of
from .models import TUNINGS, of_shape
from .optimizer import MASTER_WEIGHTS
from .records import STEPS
from .run_config import RunConfig

# Bytes of optimizer state a trainable parameter, by a part of the optimizer's name; others keep
# two numbers in the parameter's own dtype. Adafactor keeps rows and columns only
# (arXiv:1804.04235); of bitsandbytes, 8-bit optimizers keep two bytes and their scales, and 32-bit
# ones whole numbers whatever the parameter's dtype. Paged ones move to the processor's memory.
# Master weights are 8-bit states and what rounding leaves over of a weight (optimizer.py).
OPTIMIZER_BYTES = {
    MASTER_WEIGHTS: 4.04,
    "sgd": 0.0,
    "adafactor": 0.02,
    "8bit": 2.04,
    "lion": 4.0,
    "32bit": 8.0,
}
PAGED = "paged_"
# PyTorch's own updates all weights in one go, for which each has a number more for a moment.
TOGETHER = "adamw_torch"
# One that takes weights to float32 has weight, gradient and sum of the largest so for a moment.
ONE_BY_ONE = 12
# Bytes of records, metrics, tracker's files, the tokenizer's share of a checkpoint: room for them
# while the run goes on, and, of a run that is done, a few times what the pocket demo's hold.
RECORDS, KEPT_RECORDS = 32 * 2**20, 2**19
MEMORIES: dict[str, Memory] = {}  # by all that decides them
BLOCK, BLOCKS = 64, 256  # weights that share a scale, and scales that share one (arXiv:2305.14314)


@dataclass(frozen=True)
class Written:
    """Bytes that a run writes: weights (an adapter's alone, if there is one) and state of a
    checkpoint, and the model merged of shards.

    Weights that are both the best and the last lie on the disk once, under two names; here they
    are counted as two.
    """

    weights: int
    state: int
    merged: int = 0

    @property
    def peak(self) -> int:
        """The most there is at a time.

        That is the last state, the best weights and the checkpoint being written; or, when shards
        are merged, the last state, the best shards, the whole of them in one file, and the model.
        """
        return 3 * self.weights + self.state + max(self.state, self.merged) + RECORDS

    @property
    def end(self) -> int:
        """The most that is left of a run that is done: the best weights and the last ones."""
        return self.weights + (self.merged or self.weights) + KEPT_RECORDS


@dataclass(frozen=True)
class Memory:
    """Bytes of one training run on one device.

    A step has two peaks. At the first all activations are kept, and no gradient is there yet
    unless several batches are accumulated; the backward pass lets go of activations as gradients
    come to be. At the second the optimizer works with all gradients and `scratch` of its own.
    """

    weights: int
    gradients: int
    optimizer: int
    scratch: int
    row: RowShape
    activations: Activations
    written: Written  # to the disk
    accumulates: bool = False
    # Where devices share weights: what a device gathers of them to compute, in full.
    gathered: int = 0

    @property
    def fixed(self) -> int:
        """What is needed whatever the batch."""
        return self.weights + self.optimizer + self.gradients + self.scratch

    def _beside(self, shares: int) -> int:
        """What lies beside the activations of a step."""
        kept = self.weights + self.optimizer + self.accumulates * self.gradients
        return kept // shares + (self.gathered if shares > 1 else 0)

    def total(self, rows: int, checkpointing: float, shares: int = 1) -> int:
        """Bytes of a step with `rows` rows; `shares` devices part weights and states evenly."""
        learning = rows * self.activations.of_row(self.row, checkpointing)
        return max(self.fixed // shares, self._beside(shares) + learning)


def memory_of(config: RunConfig, row: RowShape) -> Memory:
    """The memory of a run on rows of this shape, from configurations alone: no weight is loaded.

    It is counted once a process. Under mixed precision Accelerate shards the trained weights in
    float32 (`fsdp2_prepare_model`), so their gradients and states are float32 too, and so they are
    saved.
    """
    shape = config.base_config.to_json_string(), config.profile.dtype, config.profile.anatomy
    key = repr((*shape, config.approach, sorted(config.settings.items()), row))
    if key not in MEMORIES:
        MEMORIES[key] = _counted(config, row)
    return MEMORIES[key]


def _counted(config: RunConfig, row: RowShape) -> Memory:
    approach, optimizer = config.approach, config.optimizer
    sharded = approach.strategy == "fsdp"
    model = of_shape(config.profile)
    with torch.device("meta"):
        weights = whole = sum(p.nbytes for p in model.parameters())
        if approach.quantization:
            weights -= quantize(model, approach.quantization)
        model = TUNINGS[approach.tuning](model, approach)
    activations = config.activations(model)
    loaded = sum(p.nbytes for p in model.parameters())
    trainable = [p for p in model.parameters() if p.requires_grad]
    for parameter in trainable if sharded and config.autocast else ():
        parameter.data = parameter.data.float()
    weights += sum(p.nbytes for p in model.parameters()) - whole
    gradients, states = sum(p.nbytes for p in trainable), optimizer_bytes(trainable, optimizer)
    return Memory(
        # DDP sums gradients in buckets, which hold them once more (torch's own default).
        weights=weights + (gradients if approach.strategy == "ddp" else 0),
        gradients=gradients,
        optimizer=held_states(trainable, optimizer),
        scratch=scratch_bytes(trainable, optimizer),
        row=row,
        activations=activations,
        written=Written(
            weights=gradients if approach.tuning == "lora" else weights,
            state=states,
            merged=loaded if sharded else 0,
        ),
        accumulates=int(config.settings.get(STEPS, 1)) > 1,
        gathered=gathered_bytes(model, config) if sharded else 0,
    )


def gathered_bytes(model: PreTrainedModel, config: RunConfig) -> int:
    """What a process of FSDP has whole: what is in no layer, the layer at work, and the next."""
    anatomy = anatomy_of(model)
    layers = (f"{anatomy.layers}.", f"{anatomy.vision_layers}.")
    root = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(layers))
    layer = sum(p.numel() for p in model.get_submodule(f"{anatomy.layers}.0").parameters())
    return (root + 2 * layer) * config.itemsize


def quantize(model: nn.Module, quantization: dict[str, Any]) -> int:
    """Give an empty model the dtypes that one in few bits computes in; returns the bytes it saves.

    Weights in few bits stay as they are here. All else is float32, the vision model excepted
    (`models.add_adapter`), and a layer in few bits gives back the dtype that it is given
    (bitsandbytes' `Linear4bit`).
    """
    skipped = quantization.get("llm_int8_skip_modules") or anatomy_of(model).kept_whole
    quantized = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not any(part in name for part in skipped)
    ]
    own = {module.weight for module in quantized}
    seeing = set(module_of(model, "vision_model").parameters())
    for parameter in model.parameters():
        if parameter not in own and parameter not in seeing:
            parameter.data = parameter.data.float()
    bytes_a_weight = 1.0
    if quantization.get("load_in_4bit"):
        double = quantization.get("bnb_4bit_use_double_quant")
        bytes_a_weight = 0.5 + ((1 + 4 / BLOCKS) / BLOCK if double else 4 / BLOCK)
    for module in quantized:
        module.register_forward_hook(lambda _, given, made: made.to(given[0].dtype))
    return sum(w.nbytes - int(w.numel() * bytes_a_weight) for w in own)


def optimizer_bytes(trainable: list[nn.Parameter], optimizer: str) -> int:
    """Bytes of the optimizer's states, wherever they lie, by its name in TrainingArguments."""
    for mark, each in OPTIMIZER_BYTES.items():
        if mark in optimizer:
            return int(sum(p.numel() for p in trainable) * each)
    return 2 * sum(p.nbytes for p in trainable)


def held_states(trainable: list[nn.Parameter], optimizer: str) -> int:
    """Bytes of the optimizer's states that lie on the device: of a paged one none."""
    return 0 if optimizer.startswith(PAGED) else optimizer_bytes(trainable, optimizer)


def scratch_bytes(trainable: list[nn.Parameter], optimizer: str) -> int:
    """Bytes that the optimizer needs for a moment beside its states."""
    if optimizer == TOGETHER:
        return sum(p.nbytes for p in trainable)
    return ONE_BY_ONE * max(p.numel() for p in trainable) if optimizer == MASTER_WEIGHTS else 0
