"""What a test starts under torchrun: one training run without dropout, stopped on demand.

    torchrun --nproc-per-node 2 tests/launched.py PROFILE APPROACH [STOP_AT_STEP [DEED]]

At STOP_AT_STEP the last rank, and it alone, is sent SIGTERM; DEED `fail` raises an error there, and
`blind` lets it see no numbers in its photos.
"""

import os
import signal
import sys
from dataclasses import replace

from transformers import TrainerCallback

from musequest.errors import MuseQuestError
from musequest.finetuning import distributed, training
from musequest.finetuning.strategies import build_trainer
from musequest.settings import load_approach


class StopAt(TrainerCallback):
    """Something happens to this process at the beginning of one step."""

    def __init__(self, step, deed):
        self.step, self.deed = step, deed

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if state.global_step + 1 == self.step:
            self.deed(model)


def stop(model):
    os.kill(os.getpid(), signal.SIGTERM)


def fail(model):
    raise RuntimeError("a cable broke")


def blind(model):
    def spoil(module, inputs, options):
        return inputs, {**options, "pixel_values": options["pixel_values"] * float("nan")}

    model.register_forward_pre_hook(spoil, with_kwargs=True)


DEEDS = {"stop": stop, "fail": fail, "blind": blind}


def without_dropout(name):
    """The approach as it is, but that nothing is left to chance in a step."""
    approach = load_approach(name)
    return (
        replace(approach, lora={**approach.lora, "lora_dropout": 0.0})
        if approach.lora
        else approach
    )


def main(profile, approach, stop_at=None, deed="stop"):
    def build(*arguments, **options):
        trainer = build_trainer(*arguments, **options)
        if stop_at and distributed.rank() == distributed.world_size() - 1:
            trainer.add_callback(StopAt(int(stop_at), DEEDS[deed]))
        return trainer

    training.load_approach = without_dropout
    training.build_trainer = build
    try:
        training.train(profile, approach)
    except MuseQuestError as stopped:
        print(stopped)


if __name__ == "__main__":
    main(*sys.argv[1:])
