"""The frozen vision tower: every photo is seen without padding or gradients, and only once.

While the tower learns nothing, what it makes of a photo never changes. So `freeze_vision` has each
photo cut to its real size, that attention needs no mask, and keeps the outcome in a `VisionStore`,
from where later epochs, the validation, other approaches, the evaluation and retrieval read it.

The connector behind the tower is trained, and so is computed in every step. So is a tower that
holds its connector, is given patches in place of pictures, or is asked for another layer than its
last; no gradients pass through its layers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch.distributed.fsdp import FSDPModule
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .anatomy import anatomy_of, inner
from .distributed import all_gather
from .vision_store import VisionStore, seconds_when_done

# Numbers of photos that go through the tower at a time: two of 800 px, or many small ones.
AT_ONCE = 4 * 2**20


def freeze_vision(model: nn.Module, folder: Path | None = None, most_gib: float = 0.0) -> None:
    """No gradients for the vision model, nor through it, and eval mode while the rest is training.

    Else, where activations are recomputed, the library has its photos learn too, and all its layers
    keep what that takes (`enable_input_require_grads`). A connector that is a part of it may learn.
    What it makes of photos is kept in a `folder` of at most `most_gib` GiB. All of this ends where
    something in it is made trainable afterwards, as by an adapter that names its modules.
    """
    module = vision_model(model)
    module.requires_grad_(False)
    module.register_forward_pre_hook(_stay_in_eval_mode)
    if next(module.parameters(), None) is None:  # another process has it
        return
    if takes_patches(module) or anatomy_of(model).connector_in_vision:
        for layer in inner(model).get_submodule(anatomy_of(model).vision_layers):
            layer.forward = FrozenLayer(layer)
        return
    store = VisionStore(module, folder, most_gib) if folder and most_gib else None
    module.forward = FrozenTower(module, store)


def vision_model(model: nn.Module) -> nn.Module:
    """The part that sees the photo."""
    return inner(model).get_submodule(anatomy_of(model).vision_model)


def store_of(model: nn.Module) -> VisionStore | None:
    """Where the model's vision tower keeps what it saw, if it does."""
    module = vision_model(model)
    frozen = getattr(module, "_old_forward", module.forward)  # behind a hook of Accelerate's
    return frozen.store if isinstance(frozen, FrozenTower) else None


def takes_patches(module: nn.Module) -> bool:
    """Whether a vision model is given photos as patches behind each other, and not as pictures."""
    return "pixel_values" not in inspect.signature(module.forward).parameters


class FrozenLayer:
    """Takes the place of a layer's `forward`: no gradients pass while nothing in it learns."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer, self.forward = layer, layer.forward

    def __call__(self, *given: Any, **options: Any) -> Any:
        """What the layer makes of it."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns(self.layer)):
            return self.forward(*given, **options)


def learns(module: nn.Module) -> bool:
    """Whether any of the module's parameters is trainable."""
    return any(parameter.requires_grad for parameter in module.parameters())


def _stay_in_eval_mode(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    if not learns(module):
        module.eval()


class FrozenTower:
    """Takes the place of a vision model's `forward`."""

    def __init__(self, module: nn.Module, store: VisionStore | None) -> None:
        self.module, self.store = module, store
        self.forward: Callable[..., Any] = module.forward

    def __call__(
        self,
        pixel_values: torch.Tensor,
        patch_attention_mask: torch.Tensor | None = None,
        **options: Any,
    ) -> Any:
        """(photos, 3, height, width) -> last_hidden_state (photos, patches, width).

        `patch_attention_mask` (photos, rows, columns) is true where a photo is not padded. There
        the outcome is that of the library's forward; elsewhere it is zero.
        """
        learning, more = learns(self.module), options.get("output_hidden_states")
        if learning or more or not len(pixel_values) or pixel_values.ndim != 4:
            masks = () if patch_attention_mask is None else (patch_attention_mask,)
            with torch.set_grad_enabled(torch.is_grad_enabled() and learning):
                return self.forward(pixel_values, *masks, **options)
        own, device = _dtype(self.module), pixel_values.device.type
        # One in bfloat16 needs no autocast to bfloat16, which would only pass on float32.
        mixed = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) != own
        photos = list(pixel_values.to(own))
        patch, sizes, grid = self.module.config.patch_size, [], []
        if patch_attention_mask is not None:
            grid = list(patch_attention_mask.shape[1:])
            sides = (patch_attention_mask[:, :, 0].sum(1), patch_attention_mask[:, 0].sum(1))
            sizes = torch.stack(sides, dim=1).tolist()
            photos = [
                photo[:, : rows * patch, : columns * patch]
                for photo, (rows, columns) in zip(photos, sizes, strict=True)
            ]
        with torch.no_grad(), torch.autocast(device, enabled=mixed):
            seen = self._see(photos)
        if all(size == grid for size in sizes):
            return BaseModelOutputWithPooling(torch.stack(seen))
        padded = seen[0].new_zeros(len(seen), *grid, seen[0].shape[-1])
        for whole, patches, (rows, columns) in zip(padded, seen, sizes, strict=True):
            whole[:rows, :columns] = patches.view(rows, columns, -1)
        return BaseModelOutputWithPooling(padded.flatten(1, 2))

    def _see(self, photos: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What the tower makes of each photo, (patches, width): read, or computed and kept."""
        modules = list(self.module.modules())
        # An adapter may be switched off or scaled, which no weight tells.
        store = None if any(isinstance(each, BaseTunerLayer) for each in modules) else self.store
        start = seconds_when_done(photos[0])
        names = store.names(photos) if store else [str(place) for place in range(len(photos))]
        seen = store.read(names, photos[0].device) if store else {}
        if store and seen:
            store.reading.add(seconds_when_done(photos[0]) - start, len(seen))
        shown = dict(zip(names, photos, strict=True))
        groups = _groups({name: photo for name, photo in shown.items() if name not in seen})
        if any(isinstance(each, FSDPModule) for each in modules):
            # Each call gathers weights of all processes, so all make the same number of calls.
            most = max(all_gather(len(groups)))
            groups += [{names[0]: photos[0]}] * (most - len(groups))
        for group in groups:
            start = seconds_when_done(photos[0])
            made = self.forward(torch.stack([*group.values()])).last_hidden_state
            if torch.is_autocast_enabled(made.device.type):  # in which the connector begins
                made = made.to(torch.get_autocast_dtype(made.device.type))
            fresh = {name: each for name, each in zip(group, made, strict=True) if name not in seen}
            if store and fresh:
                store.computing.add(seconds_when_done(made) - start, len(fresh))
                store.keep(fresh)
            seen |= fresh
        return [seen[name] for name in names]


def _groups(photos: Mapping[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The photos by size, not too many together."""
    by_size: dict[torch.Size, list[str]] = {}
    for name, photo in photos.items():
        by_size.setdefault(photo.shape, []).append(name)
    groups = []
    for shape, names in by_size.items():
        together = max(1, AT_ONCE // shape.numel())
        for first in range(0, len(names), together):
            groups.append({name: photos[name] for name in names[first : first + together]})
    return groups


def _dtype(module: nn.Module) -> torch.dtype:
    """In which a tower's weights are, or compute if they are kept in few bits."""
    return next(p.dtype for p in module.parameters() if p.is_floating_point())
