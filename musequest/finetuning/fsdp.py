"""Fully sharded data parallel: each process reads its own rows and holds a share of every weight.

Of each decoder layer, and of each layer of the vision model, a process holds one part in as many as
there are processes, with its gradients and optimizer states. Just before a layer computes, the
processes give each other their parts, and let go of them again behind it (Zhao et al., 2023,
https://arxiv.org/abs/2304.11277). Accelerate and `torch.distributed.fsdp.fully_shard` do that.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.utils import DistributedType
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.fsdp import MixedPrecisionPolicy
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedModel,
    TrainingArguments,
)
from transformers.trainer import FSDP_MODEL_NAME

from ..settings import STRATEGIES, Approach
from .records import RECOMPUTE
from .run_config import RunConfig
from .trainer import DocentTrainer

# Of the keys of `parallel` these are ours, the others FullyShardedDataParallelPlugin's.
OURS = {"strategy", *STRATEGIES["fsdp"]}
DEFAULTS = {
    "fsdp_version": 2,
    "auto_wrap_policy": "transformer_based_wrap",
    "state_dict_type": "SHARDED_STATE_DICT",
}
SHARDS = f"{FSDP_MODEL_NAME}_0"


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
    chosen = {key: value for key, value in approach.parallel.items() if key not in OURS}
    wrapped = {"transformer_cls_names_to_wrap": layer_classes(model)}
    return {**DEFAULTS, **wrapped, **chosen}


def layer_classes(model: PreTrainedModel) -> list[str]:
    """The classes of the text model's decoder layers and of the vision model's encoder layers."""
    inner = model.model
    layers = (inner.text_model.layers[0], inner.vision_model.encoder.layers[0])
    return [type(layer).__name__ for layer in layers]


def scale_learning_rate(arguments: TrainingArguments, approach: Approach) -> None:
    """Multiply the learning rate by the square root of the global batch over a given one.

    The noise of a gradient falls with the root of the rows it is made of (Krizhevsky, 2014,
    https://arxiv.org/abs/1404.5997). `parallel.square_root_scaling_from` gives the rows a step for
    which the learning rate is meant; without it nothing is scaled.
    """
    meant_for = (approach.parallel or {}).get("square_root_scaling_from")
    if meant_for:
        rows = arguments.train_batch_size * arguments.gradient_accumulation_steps
        arguments.learning_rate *= math.sqrt(rows * arguments.world_size / meant_for)


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
