"""What a run keeps on disk: the best weights and the last state from which it can go on.

    runs/<profile>/<approach>/
      unfinished/             where the trainer writes; nothing in it counts
      state/checkpoint-120/   the last whole state: weights, optimizer, scheduler, random numbers;
                              without the optimizer's, the largest, once the run is done
      best/checkpoint-96/     the weights with the lowest validation loss so far
      adapter/ or model/      the same, once the run is done

A folder is written under unfinished/ and then renamed, so it is there whole or not at all. Best
weights are put in place before the state that names them: a process killed between the two goes
on from the older state, whose best weights are still there. Whether the disk holds all that is
asked before the first step. When a run is done, what it keeps is read back: its validation loss
must be what was learned.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import TrainerCallback, TrainerState, TrainingArguments

from ..core.errors import LOGGER, MuseQuestError, refusal
from ..core.files import check_digests, digests_of, read_json, read_remade, sync_folder, write_json
from ..core.tables import SCHEMAS, write_table
from .collator import IGNORED, DocentCollator
from .distributed import barrier
from .memory import Written
from .models import WEIGHTS, default_device, free_memory, load_kept
from .records import GIB, disk_gib, free_gib
from .run_config import RunConfig
from .trainer import predicting

EVAL_ROWS = "per_device_eval_batch_size"
# By how much the validation loss may differ from the recorded one: rounding of what is computed in.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 5e-3}
Result = TypeVar("Result")
DIGESTS = "digests.json"  # SHA-256 of the files of a state
TRAINER_STATE = "trainer_state.json"
# What a checkpoint of the trainer holds besides weights and their configuration.
STATE_FILES = (
    *("optimizer.*", "optimizer_*", "scheduler.*", "scaler.*", "rng_state*", "training_args.bin"),
    *(TRAINER_STATE, "asked.json", DIGESTS, "README.md"),
)


class RunFolder:
    """The folders of one run, and the moves between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unfinished = folder / "unfinished"
        self.state = folder / "state"
        self.best = folder / "best"

    def last_state(self) -> Path | None:
        """The newest whole state, if there is one."""
        states = sorted(self.state.glob("checkpoint-*"), key=_step)
        return states[-1] if states else None

    def clear_unfinished(self) -> None:
        """Remove what a process that was killed may have left half written."""
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def keep(self, step: int, best_step: int | None) -> None:
        """Move the checkpoint of `step` to its place and drop what it supersedes."""
        written = self.unfinished / f"checkpoint-{step}"
        if step == best_step:
            weights = self.unfinished / "best"
            shutil.rmtree(weights, ignore_errors=True)
            ignored = shutil.ignore_patterns(*STATE_FILES)
            shutil.copytree(written, weights, ignore=ignored, copy_function=link_or_copy)
            move_into_place(weights, self.best / written.name)
        move_into_place(written, self.state / written.name)
        for folder, kept in ((self.state, step), (self.best, best_step)):
            for checkpoint in folder.glob("checkpoint-*"):
                if _step(checkpoint) != kept:
                    shutil.rmtree(checkpoint)

    def finish(self, best_step: int, name: str) -> None:
        """Give the best weights their final name, unless a process killed just after did so.

        Raises MuseQuestError if there are none: a run without weights is never done.
        """
        weights = self.best / f"checkpoint-{best_step}"
        if weights.is_dir():
            move_into_place(weights, self.folder / name)
        if not (self.folder / name).is_dir():
            raise MuseQuestError(
                f"{self.folder} holds no weights of its best step ({best_step}): it never "
                "validated, or they were removed; start it anew with fresh=True (--fresh)."
            )
        shutil.rmtree(self.best, ignore_errors=True)
        self.clear_unfinished()

    def drop_optimizer(self) -> None:
        """Let go of the optimizer's states, the most of the last state: a done run never goes on.

        A sharded run keeps them in a folder, others in a file, a pipeline in one a stage.
        """
        for held in self.state.glob("checkpoint-*/optimizer*"):
            record_digests(held.parent, without=held.name)
            shutil.rmtree(held) if held.is_dir() else held.unlink()

    def check_state(self) -> None:
        """Raise MuseQuestError if the last state is not what was written; older ones do not say."""
        state = self.last_state()
        if state is not None and (state / DIGESTS).exists():
            remedy = "bring it back, or discard the run with fresh=True (--fresh)"
            check_digests(state, read_json(state / DIGESTS), remedy)

    def asked_of_state(self) -> dict[str, Any] | None:
        """What the run was asked that wrote the last state, if there is one and it says so."""
        state = self.last_state()
        return (read_remade(state / "asked.json") or None) if state else None

    def write_metrics(self, state: TrainerState) -> None:
        """Write metrics.parquet: a row a step at which the trainer logged something measured."""
        rows: dict[int, dict[str, float | None]] = {}
        for entry in state.log_history:
            if "loss" not in entry and "eval_loss" not in entry:
                continue
            row = rows.setdefault(entry["step"], dict.fromkeys(SCHEMAS["metrics"].names))
            told = entry | ({"train_loss": entry["loss"]} if "loss" in entry else {})
            row |= {name: told[name] for name in row.keys() & told.keys()}
        measured = [rows[step] for step in sorted(rows)]
        write_table("metrics", self.folder / "metrics.parquet", measured)

    def discard(self) -> None:
        """Remove the whole run, predictions included; of a link to another disk what lies there."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


class KeepBestAndLast(TrainerCallback):
    """After each save, puts state and best weights in place and writes metrics.parquet."""

    def __init__(self, folder: RunFolder, asked: dict[str, Any]) -> None:
        self.folder, self.asked = folder, asked

    def on_save(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Called when the trainer has written its checkpoint under unfinished/."""
        barrier()  # until every process has written its share
        if not state.is_world_process_zero:
            return
        # The trainer looks for its best checkpoint where it wrote it; that place is not kept.
        state.best_model_checkpoint = None
        written = self.folder.unfinished / f"checkpoint-{state.global_step}"
        state.save_to_json(str(written / TRAINER_STATE))
        write_json(written / "asked.json", self.asked)
        record_digests(written)
        self.folder.keep(state.global_step, state.best_global_step)
        self.folder.write_metrics(state)


