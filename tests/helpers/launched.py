"""What a test starts under torchrun: one training run, stopped on demand.

    torchrun --nproc-per-node 2 tests/helpers/launched.py PROFILE APPROACH [STOP_AT_STEP [DEED]]

At STOP_AT_STEP the last rank, and it alone, is sent SIGTERM; DEED `fail` raises an error there, and
`blind` lets it see no numbers in its photos.
"""

import signal
import sys

from interrupting import At, building_with, sent

from musequest.core.errors import MuseQuestError
from musequest.finetuning import distributed, training


def fail(model):
    raise RuntimeError("a cable broke")


def blind(model):
    def spoil(module, inputs, options):
        return inputs, {**options, "pixel_values": options["pixel_values"] * float("nan")}

    model.register_forward_pre_hook(spoil, with_kwargs=True)


DEEDS = {"stop": sent(signal.SIGTERM), "fail": fail, "blind": blind}


def main(profile, approach, stop_at=None, deed="stop"):
    if stop_at and distributed.rank() == distributed.world_size() - 1:
        training.build_trainer = building_with(At(int(stop_at), DEEDS[deed]))
    try:
        training.train(profile, approach)
    except MuseQuestError as stopped:
        print(stopped)


if __name__ == "__main__":
    main(*sys.argv[1:])
