"""Interpreters that start at once: forks of a process that has imported what the package needs.

Who would start `python ...` starts `ForkServer.python` instead, as torchrun does where the variable
PYTHON_EXEC names it, `multiprocessing` where it is given as executable, and pytest-xdist for the
workers of a run. That script hands its arguments, variables and open files to the server, a fork of
which runs the module or file. Signals are handed on, and the exit status comes back.
"""

import atexit
import fcntl
import functools
import gc
import importlib
import itertools
import json
import logging
import multiprocessing
import os
import pkgutil
import re
import runpy
import select
import shlex
import signal
import socket
import struct
import sys
import tempfile
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import huggingface_hub

import musequest
from musequest.evaluation import loss_curves
from musequest.text.encoder import load_encoder
from musequest.text.sentences import prepare_languages

# What the package imports only when it is needed, and takes longest.
NEEDED = (
    "albumentations",
    "peft",
    "sentence_transformers",
    "matplotlib.pyplot",
    "torch.utils.tensorboard",
)
MOST_FILES, BEYOND = 200, 500  # files of a caller, and where none of them lies
CLIENT = """import json, os, signal, socket, struct, sys
files = [file for file in map(int, os.listdir("/dev/fd")) if os.path.exists(f"/dev/fd/{file}")]
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    asked = json.dumps([files, sys.argv[2:], dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(server, [struct.pack("Q", len(asked))], files)
    server.sendall(asked)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: server.sendall(bytes([number])))
    status = int(server.recv(16))
if status < 0:
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


@functools.cache
def warm_up() -> None:
    """Import the package and load what it needs, so that forks of this process find it.

    A text is encoded and a figure drawn, for which weights and typefaces are read. In forks all of
    it is garbage to nobody: one that searched it would take longer than its training.
    """
    import torch

    modules = pkgutil.walk_packages(musequest.__path__, "musequest.")
    for name in (*NEEDED, *(module.name for module in modules)):
        if not name.endswith("__main__"):
            with warnings.catch_warnings(action="ignore"):
                importlib.import_module(name)
    prepare_languages()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads do not outlive a fork
    load_encoder().encode(["a text"])
    loss_curves({}).png()
    torch.set_num_threads(threads)
    # A fork makes torch's pool of threads anew at its first use. Two threads that came at once, as
    # those that read weights, would find none.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(torch.get_num_threads()))
    gc.collect()
    gc.freeze()


class ForkServer:
    """Forks run as interpreters for as long as the block lasts."""

    def __enter__(self) -> "ForkServer":
        warm_up()
        self.folder = tempfile.TemporaryDirectory(prefix="forks-")
        place, client = (Path(self.folder.name, name) for name in ("socket", "client.py"))
        client.write_text(CLIENT)
        script = Path(self.folder.name, "python")
        words = shlex.join([sys.executable, "-IS", str(client), str(place)])
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        script.chmod(0o755)
        self.python = str(script)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(place))
        listener.listen(16)
        parent, self.process = os.getpid(), os.fork()
        if self.process == 0:
            try:
                _serve(listener, parent)
            finally:
                os._exit(0)
        listener.close()
        return self

    def __exit__(self, *error: object) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        self.folder.cleanup()


def _serve(listener: socket.socket, parent: int) -> None:
    """Give each caller a process of its own, until the parent is gone."""
    while os.getppid() == parent:
        if select.select([listener], [], [], 1.0)[0]:
            caller, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _watch(caller)
                os._exit(0)
            caller.close()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _watch(caller: socket.socket) -> None:
    """Run what the caller asks for, hand its signals on, and tell how it ended."""
    head, files, *_ = socket.recv_fds(caller, 8, MOST_FILES)
    asked = caller.recv(struct.unpack("Q", head)[0], socket.MSG_WAITALL)
    child = os.fork()
    if child == 0:
        caller.close()
        numbers, *rest = json.loads(asked)
        aside = [fcntl.fcntl(file, fcntl.F_DUPFD, BEYOND) for file in files]
        for file in files:
            os.close(file)
        for file, number in zip(aside, numbers, strict=True):
            os.dup2(file, number)
            os.close(file)
        _become(*rest)
    for file in files:
        os.close(file)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if select.select([caller], [], [], 0.02)[0]:
            told = caller.recv(1)  # nothing if the caller was killed
            os.kill(child, told[0] if told else signal.SIGKILL)
    with suppress(OSError):
        caller.sendall(str(os.waitstatus_to_exitcode(ended[1])).encode())


def _become(arguments: list[str], variables: dict[str, str], folder: str) -> None:
    """Be the interpreter that was asked for: `-m module ...`, `-c code ...` or `file ...`."""
    import torch
    from accelerate.state import AcceleratorState

    atexit._clear()  # what the tests would do at their end
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(variables | {"OMP_NUM_THREADS": "1"})
    multiprocessing.set_executable(os.environ.get("PYTHON_EXEC", sys.executable))
    # What variables say of temporary files and of the Hub is asked anew.
    tempfile.tempdir = None
    importlib.reload(huggingface_hub.constants)
    huggingface_hub.close_session()
    os.chdir(folder)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, closefd=False) for number in (1, 2))
    logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # threads do not outlive a fork
    AcceleratorState._reset_state(reset_partial_state=True)
    status: Any = 0
    try:
        _execute(arguments)
    except SystemExit as ended:
        status = ended.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


def _execute(arguments: list[str]) -> None:
    """Run the module, code or file behind the interpreter's own options."""
    words = list(itertools.dropwhile(re.compile("-[^mc]").match, arguments))
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(words[1], {"__name__": "__main__"})
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")
