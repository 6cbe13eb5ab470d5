"""The frozen vision tower: every photo is seen without padding or gradients, and only once.

While the tower learns nothing, what it makes of a photo never changes. So `freeze_vision` has each
photo cut to its real size, that attention needs no mask, and keeps the outcome on disk, from where
later epochs, the validation, other approaches, the evaluation and retrieval read it:

    data/<collection>/vision/<tower>/<photo>.safetensors     (patches, width), as it was computed

<tower> is a digest of its weights and settings, <photo> one of the very pixels it is shown. So
another model, photo or processor only has other names, and nothing that is read can be out of date.
A file that is torn is computed and written anew; where the disk is full, may not be written, or is
slower than computing, photos are computed as if there were no store. All runs and processes share
it. The connector behind the tower is trained, and so is computed in every step. So is a tower that
holds its connector, is given patches in place of pictures, or is asked for another layer than its
last; no gradients pass through its layers.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.distributed.fsdp import FSDPModule
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..core.errors import LOGGER
from ..core.files import clear_temporaries, temporary_name
from .anatomy import anatomy_of, inner
from .distributed import all_gather
from .records import GIB

# Numbers of photos that go through the tower at a time: two of 800 px, or many small ones.
AT_ONCE = 4 * 2**20
# Photos after which it is known whether reading is faster; by half, for writing costs time as well.
TRIED, WORTH = 8, 0.5
SHOWN = "patches"  # the tensor's name in a file
# Of a tower's settings those that say how it was saved, not what it computes.
OUTWARD = ("_name_or_path", "architectures", "dtype")
_INTEGERS = {2: torch.int16, 4: torch.int32}
_unkept: ContextVar[bool] = ContextVar("unkept", default=False)


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


def vision_store(model: nn.Module) -> VisionStore | None:
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


@contextmanager
def unkept() -> Iterator[None]:
    """Of photos that are seen in the block nothing is written, for they are a visitor's."""
    before = _unkept.set(True)
    try:
        yield
    finally:
        _unkept.reset(before)


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
        start = _now(photos[0])
        names = store.names(photos) if store else [str(place) for place in range(len(photos))]
        seen = store.read(names, photos[0].device) if store else {}
        if store and seen:
            store.reading.add(_now(photos[0]) - start, len(seen))
        shown = dict(zip(names, photos, strict=True))
        groups = _groups({name: photo for name, photo in shown.items() if name not in seen})
        if any(isinstance(each, FSDPModule) for each in modules):
            # Each call gathers weights of all processes, so all make the same number of calls.
            most = max(all_gather(len(groups)))
            groups += [{names[0]: photos[0]}] * (most - len(groups))
        for group in groups:
            start = _now(photos[0])
            made = self.forward(torch.stack([*group.values()])).last_hidden_state
            if torch.is_autocast_enabled(made.device.type):  # in which the connector begins
                made = made.to(torch.get_autocast_dtype(made.device.type))
            fresh = {name: each for name, each in zip(group, made, strict=True) if name not in seen}
            if store and fresh:
                store.computing.add(_now(made) - start, len(fresh))
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


class Timed:
    """Seconds spent on photos, and the least that one took."""

    def __init__(self) -> None:
        self.photos, self.seconds, self.least = 0, 0.0, math.inf

    def add(self, seconds: float, photos: int) -> None:
        """Count `photos` that took `seconds` together."""
        self.photos, self.seconds = self.photos + photos, self.seconds + seconds
        self.least = min(self.least, seconds / photos)


