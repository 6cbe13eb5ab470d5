"""One run in several processes: how many, and who starts them.

    musequest train --processes 2          this module starts torchrun, which starts the ranks
    torchrun ... -m musequest train        they are started already; also `accelerate launch`
    notebook_launcher(train, (...))        likewise, out of a notebook

`train` is the same in all three. It asks `processes_for` how many processes the approach takes,
calls `launch` where they are not there yet, and else trains as one of them; rank_process.py is what
each rank runs, distributed.py what they need of each other. Rank 0 alone writes records and moves
folders.

What an approach adds to its config.yaml: `parallel.strategy`, and `parallel.processes` where the
number does not follow from the devices. A strategy of ONE_PROCESS uses many devices from one.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import MuseQuestError
from ..files import read_json, write_json
from ..home import root
from ..settings import Approach, Profile
from .distributed import launched, world_size

# What each rank runs: `train`, which is above this module and is not imported here.
RANK_PROCESS = f"{__package__}.rank_process"
# Without GPUs a parallel approach is rehearsed in two processes.
REHEARSAL = 2
# One process gives its layers to many devices.
ONE_PROCESS = {"sequential"}
LINES_KEPT = 40


def processes_for(approach: Approach, wanted: int | None = None) -> int:
    """How many processes a run of the approach takes: `wanted`, or as many as there are devices.

    Raises MuseQuestError where the approach cannot run so, or the devices are not there. Within
    a launched process it is the number launched.
    """
    import torch

    strategy = approach.strategy
    devices = torch.cuda.device_count()
    several = strategy is not None and strategy not in ONE_PROCESS
    default = processes_here() if several else 1
    count = wanted or (approach.parallel or {}).get("processes") or default
    count = world_size() if launched() else count
    if count > 1 and not several:
        raise MuseQuestError(
            f"The approach '{approach.name}' trains in one process, not in {count}; leave out "
            "--processes, or choose a parallel approach such as lora_ddp."
        )
    if count == 1 and several:
        raise MuseQuestError(
            f"The approach '{approach.name}' needs two processes or more, and here is one "
            f"({_counted(devices)}); choose '{approach.name.split('_')[0]}' instead."
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    if several and devices and here > devices:
        alone = f"choose '{approach.name.split('_')[0]}' instead"
        raise MuseQuestError(
            f"{here} processes need {here} GPUs, and there are not more than {_counted(devices)} "
            f"here; {alone if devices == 1 else f'use --processes {devices}'}."
        )
    return count


def processes_here() -> int:
    """One process a GPU; two without, so that a parallel approach can be rehearsed."""
    import torch

    return torch.cuda.device_count() or REHEARSAL


def launch(
    profile: Profile,
    approach_name: str,
    processes: int,
    overrides: dict[str, str] | None = None,
    progress: bool = True,
) -> None:
    """Run `train` with these arguments in `processes` ranks on this machine, by torchrun.

    What the ranks print is passed on. Ctrl-C and SIGTERM let them save a state; a second signal
    ends them at once. If a rank fails, MuseQuestError says what the first of them said. Should
    this process be killed, the ranks notice, save a state and end.
    """
    asked = {
        "profile": dataclasses.asdict(profile),
        "approach_name": approach_name,
        "overrides": overrides,
        "progress": progress,
    }
    with tempfile.TemporaryDirectory(prefix="musequest-") as folder:
        write_json(Path(folder) / "asked.json", asked)
        code, unexplained = _watched(
            _torchrun(Path(folder), processes), _environment(folder, processes)
        )
        errors = Path(folder) / "error.json"
        said = read_json(errors)["message"] if errors.exists() else None
    if said is not None:
        raise MuseQuestError(_first_words(said))
    if code:
        print(*unexplained, sep="\n", file=sys.stderr)
        raise MuseQuestError(
            f"A process of the run '{approach_name}' ended without a word (code {code}), most "
            "likely because memory ran out; the last saved state is kept, and the same call goes "
            "on from it with, say, a smaller per_device_train_batch_size."
        )


def _torchrun(folder: Path, processes: int) -> list[str]:
    """The command that starts the ranks; they meet on a free port of this machine."""
    options = ["--standalone", "--nproc-per-node", str(processes)]
    module = ["--module", RANK_PROCESS, str(folder / "asked.json")]
    return [sys.executable, "-m", "torch.distributed.run", *options, *module]


def _environment(folder: str, processes: int) -> dict[str, str]:
    """Where torchrun tells which rank failed first, and each rank's share of the cores."""
    paths = [str(root()), os.environ.get("PYTHONPATH", "")]
    return {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes)),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "TORCHELASTIC_ERROR_FILE": str(Path(folder) / "error.json"),
    }


def _watched(command: list[str], environment: dict[str, str]) -> tuple[int, list[str]]:
    """Pass on what the ranks print; returns the exit code and the last lines of torchrun's own.

    The ranks read their standard input only to learn that it was closed: by this process when it
    is told to stop, or by the system when this process is gone.
    """
    rest: deque[str] = deque(maxlen=LINES_KEPT)
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdin and process.stdout
    with _on_signals(process.stdin.close, process.terminate), process:
        for line in process.stdout:
            if line.startswith("[rank "):
                print(line, end="", file=sys.stderr, flush=True)
            else:
                rest.append(line.rstrip())
        return process.wait(), list(rest)


@contextmanager
def _on_signals(first: Callable[[], None], again: Callable[[], None]) -> Iterator[None]:
    """Call `first` at Ctrl-C or SIGTERM, `again` at every further one; only a main thread can."""
    calls = iter([first])

    def receive(number: int, frame: Any) -> None:
        next(calls, again)()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, receive)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_words(said: Any) -> str:
    """A rank's error as torchrun keeps it, `kind: text`, without the kind if it is ours."""
    text = said["message"] if isinstance(said, dict) else str(said)
    return text.removeprefix(f"{MuseQuestError.__name__}: ")


def _counted(devices: int) -> str:
    return f"{devices} GPU{'' if devices == 1 else 's'}"
