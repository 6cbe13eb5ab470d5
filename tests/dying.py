"""Runs that die: a program the tests start, which trains in children and ends them on purpose.

    python dying.py kill PROFILE     SIGKILL at three places and SIGTERM, then to the end
    python dying.py fill PROFILE     the disk of MUSEQUEST_HOME becomes full at three steps
    python dying.py fill PROFILE APPROACH KEY=VALUE ...     at one, of two processes together

Children are forked before torch has computed anything, so that the libraries are imported once.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from forked import in_processes
from transformers import TrainerCallback

from musequest.errors import MuseQuestError
from musequest.finetuning import distributed, training
from musequest.finetuning.strategies import build_trainer
from musequest.home import run_dir

BALLAST = Path(os.environ["MUSEQUEST_HOME"]) / "ballast"


class At(TrainerCallback):
    """Does something when a step begins, or while its checkpoint is being written."""

    def __init__(self, step, deed, saving=False):
        self.step, self.deed, self.saving = step, deed, saving

    def on_step_begin(self, args, state, control, **kwargs):
        if not self.saving and state.global_step + 1 == self.step:
            self.deed()

    def on_save(self, args, state, control, **kwargs):
        if self.saving and state.global_step == self.step:
            self.deed()


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def terminated():
    """From outside, as `timeout` does it: the processes that read rows are told as well."""
    order = ["kill", "-TERM", "--", f"-{os.getpgid(0)}"]
    subprocess.run(order, check=True, start_new_session=True)


def filled():
    """Leave less free than a checkpoint takes."""
    room = os.statvfs(BALLAST.parent)
    with BALLAST.open("wb") as file:
        file.write(bytes(room.f_bavail * room.f_frsize - 50_000))


def in_child(profile, callback, **overrides):
    """Train in a child; returns its exit status, negative for a signal, and prints its error."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        status = 0
        try:
            training.build_trainer = lambda *arguments: with_callback(callback, *arguments)
            training.train(profile, "lora", overrides, progress=False)
        except MuseQuestError as error:
            print(error, flush=True)
            status = 1
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def with_callback(callback, *arguments):
    trainer = build_trainer(*arguments)
    if callback:
        # Before ours, so that it strikes when a checkpoint is written but not yet in its place.
        trainer.callback_handler.callbacks.insert(0, callback)
    return trainer


def one_of_two(profile, approach, overrides, fills):
    """Train as one of two processes, the second of which may fill the disk in step 4."""
    callback = At(4, filled) if fills and distributed.rank() == 1 else None
    training.build_trainer = lambda *arguments: with_callback(callback, *arguments)
    training.train(profile, approach, overrides, progress=False)


def fill_two(profile, approach, *assignments):
    """Prints what became of the run when the disk was full, and what was said last."""
    asked = (profile, approach, dict(each.split("=") for each in assignments))
    try:
        in_processes(one_of_two, *asked, True)
    except RuntimeError as error:
        print((run_dir("tiny", approach) / "run.json").read_text(), error, flush=True)
    BALLAST.unlink()
    in_processes(one_of_two, *asked, False)


def main(deed, profile, *chosen):
    if chosen:
        return fill_two(profile, *chosen)
    if deed == "kill":
        places = [At(3, killed), At(4, killed, saving=True), At(6, terminated), At(8, killed)]
        readers = ("0", "0", "2", "0")  # processes beside the one that trains
        both = zip(places, readers, strict=True)
        ends = [in_child(profile, place, dataloader_num_workers=count) for place, count in both]
        assert ends == [-signal.SIGKILL, -signal.SIGKILL, 1, -signal.SIGKILL], ends
    else:
        for step in (2, 6, 10):
            assert in_child(profile, At(step, filled)) == 1
            BALLAST.unlink()
    assert in_child(profile, None) == 0


if __name__ == "__main__":
    main(*sys.argv[1:])
