"""What the trainer is told between its steps: to stop and save, to keep time, to show progress.

What each process really held is counted in it, not read from a setting (`MemoryStats`). Curves go
to TensorBoard beside the record, to Weights & Biases or to trackio: one setting, `report_to`,
chooses, and keys come from the environment or .env alone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerState
from transformers.integrations import TensorBoardCallback

from ..core.errors import MuseQuestError
from .anatomy import weights_in
from .distributed import all_gather, any_rank, launched, rank
from .records import peak_memory_gib

SHARE_SHOWN = 0.05
ECHO_SECONDS = 2.0
NAMED = 3  # parameters in a sentence
PROJECT = "musequest"
TRACKERS = ("tensorboard", "wandb", "trackio", "none")


class StopOnSignal(TrainerCallback):
    """Ctrl-C and SIGTERM let the running step end, save a state and stop; twice stops at once."""

    def __init__(self) -> None:
        self.received: str | None = None
        self.received_at = 0.0

    def receive(self, number: int) -> None:
        """Note the first signal; at the second, end."""
        if self.received:
            # A launcher passes on the Ctrl-C that the terminal has sent here already.
            if launched() and time.monotonic() - self.received_at < ECHO_SECONDS:
                return
            raise KeyboardInterrupt
        self.received_at = time.monotonic()
        self.received = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        print(f"\n{self.received}: saving a state to go on from ...", file=sys.stderr, flush=True)

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Ask the trainer to log, save and stop."""
        if any_rank(self.received is not None):
            self.received = self.received or "a signal to another process"
            control.should_log = control.should_save = control.should_training_stop = True


class Clock(TrainerCallback):
    """Adds to each log entry the seconds trained so far, over all processes that took part."""

    def __init__(self) -> None:
        self.start = 0.0

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Go on from where an interrupted process stopped."""
        earlier = [entry["seconds"] for entry in state.log_history if "seconds" in entry]
        self.start = time.monotonic() - (earlier[-1] if earlier else 0.0)

    def on_log(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Stamp the entry just made."""
        state.log_history[-1]["seconds"] = round(time.monotonic() - self.start, 3)

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Log the last step too, which the trainer validates but logs only on a round number."""
        if state.global_step >= state.max_steps:
            control.should_log = True


class StopOnUnlearned(TrainerCallback):
    """Whatever is trainable has a gradient in a process's first step, else the run stops there.

    A gradient of zeros counts as one: the first matrix of a fresh adapter has it. Of a parameter
    that is sharded, a process without any of its numbers has an empty one.
    """

    def __init__(self) -> None:
        self.checked = False

    def on_pre_optimizer_step(
        self, args: Any, state: TrainerState, control: Any, **kwargs: Any
    ) -> None:
        """Called when all batches of a step have added their gradients, and no weight has moved."""
        if self.checked:
            return
        self.checked = True
        named = kwargs["model"].named_parameters()
        without = [name for name, p in named if p.requires_grad and p.grad is None]
        names = sorted({name for each in all_gather(without) for name in each})
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            raise MuseQuestError(
                f"{len(names)} of the trainable parameters got no gradient in step "
                f"{state.global_step + 1} and would never learn: {', '.join(names[:NAMED])}{more}; "
                "leave them out of what is trained (`lora` in the profile or the approach's "
                "config.yaml)."
            )


class ShowProgress(TrainerCallback):
    """A progress bar with both losses; where nobody watches, a line every 5 %."""

    def __init__(self) -> None:
        self.bar: Any = None  # until training begins
        self.losses: dict[str, str] = {}

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Draw the bar where the run stands."""
        watched = sys.stderr.isatty()
        every = 1 if watched else max(1, round(state.max_steps * SHARE_SHOWN))
        self.bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc="training",
            unit="step",
            miniters=every,
            mininterval=0.5 if watched else 0.0,
            file=sys.stderr,
        )

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Write the newest losses behind the bar."""
        for key, name in (("loss", "train_loss"), ("eval_loss", "eval_loss")):
            if key in state.log_history[-1]:
                self.losses[name] = f"{state.log_history[-1][key]:.3f}"
        self.bar.set_postfix(self.losses, refresh=False)

    def on_train_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Leave the last line."""
        self.bar.close()


