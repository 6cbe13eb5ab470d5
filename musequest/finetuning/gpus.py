"""GPUs by name: what one would have to rent."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import MuseQuestError
from ..keys import read_yaml
from .memory import GIB, USABLE

BY_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*Gi?B", re.IGNORECASE)


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU; `gib` is all its memory."""

    name: str
    gib: float
    bf16: bool

    @property
    def usable_bytes(self) -> int:
        """What a training run may take of its memory."""
        return int(self.gib * GIB * USABLE)


def known_gpus() -> list[Gpu]:
    """Those of gpus.yaml, the smallest first."""
    listed = read_yaml(Path(__file__).with_name("gpus.yaml"))
    return sorted((Gpu(name, **values) for name, values in listed.items()), key=lambda g: g.gib)


def find_gpu(name: str) -> Gpu:
    """A GPU by its name, in any spelling of case and spaces, or by its memory ("24GiB").

    Raises MuseQuestError with the nearest name for one that is not known.
    """
    if match := BY_MEMORY.fullmatch(name.strip()):
        return Gpu(name, float(match[1]), bf16=True)
    known = {_plain(gpu.name): gpu for gpu in known_gpus()}
    for form in (_plain(name), _plain(name).removeprefix("nvidia")):
        if form in known:
            return known[form]
    nearest = difflib.get_close_matches(_plain(name), known, n=1, cutoff=0.0)[0]
    raise MuseQuestError(
        f"There is no GPU '{name}' in gpus.yaml; the nearest is '{known[nearest].name}', and any "
        "other can be given by its memory, as in --gpu 24GiB."
    )


def gpu_here() -> Gpu | None:
    """The first GPU of this machine, if it has one."""
    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Gpu(properties.name, properties.total_memory / GIB, bf16)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).lower()
