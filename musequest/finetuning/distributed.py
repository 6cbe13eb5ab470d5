"""One run in several processes: how many, who starts them, and what they need of each other.

    musequest train --processes 2          this module starts torchrun, which starts the ranks
    torchrun ... -m musequest train        they are started already; also `accelerate launch`
    notebook_launcher(train_rank, (...))   likewise, out of a notebook

    launched(), rank(), world_size()       from the launcher's environment variables
    barrier()                              join the process group; wait until all are here
    run_on_rank0(function)                 what rank 0 found or raised, on all ranks
    all_gather(thing), any_rank(flag)      what each rank says, on all ranks

`train` is the same in all three ways to start, and without a launcher there is one process. Rank 0
alone writes records and moves folders. An approach adds to its config.yaml `parallel.strategy`, and
`parallel.processes` where the number does not follow from the devices.

No model library is imported here before a function needs it: whoever starts processes out of a
notebook may not have touched a device yet.
"""

from __future__ import annotations

import atexit
import dataclasses
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

from ..core.errors import MuseQuestError
from ..core.files import read_json, write_json
from ..core.home import root
from ..core.settings import Approach, Profile

# How long processes wait for one that writes a large checkpoint; by itself NCCL gives up sooner.
PATIENCE = timedelta(hours=2)
# Without GPUs a parallel approach is rehearsed in two processes, or on the processor twice.
REHEARSAL = 2
# One process gives its layers to many devices.
ONE_PROCESS = {"sequential"}
LINES_KEPT = 40


def launched() -> bool:
    """Whether torchrun, Accelerate or the like started this process as one of several."""
    return world_size() > 1


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "LOCAL_RANK" in os.environ else 1


def local_world_size() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if launched() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return int(os.environ.get("RANK", 0)) if launched() else 0


def barrier() -> None:
    """Join the process group where there is one, on this rank's own device, and wait for all."""
    if not launched():
        return
    import torch
    from accelerate import PartialState

    gpu, joins = torch.cuda.is_available(), not torch.distributed.is_initialized()
    if not gpu:
        # Its share of the cores; one if OpenMP was forked, which hangs.
        own = "TORCHELASTIC_RUN_ID" in os.environ
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)) if own else 1)
    PartialState(cpu=not gpu, timeout=PATIENCE)
    if joins and not gpu:
        atexit.register(_leave)
    torch.distributed.barrier()


