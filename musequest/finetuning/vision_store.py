"""What the frozen vision tower made of photos, kept on disk under names that say of what.

    data/<collection>/vision/<tower>/<photo>.safetensors     (patches, width), as it was computed

<tower> is a digest of its weights and settings, <photo> one of the very pixels it is shown. So
another model, photo or processor only has other names, and nothing that is read can be out of date.
A file that is torn is computed and written anew; where the disk is full, may not be written, or is
slower than computing, photos are computed as if there were no store. All runs and processes share
it.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
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

from ..core.errors import LOGGER
from ..core.files import clear_temporaries, temporary_name
from .records import GIB, bytes_under, disk_gib

# Photos after which it is known whether reading is faster; by half, for writing costs time as well.
TRIED, WORTH = 8, 0.5
SHOWN = "patches"  # the tensor's name in a file
# Of a tower's settings those that say how it was saved, not what it computes.
OUTWARD = ("_name_or_path", "architectures", "dtype")
_INTEGERS = {2: torch.int16, 4: torch.int32}
_unkept: ContextVar[bool] = ContextVar("unkept", default=False)


@contextmanager
def unkept() -> Iterator[None]:
    """Of photos that are seen in the block nothing is written, for they are a visitor's."""
    before = _unkept.set(True)
    try:
        yield
    finally:
        _unkept.reset(before)


class Timed:
    """Seconds spent on photos, and the least that one took."""

    def __init__(self) -> None:
        self.photos, self.seconds, self.least = 0, 0.0, math.inf

    def add(self, seconds: float, photos: int) -> None:
        """Count `photos` that took `seconds` together."""
        self.photos, self.seconds = self.photos + photos, self.seconds + seconds
        self.least = min(self.least, seconds / photos)


class VisionStore:
    """What a tower made of photos, on disk: at most `most_gib` GiB, and half of what is free.

    It depends on all of the tower but its parts `apart`, such as a connector that is trained.
    """

    def __init__(
        self, tower: nn.Module, root: Path, most_gib: float, apart: tuple[str, ...] = ()
    ) -> None:
        self.tower, self.root, self.most = tower, root, int(most_gib * GIB)
        self.apart = tuple(f"{name}." for name in apart)
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
            str(getattr(module, "compute_dtype", None)) for _, module in self._own_modules()
        }
        sha256 = hashlib.sha256(repr(sorted(map(str, settings.items()))).encode())
        for name, held in _weights(self.tower):
            if name.startswith(self.apart):
                continue
            whole = held.full_tensor() if hasattr(held, "full_tensor") else held
            sha256.update(f"{name} {held.dtype} {[*held.shape]}".encode())
            # A copy: FSDP cannot let go of memory that numpy has seen.
            copied = whole.detach().cpu().flatten().clone()
            sha256.update(copied.view(torch.uint8).numpy())
        return self.root / sha256.hexdigest()[:32]

    def _own_modules(self) -> Iterator[tuple[str, nn.Module]]:
        for name, module in self.tower.named_modules():
            if not f"{name}.".startswith(self.apart):
                yield name, module

    def changing(self) -> bool:
        """Whether it learns, or has an adapter, which may be switched off or scaled unnoticed."""
        named = self.tower.named_parameters()
        return any(p.requires_grad and not name.startswith(self.apart) for name, p in named) or any(
            isinstance(module, BaseTunerLayer) for _, module in self._own_modules()
        )

    def names(self, photos: Sequence[torch.Tensor], sizes: Sequence[str]) -> list[str]:
        """Of each photo of that size the name of its file: its pixels, and what computes them."""
        device = photos[0].device.type
        mixed = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed else photos[0].dtype
        kind = f"{device}-{str(dtype).removeprefix('torch.')}"
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
                self.reading.add(seconds_when_done(self._read(name, device)) - start, 1)
        if self.reading.photos >= TRIED and self.computing.photos > TRIED:
            self.pays = self.reading.least < WORTH * self.computing.least
            if not self.pays:
                self.why_not = "does not pay"
                LOGGER.warning(
                    "The vision tower computes about as fast as its photos are read back, so no "
                    "more of them are kept."
                )

    def _make_room(self, size: int) -> None:
        """Note that nothing more is written if `size` bytes more would be too many.

        Before that, what other towers saw is removed, that which was written longest ago first.
        """
        if self._room is None:
            clear_temporaries(self.root)
            disk = shutil.disk_usage(next(p for p in (self.root, *self.root.parents) if p.exists()))
            held = bytes_under(self.root)
            self._room = min(self.most, (disk.free + held) // 2) - held
        if size > self._room:
            others: dict[Path, float] = {}
            for other in self.root.glob("*"):
                with suppress(FileNotFoundError):  # another process makes room too
                    others[other] = other.stat().st_mtime
            for other in sorted(others, key=others.__getitem__):
                if other != self.folder and size > self._room:
                    self._room += bytes_under(other)
                    shutil.rmtree(other, ignore_errors=True)
        if size > self._room:
            self.why_not = "is full"
            LOGGER.warning(
                "%s is full, so further photos are looked at again each time; vision_store_gib in "
                "the profile, or the disk's free space, bounds it.",
                self.root,
            )
        self._room -= size

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def figures(self) -> dict[str, Any]:
        """What run.json says of it; seconds are those of this process."""
        used = self.computing.photos + self.reading.photos > 0
        return {
            "photos": len([*self.folder.glob("*")]) if used else 0,
            "gib": disk_gib(self.folder) if used else 0.0,
            "photos_computed": self.computing.photos,
            "photos_read": self.reading.photos,
            "seconds_computing": round(self.computing.seconds, 3),
            "seconds_reading": round(self.reading.seconds, 3),
            "pays": self.pays,
            "stopped": self.why_not or None,
        }


def digests(tensors: Sequence[torch.Tensor]) -> list[str]:
    """Of each tensor 128 bits of its numbers, computed where it lies."""
    if tensors[0].device.type != "cpu":
        return sums(tensors)
    held = (tensor.detach().flatten().view(torch.uint8).numpy() for tensor in tensors)
    return [hashlib.blake2b(each, digest_size=16).hexdigest() for each in held]


def sums(tensors: Sequence[torch.Tensor]) -> list[str]:
    """Digests that a GPU is fast at.

    Two sums of the numbers' bits, each multiplied by a random one (universal hashing: Carter and
    Wegman, 1979, https://doi.org/10.1016/0022-0000(79)90044-8). That two different tensors of one
    shape have the same happens with a chance of at most 2 to the power of -66.
    """
    found = []
    for tensor in tensors:
        bits = tensor.contiguous().flatten()
        bits = bits.view(_INTEGERS[tensor.element_size()]).long()
        factors = _factors(1 << max(0, len(bits) - 1).bit_length(), tensor.device)[:, : len(bits)]
        found.append((bits * factors).sum(dim=1))
    return [
        "".join(f"{each & (1 << 64) - 1:016x}" for each in two)
        for two in torch.stack(found).tolist()
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


def seconds_when_done(tensor: torch.Tensor) -> float:
    """Seconds of a clock, once the tensor's GPU has done what it was told."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
    return time.perf_counter()
