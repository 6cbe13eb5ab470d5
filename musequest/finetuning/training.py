"""One training path for every approach: settings in, best adapter, run.json and metrics out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerState

from ..creation.dataset import fingerprint
from ..errors import MuseQuestError
from ..home import run_dir
from ..settings import Approach, Profile, load_approach, load_profile
from .callbacks import StopOnSignal
from .checkpoints import RunFolder
from .endings import explained
from .model_info import write_model_info
from .models import WEIGHTS, base_fingerprint, name_base_model, trainable_table
from .records import RunRecord, asked_of
from .trackers import tracker_settings
from .trainer import build_trainer, chosen_settings

LOGGER = logging.getLogger("musequest")


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
    settings = chosen_settings(profile, approach, overrides)
    tracker_settings(settings, profile.name)  # a missing key is said before anything is loaded
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
        used = {**settings, **record.fitted}
        told = explained(error, profile, approach, used, folder)
        record.fail(told)
        if told is error:
            raise
        raise told from error


class _Interrupted(Exception):
    """A signal ended the run, and its state is saved."""


def _finished(record: RunRecord, folder: RunFolder, approach: Approach) -> dict[str, Any] | None:
    """The record of the run if it is done; None if there is something to train.

    Raises MuseQuestError where an earlier run with anything to lose was asked something else.
    """
    earlier = record.earlier()
    has_weights = (folder.folder / WEIGHTS[approach.tuning]).is_dir()
    if not (has_weights or folder.last_state()):
        return None
    if earlier is None:
        raise MuseQuestError(
            f"{folder.folder} holds weights or a state without the run.json that says what they "
            "learned; bring it back, or discard them with fresh=True (--fresh)."
        )
    record.check_same(earlier)
    if asked := folder.asked_of_state():
        record.check_same(asked)
    if earlier["status"] == "done" and not has_weights:
        LOGGER.warning("%s has lost its weights and is trained anew.", folder.folder)
        folder.discard()
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
    record.begin(fitted=record.remembered())
    folder.clear_unfinished()
    stop = StopOnSignal()
    trainer = build_trainer(profile, approach, settings, folder, record, progress)
    trainer.add_callback(stop)
    parameters = trainable_table(trainer.model).set_index("part").loc["all"]
    record.values |= {
        "world_size": trainer.args.world_size,
        "trainable_parameters": int(parameters.trainable),
        "total_parameters": int(parameters.parameters),
        "train_rows": len(trainer.train_dataset),
        "validation_rows": len(trainer.eval_dataset),
    }
    if trainer.is_world_process_zero():
        title = f"What was trained: {profile.name}, {approach.name}"
        write_model_info(folder.folder, trainer.model, trainer.data_collator.processor, title)
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
    folder.write_metrics(state)
    folder.finish(state.best_global_step, WEIGHTS[approach.tuning])
    name_base_model(folder.folder, profile)
    return record.finish(**_outcome(state, trainer))


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
