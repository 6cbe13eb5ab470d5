"""Processes out of a test, alone or as a launcher would start several, without loading anew."""

import gc
import logging
import multiprocessing
import os
import queue
import random
import shutil
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def in_processes(
    function: Callable[..., Any], *arguments: Any, count: int = 2, machines: int = 1
) -> list[Any]:
    """What `function` returns in each of `count` processes that can meet on loopback.

    They are told that they run on so many machines, an equal part on each.
    An exception in one of them is raised here as RuntimeError with its traceback; so is the death
    of one.
    """
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    port = free_port()
    processes = [
        context.Process(
            target=_run, args=(rank, count, count // machines, port, answers, function, arguments)
        )
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    try:
        found = _answers_of(processes, answers)
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()
    for said in found.values():
        if isinstance(said, _Failure):
            raise RuntimeError(said.text)
    return [found[rank] for rank in range(count)]


def _answers_of(processes: list[Any], answers: Any) -> dict[int, Any]:
    """What each process answered, by rank, or that it died."""
    found: dict[int, Any] = {}
    deadline = time.monotonic() + 240
    while len(found) < len(processes):
        with suppress(queue.Empty):
            found |= [answers.get(timeout=0.5)]
            continue
        if time.monotonic() > deadline:
            raise RuntimeError("the processes did not end")
        for rank, process in enumerate(processes):
            if rank not in found and (process.exitcode or 0) < 0:
                found[rank] = _Failure(f"rank {rank} died of signal {-process.exitcode}")
    return found


def free_port() -> int:
    """A port of this machine that nobody listens on.

    It is none of those that the system hands out, one of which another could have by the time
    that it is bound.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def in_child(function: Callable[[], object]) -> int:
    """Run a function in a child; returns its exit status, 0 where it returns."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            status = int(function() or 0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def print_to(folder: Path) -> None:
    """Let this process, and what it starts, print and log to the files `out` and `err`."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    logging.basicConfig(level=logging.INFO, force=True)


def can_mount() -> bool:
    """Whether this user may have a small disk of a child's own here, which it may fill."""
    if not shutil.which("unshare"):
        return False
    tried = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(tried, capture_output=True).returncode == 0


class _Failure:
    def __init__(self, text: str) -> None:
        self.text = text


def _run(
    rank: int, count: int, here: int, port: int, answers: Any, function: Any, arguments: Any
) -> None:
    import torch
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank % here),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(here),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    gc.freeze()  # of all that the parent has, nothing is looked at when memory is given back
    try:
        answer = function(*arguments)
    except BaseException:
        answer = _Failure(traceback.format_exc())
    sys.stdout.flush()
    sys.stderr.flush()
    answers.put((rank, answer))
