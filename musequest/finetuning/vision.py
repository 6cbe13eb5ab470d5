"""The frozen vision model: every photo is seen without padding or gradients, and only once.

While it learns nothing, what it makes of a photo never changes. So `freeze_vision` has each photo
cut to its real size, that attention needs no mask, and keeps the outcome in a `VisionStore`, from
where later epochs, the validation, other approaches, the evaluation and retrieval read it.

The connector is trained, and so is computed in every step. Where it is a part of the vision model,
what is kept of a photo is what the layers made from which it takes something.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.utils._pytree import tree_leaves
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..core.settings import PARTS
from .anatomy import anatomy_of, inner, module_of
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
    module = module_of(model, "vision_model")
    module.requires_grad_(False)
    module.register_forward_pre_hook(_stay_in_eval_mode)
    if next(module.parameters(), None) is None:  # another process has it
        return
    anatomy = anatomy_of(model)
    within = len(anatomy.vision_model) + 1  # letters, behind which names within it begin
    learning = tuple(name[within:] for name in anatomy.connector if anatomy.connector_in_vision)
    store = VisionStore(module, folder, most_gib, learning) if folder and most_gib else None
    if not learning and not takes_patches(module):
        module.forward = FrozenTower(module, store)
        return
    layers = module_of(model, "vision_layers")
    frozen = [FrozenLayer(layer) for layer in layers]
    if (
        store
        and {"hidden_states", "grid_thw"} <= inspect.signature(module.forward).parameters.keys()
    ):
        module.forward = FrozenPatches(module, store, frozen)


def store_of(model: nn.Module) -> VisionStore | None:
    """Where the model's vision tower keeps what it saw, if it does."""
    module = module_of(model, "vision_model")
    frozen = getattr(module, "_old_forward", module.forward)  # behind a hook of Accelerate's
    return frozen.store if isinstance(frozen, Frozen) else None


def seeing_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Those by which photos are seen: of the vision model, but not of a connector within it."""
    part_of, named = anatomy_of(model).part_of, inner(model).named_parameters()
    return [parameter for name, parameter in named if part_of(name) == PARTS[0]]


def takes_patches(module: nn.Module) -> bool:
    """Whether a vision model is given photos as patches behind each other, and not as pictures."""
    return "pixel_values" not in inspect.signature(module.forward).parameters


def learns(module: nn.Module) -> bool:
    """Whether any of the module's parameters is trainable."""
    return any(parameter.requires_grad for parameter in module.parameters())


