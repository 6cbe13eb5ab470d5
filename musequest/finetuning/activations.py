"""How many bytes a training step keeps for its backward pass, found without a weight or a GPU.

The model's own code runs on fake tensors, which have shapes but no contents, and what autograd
would save is counted (`torch.autograd.graph.saved_tensors_hooks`). So it holds for any model, any
adapter and any dtype, and is not a formula that would have to follow them. Text models of one and
of two layers suffice: layers of a kind are alike, and all memory grows with the tokens. A connector
that cannot run on a photo of any size is estimated by its matrices.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import PretrainedConfig, PreTrainedModel

from ..core.settings import Approach, Profile
from .anatomy import Anatomy, anatomy_of, inner, module_of
from .models import TUNINGS, model_config, of_shape
from .vision import freeze_vision

# Few, for the mask of a padded batch grows with the square of its tokens: beside all else it is
# next to nothing in a large model, and would be much in a small one. Linear attention takes its
# tokens by 64.
PROBED, PROBED_LINEAR = 32, 256
LINEAR = "linear_attention"
SHORTENED = ("layers", "vision_model", "decoder")


@dataclass(frozen=True)
class RowShape:
    """One training row as the model sees it: text and image tokens, photos, patches a photo."""

    tokens: int
    photos: int  # crops included
    patches: int

    @classmethod
    def of(cls, encoded: Mapping[str, torch.Tensor], patch_size: int, rows: int = 1) -> RowShape:
        """The shape of an encoded row, or of each in a batch of `rows`; `patch_size` in pixels.

        Pixels are pictures, (..., 3, height, width), or rows of patches, (..., patches, numbers).
        """
        tokens, pixels = encoded["input_ids"].shape[-1], encoded["pixel_values"]
        if pixels.ndim < 4:
            return cls(tokens, 1, pixels.shape[:-1].numel() // rows)
        height, width = pixels.shape[-2:]
        patches = (height // patch_size) * (width // patch_size)
        return cls(tokens, pixels.shape[:-3].numel() // rows, patches)

    @classmethod
    def supposed(
        cls, profile: Profile, text_tokens: int, side: int | None = None, shown: int = 1
    ) -> RowShape:
        """The shape of a row with so much text, where there is no processor to encode one.

        It shows so many photos, squares of `side` pixels, or as large as the profile has them.
        """
        side = min(side or profile.image_size, profile.image_size)
        photos, patches, seen = photo_tokens(model_config(profile), side, profile.image_splitting)
        photos *= shown
        return cls(text_tokens + photos * (seen + 2), photos, patches)  # and a mark on each side


def photo_tokens(config: PretrainedConfig, side: int, splitting: bool) -> tuple[int, int, int]:
    """How a square photo of `side` pixels becomes tokens: photos, patches each, image tokens each.

    By the sizes that configurations give, where there is no processor to count. A photo is taken
    at its size, and with `splitting` in crops beside it; or in tiles, and once as a whole; or
    scaled to one size.
    """
    vision = config.vision_config
    patch, whole = (_one(getattr(vision, key, 0)) for key in ("patch_size", "image_size"))
    if latents := getattr(config, "perceiver_config", None):
        patches = (min(side, whole) // patch) ** 2
        return 5 if splitting else 1, patches, latents.resampler_n_latents
    if merged := getattr(vision, "spatial_merge_size", None):
        patches = (max(1, side // (patch * merged)) * merged) ** 2
        return 1, patches, patches // merged**2
    patches = (whole // patch) ** 2
    if tokens := getattr(config, "mm_tokens_per_image", None):
        return 1, patches, tokens
    shuffled = getattr(config, "scale_factor", None) or 1 / getattr(config, "downsample_ratio", 1)
    tiles = math.ceil(side / whole) ** 2
    photos = tiles + 1 if splitting and tiles > 1 else 1
    return photos, patches, patches // round(shuffled**2)


def patch_size_of(config: PretrainedConfig) -> int:
    """The side of a patch, in pixels."""
    return _one(config.vision_config.patch_size)


def _one(value: Any) -> int:
    """Of a size for each side, which are alike, one."""
    return value[0] if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Activations:
    """Bytes kept for the backward pass: a token in a layer, a token elsewhere, a patch, a photo.

    `layer` is the mean of all, `largest` that of the kind of layer that keeps most.
    `boundary` is what a token keeps of a layer whose activations are computed again; `logits` what
    the backward pass adds for a token at the head: its float32 gradient and that in the weights'
    dtype.
    """

    layers: int
    layer: float
    largest: float
    rest: float
    patch: float
    photo: float
    boundary: int
    logits: int

    def of_row(self, row: RowShape, checkpointing: float) -> int:
        """Bytes at the peak of one row's step, by default or with gradient checkpointing.

        `checkpointing` is the share of the layers that are computed again: 1, or True, for all.
        """
        again = math.floor(self.layers * checkpointing + 1e-9)
        kept = (self.layers - again) * self.of_layer(row.tokens, False)
        kept += again * self.of_layer(row.tokens, True)
        kept += self.recomputed(row.tokens) if again else 0.0
        connector = self.of_connector(row.photos, row.patches)
        return int(kept + self.of_head(row.tokens) + connector)

    def of_connector(self, photos: int, patches: int) -> float:
        """Bytes of `photos` with `patches` each."""
        return photos * (patches * self.patch + self.photo)

    def of_layer(self, tokens: int, checkpointing: bool) -> float:
        """Bytes of a decoder layer; with gradient checkpointing those of its input alone."""
        return tokens * (self.boundary if checkpointing else self.layer)

    def recomputed(self, tokens: int) -> float:
        """Bytes of the one layer at a time that is computed again for its backward pass."""
        return tokens * self.largest

    def of_head(self, tokens: int) -> float:
        """Bytes of the last norm, the head and the loss, with the gradients of the logits."""
        return tokens * (self.rest + self.logits)


def empty_model(profile: Profile, approach: Approach) -> PreTrainedModel:
    """The profile's model with the approach's parameters trainable, all of it without memory."""
    model = of_shape(profile)
    freeze_vision(model)
    return TUNINGS[approach.tuning](model, approach)


def count_activations(
    model: PreTrainedModel | PeftModel, autocast: torch.dtype | None = None
) -> Activations:
    """Count what training would keep of a tuned model, which may be one without memory.

    `autocast` is the dtype of mixed precision, if there is any.
    """
    text, vision = model.config.get_text_config(), model.config.vision_config
    anatomy, parts = anatomy_of(model), [module_of(model, part) for part in SHORTENED]
    dtype, layers = model.dtype, len(parts[0])
    kinds: list[str] = getattr(text, "layer_types", None) or ["alike"] * layers
    # Of each kind of layer the first that is not the very first.
    second = {kinds[0]: 0} | {kind: place for place, kind in reversed([*enumerate(kinds)][1:])}
    one = _shallow(model, parts, [0])
    twos = {kind: _shallow(model, parts, [0, place]) for kind, place in second.items()}
    with FakeTensorMode():
        for each in (one, *twos.values()):
            _make_fake(each)
        embedded = one.get_input_embeddings().weight.dtype
        probed = PROBED_LINEAR if LINEAR in kinds else PROBED
        shallow = _a_token(one, text.hidden_size, autocast, probed)
        of_kind = {
            kind: _a_token(two, text.hidden_size, autocast, probed) - shallow
            for kind, two in twos.items()
        }

        def of_photo(side: int) -> int:
            seen = torch.empty(1, side * side, vision.hidden_size, dtype=dtype)
            return _kept_bytes(one, lambda: _connect(one, anatomy, seen), autocast)

        try:
            side = vision.image_size // vision.patch_size
            small, large = of_photo(side), of_photo(2 * side)
        except (AttributeError, TypeError, ValueError, RuntimeError):
            patch, photo = _of_matrices(model, anatomy, vision.hidden_size, dtype), 0.0
        else:
            patch = (large - small) / (3 * side * side)
            photo = small - patch * side * side
    return Activations(
        layers=layers,
        layer=sum(of_kind[kind] for kind in kinds) / layers,
        largest=max(of_kind.values()),
        rest=shallow - of_kind[kinds[0]],
        patch=patch,
        photo=photo,
        boundary=text.hidden_size * embedded.itemsize,
        logits=text.vocab_size * (4 + dtype.itemsize),
    )


def _of_matrices(model: nn.Module, anatomy: Anatomy, width: int, dtype: torch.dtype) -> float:
    """Bytes that a patch keeps of a connector: what its matrices are given, and make.

    The first matrix says how many patches of this `width` become an image token.
    """
    connector = tuple(f"{name}." for name in anatomy.connector)
    shapes = [
        module.weight.shape
        for name, module in inner(model).named_modules()
        if f"{name}.".startswith(connector) and isinstance(module, nn.Linear)
    ]
    if not shapes:
        return 0.0
    joined = max(1, shapes[0][1] // width)
    return sum(map(sum, shapes)) * dtype.itemsize / joined


def _a_token(model: nn.Module, width: int, autocast: torch.dtype | None, probed: int) -> float:
    """What one token more adds: what is kept once, such as weights that autocast cast, is not."""
    dtype = model.get_input_embeddings().weight.dtype

    def of_tokens(count: int) -> int:
        labels = torch.zeros(1, count, dtype=torch.long)
        given = {"inputs_embeds": torch.empty(1, count, width, dtype=dtype), "labels": labels}
        return _kept_bytes(model, lambda: model(**given, use_cache=False), autocast)

    return 2 * (of_tokens(probed) - of_tokens(probed // 2)) / probed


def _shallow(model: nn.Module, parts: Sequence[Any], places: Sequence[int]) -> nn.Module:
    """A copy of the model in training, of its decoder layers these alone; it is shown no photo.

    `parts` are those of SHORTENED.
    """
    layers, vision, decoder = parts
    copies: dict[int, Any] = {id(vision): nn.Identity()}  # by what they are the copies of
    copies[id(layers)] = nn.ModuleList(copy.deepcopy(layers[place], copies) for place in places)
    copied = copy.deepcopy(model, copies)
    text = copies[id(decoder)].config
    text.num_hidden_layers = len(places)
    if getattr(text, "layer_types", None):
        text.layer_types = [text.layer_types[place] for place in places]
    return copied.train()


def _make_fake(model: nn.Module) -> None:
    """Put fake tensors of the processor in place of those of the meta device.

    On the processor attention takes its fused kernel, which keeps what the one on a GPU keeps; on
    the meta device it would keep the whole matrix. Dropout keeps a byte a number, as on a GPU.
    """
    drop_in_bytes(model)
    for module in model.modules():
        for name, held in module._parameters.items():
            if held is not None:
                fake = torch.empty(held.shape, dtype=held.dtype)
                module._parameters[name] = nn.Parameter(fake, requires_grad=held.requires_grad)
        for name, held in module._buffers.items():
            if held is not None:
                module._buffers[name] = torch.empty(held.shape, dtype=held.dtype)


class ByteDropout(nn.Dropout):
    """Dropout that keeps a byte a number for the backward pass on a processor, as on a GPU.

    There the library's keeps what the numbers were multiplied by. Those drawn are the same.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Of any shape; some of them become zero, the others larger."""
        if not (self.training and self.p):
            return values
        return torch.native_dropout(values, self.p, train=True)[0]


def drop_in_bytes(model: nn.Module) -> None:
    """Let the model's dropout be that of `ByteDropout`."""
    for module in model.modules():
        if type(module) is nn.Dropout:
            module.__class__ = ByteDropout


def _kept_bytes(model: nn.Module, forward: Callable[[], Any], autocast: torch.dtype | None) -> int:
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
        result = forward()
        size = sum(storage.nbytes() for storage in kept.values())
        del result
    return size


def _connect(model: nn.Module, anatomy: Anatomy, seen: torch.Tensor) -> torch.Tensor:
    """The connector alone: what it sees of one photo, (1, patches, width), becomes image tokens."""
    [name] = anatomy.connector
    connector = inner(model).get_submodule(name)
    options = {}
    if "attention_mask" in inspect.signature(connector.forward).parameters:
        options["attention_mask"] = torch.ones(seen.shape[:2], dtype=torch.bool)
    return connector(seen, **options)
