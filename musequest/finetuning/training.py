"""One training path for every approach: settings in, best adapter, run.json and metrics out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerState, TrainingArguments, set_seed
from transformers.utils import logging as transformers_logging

from ..creation.dataset import fingerprint, load_split
from ..errors import MuseQuestError
from ..home import run_dir
from ..settings import Approach, Profile, load_approach, load_profile, training_settings
from .callbacks import Clock, ShowProgress, StopOnBrokenLoss, StopOnSignal, broken_loss
from .checkpoints import KeepBestAndLast, RunFolder
from .collator import DocentCollator, EncodedDialogs
from .models import (
    TUNINGS,
    WEIGHTS,
    base_fingerprint,
    load_model,
    load_processor,
    name_base_model,
    trainable_table,
)
from .records import RunRecord, asked_of

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
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise broken_loss("training", loss.item(), self.state.global_step + 1)
        return loss


def train(
    profile: str | Path | Profile,
    approach_name: str = "lora",
    overrides: dict[str, str] | None = None,
    *,
    fresh: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Tune the profile's base model on its dataset; returns what run.json holds.

    Writes runs/<profile>/<approach>/. A run that is done is returned as it is, one that was
    interrupted goes on, and one with other settings, data or base model raises MuseQuestError;
    `fresh` discards it. Ctrl-C and SIGTERM save a state and raise MuseQuestError. `overrides` are
    keys of TrainingArguments.
    """
    profile = profile if isinstance(profile, Profile) else load_profile(profile)
    approach = load_approach(approach_name)
    settings = {**DEFAULTS, **training_settings(profile, approach, overrides)}
    _check_settings(settings)
    asked = asked_of(
        profile, approach, settings, base_fingerprint(profile), fingerprint(profile.collection)
    )
    folder = RunFolder(run_dir(profile.name, approach.name))
    record = RunRecord(folder.folder, asked)
    if fresh:
        folder.discard()
    if done := _finished(record, folder, approach):
        return done
    try:
        return _run(record, folder, profile, approach, settings, progress)
    except KeyboardInterrupt:
        record.interrupt("stopped at once, without saving a state")
        raise
    except _Interrupted as stop:
        raise MuseQuestError(str(stop)) from None
    except Exception as error:
        record.fail(error)
        raise


class _Interrupted(Exception):
    """A signal ended the run, and its state is saved."""


def _finished(record: RunRecord, folder: RunFolder, approach: Approach) -> dict[str, Any] | None:
    """The record of the run if it is done; None if there is something to train.

    Raises MuseQuestError where an earlier run with anything to lose was asked something else.
    """
    earlier = record.earlier()
    has_weights = (folder.folder / WEIGHTS[approach.tuning]).is_dir()
    if earlier is None or not (has_weights or folder.last_state()):
        return None
    record.check_same(earlier)
    if earlier["status"] == "done" and not has_weights:
        folder.discard()  # somebody deleted the weights, and a finished state cannot make them
        return None
    return earlier if earlier["status"] == "done" else None


def _run(
    record: RunRecord,
    folder: RunFolder,
    profile: Profile,
    approach: Approach,
    settings: dict[str, Any],
    progress: bool,
) -> dict[str, Any]:
    """Train from the last state, if there is one, to the end."""
    record.begin()
    folder.clear_unfinished()
    stop = StopOnSignal()
    trainer = build_trainer(profile, approach, settings, folder, progress)
    trainer.add_callback(stop)
    parameters = trainable_table(trainer.model).set_index("part").loc["all"]
    record.values |= {
        "world_size": trainer.args.world_size,
        "trainable_parameters": int(parameters.trainable),
        "total_parameters": int(parameters.parameters),
        "train_rows": len(trainer.train_dataset),
        "validation_rows": len(trainer.eval_dataset),
    }
    with stop.listening():
        trainer.train(resume_from_checkpoint=_state_to_resume(folder))
    state = trainer.state
    if state.global_step < state.max_steps:
        reason = f"{stop.received} at step {state.global_step} of {state.max_steps}"
        record.interrupt(reason)
        raise _Interrupted(
            f"Training was interrupted ({reason}); the state is saved in {folder.folder}, and the "
            "same call goes on from there."
        )
    folder.finish(state.best_global_step, WEIGHTS[approach.tuning])
    name_base_model(folder.folder, profile)
    return record.finish(**_outcome(state, trainer))


def build_trainer(
    profile: Profile,
    approach: Approach,
    settings: dict[str, Any],
    folder: RunFolder,
    progress: bool = True,
) -> DocentTrainer:
    """The trainer of one run: model with its adapter, encoded rows, callbacks."""
    transformers_logging.disable_progress_bar()
    processor = load_processor(profile)
    model = load_model(profile, quantization=approach.quantization)
    set_seed(settings["seed"])
    model = TUNINGS[approach.tuning](model, approach)
    longest = model.config.get_text_config().max_position_embeddings
    collator = DocentCollator(processor, max_tokens=longest)
    splits = [load_split(profile.collection, split) for split in ("train", "validation")]
    train_rows, validation_rows = (EncodedDialogs(rows, collator) for rows in splits)
    watchers = [Clock(), StopOnBrokenLoss(), KeepBestAndLast(folder)]
    trainer = DocentTrainer(
        model=model,
        args=_arguments(settings, folder),
        data_collator=collator,
        train_dataset=train_rows,
        eval_dataset=validation_rows,
        callbacks=[*watchers, ShowProgress()] if progress else watchers,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.validation_tokens_a_row = validation_rows.learned_tokens() / len(validation_rows)
    return trainer


def _arguments(settings: dict[str, Any], folder: RunFolder) -> TrainingArguments:
    every = settings["eval_steps"]
    derived = {"output_dir": str(folder.unfinished), "logging_steps": every, "save_steps": every}
    device = {"dataloader_pin_memory": torch.cuda.is_available()}
    try:
        return TrainingArguments(**{**device, **settings, **FIXED, **derived})
    except (TypeError, ValueError) as error:
        raise MuseQuestError(
            f"transformers.TrainingArguments refuses the settings ({str(error).splitlines()[0]}); "
            "correct them in the profile, the approach's config.yaml or --set."
        ) from error


def _check_settings(settings: dict[str, Any]) -> None:
    for key in (*FIXED, *DERIVED):
        if key in settings:
            raise MuseQuestError(
                f"The training setting '{key}' cannot be chosen, the same holds for every run; "
                "remove it from the profile, the approach's config.yaml or --set."
            )


def _state_to_resume(folder: RunFolder) -> str | None:
    state = folder.last_state()
    return str(state) if state else None


def _outcome(state: TrainerState, trainer: Trainer) -> dict[str, Any]:
    """What a finished run achieved; its seconds count validation, not loading."""
    seconds = state.log_history[-1]["seconds"]
    rows = state.epoch * len(trainer.train_dataset)
    return {
        "steps": state.global_step,
        "epochs": round(state.epoch, 4),
        "best_step": state.best_global_step,
        "best_eval_loss": state.best_metric,
        "minutes": round(seconds / 60, 3),
        "samples_per_second": round(rows / seconds, 3),
    }