def _stay_in_eval_mode(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    if not learns(module):
        module.eval()


class Frozen:
    """Takes the place of a vision model's `forward`, and looks at a photo once."""

    def __init__(self, module: nn.Module, store: VisionStore | None) -> None:
        self.module, self.store = module, store
        self.forward: Callable[..., Any] = module.forward

    @property
    def sharded(self) -> bool:
        """Whether its weights lie in several processes."""
        return any(isinstance(each, FSDPModule) for each in self.module.modules())

    def recall(
        self,
        photos: Mapping[str, torch.Tensor],
        compute: Callable[[dict[str, torch.Tensor]], torch.Tensor],
        store: VisionStore | None,
    ) -> dict[str, torch.Tensor]:
        """What is made of each photo: read, or else computed of those of one size, and kept."""
        name, photo = next(iter(photos.items()))
        start = seconds_when_done(photo)
        seen = store.read([*photos], photo.device) if store else {}
        if store and seen:
            store.reading.add(seconds_when_done(photo) - start, len(seen))
        groups = _groups({name: photo for name, photo in photos.items() if name not in seen})
        if self.sharded:
            # Each call gathers weights of all processes, so all make the same number of calls.
            groups += [{name: photo}] * (max(all_gather(len(groups))) - len(groups))
        for group in groups:
            start = seconds_when_done(photo)
            made = compute(group)
            fresh = {name: each for name, each in zip(group, made, strict=True) if name not in seen}
            if store and fresh:
                store.computing.add(seconds_when_done(made) - start, len(fresh))
                store.keep(fresh)
            seen |= fresh
        return seen


class FrozenTower(Frozen):
    """One that is given pictures, and holds no connector."""

    def __call__(
        self,
        pixel_values: torch.Tensor,
        patch_attention_mask: torch.Tensor | None = None,
        **options: Any,
    ) -> Any:
        """(photos, 3, height, width) -> last_hidden_state (photos, patches, width).

        `patch_attention_mask` (photos, rows, columns) is true where a photo is not padded. There
        the outcome is that of the library's forward; elsewhere it is zero. Hidden states are given
        where `output_hidden_states` says which by their numbers.
        """
        learning, states = learns(self.module), options.get("output_hidden_states") or ()
        states = (states,) if isinstance(states, int) else tuple(states)
        unusual = True in states or (states and patch_attention_mask is not None)
        if learning or unusual or not len(pixel_values) or pixel_values.ndim != 4:
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
            seen = self._see(photos, states)
        if states:
            last, *chosen = torch.stack(seen).unbind(1)
            hidden: list[Any] = [None] * (self.module.config.num_hidden_layers + 1)
            for number, state in zip(states, chosen, strict=True):
                hidden[number] = state
            return BaseModelOutputWithPooling(last, hidden_states=tuple(hidden))
        if all(size == grid for size in sizes):
            return BaseModelOutputWithPooling(torch.stack(seen))
        padded = seen[0].new_zeros(len(seen), *grid, seen[0].shape[-1])
        for whole, patches, (rows, columns) in zip(padded, seen, sizes, strict=True):
            whole[:rows, :columns] = patches.view(rows, columns, -1)
        return BaseModelOutputWithPooling(padded.flatten(1, 2))

    def _see(self, photos: Sequence[torch.Tensor], states: Sequence[int]) -> list[torch.Tensor]:
        """What the tower makes of each photo, (patches, width), or with `states` (..., of each)."""

        def compute(group: dict[str, torch.Tensor]) -> torch.Tensor:
            chosen = {"output_hidden_states": [*states]} if states else {}
            outcome = self.forward(torch.stack([*group.values()]), **chosen)
            made = outcome.last_hidden_state
            if states:
                made = torch.stack([made, *(outcome.hidden_states[n] for n in states)], dim=1)
            if torch.is_autocast_enabled(made.device.type):  # in which the connector begins
                made = made.to(torch.get_autocast_dtype(made.device.type))
            return made

        store = self.store if self.store and not self.store.changing() else None
        kind = "".join(f"-{number}" for number in states)
        sizes = [f"{photo.shape[1]}x{photo.shape[2]}{kind}" for photo in photos]
        names = (
            store.names(photos, sizes) if store else [str(place) for place in range(len(photos))]
        )
        shown = dict(zip(names, photos, strict=True))
        seen = self.recall(shown, compute, store)
        return [seen[name] for name in names]


class FrozenLayer:
    """Takes the place of a layer's `forward`: no gradients pass while nothing in it learns."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer, self.forward = layer, layer.forward
        self.instead: Callable[..., Any] | None = None  # of computing
        layer.forward = self

    def __call__(self, *given: Any, **options: Any) -> Any:
        """What the layer makes of it."""
        if self.instead:
            return self.instead(self, *given, **options)
        return self.compute(*given, **options)

    def compute(self, *given: Any, **options: Any) -> Any:
        """The same, whatever is told instead."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns(self.layer)):
            return self.forward(*given, **options)


class FrozenPatches(Frozen):
    """One that is given the patches of all photos behind each other, and holds its connector.

    Of a photo is kept what some of its layers made: those of which the connector, or whoever
    called, is given the outcome. With these its forward runs again, and no layer computes.
    """

    def __init__(
        self, module: nn.Module, store: VisionStore, layers: Sequence[FrozenLayer]
    ) -> None:
        super().__init__(module, store)
        self.layers = layers
        self.needed: list[FrozenLayer] = []

    def __call__(self, hidden_states: torch.Tensor, grid_thw: torch.Tensor, **options: Any) -> Any:
        """As the library's forward: (patches, numbers) of photos with grids (photos, 3)."""
        for layer in self.layers:
            layer.layer.train(self.module.training and learns(layer.layer))
        store = self.store
        unusual = options.get("output_hidden_states")
        if store is None or unusual or store.changing():
            return self.forward(hidden_states, grid_thw, **options)
        photos = hidden_states.split(grid_thw.prod(dim=1).tolist())
        names = store.names(photos, ["x".join(map(str, grid)) for grid in grid_thw.tolist()])
        grids = dict(zip(names, grid_thw, strict=True))
        self.needed = self.needed or self._find_needed(photos[0], grid_thw[:1], **options)

        def compute(group: dict[str, torch.Tensor]) -> torch.Tensor:
            made: dict[FrozenLayer, torch.Tensor] = {}

            def note(layer: FrozenLayer, *given: Any, **more: Any) -> torch.Tensor:
                made[layer] = layer.compute(*given, **more)
                return made[layer]

            patches, own = torch.cat([*group.values()]), [grids[name] for name in group]
            with torch.no_grad(), self._aside(note):
                self.forward(patches, torch.stack(own), **options)
            chosen = torch.stack([made[layer] for layer in self.needed])
            return chosen.unflatten(1, (len(group), -1)).transpose(0, 1)

        seen = self.recall(dict(zip(names, photos, strict=True)), compute, store)
        known = torch.cat([seen[name] for name in names], dim=1)  # (needed, patches, width)
        given = dict(zip(self.needed, known, strict=True))
        with self._instead(lambda layer, *_, **__: given.get(layer)):
            return self.forward(hidden_states, grid_thw, **options)

    def _find_needed(self, *given: Any, **options: Any) -> list[FrozenLayer]:
        """The layers of which more than the next layer is given the outcome.

        Where one of these gives no number, there is none in the end. Gradients would tell so at
        once, but those of shards end by parting the weights again, within a forward.
        """
        needed = []
        for lost in self.layers:

            def begin(
                layer: FrozenLayer, hidden: torch.Tensor, lost: FrozenLayer = lost, **_: Any
            ) -> torch.Tensor:
                return torch.full_like(hidden, math.nan if layer is lost else 0.0)

            with torch.no_grad(), self._aside(begin):
                made = tree_leaves(self.forward(*given, **options))
            if any(isinstance(each, torch.Tensor) and each.isnan().any() for each in made):
                needed.append(lost)
        return needed

    @contextmanager
    def _aside(self, instead: Callable[..., Any]) -> Iterator[None]:
        """The same, and what the connector draws for its dropout is not missed behind the block."""
        device = next(self.module.parameters()).device
        gpus = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(gpus), self._instead(instead):
            yield

    @contextmanager
    def _instead(self, instead: Callable[..., Any]) -> Iterator[None]:
        """What the layers do in the block."""
        for layer in self.layers:
            layer.instead = instead
        try:
            yield
        finally:
            for layer in self.layers:
                layer.instead = None


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
