"""The trainer of every approach: the library's own, with our order of rows, loss and checks.

Every approach computes its loss through `model.loss_function`, a pipeline's last stage too, so that
`smooth_labels` is the one place where a setting can change it. What several devices change of a
step stands in `strategies` and `pipeline`, which build on this.
"""

from __future__ import annotations

import math
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer

from ..core.errors import MuseQuestError
from .activations import drop_in_bytes
from .anatomy import anatomy_of, inner, parameter_counts
from .collator import BLANK, IGNORED, EncodedDialogs, EpochOrder
from .distributed import all_gather
from .memory import Memory
from .models import give_back
from .optimizer import optimizer_of
from .packing import Packing
from .splitting import Plan

MOST_NAMED = 8  # rows in a sentence
LITTLE = 64 * 2**20  # bytes of weights whose gradients leave little behind


class DocentTrainer(Trainer):
    """The library's trainer, with a validation loss that is the mean over all answer tokens."""

    memory: Memory  # of the run, as it is counted
    validation_tokens_a_row: float
    plan: Plan | None = None  # where the layers lie, if they are split
    rates: Mapping[str, float] = MappingProxyType({})  # of parts that have their own

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Some say that they do not take the number of learned tokens, and pass it on all the same.
        self.model_accepts_loss_kwargs = True
        self.label_smoother = None  # which would not shift the labels of these models
        smooth_labels(self.model, self.args.label_smoothing_factor)
        drop_in_bytes(self.model)
        # The labels of the batches since the last optimizer step, to name the rows of a broken one.
        self.labels_of_step: list[torch.Tensor] = []
        # Tokens computed by this process so far, and those of them that only fill shorter rows up.
        self.tokens, self.padding = 0, torch.tensor(0)
        self.pack = Packing(self.model, self.data_collator.processor.tokenizer.pad_token_id)

    def get_train_dataloader(self) -> DataLoader:
        """The library's, whose processes, if there are any, leave it to this one to stop."""
        return ignore_signals(super().get_train_dataloader())

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """As that for training."""
        return ignore_signals(super().get_eval_dataloader(eval_dataset))

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        """The same order of rows for any number of processes."""
        args = self.args
        seed = args.seed if args.data_seed is None else args.data_seed
        batches, rows = args.gradient_accumulation_steps, args.train_batch_size * args.world_size
        together = batches * rows if batches > 1 else 1
        return EpochOrder(train_dataset or self.train_dataset, seed, together)

    def _run_epoch(self, **options: Any) -> None:
        """The library's, but for a run that goes on from its last step: it makes one step more."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(**options)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The summed loss of the learned tokens over their number, per optimizer step.

        In validation the trainer takes the mean over rows, each counting its batch's loss. So the
        sum is divided by what the rows of a batch learn on average: the mean over rows becomes
        the mean over tokens, however rows fall into batches and processes.
        """
        if not model.training:
            rows = len(inputs["labels"]) * self.accelerator.num_processes
            num_items_in_batch = self.validation_tokens_a_row * rows
        inputs = self.pack(inputs | predicting(inputs["labels"]))
        if model.training:
            self.count(inputs["input_ids"])
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One step; a loss that is no finite number raises before it reaches the weights."""
        self.labels_of_step.append(inputs["labels"])
        loss = self.forward_and_backward(model, inputs, *args, **kwargs)
        self.check_finite("training loss", loss, self.labels_of_step[-1:], self.train_dataset)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The gradients' norm; one that is no finite number raises before the weights change."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if not self.args.fp16:  # whose scaler skips such a step by itself
            self.check_finite("gradient norm", norm, self.labels_of_step, self.train_dataset)
        self.labels_of_step.clear()
        return norm

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The validation loss; how often it is asked for changes no random number of training."""
        with own_random_numbers(self.model):
            result = super().evaluate(*args, **kwargs)
        if sum(p.nbytes for p in self.model.parameters() if p.requires_grad) > LITTLE:
            give_back()
        return result

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """One batch of validation; a loss that is no finite number raises with its rows."""
        labels = [inputs["labels"]]
        result = super().prediction_step(model, inputs, *args, **kwargs)
        self.check_finite("validation loss", result[0], labels, self.eval_dataset)
        return result

    def check_finite(self, what: str, value: Any, labels: Any, rows: Any) -> None:
        """Raise MuseQuestError in all processes if `value` is no finite number in one of them.

        `labels` are of its batches; rows are named by those processes whose own value broke.
        """
        value = float(value.full_tensor() if hasattr(value, "full_tensor") else value)
        mine = None if math.isfinite(value) else (value, rows_learning(labels, rows.rows))
        said = [each for each in all_gather(mine) if each]
        if said:
            step = self.state.global_step + (what != "validation loss")
            raise broken(what, said[0][0], step, sorted({n for _, names in said for n in names}))

    def forward_and_backward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The loss of one batch, its gradients added."""
        return super().training_step(*args, **kwargs)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The library's, or where weights are learned in bfloat16, one that can (optimizer.py).

        Parts of the model have their own learning rates where the profile says so.
        """
        if ours := optimizer_of(self.args):
            self.optimizer_cls_and_kwargs = ours
        optimizer = super().create_optimizer(model)
        if self.rates:
            self._part_rates(optimizer)
        return optimizer

    def _part_rates(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the parts of the model that have a learning rate of their own their own groups.

        A part of which nothing is trained raises MuseQuestError.
        """
        anatomy, groups = anatomy_of(self.model), optimizer.param_groups
        named = inner(self.model).named_parameters()
        parts = {parameter: anatomy.part_of(name) for name, parameter in named}
        for part, rate in self.rates.items():
            if not self.plan and not any(p.requires_grad for p in parts if parts[p] == part):
                raise MuseQuestError(
                    f"learning_rates names {part}, of which nothing is trained here; leave it out, "
                    "or have it trained (anatomy.projections for full tuning, lora.target_modules "
                    "for an adapter)."
                )
            for group in list(groups):
                own = [p for p in group["params"] if parts.get(p) == part]
                if own:
                    group["params"] = [p for p in group["params"] if parts.get(p) != part]
                    optimizer.add_param_group({**group, "params": own, "lr": rate})
        groups[:] = [group for group in groups if group["params"]]

    def count(self, ids: torch.Tensor) -> None:
        """Count the tokens that a step computes."""
        padding = (ids == self.pack.padding).sum()
        self.padding, self.tokens = self.padding.to(ids.device) + padding, self.tokens + ids.numel()

    def padding_share(self) -> float:
        """What share of the tokens in training was padding, over all processes."""
        counts = all_gather((int(self.padding), self.tokens))
        return sum(padding for padding, _ in counts) / max(1, sum(tokens for _, tokens in counts))

    def parameter_counts(self) -> tuple[int, int]:
        """Trainable and all parameters, over all processes."""
        return parameter_counts(self.model)

    def rows_by_rank(self) -> list[dict[str, Any]]:
        """What each process reads in the first epoch: how many rows, and the first batch's names.

        `shared` counts the rows that another process reads too. All processes have to ask.
        """
        rows = self.train_dataset
        batches = [list(batch) for batch in self.get_train_dataloader().batch_sampler]
        mine = [index for batch in batches for index in batch if rows.name(index) != BLANK]
        everybody = all_gather((mine, [rows.name(index) for index in batches[0]]))
        readers = Counter(index for read, _ in everybody for index in read)
        return [
            {
                "rank": number,
                "rows": len(read),
                "shared": sum(readers[index] > 1 for index in read),
                "first_batch": first,
            }
            for number, (read, first) in enumerate(everybody)
        ]


def predicting(labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Arguments of `forward` by which the head computes only the tokens that predict a label.

    `labels` (rows, tokens) become `logits_to_keep`, bool of the same shape, and `shift_labels`, the
    following token of each that is kept. The loss is the same.
    """
    following = nn.functional.pad(labels, (0, 1), value=IGNORED)[:, 1:]
    kept = following != IGNORED
    # On the processor, for the last layers may lie on another device than the labels.
    return {"logits_to_keep": kept.cpu(), "shift_labels": following[kept]}


def smooth_labels(model: nn.Module, factor: float) -> None:
    """Let the model learn from labels smoothed by `factor` (Szegedy et al., 2015, section 7).

    Of each label, `factor` is spread evenly over the vocabulary (https://arxiv.org/abs/1512.00567).
    In validation the loss stays that of the true next token.
    """
    if not factor:
        return
    base = inner(model)
    plain = base.loss_function

    def loss(
        logits: torch.Tensor, labels: torch.Tensor, vocab_size: int,
        num_items_in_batch: torch.Tensor | float | None = None,
        shift_labels: torch.Tensor | None = None, **options: Any,
    ) -> torch.Tensor:  # fmt: skip
        """Of (..., vocabulary) logits: summed over the labels, over their number."""
        if not base.training:
            options["shift_labels"] = shift_labels
            return plain(logits, labels, vocab_size, num_items_in_batch, **options)
        following = shift_labels
        if following is None:
            following = nn.functional.pad(labels, (0, 1), value=IGNORED)[..., 1:]
        numbers, targets = logits.float().view(-1, vocab_size), following.reshape(-1)
        options = {"ignore_index": IGNORED, "reduction": "sum", "label_smoothing": factor}
        total = nn.functional.cross_entropy(numbers, targets.to(logits.device), **options)
        number = (following != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return total / torch.as_tensor(number, device=total.device)

    base.loss_function = loss


@contextmanager
def own_random_numbers(model: nn.Module) -> Iterator[None]:
    """What the block draws, on the processor and the model's GPUs, is not missed behind it.

    Already a data loader draws a number whenever it begins.
    """
    gpus = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=sorted(gpus)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


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
    learned = {
        tuple(row[row != IGNORED].tolist()) for batch in labels for row in batch.detach().cpu()
    }
    return [
        row["data_id"]
        for row in dataset.texts()
        if tuple(dataset.collator.learned_ids(row)) in learned
    ]


def ignore_signals(loader: DataLoader) -> DataLoader:
    """The loader, whose processes ignore what is to stop the run.

    A terminal and `timeout` tell all processes at once; but the one that trains wants its rows
    until a state is saved, and ends the others itself.
    """
    own = getattr(loader, "base_dataloader", loader)  # of that which Accelerate deals rows with
    own.worker_init_fn = partial(_ignore_signals, own.worker_init_fn)
    return loader


def _ignore_signals(begin: Callable[[int], None] | None, number: int) -> None:
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)
    if begin:
        begin(number)
