"""One training path for every approach: settings in, best adapter, run.json and metrics out.

train          what is asked, and whether it is done already; `train_seeds` does so several times
_supervised    in this process or in several; an error becomes the reason in run.json
_run           trainer, steps, weights in their place, read back from disk, record
"""

from __future__ import annotations

import math
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from accelerate.utils.memory import should_reduce_batch_size
from transformers import TrainerState

from ..core.errors import LOGGER, MuseQuestError, chain
from ..core.files import clear_temporaries, digests_of, hold
from ..core.home import run_dir
from ..core.settings import Profile, load_approach, load_profile, seed_profile
from ..creation.review import check_learned
from .anatomy import write_model_info
from .callbacks import MemoryStats, StopOnSignal, wandb_run
from .checkpoints import RunFolder, check_kept, is_full
from .distributed import (
    all_gather,
    launch,
    launched,
    on_stop,
    prefixed_output,
    processes_for,
    run_on_rank0,
)
from .fitting import out_of_memory
from .forecast import compared, foreseen_here
from .models import WEIGHTS, base_digests, base_folder, free_memory, name_base_model
from .records import (
    RunRecord,
    check_base_files,
    check_weights,
    disk_gib,
    finished_record,
    free_gib,
    held_memory_gib,
    most_of,
    peak_memory_gib,
)
from .run_config import RunConfig
from .strategies import build_trainer, merge_shards
from .trainer import DocentTrainer
from .vision import store_of


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
    profile = load_profile(profile)
    approach = load_approach(approach_name)
    folder = RunFolder(run_dir(profile.name, approach.name))
    config = RunConfig.resolve(profile, approach, overrides, processes_for(approach, processes))
    config.check_here()
    check_learned(profile.collection, profile)
    record = RunRecord(folder.folder, config.asked)
    with ExitStack() as held:
        if not fresh and (done := run_on_rank0(lambda: _finished(config, folder, record))):
            run_on_rank0(lambda: _clear(folder.folder))
            return done
        run_on_rank0(lambda: held.enter_context(hold(folder.folder)))
        if done := run_on_rank0(lambda: _begin(config, folder, record, fresh)):
            return done
        if config.processes == 1 or launched():
            return _supervised(config, folder, record, progress)
        try:
            launch(profile, approach.name, config.processes, overrides, progress)
        except MuseQuestError as error:
            record.overrule(error)
            raise
        return finished_record(folder.folder)


