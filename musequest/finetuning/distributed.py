"""What the processes of one run need of each other: a number each, a meeting, one decision.

    launched(), rank(), world_size()       from the launcher's environment variables
    local_world_size()                     how many of them run on this machine
    barrier()                                 join the process group; wait until all are here
    run_on_rank0(function)              what rank 0 found or raised, on all ranks
    all_gather(thing)                         what each rank says, on all ranks
    any_rank(flag)                         whether the flag is set on one of them
    prefixed_output()                      lines that say which rank printed them

Without a launcher there is one process, and all of these are trivial.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from typing import Any, TextIO

from ..errors import MuseQuestError

# How long processes wait for one that writes a large checkpoint; by itself NCCL gives up sooner.
PATIENCE = timedelta(hours=2)


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

    if not torch.cuda.is_available():
        torch.set_num_threads(_threads())
    joins = not torch.distributed.is_initialized()
    PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    if joins and not torch.cuda.is_available():
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


def _threads() -> int:
    """Threads of a rank on CPU: its share of the cores; one if OpenMP was forked, which hangs."""
    if "TORCHELASTIC_RUN_ID" in os.environ and "OMP_NUM_THREADS" in os.environ:
        return int(os.environ["OMP_NUM_THREADS"])
    return 1
