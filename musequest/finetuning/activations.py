"""What autograd keeps for the backward pass of each part of a model, counted without computing.

Shapes alone are passed through an empty model, one that has no memory, and the bytes of all tensors
that autograd would keep are added up.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..settings import Approach, Profile
from .models import TUNINGS, freeze_vision, model_config, weights_dtype

FUSED = "musequest_fused"
EMBEDDINGS = "model.text_model.embed_tokens"


@dataclass(frozen=True)
class Load:
    """What one optimizer step holds at once: rows, tokens a row, photos, patches a photo."""

    rows: int
    tokens: int
    photos: int
    patches: int

    @classmethod
    def of(cls, batch: Mapping[str, torch.Tensor], patch_size: int) -> Load:
        """The load of a batch as the collator makes it; `patch_size` in pixels."""
        rows, tokens = batch["input_ids"].shape
        photos, _, height, width = batch["pixel_values"].shape[1:]
        return cls(rows, tokens, rows * photos, (height // patch_size) * (width // patch_size))


def empty_model(profile: Profile, approach: Approach) -> PreTrainedModel:
    """The profile's model with the approach's parameters trainable, all of it without memory."""
    config, dtype = model_config(profile), weights_dtype(profile)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    freeze_vision(model)
    return TUNINGS[approach.tuning](model, approach)


def named_parts(model: PreTrainedModel) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules of the parts that hold all parameters, in order."""
    inner, text = model.model, model.model.text_model
    yield "model.vision_model", inner.vision_model
    yield "model.connector", inner.connector
    yield EMBEDDINGS, text.embed_tokens
    for number, layer in enumerate(text.layers):
        yield f"model.text_model.layers.{number}", layer
    yield "model.text_model.norm", text.norm
    yield "lm_head", model.lm_head


def activations(model: PreTrainedModel, load: Load, checkpointing: bool) -> dict[str, int]:
    """Bytes that autograd keeps for each part, counted while shapes alone pass through it.

    The frozen vision model keeps none. The gradient of the logits is as large as what the head
    keeps and is held with it, so the head counts twice. Weights are no activations.
    """
    text, vision, dtype = model.config.get_text_config(), model.config.vision_config, model.dtype
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[str, int] = {}

    def saved(forward: Callable[[], Any]) -> int:
        return _saved_bytes(forward, weights)

    with _fused_attention(model), torch.device("meta"):
        for name, module in named_parts(model):
            shape = (load.rows, load.tokens, text.hidden_size)
            hidden = torch.empty(shape, dtype=dtype, requires_grad=True)
            if name == "model.connector":
                seen = torch.empty(load.photos, load.patches, vision.hidden_size, dtype=dtype)
                kept[name] = saved(lambda part=module, x=seen: _connect(part, x))
            elif ".layers." in name and checkpointing:
                kept[name] = hidden.nbytes
            elif ".layers." in name:
                turns = model.model.text_model.rotary_emb(hidden, torch.arange(load.tokens)[None])
                kept[name] = saved(
                    lambda part=module, x=hidden, turns=turns: part(x, position_embeddings=turns)
                )
            elif name == "model.text_model.norm":
                kept[name] = saved(lambda part=module, x=hidden: part(x))
            elif name == "lm_head":
                kept[name] = 2 * saved(lambda x=hidden: _head_loss(model, x))
    return kept


def _connect(connector: nn.Module, seen: torch.Tensor) -> torch.Tensor:
    """Pass (photos, patches, width) through a connector, with a mask where it takes one."""
    if "attention_mask" in inspect.signature(connector.forward).parameters:
        return connector(seen, attention_mask=torch.ones(seen.shape[:2], dtype=torch.bool))
    return connector(seen)


def _head_loss(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    labels = torch.zeros(hidden.shape[:2], dtype=torch.long)
    size = model.config.get_text_config().vocab_size
    return model.loss_function(model.lm_head(hidden), labels, vocab_size=size)


def _saved_bytes(forward: Callable[[], Any], weights: set[int]) -> int:
    """Bytes of all distinct tensors that autograd keeps while `forward` runs, weights left out."""
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()
    del result
    return sum(storage.nbytes() for storage in kept.values())


class _FusedMemory(torch.autograd.Function):
    """Keeps what a fused attention kernel keeps: queries, keys, values, output, log-sums."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Any:
        out, sums = torch.empty_like(query), query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, sums)
        return out


def _fused_shapes(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: Any,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention by shape: (batch, heads, tokens, width) in, (batch, tokens, heads, width) out."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, dim=1) if groups > 1 else x for x in (key, value))
    return _FusedMemory.apply(query, key, value).transpose(1, 2).contiguous(), None


@contextmanager
def _fused_attention(model: PreTrainedModel) -> Iterator[None]:
    """Count with a fused kernel while the block runs: without a GPU torch would take another."""
    before = model.config._attn_implementation
    ALL_ATTENTION_FUNCTIONS.register(FUSED, _fused_shapes)
    model.set_attn_implementation(FUSED)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
