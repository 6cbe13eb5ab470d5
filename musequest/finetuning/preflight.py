"""What fits where, and what is missing, before anything is rented, downloaded or loaded.

GPUs go by their name in gpus.yaml, or by their memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from huggingface_hub import constants
from transformers.utils import cached_file

from ..creation.dataset import split_path
from ..errors import MuseQuestError
from ..home import home, run_dir
from ..keys import nearest_of, read_yaml
from ..settings import Profile, approach_names, load_approach, load_profile
from .activations import empty_model
from .checkpoints import free_gib, written_by
from .memory import Memory, memory_of
from .models import model_config
from .records import GIB, USABLE
from .run_config import RunConfig

WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
DEVICES = (2, 4, 8)


@dataclass(frozen=True)
class Need:
    """What one approach needs under one profile."""

    config: RunConfig
    memory: Memory
    disk: int  # bytes

    @property
    def name(self) -> str:
        """The approach's."""
        return self.config.approach.name

    @property
    def shares(self) -> tuple[int, ...]:
        """Numbers of devices over which weights and states may be parted."""
        return DEVICES if self.config.approach.parted else (1,)

    def fitting(self, gpu: Gpu, recompute: bool, devices: int) -> int:
        """The most rows at a time on so many of these GPUs."""
        return self.memory.fitting(gpu.usable_bytes, recompute, devices)


def preflight(
    profile: str | Path | Profile, gpu: str | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """A table of all approaches, and what else is to be known, a sentence each.

    `gpu` names one of gpus.yaml, or its memory; without it the GPU of this machine is judged, and
    where there is none, each approach names the smallest that will do. A base model that cannot
    be had, or a GPU on which no approach fits, raises MuseQuestError.
    """
    profile = profile if isinstance(profile, Profile) else load_profile(profile)
    judged = find_gpu(gpu) if gpu else gpu_here()
    model_config(profile)
    needs = needs_of(profile, bf16=judged is None or judged.bf16)
    if judged:
        _refuse_too_small(judged, needs)
    table = pd.DataFrame([_line(need, judged) for need in needs])
    return table, list(_findings(profile, needs, judged))


def needs_of(profile: Profile, bf16: bool = True) -> list[Need]:
    """What each approach of 2_model_finetuning/ needs on a GPU that has bfloat16, or has not."""
    configs = [RunConfig.resolve(profile, load_approach(name)) for name in approach_names()]
    row = configs[0].row
    needs = []
    for config in configs:
        if config.settings.get("bf16") is None and config.settings.get("fp16") is None:
            config = config.fitted({"bf16": bf16})  # as training chooses where that is left open
        memory = memory_of(config, row)
        written = written_by(empty_model(profile, config.approach), config)
        needs.append(Need(config, memory, written.peak))
    return needs


def _line(need: Need, gpu: Gpu | None) -> dict[str, Any]:
    """An approach's row of the table, in GiB; with a GPU, the rows that fit on it at a time."""
    memory, rows = need.memory, need.config.rows
    line: dict[str, Any] = {
        "approach": need.name,
        "weights_gib": memory.weights / GIB,
        "gradients_gib": memory.gradients / GIB,
        "optimizer_gib": memory.optimizer / GIB,
        "row_gib": memory.activations.of_row(memory.row, False) / GIB,
        "row_recomputed_gib": memory.activations.of_row(memory.row, True) / GIB,
        "rows": rows,
        "total_gib": memory.total(rows, True) / GIB,
        "disk_gib": need.disk / GIB,
    }
    line = {key: round(value, 2) if "gib" in key else value for key, value in line.items()}
    if gpu is None:
        return {**line, "smallest_gpu": smallest(need)}
    devices = next((n for n in need.shares if need.fitting(gpu, True, n)), need.shares[-1])
    return {
        **line,
        "devices": devices,
        "rows_fit": need.fitting(gpu, False, devices),
        "rows_fit_recomputed": need.fitting(gpu, True, devices),
    }


def smallest(need: Need) -> str:
    """The smallest GPU on which the approach trains with its own rows at a time, or with one."""
    asked = need.config.rows
    recompute = need.config.recompute  # if open, training does so where needed
    for rows in (asked, 1):
        for devices in need.shares:
            for gpu in known_gpus():
                if need.fitting(gpu, recompute is not False, devices) >= rows:
                    number = f"{devices} x " if devices > 1 else ""
                    return f"{number}{gpu.name}" + ("" if rows == asked else " (1 row)")
    return "none known"


def _refuse_too_small(gpu: Gpu, needs: list[Need]) -> None:
    """Raise MuseQuestError if no approach takes one row on such a GPU, however many of them."""
    if any(need.fitting(gpu, True, devices) for need in needs for devices in need.shares):
        return
    least = min(needs, key=lambda need: need.memory.total(1, True, need.shares[-1]))
    total = least.memory.total(1, True, least.shares[-1]) / GIB
    raise MuseQuestError(
        f"The GPU {gpu.name} has {gpu.usable_bytes / GIB:.1f} GiB usable, and even "
        f"'{least.name}' takes {total:.1f} GiB for one row at a time; it would fit on: "
        f"{smallest(least)}."
    )


def _findings(profile: Profile, needs: list[Need], gpu: Gpu | None) -> Iterator[str]:
    """What is missing or will be in the way, a sentence each."""
    yield _base_model(profile)
    if not split_path(profile.collection, "train").exists():
        yield (
            f"data/{profile.collection}/dataset is not there yet, so a long dialog was supposed: "
            "run stage 1 first for exact figures."
        )
    if gpu and not gpu.bf16:
        yield (
            f"The GPU {gpu.name} has no bfloat16: set fp16=true, and in the profile dtype: float16 "
            "for approaches with adapters, dtype: float32 for full tuning."
        )
    free, most = free_gib(home()), max(needs, key=lambda need: need.disk)
    if free < most.disk / GIB:
        yield (
            f"{home()} has {free:.1f} GiB free; '{most.name}' needs up to "
            f"{most.disk / GIB:.1f} GiB for its checkpoints."
        )
    for need in needs:
        if (run_dir(profile.name, need.name) / "state").exists():
            yield f"A run of '{need.name}' is there already; train goes on from its state."
    yield f"An optimizer step has {needs[0].config.rows_a_step} rows a device."


def _base_model(profile: Profile) -> str:
    """Where the base model is; MuseQuestError if it can neither be found nor fetched."""
    if Path(profile.base_model_source).is_dir():
        return f"The base model is the folder {profile.base_model}."
    kept = any(
        cached_file(
            profile.base_model_source,
            name,
            local_files_only=True,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        for name in WEIGHT_FILES
    )
    if kept:
        return f"The base model {profile.base_model} is in the cache {constants.HF_HUB_CACHE}."
    if constants.HF_HUB_OFFLINE:
        raise MuseQuestError(
            f"Of the base model '{profile.base_model}' only the configuration is in the cache "
            f"{constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids to ask the Hub: fetch it once "
            f"with `hf download {profile.base_model}` while online."
        )
    return f"The base model {profile.base_model} will be downloaded to {constants.HF_HUB_CACHE}."


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
    nearest = nearest_of(_plain(name), known)
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
