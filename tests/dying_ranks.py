"""Processes that train together until their disk is full; the product's own launcher starts them.

    python dying_ranks.py PROFILE APPROACH KEY=VALUE ...     full in step 4, then to the end

Prints run.json and what was said when the disk, that of MUSEQUEST_HOME, was full.
"""

import sys

from dying import BALLAST, At, filled, with_callback
from torch.distributed.elastic.multiprocessing.errors import record

from musequest.errors import MuseQuestError
from musequest.finetuning import launching, ranks, training
from musequest.home import run_dir

FULL_IN = 4
torchrun = launching._torchrun


def dying(folder, processes):
    """The command that starts the ranks, but of this program."""
    *options, _, _, asked = torchrun(folder, processes)
    return [*options, __file__, asked]


def rank(asked):
    """What each of them does; the last fills the disk."""
    deed = At(FULL_IN, filled) if ranks.rank() == ranks.world_size() - 1 else None
    training.build_trainer = lambda *arguments: with_callback(deed, *arguments)
    launching.main(asked)


def main(profile, approach, *assignments):
    asked = (profile, approach, dict(each.split("=") for each in assignments))
    launching._torchrun = dying
    try:
        training.train(*asked, processes=2, progress=False)
    except MuseQuestError as error:
        print((run_dir("tiny", approach) / "run.json").read_text(), error, sep="\n", flush=True)
    BALLAST.unlink()
    launching._torchrun = torchrun
    training.train(*asked, processes=2, progress=False)


if __name__ == "__main__":
    main(*sys.argv[1:]) if sys.argv[2:] else record(rank)(sys.argv[1])
