"""Whether the disk holds what a run will write, asked before the first step."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from peft import PeftModel
from torch import nn

from ..errors import MuseQuestError
from .checkpoints import RunFolder
from .hub import chain
from .memory import GIB, optimizer_bytes
from .records import disk_gib

# Records, metrics, tracker's files, the tokenizer's share of a checkpoint.
RECORDS = 32 * 2**20
# How torch and safetensors call a full disk, which they do not raise as OSError.
FULL = ("No space left on device", "StorageFull", "file write failed", "failed writing file")


def checkpoint_bytes(model: nn.Module, optimizer: str) -> tuple[int, int]:
    """Bytes of a checkpoint: of its weights (an adapter's alone, if there is one), of its state."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    saved = trainable if isinstance(model, PeftModel) else list(model.parameters())
    return sum(p.nbytes for p in saved), optimizer_bytes(trainable, optimizer)


def peak_bytes(weights: int, state: int) -> int:
    """The most a run holds at a time: last state, best weights, and the checkpoint being written.

    Weights that are both the best and the last lie on the disk once, under two names.
    """
    return 2 * (weights + state) + weights + RECORDS


def check_disk(folder: RunFolder, model: nn.Module, optimizer: str) -> float:
    """The GiB a run needs at most; MuseQuestError if the disk has less. What it holds counts."""
    weights, state = checkpoint_bytes(model, optimizer)
    needed = peak_bytes(weights, state) / GIB
    held = disk_gib(folder.folder)
    free = free_gib(folder.folder)
    if free + held < needed:
        raise MuseQuestError(
            f"The disk of {folder.folder} has {free:.2f} GiB free, and this run writes up to "
            f"{needed:.2f} GiB (a checkpoint has {weights / GIB:.2f} GiB of weights and "
            f"{state / GIB:.2f} GiB of optimizer state, and a new one is whole before the old one "
            "goes); make room, or let MUSEQUEST_HOME name a larger disk."
        )
    return round(needed, 4)


def free_gib(folder: Path) -> float:
    """GiB that are free on the disk on which `folder` lies or will lie."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / GIB


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that the disk or its quota is used up."""
    return any(
        getattr(each, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        or any(mark in str(each) for mark in FULL)
        for each in chain(error)
    )