class MemoryStats(TrainerCallback):
    """Counts the parameters that lie in each process when its model is ready to be trained."""

    def __init__(self) -> None:
        self.by_rank: list[dict[str, Any]] = []

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Called with the model as it is trained, sharded or wrapped; of a share, its share."""
        counts = {"trainable_parameters": 0, "parameters": 0}
        for parameter in kwargs["model"].parameters():
            local = parameter.to_local() if hasattr(parameter, "to_local") else parameter
            counts["parameters"] += weights_in(local)
            counts["trainable_parameters"] += weights_in(local) if parameter.requires_grad else 0
        self.by_rank = all_gather(counts)

    def with_peaks(self) -> list[dict[str, Any]]:
        """The same, a row a process, with the most memory each held (GiB); all have to ask.

        It is that of the process's GPU, or without one its resident memory.
        """
        mine = peak_memory_gib()
        on_gpus = [peak for device, peak in mine.items() if device != "cpu"]
        peaks = all_gather(max(on_gpus or mine.values()))
        return [
            {"rank": number, **each, "peak_memory_gib": peak}
            for number, (each, peak) in enumerate(zip(self.by_rank, peaks, strict=True))
        ]


def tracker_settings(settings: dict[str, Any], run: str) -> dict[str, Any]:
    """Keys of TrainingArguments for the trackers of `run`, TensorBoard's callback left to us.

    Raises MuseQuestError for a tracker that is unknown, not installed or lacks its key.
    """
    chosen = chosen_trackers(settings)
    for tracker in chosen:
        if flaw := _flaw(tracker, settings):
            raise MuseQuestError(flaw)
    others = [tracker for tracker in chosen if tracker not in ("tensorboard", "none")]
    return {"report_to": others or "none", "project": PROJECT, "run_name": run}


def tracker_callbacks(settings: dict[str, Any], folder: Path) -> list[TrainerCallback]:
    """TensorBoard's callback if it is chosen, writing to <run>/tensorboard/."""
    if "tensorboard" not in chosen_trackers(settings):
        return []
    callback = TensorBoardCallback()
    callback.logging_dir = str(folder / "tensorboard")
    return [callback]


@contextmanager
def wandb_run(settings: dict[str, Any], folder: Path) -> Iterator[None]:
    """Give the run in the block a page of its own in Weights & Biases, its files in <run>/wandb/.

    The library's callback never closes one: the next run of the same process would draw its curves
    on it too.
    """
    if "wandb" not in chosen_trackers(settings) or rank() != 0:
        yield
        return
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    project, name = os.environ.get("WANDB_PROJECT", PROJECT), "-".join(folder.parts[-2:])
    opened = wandb.init(project=project, name=name, dir=folder, reinit="finish_previous")
    failed = True
    try:
        yield
        failed = False
    finally:
        opened.finish(exit_code=int(failed))


def chosen_trackers(settings: dict[str, Any]) -> list[str]:
    """The names under `report_to`, one or a list."""
    chosen = settings.get("report_to") or "none"
    return [chosen] if isinstance(chosen, str) else list(chosen)


def _flaw(tracker: str, settings: dict[str, Any]) -> str | None:
    """Why a tracker cannot be used, in a sentence."""
    if tracker not in TRACKERS:
        return (
            f"There is no tracker '{tracker}' (report_to); the known ones are "
            f"{', '.join(TRACKERS)}."
        )
    if tracker != "none" and find_spec(tracker) is None:
        return (
            f"The tracker '{tracker}' (report_to) is not installed; run `pip install {tracker}`, "
            "or choose tensorboard or none."
        )
    local = os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun")
    if tracker == "wandb" and not (local or os.environ.get("WANDB_API_KEY")):
        return (
            "The tracker 'wandb' (report_to) needs the key WANDB_API_KEY in the environment or in "
            ".env; or set WANDB_MODE=offline, or choose tensorboard."
        )
    if tracker == "trackio" and settings.get("trackio_space_id") and not os.environ.get("HF_TOKEN"):
        return (
            "The tracker 'trackio' (report_to) needs HF_TOKEN in the environment or in .env to "
            "write to a Space; or remove trackio_space_id, and it keeps its curves here."
        )
    return None