class VisionStore:
    """What a tower made of photos, on disk: at most `most_gib` GiB, and half of what is free."""

    def __init__(self, tower: nn.Module, root: Path, most_gib: float) -> None:
        self.tower, self.root, self.most = tower, root, int(most_gib * GIB)
        self.reading, self.computing = Timed(), Timed()
        self.pays: bool | None = None  # until it is known
        self.why_not = ""  # nothing more is written
        self._whole: set[str] = set()  # files whose bytes were seen to be those written
        self._room: int | None = None

    @functools.cached_property
    def folder(self) -> Path:
        """That of the tower's weights and settings; known once it is placed and quantised."""
        config = self.tower.config
        settings = {key: value for key, value in config.to_dict().items() if key not in OUTWARD}
        settings["attention"] = config._attn_implementation
        settings["compute_dtypes"] = {
            str(getattr(module, "compute_dtype", None)) for module in self.tower.modules()
        }
        sha256 = hashlib.sha256(repr(sorted(map(str, settings.items()))).encode())
        for name, held in _weights(self.tower):
            whole = held.full_tensor() if hasattr(held, "full_tensor") else held
            sha256.update(f"{name} {held.dtype} {[*held.shape]}".encode())
            # A copy: FSDP cannot let go of memory that numpy has seen.
            copied = whole.detach().cpu().flatten().clone()
            sha256.update(copied.view(torch.uint8).numpy())
        return self.root / sha256.hexdigest()[:32]

    def names(self, photos: Sequence[torch.Tensor]) -> list[str]:
        """Of each photo the name of its file, by its pixels and what it is computed in."""
        device = photos[0].device.type
        mixed = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed else photos[0].dtype
        kind = f"{device}-{str(dtype).removeprefix('torch.')}"
        sizes = (f"{photo.shape[1]}x{photo.shape[2]}" for photo in photos)
        return [f"{kind}-{size}-{key}" for size, key in zip(sizes, digests(photos), strict=True)]

    def read(self, names: Sequence[str], device: torch.device) -> dict[str, torch.Tensor]:
        """What is there of these names, if it is whole; nothing where reading does not pay."""
        found: dict[str, torch.Tensor] = {}
        for name in {} if self.pays is False else dict.fromkeys(names):
            with suppress(OSError, SafetensorError, ValueError):
                found[name] = self._read(name, device)
        return found

    def _read(self, name: str, device: torch.device) -> torch.Tensor:
        """What one file holds; ValueError if it is not what was written."""
        with safe_open(self._path(name), "pt", device=str(device)) as file:
            patches = file.get_tensor(SHOWN)
            if name not in self._whole and digests([patches]) != [file.metadata()["digest"]]:
                raise ValueError(name)
        self._whole.add(name)
        return patches

    def keep(self, made: Mapping[str, torch.Tensor]) -> None:
        """Write what was computed, unless there is no room, or reading it would not pay."""
        if self.why_not or _unkept.get():
            return
        try:
            for name, patches in made.items():
                self._make_room(patches.nbytes)
                if self.why_not:
                    break
                path = self._path(name)
                self.folder.mkdir(parents=True, exist_ok=True)
                temporary = temporary_name(path)
                try:
                    written = {SHOWN: patches.contiguous()}
                    save_file(written, temporary, {"digest": digests([patches])[0]})
                    os.replace(temporary, path)
                finally:
                    temporary.unlink(missing_ok=True)
        except (OSError, SafetensorError) as error:
            self.why_not = f"cannot be written ({str(error).splitlines()[0]})"
            LOGGER.warning(
                "%s %s, so photos are looked at again each time.", self.root, self.why_not
            )
        if self.pays is None and not self.why_not:
            self._try([*made][:TRIED], next(iter(made.values())).device)

    def _try(self, names: Sequence[str], device: torch.device) -> None:
        """Read back what was written, until it is known whether that is faster than computing."""
        for name in names:
            start = time.perf_counter()
            with suppress(OSError, SafetensorError, ValueError):
                self._whole.add(name)  # a file is checked once, and read many times
                self.reading.add(_now(self._read(name, device)) - start, 1)
        if self.reading.photos >= TRIED and self.computing.photos > TRIED:
            self.pays = self.reading.least < WORTH * self.computing.least
            if not self.pays:
                self.why_not = "does not pay"
                LOGGER.info("The vision tower computes about as fast as its photos are read back.")

    def _make_room(self, size: int) -> None:
        """Note that nothing more is written if `size` bytes more would be too many.

        Before that, what other towers saw is removed, that which was written longest ago first.
        """
        if self._room is None:
            clear_temporaries(self.root)
            disk = shutil.disk_usage(next(p for p in (self.root, *self.root.parents) if p.exists()))
            held = sum(map(_size, self.root.glob("*/*")))
            self._room = min(self.most, (disk.free + held) // 2) - held
        if size > self._room:
            for other in sorted(self.root.glob("*"), key=lambda path: path.stat().st_mtime):
                if other != self.folder and size > self._room:
                    self._room += sum(map(_size, other.glob("*")))
                    shutil.rmtree(other, ignore_errors=True)
        if size > self._room:
            self.why_not = "is full"
        self._room -= size

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def figures(self) -> dict[str, Any]:
        """What run.json says of it; seconds are those of this process."""
        used = self.computing.photos + self.reading.photos > 0
        files = [_size(path) for path in self.folder.glob("*")] if used else []
        return {
            "photos": len(files),
            "gib": round(sum(files) / GIB, 4),
            "photos_computed": self.computing.photos,
            "photos_read": self.reading.photos,
            "seconds_computing": round(self.computing.seconds, 3),
            "seconds_reading": round(self.reading.seconds, 3),
            "pays": self.pays,
            "stopped": self.why_not or None,
        }


def digests(tensors: Sequence[torch.Tensor]) -> list[str]:
    """Of each tensor 128 bits of its numbers, computed where it lies.

    Two sums of the numbers' bits, each multiplied by a random one (universal hashing: Carter and
    Wegman, 1979, https://doi.org/10.1016/0022-0000(79)90044-8). That two different tensors of one
    shape have the same happens with a chance of at most 2 to the power of -66.
    """
    sums = []
    for tensor in tensors:
        bits = tensor.contiguous().flatten()
        bits = bits.view(_INTEGERS[tensor.element_size()]).long()
        factors = _factors(1 << max(0, len(bits) - 1).bit_length(), tensor.device)[:, : len(bits)]
        sums.append((bits * factors).sum(dim=1))
    return [
        "".join(f"{each & (1 << 64) - 1:016x}" for each in two)
        for two in torch.stack(sums).tolist()
    ]


@functools.lru_cache(maxsize=4)
def _factors(count: int, device: torch.device) -> torch.Tensor:
    """(2, count) odd random numbers of 64 bits, always the same."""
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    drawn = np.random.default_rng(0).integers(low, high, (2, count), endpoint=True)
    return torch.from_numpy(drawn | 1).to(device)


def _weights(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers, with what bitsandbytes keeps beside those in few bits."""
    yield from module.named_buffers()
    for name, parameter in module.named_parameters():
        yield name, parameter
        if quantized := getattr(parameter, "quant_state", None):
            for key, held in quantized.as_dict(packed=True).items():
                yield f"{name}.{key}", held


def _dtype(module: nn.Module) -> torch.dtype:
    """In which a tower's weights are, or compute if they are kept in few bits."""
    return next(p.dtype for p in module.parameters() if p.is_floating_point())


def _now(tensor: torch.Tensor) -> float:
    """Seconds of a clock, once the tensor's GPU has done what it was told."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
    return time.perf_counter()


def _size(path: Path) -> int:
    """Bytes of a file; none if another process has removed it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
