"""A loss or gradient that is no finite number: said with its step and rows, before it is saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from ..errors import MuseQuestError
from .collator import IGNORED, EncodedDialogs

MOST_NAMED = 8


def broken(what: str, value: float, step: int, names: Sequence[str] = ()) -> MuseQuestError:
    """What to say of a `what` (training loss, gradient) of the rows that became `value`."""
    shown = ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")
    where = f" with the rows {shown}" if names else ""
    return MuseQuestError(
        f"The {what} became {value} at step {step}{where}; the last good state is kept, but with "
        "these settings it would come to the same: lower learning_rate or max_grad_norm, or look "
        "at those rows, and train again with fresh=True (--fresh)."
    )


def rows_learning(labels: Iterable[torch.Tensor], dataset: EncodedDialogs) -> list[str]:
    """The data_id of every row whose answer is among the learned tokens of these batches.

    `labels`: those of each batch, (rows, tokens).
    """
    learned = {tuple(answer) for batch in labels for answer in _answers(batch)}
    return [
        row["data_id"]
        for row in dataset.texts()
        if tuple(dataset.collator.learned_ids(row)) in learned
    ]


def _answers(batch: torch.Tensor) -> Iterator[list[int]]:
    for row in batch.detach().cpu():
        yield row[row != IGNORED].tolist()
