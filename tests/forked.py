"""Several processes out of a test, as a launcher would start them, but without loading anew."""

import multiprocessing
import os
import queue
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any


def in_processes(function: Callable[..., Any], *arguments: Any, count: int = 2) -> list[Any]:
    """What `function` returns in each of `count` processes that can meet on loopback.

    An exception in one of them is raised here as RuntimeError with its traceback; so is the death
    of one.
    """
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    port = free_port()
    processes = [
        context.Process(target=_run, args=(rank, count, port, answers, function, arguments))
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
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class _Failure:
    def __init__(self, text: str) -> None:
        self.text = text


def _run(rank: int, count: int, port: int, answers: Any, function: Any, arguments: Any) -> None:
    import torch
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ |= {
        "OMP_NUM_THREADS": "1",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    try:
        answer = function(*arguments)
    except BaseException:
        answer = _Failure(traceback.format_exc())
    answers.put((rank, answer))
