"""How rows reach the processes that train: shared, in an order their number does not change.

Rows are dealt batch by batch: with two processes of 4 rows each, a step sees the very rows that a
single process sees with a batch of 8. Where the rows do not fill a step, blank ones are put behind
them, of which nothing is learned; the library would repeat rows of the beginning instead, and so
count them twice. While a GPU computes on the last batch, other processes read the next ones.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import Trainer

from .collator import IGNORED, EncodedDialogs
from .distributed import all_gather, local_world_size
from .records import ROWS

BLANK = "(blank)"


class FilledRows(Dataset):
    """Encoded rows, filled up with blank ones to a multiple of `multiple`."""

    def __init__(self, rows: EncodedDialogs, multiple: int = 1) -> None:
        self.rows = rows
        self.length = -(-len(rows) // multiple) * multiple

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Row `index`; beyond the last, the first row with nothing to learn from it."""
        if index < len(self.rows):
            return self.rows[index]
        if index >= self.length:
            raise IndexError(index)  # by which whoever reads all rows notices the end
        blank = dict(self.rows[0])
        blank["labels"] = torch.full_like(blank["labels"], IGNORED)
        return blank

    def name(self, index: int) -> str:
        """The data_id of a row."""
        return str(self.rows.rows[index]["data_id"]) if index < len(self.rows) else BLANK


class EpochOrder(Sampler[int]):
    """All rows in an order drawn from seed and epoch alone, then the blank ones."""

    def __init__(self, rows: FilledRows, seed: int) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 0

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.epoch)
        yield from torch.randperm(len(self.rows.rows), generator=generator).tolist()
        yield from range(len(self.rows.rows), len(self.rows))

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch


def rows_by_rank(trainer: Trainer) -> list[dict[str, Any]]:
    """What each process reads in the first epoch: how many rows, and the names of its first batch.

    `shared` counts the rows that another process reads too. All processes have to ask.
    """
    batches = [list(batch) for batch in trainer.get_train_dataloader().batch_sampler]
    rows = trainer.train_dataset
    mine = {
        "rows": [index for batch in batches for index in batch if rows.name(index) != BLANK],
        "first_batch": [rows.name(index) for index in batches[0]],
    }
    everybody = all_gather(mine)
    readers = Counter(index for each in everybody for index in each["rows"])
    return [
        {
            "rank": number,
            "rows": len(each["rows"]),
            "shared": sum(readers[index] > 1 for index in each["rows"]),
            "first_batch": each["first_batch"],
        }
        for number, each in enumerate(everybody)
    ]


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


def ignore_signals(loader: DataLoader) -> DataLoader:
    """The loader, whose processes ignore what is to stop the run.

    A terminal and `timeout` tell all processes at once; but the one that trains wants its rows
    until a state is saved, and ends the others itself.
    """
    own = getattr(loader, "base_dataloader", loader)  # of that which Accelerate deals rows with
    own.worker_init_fn = partial(_begin_ignoring_signals, own.worker_init_fn)
    return loader


def _begin_ignoring_signals(begin: Callable[[int], None] | None, number: int) -> None:
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)
    if begin:
        begin(number)
