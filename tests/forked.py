"""Several processes out of a test, as a launcher would start them, but without loading anew."""

import multiprocessing
import os
import queue
import socket
import traceback
from collections.abc import Callable
from typing import Any


def in_processes(function: Callable[..., Any], *arguments: Any, count: int = 2) -> list[Any]:
    """What `function` returns in each of `count` processes that can meet on loopback.

    An exception in one of them is raised here as RuntimeError with its traceback.
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
        found = dict(answers.get(timeout=240) for _ in processes)
    except queue.Empty:
        raise RuntimeError("the processes did not end") from None
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()
    for said in found.values():
        if isinstance(said, _Failure):
            raise RuntimeError(said.text)
    return [found[rank] for rank in range(count)]


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
