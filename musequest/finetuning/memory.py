"""What a training run needs on a device, in bytes, and how many rows fit beside its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, TrainingArguments

from ..hub import of_base_model
from ..settings import Approach, Profile
from .activations import Activations, RowShape, count_activations
from .distributed import local_world_size
from .models import TUNINGS, vision_models, weights_dtype
from .optimizer import MASTER_WEIGHTS
from .records import STEPS

# Of a device's memory: the rest is its context, kernels' workspace and what lies in gaps.
USABLE = 0.92
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
BLOCK, BLOCKS = 64, 256  # weights that share a scale, and scales that share one (arXiv:2305.14314)


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
    accumulates: bool = False

    @property
    def fixed(self) -> int:
        """What is needed whatever the batch."""
        return self.weights + self.optimizer + self.gradients + self.scratch

    @property
    def _kept(self) -> int:
        return self.weights + self.optimizer + self.accumulates * self.gradients

    def total(self, rows: int, checkpointing: bool, shares: int = 1) -> int:
        """Bytes of a step with `rows` rows; `shares` devices part weights and states evenly."""
        learning = rows * self.activations.of_row(self.row, checkpointing)
        return max(self.fixed // shares, self._kept // shares + learning)

    def fitting(self, available: int, checkpointing: bool, shares: int = 1) -> int:
        """The most rows whose step takes at most `available` bytes; 0 if not one does."""
        if available < self.fixed // shares:
            return 0
        room = available - self._kept // shares
        return max(0, room // self.activations.of_row(self.row, checkpointing))


def memory_of(
    profile: Profile, approach: Approach, settings: dict[str, Any], row: RowShape
) -> Memory:
    """The memory of one run, from configurations alone: no weight is loaded."""
    config = of_base_model(AutoConfig.from_pretrained, profile)
    dtype = weights_dtype(profile)

    optimizer = str(settings.get("optim", TrainingArguments.default_optim))
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
        weights = weight_bytes(model, approach.quantization)
        whole = sum(p.nbytes for p in model.parameters())
        model = TUNINGS[approach.tuning](as_quantized(model, approach.quantization), approach)
    activations = count_activations(model, autocast_dtype(settings))
    model = as_trained(model, approach, settings)
    added = sum(p.nbytes for p in model.parameters()) - whole
    trainable = [p for p in model.parameters() if p.requires_grad]
    return Memory(
        weights=weights + added,
        gradients=sum(p.nbytes for p in trainable),
        optimizer=0 if optimizer.startswith(PAGED) else optimizer_bytes(trainable, optimizer),
        scratch=scratch_bytes(trainable, optimizer),
        row=row,
        activations=activations,
        accumulates=int(settings.get(STEPS, 1)) > 1,
    )


def as_trained(model: nn.Module, approach: Approach, settings: dict[str, Any]) -> nn.Module:
    """The model, in which what a sharded run trains has the dtype that it is trained and saved in.

    Under mixed precision Accelerate shards the trained weights in float32 (`fsdp2_prepare_model`),
    so their gradients and states are float32 too.
    """
    if approach.strategy == "fsdp" and autocast_dtype(settings):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return model


def as_quantized(model: nn.Module, quantization: dict[str, Any] | None) -> nn.Module:
    """The model with the dtypes that one in few bits computes in, its own weights left as they are.

    All that is not in few bits is float32, the vision model excepted (`models.add_adapter`), and a
    layer in few bits gives back the dtype that it is given (bitsandbytes' `Linear4bit`).
    """
    if not quantization:
        return model
    quantized = _quantized(model, quantization)
    own = {module.weight for module in quantized}
    seeing = {p for module in vision_models(model) for p in module.parameters()}
    for parameter in model.parameters():
        if parameter not in own and parameter not in seeing:
            parameter.data = parameter.data.float()
    for module in quantized:
        module.register_forward_hook(lambda _, given, made: made.to(given[0].dtype))
    return model


def _quantized(model: nn.Module, quantization: dict[str, Any]) -> list[nn.Linear]:
    """The layers that bitsandbytes puts into few bits."""
    skipped = ["lm_head", *(quantization.get("llm_int8_skip_modules") or [])]
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not any(part in name for part in skipped)
    ]


def weight_bytes(model: nn.Module, quantization: dict[str, Any] | None) -> int:
    """Bytes of the weights as they are loaded, quantised where bitsandbytes does so."""
    total = sum(p.nbytes for p in model.parameters())
    if not quantization:
        return total
    each = 1.0
    if quantization.get("load_in_4bit"):
        double = quantization.get("bnb_4bit_use_double_quant")
        each = 0.5 + ((1 + 4 / BLOCKS) / BLOCK if double else 4 / BLOCK)
    for module in _quantized(model, quantization):
        total += int(module.weight.numel() * each) - module.weight.nbytes
    return total


def optimizer_bytes(trainable: list[nn.Parameter], optimizer: str) -> int:
    """Bytes of the optimizer's states, wherever they lie, by its name in TrainingArguments."""
    for mark, each in OPTIMIZER_BYTES.items():
        if mark in optimizer:
            return int(sum(p.numel() for p in trainable) * each)
    return 2 * sum(p.nbytes for p in trainable)


def scratch_bytes(trainable: list[nn.Parameter], optimizer: str) -> int:
    """Bytes that the optimizer needs for a moment beside its states."""
    if optimizer == TOGETHER:
        return sum(p.nbytes for p in trainable)
    return ONE_BY_ONE * max(p.numel() for p in trainable) if optimizer == MASTER_WEIGHTS else 0


def autocast_dtype(settings: dict[str, Any]) -> torch.dtype | None:
    """The dtype of mixed precision, if there is any."""
    if settings.get("bf16"):
        return torch.bfloat16
    return torch.float16 if settings.get("fp16") else None


def available_bytes(device: str) -> int:
    """Bytes that a process may take to train: of a GPU all but a reserve, else its share of what
    is free, for the processes of one machine share its memory.
    """
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory * USABLE)
    return int(psutil.virtual_memory().available * USABLE) // local_world_size()
