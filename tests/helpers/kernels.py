"""Kernels of notebooks that are forked out of the tests, which have imported what they need."""

import asyncio
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState
from fork_server import warm_up
from ipykernel.kernelapp import IPKernelApp
from jupyter_client.provisioning import local_provisioner


class Forked:
    """A kernel's process, with what its manager asks of a Popen."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid, self.returncode = pid, None

    def poll(self, options: int = os.WNOHANG) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def wait(self) -> int | None:
        return self.poll(options=0)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork_kernels(patch: pytest.MonkeyPatch) -> None:
    """Let kernels from now on be forks, which saves each of them seconds of imports."""
    warm_up()
    patch.setattr(local_provisioner, "launch_kernel", _fork)


def _fork(command: list[str], *, cwd: str, env: dict[str, str], **options: Any) -> Forked:
    """Start what `python -m ipykernel_launcher` would; `command` holds its arguments from -f on."""
    ready, said = os.pipe()
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.write(said, b".")
            os.chdir(cwd)
            os.environ |= {**env, "JPY_PARENT_PID": str(parent)}
            sys.executable = os.environ.get("PYTHON_EXEC", sys.executable)
            signal.set_wakeup_fd(-1)
            asyncio.set_event_loop(asyncio.new_event_loop())
            _prepare(cwd)
            warnings.resetwarnings()
            IPKernelApp.launch_instance(command[command.index("-f") :])
            os._exit(0)
        finally:
            os._exit(70)
    os.read(ready, 1)  # it leads a group of its own, to which signals go
    os.close(ready)
    os.close(said)
    return Forked(pid)


def _prepare(folder: str) -> None:
    """Let Accelerate start processes here, also by `notebook_launcher`.

    That refuses where bitsandbytes is imported, which could have touched a GPU; here is none. It is
    hidden until the first process is about to start.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    books = (path.read_text(encoding="utf-8") for path in Path(folder).glob("*.ipynb"))
    if any("notebook_launcher" in book for book in books):
        hidden = sys.modules.pop("bitsandbytes")
        os.register_at_fork(before=lambda: sys.modules.setdefault("bitsandbytes", hidden))
