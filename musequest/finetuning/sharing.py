"""How processes share the rows: each row once an epoch, in an order no process number changes.

Rows are dealt batch by batch: with two processes of 4 rows each, a step sees the very rows that a
single process sees with a batch of 8. Where the rows do not fill a step, blank ones are put behind
them, of which nothing is learned; the library would repeat rows of the beginning instead, and so
count them twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler
from transformers import Trainer

from .collator import IGNORED, EncodedDialogs
from .ranks import all_say

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
    everybody = all_say(mine)
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