def record_digests(checkpoint: Path, without: str | None = None) -> None:
    """Write the digests of what a checkpoint holds, but for what lies under the name `without`.

    Of its JSON files only the trainer's counts: the others say again what the run was asked.
    """
    path = checkpoint / DIGESTS
    if without is None:
        files = (p for p in checkpoint.rglob("*") if p.suffix != ".json" or p.name == TRAINER_STATE)
        write_json(path, digests_of(checkpoint, files))
    elif path.exists():
        recorded = read_remade(path)
        left = {name: each for name, each in recorded.items() if name.split("/")[0] != without}
        write_json(path, left)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def move_into_place(source: Path, target: Path) -> None:
    """Rename a folder once all of it is on the disk; what `target` held before is replaced."""
    for path in (*source.rglob("*"), source):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(source, target)
    sync_folder(target.parent)


def link_or_copy(source: str | Path, target: str | Path) -> str | Path:
    """One file under two names where the disk can do that, else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def check_disk(folder: RunFolder, written: Written) -> float:
    """The GiB a run needs at most; MuseQuestError if the disk has less. What it holds counts."""
    needed, free = written.peak / GIB, free_gib(folder.folder)
    if free + disk_gib(folder.folder) < needed:
        raise MuseQuestError(
            f"The disk of {folder.folder} has {free:.2f} GiB free, and this run writes up to "
            f"{needed:.2f} GiB (a checkpoint has {written.weights / GIB:.2f} GiB of weights and "
            f"{written.state / GIB:.2f} GiB of optimizer state, and a new one is whole before the "
            "old one goes); make room, or let MUSEQUEST_HOME name a larger disk."
        )
    return round(needed, 4)


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raise MuseQuestError unless the disk of `folder` has `needed` bytes free for `what`."""
    free = free_gib(folder)
    if free < needed / GIB:
        raise MuseQuestError(
            f"The disk of {folder} has {free:.2f} GiB free, and {what} takes {needed / GIB:.2f} "
            "GiB; make room, or let MUSEQUEST_HOME name a larger disk."
        )


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that the disk or its quota is used up."""
    refused = refusal(error)
    return refused is not None and refused.errno in (errno.ENOSPC, errno.EDQUOT)


def check_kept(config: RunConfig, folder: Path, recorded: float) -> float:
    """The validation loss of the weights in `folder`, as whoever uses them will load them.

    It is that of all validation rows, computed once more as the run did, on one device; where a
    GPU is too small for the whole model, on the processor. One further from `recorded` than
    rounding explains raises MuseQuestError.
    """
    if not (folder / WEIGHTS[config.approach.tuning]).is_dir():
        raise MuseQuestError(
            f"The best weights of the run in {folder} are gone, though its state is there; bring "
            "them back, or train anew with fresh=True (--fresh)."
        )
    rows = config.validation_rows
    at_once = int(config.settings.get(EVAL_ROWS, TrainingArguments.per_device_eval_batch_size))

    def loss_on(device: str) -> float:
        model = load_kept(config.profile, config.approach, folder, device=device)
        return reference_loss(model, config.collator, rows, at_once, config.autocast)

    loss = on_gpu_or_cpu(loss_on, "%s is too small to read the model back; the processor does it.")
    tolerance = TOLERANCES[config.autocast or config.dtype]
    if not abs(loss - recorded) <= tolerance:
        raise MuseQuestError(
            f"The weights kept in {folder} are not those that were learned: read back from disk, "
            f"their validation loss is {loss:.5f} where {recorded:.5f} was recorded (by rounding "
            f"it may differ by {tolerance:g}); check the disk, and train anew with fresh=True "
            "(--fresh)."
        )
    return loss


def on_gpu_or_cpu(work: Callable[[str], Result], warning: str) -> Result:
    """What `work` returns on this process's device; where a GPU is too small, on the processor.

    Then `warning` is logged, with the device's name.
    """
    device = default_device()
    try:
        return work(device)
    except torch.OutOfMemoryError:
        if device == "cpu":
            raise
    LOGGER.warning(warning, device)
    free_memory()
    return work("cpu")


@torch.inference_mode()
def reference_loss(
    model: Any,
    collator: DocentCollator,
    rows: Any,
    at_once: int = 1,
    autocast: torch.dtype | None = None,
) -> float:
    """The mean loss over all tokens of the reference answers, `at_once` rows at a time.

    `autocast` is the dtype of mixed precision, if there is any.
    """
    total, count = 0.0, 0
    for first in range(0, len(rows), at_once):
        chosen = [rows[index] for index in range(first, min(first + at_once, len(rows)))]
        batch = {name: values.to(model.device) for name, values in collator(chosen).items()}
        tokens = int((batch["labels"] != IGNORED).sum())
        with torch.autocast(model.device.type, dtype=autocast, enabled=autocast is not None):
            total += float(model(**batch, **predicting(batch["labels"])).loss) * tokens
        count += tokens
    return total / count
