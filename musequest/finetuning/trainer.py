"""The trainer of every approach: the library's own, with our model, rows, loss and callbacks."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.utils import logging as transformers_logging

from ..creation.dataset import load_split
from ..errors import MuseQuestError
from ..settings import Approach, Profile, training_settings
from .activations import empty_model
from .batch_size import fit
from .callbacks import Clock, ShowProgress, StopOnBrokenLoss, StopOnUnlearned
from .checkpoints import KeepBestAndLast, RunFolder
from .collator import DocentCollator, EncodedDialogs
from .combinations import check_device, check_together
from .disk import check_disk, written_by
from .loading import loader_settings, undisturbed
from .losses import smooth_labels
from .models import (
    default_device,
    load_processor,
    model_config,
    parameter_counts,
    weights_dtype,
)
from .nan_guard import broken, rows_learning
from .optimizer import as_arguments, default_optimizer, optimizer_of
from .planner import Plan
from .randomness import own_random_numbers
from .ranks import all_say, rank
from .records import RECOMPUTE, RunRecord
from .row_shape import largest_row
from .sharing import EpochOrder, FilledRows
from .trackers import tracker_callbacks, tracker_settings
from .training_arguments import FIXED

# A share of all steps below 1, a number of steps from 1 on.
DEFAULTS = {
    "eval_steps": 0.05,
    "report_to": "tensorboard",
    "seed": 0,
    "activation_checkpointing_kwargs": {"use_reentrant": False},
}


class DocentTrainer(Trainer):
    """The library's trainer, with a validation loss that is the mean over all answer tokens."""

    validation_tokens_a_row: float
    plan: Plan | None = None  # where the layers lie, if they are split

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_smoother = None  # which would not shift the labels of these models
        smooth_labels(self.model, self.args.label_smoothing_factor)
        # The labels of the batches since the last optimizer step, to name the rows of a broken one.
        self.labels_of_step: list[torch.Tensor] = []

    def get_train_dataloader(self) -> DataLoader:
        """The library's, whose processes, if there are any, leave it to this one to stop."""
        return undisturbed(super().get_train_dataloader())

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """As that for training."""
        return undisturbed(super().get_eval_dataloader(eval_dataset))

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        """The same order of rows for any number of processes."""
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return EpochOrder(train_dataset or self.train_dataset, seed)

    def _run_epoch(self, **options: Any) -> None:
        """The library's, but for a run that goes on from its last step: it makes one step more."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(**options)

    def compute_loss(
        self,
        model: torch.nn.Module,
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
            return super().evaluate(*args, **kwargs)

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
        said = [each for each in all_say(mine) if each]
        if said:
            step = self.state.global_step + (what != "validation loss")
            raise broken(what, said[0][0], step, sorted({n for _, names in said for n in names}))

    def forward_and_backward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The loss of one batch, its gradients added."""
        return super().training_step(*args, **kwargs)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The library's, or where weights are learned in bfloat16, one that can (optimizer.py)."""
        ours = optimizer_of(self.args)
        self.optimizer_cls_and_kwargs = ours or self.optimizer_cls_and_kwargs
        return super().create_optimizer(model)

    def parameter_counts(self) -> tuple[int, int]:
        """Trainable and all parameters, over all processes."""
        return parameter_counts(self.model)


def chosen_settings(
    profile: Profile, approach: Approach, overrides: dict[str, str] | None = None
) -> dict[str, Any]:
    """Keys of TrainingArguments: our defaults, then the profile's, the approach's, the typed.

    One that may not be chosen, or has no effect beside the others, raises MuseQuestError.
    """
    chosen = training_settings(profile, approach, overrides)
    settings = {**DEFAULTS, **default_optimizer(profile, approach, chosen), **chosen}
    check_together(settings, approach)
    return settings


def check_precision(profile: Profile, approach: Approach, settings: dict[str, Any]) -> None:
    """Raise MuseQuestError if numbers are asked for that cannot be learned or computed in here."""
    if approach.tuning == "full" and weights_dtype(profile) == torch.float16:
        raise MuseQuestError(
            f"'{approach.name}' learns the weights themselves, which cannot be done in float16; "
            "set dtype: float32 in the profile (with fp16=true on a GPU without bfloat16), or "
            "choose an approach with adapters, such as lora."
        )
    if approach.strategy == "1f1b" and settings.get("fp16"):
        raise MuseQuestError(
            f"The stages of '{approach.name}' cannot scale their gradients together as fp16=true "
            "asks; use bf16=true, fp16=false, or another approach such as full_fsdp."
        )
    check_device(settings)


