"""What a test starts under torchrun: one training run without dropout, stopped on demand.

    torchrun --nproc-per-node 2 tests/launched.py PROFILE APPROACH [STOP_AT_STEP]

At STOP_AT_STEP the last rank, and it alone, is sent SIGTERM.
"""

import os
import signal
import sys
from dataclasses import replace

from transformers import TrainerCallback

from musequest.errors import MuseQuestError
from musequest.finetuning import ranks, training
from musequest.finetuning.trainer import build_trainer
from musequest.settings import load_approach


class StopAt(TrainerCallback):
    """A signal to this process at the beginning of one step."""

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def without_dropout(name):
    """The approach as it is, but that nothing is left to chance in a step."""
    approach = load_approach(name)
    return (
        replace(approach, lora={**approach.lora, "lora_dropout": 0.0})
        if approach.lora
        else approach
    )


def main(profile, approach, stop_at=None):
    def build(*arguments, **options):
        trainer = build_trainer(*arguments, **options)
        if stop_at and ranks.rank() == ranks.world_size() - 1:
            trainer.add_callback(StopAt(int(stop_at)))
        return trainer

    training.load_approach = without_dropout
    training.build_trainer = build
    try:
        training.train(profile, approach)
    except MuseQuestError as stopped:
        print(stopped)


if __name__ == "__main__":
    main(*sys.argv[1:])
