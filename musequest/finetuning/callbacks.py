"""What the trainer is told between its steps: to stop and save, to keep time, to show progress.

A loss or gradient that is no finite number is said with its step and rows (`broken`), and what each
process really held is counted in it, not read from a setting (`MemoryStats`).
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tqdm import tqdm
from transformers import TrainerCallback, TrainerState

from ..core.errors import MuseQuestError
from .collator import IGNORED, EncodedDialogs
from .distributed import all_gather, any_rank, launched
from .model_info import weights_in
from .records import peak_memory_gib

SHARE_SHOWN = 0.05
ECHO_SECONDS = 2.0
NAMED = 3  # parameters in a sentence
MOST_NAMED = 8  # rows


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
