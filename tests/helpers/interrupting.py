"""Something happens to a run when a step begins, or while its checkpoint is written."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from transformers import TrainerCallback

from musequest.finetuning import training
from musequest.finetuning.strategies import build_trainer


class At(TrainerCallback):
    """Does something to the model when a step begins, or once its checkpoint is written."""

    def __init__(self, step: int, deed: Callable[[Any], object], saving: bool = False):
        self.step, self.deed, self.saving = step, deed, saving

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if not self.saving and state.global_step + 1 == self.step:
            self.deed(model)

    def on_save(self, args, state, control, model=None, **kwargs):
        if self.saving and state.global_step == self.step:
            self.deed(model)


def sent(number: int = signal.SIGINT) -> Callable[[Any], object]:
    """A signal to this process, as a person or a scheduler would send it."""
    return lambda model: os.kill(os.getpid(), number)


def building_with(callback: TrainerCallback | None, first: bool = False) -> Callable[..., Any]:
    """What builds a trainer with one more callback, which may come before our own.

    Then it strikes when a checkpoint is written but not yet in its place.
    """

    def build(*arguments, **options):
        trainer = build_trainer(*arguments, **options)
        if callback and first:
            trainer.callback_handler.callbacks.insert(0, callback)
        elif callback:
            trainer.add_callback(callback)
        return trainer

    return build


def interrupting(patch: pytest.MonkeyPatch, callback: TrainerCallback) -> None:
    """Let every trainer built from now on carry one more callback."""
    patch.setattr(training, "build_trainer", building_with(callback))
