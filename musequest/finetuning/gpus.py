"""The GPUs one can rent, what they hold, compute and cost, from gpus.yaml; and those here."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from ..core.errors import MuseQuestError
from ..core.keys import nearest_of, read_yaml
from .distributed import REHEARSAL, local_world_size
from .records import GIB

# Of a device's memory: the rest is its context, kernels' workspace and what lies in gaps.
USABLE = 0.92
BY_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*Gi?B", re.IGNORECASE)


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU; `gib` is all its memory. What is None is not known of it."""

    name: str
    gib: float
    bf16: bool
    bf16_tflops: float | None = None
    bandwidth_gb_s: float | None = None
    link_gb_s: float | None = None
    usd_an_hour: float | None = None
    priced: str | None = None  # year and month
    price: str | None = None  # paid, or on a renter's list
    also: tuple[str, ...] = ()

    @property
    def usable_bytes(self) -> int:
        """What a training run may take of its memory."""
        return int(self.gib * GIB * USABLE)

    def usd(self, minutes: float, devices: int) -> float:
        """What so many of them cost for so long; MuseQuestError if no price is known."""
        if self.usd_an_hour is None:
            priced = {_plain(gpu.name): gpu.name for gpu in known_gpus() if gpu.usd_an_hour}
            raise MuseQuestError(
                f"gpus.yaml has no price of the GPU '{self.name}'; the nearest with one is "
                f"'{priced[nearest_of(_plain(self.name), priced)]}', or add usd_an_hour there."
            )
        return self.usd_an_hour * devices * minutes / 60


@dataclass(frozen=True)
class Setting:
    """So many GPUs of one kind, rows that pass at a time, and the share of recomputed layers."""

    gpu: Gpu
    devices: int
    rows: int
    recompute: float


@functools.cache
def known_gpus() -> tuple[Gpu, ...]:
    """Those of gpus.yaml, the smallest first."""
    listed = read_yaml(Path(__file__).with_name("gpus.yaml"))
    return tuple(sorted((Gpu(name, **each) for name, each in listed.items()), key=lambda g: g.gib))


def find_gpu(name: str) -> Gpu:
    """A GPU by its name, in any spelling of case and spaces, or by its memory ("24GiB").

    Raises MuseQuestError with the nearest name for one that is not known.
    """
    if match := BY_MEMORY.fullmatch(name.strip()):
        return Gpu(name, float(match[1]), bf16=True)
    if gpu := _known(name):
        return gpu
    known = {_plain(gpu.name): gpu.name for gpu in known_gpus()}
    raise MuseQuestError(
        f"There is no GPU '{name}' in gpus.yaml; the nearest is "
        f"'{known[nearest_of(_plain(name), known)]}', and any other can be given by its memory, "
        "as in --gpu 24GiB."
    )


def gpu_here() -> Gpu | None:
    """The first GPU of this machine, if it has one; its speed and price if gpus.yaml has it."""
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    gib, name = properties.total_memory / GIB, properties.name
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    known = _known(name) or Gpu(name, gib, bf16)
    return replace(known, name=name, gib=gib, bf16=bf16)


def devices_here() -> list[Any]:
    """The GPUs of this machine; without any, the processor in place of two, to rehearse."""
    import torch

    if not torch.cuda.is_available():
        return [torch.device("cpu")] * REHEARSAL
    number = torch.cuda.device_count()
    if number < REHEARSAL:
        raise MuseQuestError(
            "Layers can be split over two GPUs or more, and here is one; choose 'full' instead."
        )
    return list(range(number))


def available_bytes(device: str) -> int:
    """Bytes that a process may take to train: of a GPU all but a reserve, else its share of what
    is free, for the processes of one machine share its memory.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory * USABLE)
    return int(psutil.virtual_memory().available * USABLE) // local_world_size()


def _known(name: str) -> Gpu | None:
    wanted = _plain(name).removeprefix("nvidia")
    named = {_plain(each): gpu for gpu in known_gpus() for each in (gpu.name, *gpu.also)}
    return named.get(wanted)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