def _leave() -> None:
    """End gloo's threads before the interpreter does, which now and then aborts over them."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def run_on_rank0(function: Callable[[], Any]) -> Any:
    """What `function` returns, or the MuseQuestError it raises, on rank 0; the same on all."""
    if not launched():
        return function()
    import torch.distributed as dist

    barrier()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = function()
        except MuseQuestError as error:
            outcome[1] = str(error)
    dist.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise MuseQuestError(outcome[1])
    return outcome[0]


def any_rank(flag: bool) -> bool:
    """Whether `flag` is true on at least one rank; all of them have to ask."""
    return any(all_gather(flag))


def all_gather(thing: Any) -> list[Any]:
    """A list of what each rank passed, by rank; all of them have to pass something."""
    if not launched():
        return [thing]
    import torch.distributed as dist

    if not dist.is_initialized():
        barrier()
    things: list[Any] = [None] * world_size()
    dist.all_gather_object(things, thing)
    return things


@contextmanager
def prefixed_output() -> Iterator[None]:
    """Put the rank before every line that a launched process prints while the block runs."""
    if not launched():
        yield
        return
    out, err = (_Prefixed(stream, f"[rank {rank()}] ") for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield


class _Prefixed:
    """A text stream that begins each line, redrawn bars included, with a prefix.

    Where nobody reads it any more, lines are dropped: a run goes on to save its state.
    """

    def __init__(self, stream: TextIO, prefix: str) -> None:
        self.stream, self.prefix, self.fresh = stream, prefix, True

    def write(self, text: str) -> int:
        """Write whole lines at once, so that two ranks do not write into one."""
        inner = re.sub(r"([\r\n])(?=[^\r\n])", rf"\1{self.prefix}", text)
        begins = self.fresh and text[:1] not in ("", "\r", "\n")
        self.fresh = text.endswith(("\r", "\n")) if text else self.fresh
        with suppress(BrokenPipeError):
            self.stream.write(self.prefix + inner if begins else inner)
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        with suppress(BrokenPipeError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def processes_for(approach: Approach, wanted: int | None = None) -> int:
    """How many processes a run of the approach takes: `wanted`, or as many as there are devices.

    Raises MuseQuestError where the approach cannot run so, or the devices are not there. Within
    a launched process it is the number launched.
    """
    import torch

    devices = torch.cuda.device_count()
    several = approach.strategy is not None and approach.strategy not in ONE_PROCESS
    default = processes_here() if several else 1
    count = wanted or (approach.parallel or {}).get("processes") or default
    count = world_size() if launched() else count
    here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    gpus = f"{devices} GPU{'' if devices == 1 else 's'}"
    instead = f"choose '{approach.name.split('_')[0]}' instead"
    if count > 1 and not several:
        raise MuseQuestError(
            f"The approach '{approach.name}' trains in one process, not in {count}; leave out "
            "--processes, or choose a parallel approach such as lora_ddp."
        )
    if count == 1 and several:
        raise MuseQuestError(
            f"The approach '{approach.name}' needs two processes or more, and here is one "
            f"({gpus}); {instead}."
        )
    if several and devices and here > devices:
        raise MuseQuestError(
            f"{here} processes need {here} GPUs, and there are not more than {gpus} here; "
            f"{instead if devices == 1 else f'use --processes {devices}'}."
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
    with tempfile.TemporaryDirectory(prefix="musequest-") as temporary:
        folder = Path(temporary)
        write_json(folder / "asked.json", asked)
        paths = [str(root()), os.environ.get("PYTHONPATH", "")]
        environment = {
            "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes)),
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUNBUFFERED": "1",
            "TORCHELASTIC_ERROR_FILE": str(folder / "error.json"),  # of the first rank that fails
        }
        code, unexplained = _watched(_torchrun(folder, processes), environment)
        if (folder / "error.json").exists():
            said = read_json(folder / "error.json")["message"]
            text = said["message"] if isinstance(said, dict) else str(said)
            # torchrun keeps it as `kind: text`.
            raise MuseQuestError(text.removeprefix(f"{MuseQuestError.__name__}: "))
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
    module = ["--module", f"{__package__}.distributed", str(folder / "asked.json")]
    return [python(), "-m", "torch.distributed.run", *options, *module]


def python() -> str:
    """The interpreter of processes that are started here, and by torchrun: PYTHON_EXEC names it."""
    return os.environ.get("PYTHON_EXEC", sys.executable)


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
    steps = iter([process.stdin.close])
    with on_stop(lambda _: next(steps, process.terminate)()), process:
        for line in process.stdout:
            if line.startswith("[rank "):
                print(line, end="", file=sys.stderr, flush=True)
            else:
                rest.append(line.rstrip())
        return process.wait(), list(rest)


@contextmanager
def on_stop(receive: Callable[[int], None]) -> Iterator[None]:
    """Call `receive` with the number of each Ctrl-C or SIGTERM; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: receive(number)) for number in stops}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train_rank(*arguments: Any, **options: Any) -> dict[str, Any]:
    """`train`, for Accelerate's notebook_launcher, which wants no device touched before."""
    from . import train

    return train(*arguments, **options)


def main(path: str) -> None:
    """Train as one rank, as `launch` asked in the file `path`; stop when the launcher is gone."""
    import torch

    def wait() -> None:
        # Not through sys.stdin, whose lock would stay taken when the process ends.
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)  # at which it saves a state

    threading.Thread(target=wait, daemon=True).start()
    asked = read_json(path)
    train_rank(**{**asked, "profile": Profile(**asked["profile"])})
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    from torch.distributed.elastic.multiprocessing.errors import record

    record(main)(sys.argv[1])