def build_trainer(
    profile: Profile,
    approach: Approach,
    settings: dict[str, Any],
    folder: RunFolder,
    record: RunRecord,
    progress: bool = True,
) -> DocentTrainer:
    """The trainer of one run: model with its adapter, encoded rows, callbacks.

    What of the settings the device decides is noted in `record`, and taken from there if it is
    known already.
    """
    from .strategies import make_trainer, prepare, whole_model  # which build on this module

    trackers = tracker_settings(settings, f"{profile.name}-{approach.name}")
    transformers_logging.disable_progress_bar()
    longest = model_config(profile).get_text_config().max_position_embeddings
    collator = DocentCollator(load_processor(profile), max_tokens=longest)
    train_rows = EncodedDialogs(load_split(profile.collection, "train"), collator)
    validation_rows = EncodedDialogs(load_split(profile.collection, "validation"), collator)
    model = None if approach.parted else whole_model(profile, approach, settings["seed"])
    fitted = record.fitted or fit(profile, approach, settings, model, collator, train_rows.rows)
    largest = collator.encode(largest_row(profile, train_rows.rows))
    loading = loader_settings({**settings, **fitted}, largest, torch.device(default_device()))
    saved = empty_model(profile, approach) if model is None else model
    written = written_by(saved, approach, {**settings, **fitted})
    record.note(fitted=fitted, disk_needed_gib=check_disk(folder, written))
    watchers = [Clock(), StopOnBrokenLoss(), KeepBestAndLast(folder, record.asked)]
    watchers += [StopOnUnlearned()]
    watchers += tracker_callbacks(settings, folder.folder)
    settings = {**settings, **fitted, **loading, **trackers, "auto_find_batch_size": False}
    approach, settings = _sharded_own(approach, settings)
    arguments = _arguments(settings, folder)
    prepare(approach)
    processes = arguments.world_size
    together = processes * arguments.per_device_train_batch_size if processes > 1 else 1
    train_rows = FilledRows(train_rows, together)
    together = processes * arguments.per_device_eval_batch_size if processes > 1 else 1
    validation_rows = FilledRows(validation_rows, together)
    trainer = make_trainer(
        profile,
        approach,
        train_rows.rows,
        model,
        args=arguments,
        data_collator=collator,
        train_dataset=train_rows,
        eval_dataset=validation_rows,
        callbacks=[*watchers, ShowProgress()] if progress and rank() == 0 else watchers,
    )
    trainer.remove_callback(PrinterCallback)
    learned_tokens = validation_rows.rows.learned_tokens()
    trainer.validation_tokens_a_row = learned_tokens / len(validation_rows)
    return trainer


def _sharded_own(approach: Approach, settings: dict[str, Any]) -> tuple[Approach, dict[str, Any]]:
    """Where weights are sharded, recomputing is a key of `parallel`, which excludes the other."""
    if approach.strategy != "fsdp" or settings.get(RECOMPUTE) is None:
        return approach, settings
    chosen = {**approach.parallel, RECOMPUTE: settings[RECOMPUTE]}
    return replace(approach, parallel=chosen), {**settings, RECOMPUTE: False}


def _arguments(settings: dict[str, Any], folder: RunFolder) -> TrainingArguments:
    every = settings["eval_steps"]
    derived = {"output_dir": str(folder.unfinished), "logging_steps": every, "save_steps": every}
    gpu = torch.cuda.is_available()
    # Without the second key, processes without a GPU would train each for itself.
    device = {"dataloader_pin_memory": gpu, "use_cpu": not gpu}
    try:
        arguments = TrainingArguments(**{**device, **as_arguments(settings), **FIXED, **derived})
    except (TypeError, ValueError) as error:
        raise MuseQuestError(
            f"transformers.TrainingArguments refuses the settings ({str(error).splitlines()[0]}); "
            "correct them in the profile, the approach's config.yaml or --set."
        ) from error
    # A process trains on one device: the library would copy the model to all GPUs it sees.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments
