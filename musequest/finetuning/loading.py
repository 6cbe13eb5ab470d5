"""How many processes read and encode the next batches while a GPU computes on the last one."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from .ranks import local_world_size
from .records import ROWS

WORKERS = "dataloader_num_workers"
MOST = 4  # of one process that trains; more are not faster than the GPU they feed
AHEAD = 2  # batches that each of them prepares ahead, as the library has it
SHARED_MEMORY = Path("/dev/shm")


def loader_settings(
    settings: dict[str, Any], row: Mapping[str, torch.Tensor], device: torch.device
) -> dict[str, Any]:
    """Keys of TrainingArguments for reading ahead, where the settings leave that open.

    A photo of 800 px takes a processor core about as long to encode as a large GPU to learn from.
    Batches come through shared memory, of which containers may have little: `row`, the largest one,
    says what they take. On a processor, whose cores all compute, nothing is read ahead.
    """
    if device.type != "cuda" or settings.get(WORKERS) is not None:
        return {}
    together = local_world_size()
    batch = int(settings.get(ROWS, 8)) * sum(tensor.nbytes for tensor in row.values())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    room = shutil.disk_usage(SHARED_MEMORY).free // 2 if SHARED_MEMORY.is_dir() else 0
    workers = min(MOST, cores // together - 1, room // (together * AHEAD * batch))
    return {WORKERS: workers, "dataloader_persistent_workers": True} if workers > 0 else {}


def undisturbed(loader: DataLoader) -> DataLoader:
    """The loader, whose processes ignore what is to stop the run.

    A terminal and `timeout` tell all processes at once; but the one that trains wants its rows
    until a state is saved, and ends the others itself.
    """
    own = getattr(loader, "base_dataloader", loader)  # of that which Accelerate deals rows with
    own.worker_init_fn = partial(_begin_undisturbed, own.worker_init_fn)
    return loader


def _begin_undisturbed(begin: Callable[[int], None] | None, number: int) -> None:
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)
    if begin:
        begin(number)
