"""How many bytes a training step keeps for its backward pass, found without a weight or a GPU.

The model's own code runs on fake tensors, which have shapes but no contents, and what autograd
would save is counted (`torch.autograd.graph.saved_tensors_hooks`). So it holds for any model of
the family, any adapter and any dtype, and is not a formula that would have to follow them. Text
models of one and of two layers suffice: layers are alike, and all memory grows with the tokens.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForImageTextToText, PretrainedConfig

# Few, for the mask of a padded batch grows with the square of its tokens: beside all else it is
# next to nothing in a large model, and would be much in a small one.
PROBED = 32


@dataclass(frozen=True)
class RowShape:
    """One training row as the model sees it: text and image tokens, photos, patches a photo."""

    tokens: int
    photos: int
    patches: int


@dataclass(frozen=True)
class Activations:
    """Bytes kept for the backward pass: a token in a layer, a token elsewhere, a patch, a photo.

    `boundary` is what a token keeps of a layer whose activations are computed again; `logits` what
    the backward pass adds for a token at the head: its float32 gradient and that in the weights'
    dtype.
    """

    layers: int
    layer: float
    rest: float
    patch: float
    photo: float
    boundary: int
    logits: int

    def of_row(self, row: RowShape, checkpointing: bool) -> int:
        """Bytes at the peak of one row's step, by default or with gradient checkpointing."""
        kept = self.layers * (self.boundary if checkpointing else self.layer)
        recomputed = self.layer if checkpointing else 0.0
        a_token = kept + recomputed + self.rest + self.logits
        a_photo = row.patches * self.patch + self.photo
        return int(row.tokens * a_token + row.photos * a_photo)


def probe(
    config: PretrainedConfig,
    tune: Callable[[nn.Module], nn.Module],
    dtype: torch.dtype,
    autocast: torch.dtype | None = None,
) -> Activations:
    """Count what training would keep of a model of this configuration, tuned by `tune`."""
    text = config.get_text_config()
    one, two = (_shallow(config, layers, tune, dtype) for layers in (1, 2))
    width, embedded = text.hidden_size, one.get_input_embeddings().weight.dtype
    with FakeTensorMode():
        for model in (one, two):
            _make_fake(model)
        shallow, deeper = (_a_token(model, width, embedded, autocast) for model in (one, two))
        side = config.vision_config.image_size // config.vision_config.patch_size
        small, large = (
            _kept_bytes(one, lambda m, seen=seen: _connect(m, seen), autocast)
            for seen in (
                torch.empty(1, each * each, config.vision_config.hidden_size, dtype=dtype)
                for each in (side, 2 * side)
            )
        )
        patch = (large - small) / (3 * side * side)
    item = dtype.itemsize
    return Activations(
        layers=text.num_hidden_layers,
        layer=deeper - shallow,
        rest=2 * shallow - deeper,
        patch=patch,
        photo=small - patch * side * side,
        boundary=width * embedded.itemsize,
        logits=text.vocab_size * (4 + item),
    )


def _a_token(
    model: nn.Module, width: int, dtype: torch.dtype, autocast: torch.dtype | None
) -> float:
    """What one token more adds: what is kept once, such as weights that autocast cast, is not."""
    few, more = (
        _kept_bytes(model, partial(_read, tokens, labels), autocast)
        for tokens, labels in (
            (torch.empty(1, count, width, dtype=dtype), torch.zeros(1, count, dtype=torch.long))
            for count in (PROBED // 2, PROBED)
        )
    )
    return 2 * (more - few) / PROBED


def _read(tokens: torch.Tensor, labels: torch.Tensor, model: nn.Module) -> Any:
    return model(inputs_embeds=tokens, labels=labels, use_cache=False)


def _shallow(
    config: PretrainedConfig,
    layers: int,
    tune: Callable[[nn.Module], nn.Module],
    dtype: torch.dtype,
) -> nn.Module:
    """The tuned model on the meta device with few layers, in training mode."""
    config = copy.deepcopy(config)
    config.get_text_config().num_hidden_layers = layers
    if getattr(config.get_text_config(), "layer_types", None):
        config.get_text_config().layer_types = config.get_text_config().layer_types[:layers]
    config.vision_config.num_hidden_layers = 1
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
        return tune(model).train()


def _make_fake(model: nn.Module) -> None:
    """Put fake tensors of the processor in place of those of the meta device.

    On the processor attention takes its fused kernel, which keeps what the one on a GPU keeps; on
    the meta device it would keep the whole matrix. Dropout keeps a byte a number, as on a GPU.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.forward = partial(_dropout, module.p)
        for name, held in module._parameters.items():
            if held is not None:
                fake = torch.empty(held.shape, dtype=held.dtype)
                module._parameters[name] = nn.Parameter(fake, requires_grad=held.requires_grad)
        for name, held in module._buffers.items():
            if held is not None:
                module._buffers[name] = torch.empty(held.shape, dtype=held.dtype)


def _dropout(share: float, values: torch.Tensor) -> torch.Tensor:
    return torch.native_dropout(values, share, train=True)[0]


def _kept_bytes(
    model: nn.Module, forward: Callable[[nn.Module], Any], autocast: torch.dtype | None
) -> int:
    """Bytes of the storages that `forward` saves for its backward pass, parameters left out."""
    kept: dict[int, torch.UntypedStorage] = {}
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    mixed = torch.autocast("cpu", dtype=autocast, enabled=autocast is not None)
    with mixed, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward(model)
        size = sum(storage.nbytes() for storage in kept.values())
        del result
    return size


def _connect(model: nn.Module, seen: torch.Tensor) -> torch.Tensor:
    """The connector alone: what it sees of one photo, (1, patches, width), becomes image tokens."""
    connector = next(
        module for name, module in model.named_modules() if name.split(".")[-1] == "connector"
    )
    options = {}
    if "attention_mask" in inspect.signature(connector.forward).parameters:
        options["attention_mask"] = torch.ones(seen.shape[:2], dtype=torch.bool)
    return connector(seen, **options)
