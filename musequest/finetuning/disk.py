"""Whether the disk holds what a run will write, asked before the first step."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel
from torch import nn

from ..errors import MuseQuestError, refusal
from .checkpoints import RunFolder
from .machine import GIB, disk_gib
from .memory import as_trained, optimizer_bytes
from .run_config import RunConfig

# Records, metrics, tracker's files, the tokenizer's share of a checkpoint.
RECORDS = 32 * 2**20


def checkpoint_bytes(model: nn.Module, optimizer: str) -> tuple[int, int]:
    """Bytes of a checkpoint: of its weights (an adapter's alone, if there is one), of its state."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    saved = trainable if isinstance(model, PeftModel) else list(model.parameters())
    return sum(p.nbytes for p in saved), optimizer_bytes(trainable, optimizer)


@dataclass(frozen=True)
class Written:
    """Bytes that a run writes: weights and state of a checkpoint, and the model merged of shards.

    Weights that are both the best and the last lie on the disk once, under two names; here they
    are counted as two.
    """

    weights: int
    state: int
    merged: int = 0

    @property
    def peak(self) -> int:
        """The most there is at a time.

        That is the last state, the best weights and the checkpoint being written; or, when shards
        are merged, the last state, the best shards, the whole of them in one file, and the model.
        """
        return 3 * self.weights + self.state + max(self.state, self.merged) + RECORDS

    @property
    def end(self) -> int:
        """The most that is left of a run that is done: the best weights and the last ones."""
        return self.weights + (self.merged or self.weights) + RECORDS


def written_by(model: nn.Module, config: RunConfig) -> Written:
    """What a run that trains `model` will write; a sharded one's has to be without memory."""
    loaded = sum(p.nbytes for p in model.parameters())
    written = checkpoint_bytes(as_trained(model, config), config.optimizer)
    return Written(*written, merged=loaded if config.approach.strategy == "fsdp" else 0)


def check_disk(folder: RunFolder, written: Written) -> float:
    """The GiB a run needs at most; MuseQuestError if the disk has less. What it holds counts."""
    needed = written.peak / GIB
    held = disk_gib(folder.folder)
    free = free_gib(folder.folder)
    if free + held < needed:
        raise MuseQuestError(
            f"The disk of {folder.folder} has {free:.2f} GiB free, and this run writes up to "
            f"{needed:.2f} GiB (a checkpoint has {written.weights / GIB:.2f} GiB of weights and "
            f"{written.state / GIB:.2f} GiB of optimizer state, and a new one is whole before the "
            "old one goes); make room, or let MUSEQUEST_HOME name a larger disk."
        )
    return round(needed, 4)


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raise MuseQuestError unless the disk of `folder` has `needed` bytes free for `what`."""
    free = free_gib(folder)
    if free < needed / GIB:
        raise MuseQuestError(
            f"The disk of {folder} has {free:.2f} GiB free, and {what} takes {needed / GIB:.2f} "
            "GiB; make room, or let MUSEQUEST_HOME name a larger disk."
        )


def free_gib(folder: Path) -> float:
    """GiB that are free on the disk on which `folder` lies or will lie."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / GIB


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that the disk or its quota is used up."""
    refused = refusal(error)
    return refused is not None and refused.errno in (errno.ENOSPC, errno.EDQUOT)
