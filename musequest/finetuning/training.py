"""One training path for every approach: settings in, best adapter, run.json and metrics out."""

from __future__ import annotations

import logging
import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerState, TrainingArguments

from ..creation.dataset import fingerprint
from ..errors import MuseQuestError
from ..home import run_dir
from ..locks import hold
from ..settings import Approach, Profile, load_approach, load_profile, suited
from .activations import empty_model
from .callbacks import MemoryStats, StopOnSignal
from .checkpoints import RunFolder
from .data_loading import rows_by_rank
from .distributed import all_gather, launched, prefixed_output, run_on_rank0
from .fsdp import merge_shards
from .launching import launch, processes_for
from .machine import peak_memory_gib
from .model_info import write_model_info
from .models import (
    WEIGHTS,
    base_digests,
    base_fingerprint,
    check_adapter,
    check_base_model,
    name_base_model,
)
from .records import UNFINISHED, RunRecord, asked_of, check_weights, finished_record
from .run_errors import explained
from .run_settings import check_precision, chosen_settings
from .strategies import build_trainer
from .trackers import tracker_settings, wandb_run
from .trainer import DocentTrainer
from .validation import check_kept, free_memory

LOGGER = logging.getLogger("musequest")


def train(
    profile: str | Path | Profile,
    approach_name: str = "lora",
    overrides: dict[str, str] | None = None,
    *,
    processes: int | None = None,
    fresh: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Tune the profile's base model on its dataset; returns what run.json holds.

    Writes runs/<profile>/<approach>/. A run that is done is returned as it is, one that was
    interrupted goes on, and one with other settings, data or base model raises MuseQuestError;
    `fresh` discards it. Ctrl-C and SIGTERM save a state and raise MuseQuestError. `overrides` are
    keys of TrainingArguments. A parallel approach runs in `processes` processes, one a GPU unless
    given, which are started here unless this already is one of them.
    """
    profile = profile if isinstance(profile, Profile) else load_profile(profile)
    approach = suited(load_approach(approach_name), profile)
    processes = processes_for(approach, processes)
    settings = chosen_settings(profile, approach, overrides)
    tracker_settings(settings, profile.name)  # a missing key is said before anything is loaded
    check_precision(profile, approach, settings)
    asked = asked_of(
        profile,
        approach,
        settings,
        base_fingerprint(profile),
        fingerprint(profile.collection),
        processes,
    )
    folder = RunFolder(run_dir(profile.name, approach.name))
    record = RunRecord(folder.folder, asked)
    if not fresh and (done := run_on_rank0(lambda: _finished(record, folder, approach))):
        return done
    with ExitStack() as held:
        run_on_rank0(lambda: held.enter_context(hold(folder.folder)))
        if done := run_on_rank0(lambda: _begun(record, folder, approach, fresh)):
            return done
        return _train(record, folder, profile, approach, settings, processes, overrides, progress)


def _train(
    record: RunRecord,
    folder: RunFolder,
    profile: Profile,
    approach: Approach,
    settings: dict[str, Any],
    processes: int,
    overrides: dict[str, str] | None,
    progress: bool,
) -> dict[str, Any]:
    """Train what is not done yet, in this process or in those that it starts."""
    if processes > 1 and not launched():
        return _launched(record, profile, approach, processes, overrides, progress)
    run_on_rank0(lambda: _check_what_is_read(record, folder, profile))
    try:
        with prefixed_output(), wandb_run(settings, folder.folder):
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


def _begun(
    record: RunRecord, folder: RunFolder, approach: Approach, fresh: bool
) -> dict[str, Any] | None:
    """Discard an earlier run if asked to; the record of one that is done, else None."""
    if not fresh and (done := _finished(record, folder, approach)):
        return done
    check_adapter(approach)
    if fresh:
        folder.discard()
    elif (record.earlier() or {}).get("status") == "done" and folder.last_state():
        LOGGER.warning("%s has lost its weights and is trained anew.", folder.folder)
        folder.discard()
    return None


def _check_what_is_read(record: RunRecord, folder: RunFolder, profile: Profile) -> None:
    """Raise MuseQuestError unless an unfinished run's base model and last state are its own."""
    if folder.last_state():
        folder.check_state()
        check_base_model(profile, record.earlier() or {}, folder.folder)


def _launched(
    record: RunRecord,
    profile: Profile,
    approach: Approach,
    processes: int,
    overrides: dict[str, str] | None,
    progress: bool,
) -> dict[str, Any]:
    """Train in processes of their own; returns what the first of them wrote.

    An error of any of them is the reason in run.json, also where the first saw it only as a
    partner that had gone.
    """
    try:
        launch(profile, approach.name, processes, overrides, progress)
    except MuseQuestError as error:
        record.adopt()
        if record.values.get("status") != "interrupted" or UNFINISHED in record.values["reason"]:
            record.overrule(error)
        raise
    return finished_record(record.path.parent)


def _finished(record: RunRecord, folder: RunFolder, approach: Approach) -> dict[str, Any] | None:
    """The record of the run if it is done; None if there is something to train.

    Raises MuseQuestError where an earlier run with anything to lose was asked something else.
    """
    earlier = record.earlier()
    has_weights = (folder.folder / WEIGHTS[approach.tuning]).is_dir()
    if not (has_weights or folder.last_state()):
        return None
    asked = folder.asked_of_state()
    if earlier is None and asked is None:
        raise MuseQuestError(
            f"{folder.folder} holds weights or a state without the run.json that says what they "
            "learned; bring it back, or discard them with fresh=True (--fresh)."
        )
    for known in (earlier, asked):
        if known is not None:
            record.check_same(known)
    if earlier is None:
        LOGGER.warning("%s has lost its run.json and goes on from its state.", folder.folder)
        return None
    if earlier["status"] != "done" or not has_weights:
        return None
    check_weights(folder.folder, earlier)
    return earlier


def _run(
    record: RunRecord,
    folder: RunFolder,
    profile: Profile,
    approach: Approach,
    settings: dict[str, Any],
    progress: bool,
) -> dict[str, Any]:
    """Train from the last state, if there is one, to the end."""
    record.values = run_on_rank0(lambda: _begin(record, folder))
    stop, counted = StopOnSignal(), MemoryStats()
    trainer = build_trainer(profile, approach, settings, folder, record, progress)
    for callback in (stop, counted):
        trainer.add_callback(callback)
    trainable, total = trainer.parameter_counts()
    record.note(
        trainable_parameters=trainable,
        total_parameters=total,
        train_rows=len(trainer.train_dataset.rows),
        validation_rows=len(trainer.eval_dataset.rows),
        global_batch=global_batch(trainer.args),
        rows_by_rank=rows_by_rank(trainer),
        plan=trainer.plan.table().to_dict("records") if trainer.plan else None,
        base_model_sha256=run_on_rank0(lambda: base_digests(profile)),
    )
    if trainer.is_world_process_zero():
        _tell_what_is_trained(folder, trainer, profile, approach)
    with stop.listening():
        trainer.train(resume_from_checkpoint=_state_to_resume(folder))
    record.values["held_by_rank"] = counted.with_peaks()
    state = trainer.state
    if state.global_step < state.max_steps:
        reason = f"{stop.received} at step {state.global_step} of {state.max_steps}"
        record.interrupt(reason)
        raise _Interrupted(
            f"Training was interrupted ({reason}); the state is saved in {folder.folder}, and the "
            "same call goes on from there."
        )
    run_on_rank0(lambda: _place_weights(folder, state, profile, approach))
    outcome = _outcome(state, trainer) | {"peak_memory_gib": peak_of_all()}
    arguments = trainer.args
    del trainer  # or the model read back would lie beside it
    free_memory()
    return run_on_rank0(lambda: _end(record, folder, outcome, profile, approach, arguments))


def _tell_what_is_trained(
    folder: RunFolder, trainer: DocentTrainer, profile: Profile, approach: Approach
) -> None:
    whole = empty_model(profile, approach) if trainer.plan else trainer.model
    title = f"What was trained: {profile.name}, {approach.name}"
    processor = trainer.data_collator.processor
    write_model_info(folder.folder, whole, processor, title, trainer.plan)


def _begin(record: RunRecord, folder: RunFolder) -> dict[str, Any]:
    """Write that the run has started; what all of its processes know of it, as what fits."""
    record.begin(fitted=record.remembered())
    folder.clear_unfinished()
    return record.values


def _end(
    record: RunRecord,
    folder: RunFolder,
    outcome: dict[str, Any],
    profile: Profile,
    approach: Approach,
    arguments: TrainingArguments,
) -> dict[str, Any]:
    """Say that the run is done, once what it keeps is seen to be what it learned.

    Then let go of what only an unfinished one needs, and count the rest.
    """
    recorded = outcome["best_eval_loss"]
    read = check_kept(profile, approach, folder.folder, arguments, recorded)
    digests = folder.weights_digests(WEIGHTS[approach.tuning])
    outcome = {**outcome, "read_back_eval_loss": read, "weights_sha256": digests}
    record.finish(**outcome)
    folder.drop_optimizer()
    return record.finish(**outcome)


def _place_weights(
    folder: RunFolder, state: TrainerState, profile: Profile, approach: Approach
) -> None:
    folder.write_metrics(state)
    merge_shards(folder.best / f"checkpoint-{state.best_global_step}", profile.dtype)
    folder.finish(state.best_global_step, WEIGHTS[approach.tuning])
    name_base_model(folder.folder, profile)


def global_batch(arguments: TrainingArguments) -> dict[str, int]:
    """How many rows one step learns from, and what they are made of."""
    factors = {
        "per_device_train_batch_size": arguments.per_device_train_batch_size,
        "gradient_accumulation_steps": arguments.gradient_accumulation_steps,
        "processes": arguments.world_size,
    }
    return {"rows_a_step": math.prod(factors.values()), **factors}


def peak_of_all() -> dict[str, float]:
    """Peak memory, GiB, of the process that took most (`cpu`), and of each GPU."""
    peaks = all_gather(peak_memory_gib())
    return {device: max(each.get(device, 0.0) for each in peaks) for device in peaks[0]}


def _state_to_resume(folder: RunFolder) -> str | None:
    state = folder.last_state()
    return str(state) if state else None


def _outcome(state: TrainerState, trainer: Trainer) -> dict[str, Any]:
    """What a finished run achieved; its seconds count validation, not loading."""
    seconds = state.log_history[-1]["seconds"]
    rows = state.epoch * len(trainer.train_dataset.rows)
    return {
        "steps": state.global_step,
        "epochs": round(state.epoch, 4),
        "best_step": state.best_global_step,
        "best_eval_loss": state.best_metric,
        "minutes": round(seconds / 60, 3),
        "samples_per_second": round(rows / seconds, 3),
    }
