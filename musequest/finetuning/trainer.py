"""The trainer of every approach: the library's own, with our model, rows, loss and callbacks."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq
import torch
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed
from transformers.utils import logging as transformers_logging

from ..creation.dataset import load_split, split_path
from ..errors import MuseQuestError
from ..settings import Approach, Profile, training_settings
from .callbacks import Clock, ShowProgress, StopOnBrokenLoss, broken_loss
from .checkpoints import KeepBestAndLast, RunFolder
from .collator import DocentCollator, EncodedDialogs
from .models import load_processor, model_config, parameter_counts
from .planner import Plan
from .ranks import rank
from .sharing import EpochOrder, FilledRows

# A share of all steps below 1, a number of steps from 1 on.
DEFAULTS = {"eval_steps": 0.05, "report_to": "none", "seed": 0}
# How a run is logged, saved and judged is the same for all; no setting changes it.
FIXED = {
    "eval_strategy": "steps",
    "logging_strategy": "steps",
    "save_strategy": "steps",
    "metric_for_best_model": "eval_loss",
    "greater_is_better": False,
    "load_best_model_at_end": False,
    "prediction_loss_only": True,
    "average_tokens_across_devices": True,
    "logging_nan_inf_filter": False,
    "remove_unused_columns": False,
    "disable_tqdm": True,
}
# The steps at which a run is logged and saved are those at which it is validated.
DERIVED = ("output_dir", "logging_steps", "save_steps", "save_total_limit")


class DocentTrainer(Trainer):
    """The library's trainer, with a validation loss that is the mean over all answer tokens."""

    validation_tokens_a_row: float
    plan: Plan | None = None  # where the layers lie, if they are split

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        """The same order of rows for any number of processes."""
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return EpochOrder(train_dataset or self.train_dataset, seed)

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

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One step; a loss that is no finite number raises before it reaches the weights."""
        loss = self.forward_and_backward(*args, **kwargs)
        if not torch.isfinite(loss):
            raise broken_loss("training", loss.item(), self.state.global_step + 1)
        return loss

    def forward_and_backward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The loss of one batch, its gradients added."""
        return super().training_step(*args, **kwargs)

    def parameter_counts(self) -> tuple[int, int]:
        """Trainable and all parameters, over all processes."""
        return parameter_counts(self.model)


def chosen_settings(
    profile: Profile, approach: Approach, overrides: dict[str, str] | None = None
) -> dict[str, Any]:
    """Keys of TrainingArguments: our defaults, then the profile's, the approach's, the typed.

    One that is the same for every run raises MuseQuestError.
    """
    settings = {**DEFAULTS, **training_settings(profile, approach, overrides)}
    for key in (*FIXED, *DERIVED):
        if key in settings:
            raise MuseQuestError(
                f"The training setting '{key}' cannot be chosen, the same holds for every run; "
                "remove it from the profile, the approach's config.yaml or --set."
            )
    return settings


def build_trainer(
    profile: Profile,
    approach: Approach,
    settings: dict[str, Any],
    folder: RunFolder,
    progress: bool = True,
) -> DocentTrainer:
    """The trainer of one run: model with its adapter, encoded rows, callbacks."""
    from .strategies import make_trainer, prepare  # which build on this module's trainer

    transformers_logging.disable_progress_bar()
    longest = model_config(profile).get_text_config().max_position_embeddings
    collator = DocentCollator(load_processor(profile), max_tokens=longest)
    arguments = _arguments(settings, folder)
    prepare(approach)
    processes = arguments.world_size
    together = processes * arguments.per_device_train_batch_size if processes > 1 else 1
    train_rows = FilledRows(_encoded(profile, "train", collator), together)
    together = processes * arguments.per_device_eval_batch_size if processes > 1 else 1
    validation_rows = FilledRows(_encoded(profile, "validation", collator), together)
    watchers = [Clock(), StopOnBrokenLoss(), KeepBestAndLast(folder)]
    set_seed(settings["seed"])
    trainer = make_trainer(
        profile,
        approach,
        train_rows.rows,
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


def _encoded(profile: Profile, split: str, collator: DocentCollator) -> EncodedDialogs:
    path = split_path(profile.collection, split)
    if pq.read_metadata(path).num_rows == 0:
        raise MuseQuestError(
            f"{path} holds no rows; run `python -m musequest dataset` again with more exhibits."
        )
    return EncodedDialogs(load_split(profile.collection, split), collator)


def _arguments(settings: dict[str, Any], folder: RunFolder) -> TrainingArguments:
    every = settings["eval_steps"]
    derived = {"output_dir": str(folder.unfinished), "logging_steps": every, "save_steps": every}
    gpu = torch.cuda.is_available()
    # Without the second key, processes without a GPU would train each for itself.
    device = {"dataloader_pin_memory": gpu, "use_cpu": not gpu}
    try:
        return TrainingArguments(**{**device, **settings, **FIXED, **derived})
    except (TypeError, ValueError) as error:
        raise MuseQuestError(
            f"transformers.TrainingArguments refuses the settings ({str(error).splitlines()[0]}); "
            "correct them in the profile, the approach's config.yaml or --set."
        ) from error