def train_seeds(
    profile: Profile,
    approach_name: str = "lora",
    count: int = 1,
    overrides: dict[str, str] | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Train so many times, the profile's own seed first; returns what each run.json holds.

    A further seed's run lies in runs/<profile>__seed<n>/<approach>/. `options` are those of
    `train`; what is done already is returned as it is.
    """
    records = [train(profile, approach_name, overrides, **options)]
    for more in range(1, count):
        seed = records[0]["seed"] + more
        again = (overrides or {}) | {"seed": str(seed)}
        records.append(train(seed_profile(profile, seed), approach_name, again, **options))
    return records


def _finished(config: RunConfig, folder: RunFolder, record: RunRecord) -> dict[str, Any] | None:
    """The record of the run if it is done; None if there is something to train.

    Raises MuseQuestError where an earlier run with anything to lose was asked something else.
    """
    earlier = record.earlier()
    has_weights = (folder.folder / WEIGHTS[config.approach.tuning]).is_dir()
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


def _clear(folder: Path) -> None:
    """Remove what a process left that was killed just when its run was done."""
    with suppress(MuseQuestError, OSError), hold(folder):  # another may be at work there
        clear_temporaries(folder)


def _begin(
    config: RunConfig, folder: RunFolder, record: RunRecord, fresh: bool
) -> dict[str, Any] | None:
    """Discard an earlier run if asked to; the record of one that is done, else None."""
    if not fresh and (done := _finished(config, folder, record)):
        return done
    if fresh:
        folder.discard()
    elif (record.earlier() or {}).get("status") == "done" and folder.last_state():
        LOGGER.warning("%s has lost its weights and is trained anew.", folder.folder)
        folder.discard()
    return None


class _Interrupted(Exception):
    """A signal ended the run, and its state is saved."""


def _supervised(
    config: RunConfig, folder: RunFolder, record: RunRecord, progress: bool
) -> dict[str, Any]:
    """Train in this process; whatever ends the run early becomes the reason in run.json."""

    def checked_state() -> Path | None:
        if state := folder.last_state():
            folder.check_state()
            check_base_files(base_folder(config.profile), record.earlier() or {}, folder.folder)
        folder.clear_unfinished()
        return state

    state = run_on_rank0(checked_state)
    try:
        with prefixed_output(), wandb_run(config.settings, folder.folder):
            return _run(config, folder, record, state, progress)
    except KeyboardInterrupt:
        record.interrupt("stopped at once, without saving a state")
        raise
    except _Interrupted as stop:
        raise MuseQuestError(str(stop)) from None
    except Exception as error:
        told = explained(error, config.fitted(record.fitted), folder)
        record.fail(told)
        if told is error:
            raise
        raise told from error


def explained(error: Exception, config: RunConfig, folder: RunFolder) -> Exception:
    """MuseQuestError for a full disk or used-up memory; any other error as it is."""
    if isinstance(error, MuseQuestError):
        return error
    state = folder.last_state()
    kept = f"the state of {state.name} is kept" if state else "there was no state to keep yet"
    if is_full(error):
        folder.clear_unfinished()
        return MuseQuestError(
            f"The disk of {folder.folder} became full while the run was writing "
            f"({free_gib(folder.folder):.2f} GiB are free now); {kept}, so make room and call the "
            "same again."
        )
    if any(should_reduce_batch_size(each) for each in chain(error) if isinstance(each, Exception)):
        return MuseQuestError(f"{out_of_memory(config)}; {kept}.")
    return error


def _run(
    config: RunConfig, folder: RunFolder, record: RunRecord, state: Path | None, progress: bool
) -> dict[str, Any]:
    """Train from the last `state`, if there is one, to the end."""
    record.values = run_on_rank0(record.begin)
    stop, counted = StopOnSignal(), MemoryStats()
    trainer = build_trainer(config, folder, record, progress)
    config = config.fitted(record.fitted)
    trainer.add_callback(stop)
    trainer.add_callback(counted)
    trainable, total = trainer.parameter_counts()
    rows_by_rank, memory = trainer.rows_by_rank(), trainer.memory
    foreseen, base_sha256 = run_on_rank0(
        lambda: (foreseen_here(config, memory), base_digests(config.profile))
    )
    batch = {
        "per_device_train_batch_size": trainer.args.per_device_train_batch_size,
        "gradient_accumulation_steps": trainer.args.gradient_accumulation_steps,
        "processes": trainer.args.world_size,
    }
    record.note(
        trainable_parameters=trainable,
        total_parameters=total,
        train_rows=len(trainer.train_dataset.rows),
        validation_rows=len(trainer.eval_dataset.rows),
        global_batch={"rows_a_step": math.prod(batch.values()), **batch},
        rows_by_rank=rows_by_rank,
        plan=trainer.plan.table().to_dict("records") if trainer.plan else None,
        base_model_sha256=base_sha256,
    )
    if trainer.is_world_process_zero():
        write_model_info(
            folder.folder,
            config.empty if trainer.plan else trainer.model,
            config.collator.processor,
            f"What was trained: {config.profile.name}, {config.approach.name}",
            trainer.plan,
        )
    with on_stop(stop.receive):
        trainer.train(resume_from_checkpoint=str(state) if state else None)
    record.values["held_by_rank"] = counted.with_peaks()
    reached = trainer.state
    if reached.global_step < reached.max_steps:
        reason = f"{stop.received} at step {reached.global_step} of {reached.max_steps}"
        record.interrupt(reason)
        raise _Interrupted(
            f"Training was interrupted ({reason}); the state is saved in {folder.folder}, and the "
            "same call goes on from there."
        )
    run_on_rank0(lambda: _place_weights(config, folder, reached))
    outcome = _outcome(trainer)
    del trainer  # or the model read back would lie beside it
    free_memory()
    return run_on_rank0(lambda: _finish(config, folder, record, {**outcome, "foreseen": foreseen}))


def _outcome(trainer: DocentTrainer) -> dict[str, Any]:
    """What a finished run achieved; its seconds count validation, not loading.

    Peak memory, GiB, is that of the process that took most (`cpu`), and of each GPU what was
    reserved; what tensors held of it stands beside that.
    """
    state = trainer.state
    seconds = state.log_history[-1]["seconds"]
    rows = state.epoch * len(trainer.train_dataset.rows)
    peaks, held = most_of(all_gather(peak_memory_gib())), most_of(all_gather(held_memory_gib()))
    store = store_of(trainer.model)
    return {
        "steps": state.global_step,
        "epochs": round(state.epoch, 4),
        "best_step": state.best_global_step,
        "best_eval_loss": state.best_metric,
        "minutes": round(seconds / 60, 3),
        "samples_per_second": round(rows / seconds, 3),
        "peak_memory_gib": peaks,
        **({"held_memory_gib": held} if held else {}),
        "padding_share": round(trainer.padding_share(), 4),
        "vision_store": store.figures() if store else None,
    }


def _place_weights(config: RunConfig, folder: RunFolder, state: TrainerState) -> None:
    folder.write_metrics(state)
    merge_shards(folder.best / f"checkpoint-{state.best_global_step}", config.profile.dtype)
    folder.finish(state.best_global_step, WEIGHTS[config.approach.tuning])
    name_base_model(folder.folder, config.profile)


def _finish(
    config: RunConfig, folder: RunFolder, record: RunRecord, outcome: dict[str, Any]
) -> dict[str, Any]:
    """Say that the run is done, once what it keeps is seen to be what it learned.

    Then let go of what only an unfinished one needs, and count the rest.
    """
    outcome["read_back_eval_loss"] = check_kept(config, folder.folder, outcome["best_eval_loss"])
    weights = folder.folder / WEIGHTS[config.approach.tuning]
    outcome["weights_sha256"] = digests_of(folder.folder, weights.rglob("*"))
    record.finish(**outcome)
    folder.drop_optimizer()
    was = {**outcome, "disk_gib": disk_gib(folder.folder)}
    least = outcome["foreseen"]["seconds_at_peak"]
    outcome["mfu"] = least and round(least / (60 * outcome["minutes"]), 4)
    outcome["foreseen"] = compared(outcome["foreseen"], was)
    return record.finish(**outcome)
