"""What each process of a run really held: counted in the process, not read from a setting."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .machine import peak_memory_gib
from .models import weights_in
from .ranks import all_say


class CountHeld(TrainerCallback):
    """Counts the parameters that lie in each process when its model is ready to be trained."""

    def __init__(self) -> None:
        self.by_rank: list[dict[str, Any]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called with the model as it is trained, sharded or wrapped."""
        self.by_rank = all_say(held(kwargs["model"]))

    def with_peaks(self) -> list[dict[str, Any]]:
        """The same, a row a process, with the most memory each held (GiB); all have to ask.

        It is that of the process's GPU, or without one its resident memory.
        """
        peaks = all_say(own_peak_gib())
        return [
            {"rank": number, **each, "peak_memory_gib": peak}
            for number, (each, peak) in enumerate(zip(self.by_rank, peaks, strict=True))
        ]


def own_peak_gib() -> float:
    """The most memory this process ever held where it computes, GiB."""
    peaks = peak_memory_gib()
    return max([peak for device, peak in peaks.items() if device != "cpu"] or peaks.values())


def held(model: nn.Module) -> dict[str, int]:
    """Numbers that this process itself holds: trained parameters and all; of a share, its share."""
    counts = {"trainable_parameters": 0, "parameters": 0}
    for parameter in model.parameters():
        local = parameter.to_local() if hasattr(parameter, "to_local") else parameter
        counts["parameters"] += weights_in(local)
        counts["trainable_parameters"] += weights_in(local) if parameter.requires_grad else 0
    return counts
