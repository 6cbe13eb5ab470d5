"""A command under a fault: on a disk of its own, in a process of its own, which may be killed.

Everything happens at the same path, `home`: a child sees a small disk of its own there where it
may mount one, and the folder itself otherwise. So records that hold paths stay comparable.
"""

import ctypes
import gc
import hashlib
import importlib
import io
import json
import logging
import os
import shutil
import signal
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import torch
from forked import can_mount, in_child
from PIL import Image
from safetensors.torch import save

from musequest.__main__ import main

MOUNTS = can_mount()
NEW_MOUNTS, NEW_USERS = 0x20000, 0x10000000
READ_ONLY, REMOUNT, PRIVATE = 1, 32, (1 << 18) | (1 << 14)
ROOMY = 2**30
# Keys and columns that tell when and where, and how long it took.
VOLATILE = {
    *("seconds", "started_at", "finished_at", "run_finished_at", "minutes", "cost", "git_commit"),
    *("samples_per_second", "peak_memory_gib", "disk_gib", "held_by_rank", "foreseen", "mfu"),
    *("vision_store", "padding_share"),  # of the steps of the process that ended the run
    "predictions_sha256",  # of answers with their seconds
    "held_memory_gib",  # of GPUs
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Ended:
    """How a command ended: its exit code (negative for a signal), and what it wrote."""

    code: int
    out: str
    err: str
    writes: int  # files opened for writing or renamed, as far as it got


class Disk:
    """`home` as a disk that can become full or read-only; call in a child alone."""

    def __init__(self, home: Path, content: Path) -> None:
        self.home, self.libc = home, ctypes.CDLL(None, use_errno=True)
        if MOUNTS:
            self._may_mount()
            self._call("mount", None, b"/", None, PRIVATE, None)
            self.mount(0, ROOMY)
        else:
            shutil.rmtree(home)
        shutil.copytree(content, home, dirs_exist_ok=True)

    def _may_mount(self) -> None:
        """Enter a namespace of mounts, in which one who is not root becomes it."""
        user, group = os.getuid(), os.getgid()
        self._call("unshare", NEW_MOUNTS | (NEW_USERS if user else 0))
        if user:
            for name, text in (("setgroups", "deny"), ("uid_map", user), ("gid_map", group)):
                Path("/proc/self", name).write_text(text if text == "deny" else f"0 {text} 1")

    def mount(self, flags: int, size: int) -> None:
        self._call("mount", b"tmpfs", bytes(self.home), b"tmpfs", flags, f"size={size}".encode())

    def fill(self, room: int) -> None:
        """Leave `room` bytes."""
        space = os.statvfs(self.home)
        self.mount(REMOUNT, (space.f_blocks - space.f_bfree) * space.f_frsize + room)

    def lock(self) -> None:
        self.mount(REMOUNT | READ_ONLY, ROOMY)

    def mend(self) -> None:
        self.mount(REMOUNT, ROOMY)

    def _call(self, name: str, *arguments: object) -> None:
        if getattr(self.libc, name)(*arguments):
            raise OSError(ctypes.get_errno(), name)


def run(home: Path, arguments: list[str], told: Path, kill_at: int = 0) -> Ended:
    """Run a command in a child; `kill_at` is the write at which it is killed."""
    told.mkdir(parents=True, exist_ok=True)
    code = in_child(lambda: _command(home, arguments, told, kill_at))
    out, err = ((told / name).read_text(errors="replace") for name in ("out", "err"))
    return Ended(code, out, err, (told / "writes").stat().st_size)


def _command(home: Path, arguments: list[str], told: Path, kill_at: int) -> int:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(told / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    logging.root.handlers.clear()
    warnings.simplefilter("ignore")
    _single_threaded()
    _count_writes(
        str(home), os.open(told / "writes", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), kill_at
    )
    known = set(sys.modules)
    code = main(arguments)
    (told / "modules").write_text("\n".join(name for name in sys.modules if name not in known))
    return code


def import_as(told: Path) -> None:
    """Import what a command imported when it was needed, so that the next commands need not."""
    for name in (told / "modules").read_text().split():
        with suppress(Exception), warnings.catch_warnings(action="ignore"):
            importlib.import_module(name)
    gc.freeze()


def _single_threaded() -> None:
    torch.set_num_threads(1)  # threads do not outlive a fork


def _count_writes(home: str, tally: int, kill_at: int) -> None:
    count = 0

    def heed(event: str, arguments: tuple) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            heeded = isinstance(path, str) and path.startswith(home) and flags & WRITES
        else:
            heeded = event == "os.rename"
        if heeded:
            count += 1
            os.write(tally, b".")
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(heed)


def state(folder: Path, left_out: tuple[str, ...]) -> dict[str, str]:
    """Path -> what it holds, without moments, durations and versions, of every file but some."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part in f"/{name}" for part in left_out):
            found[name] = hashlib.sha256(lasting(path)).hexdigest()
    return found


def contents(folder: Path) -> dict[str, str]:
    """Path -> what it holds, of everything: a folder left behind is something too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in folder.rglob("*")
    }


def lasting(path: Path) -> bytes:
    """What a file holds that a second run has to give again."""
    with suppress(ValueError):  # what is broken is compared as it is
        return _parsed(path)
    return path.read_bytes()


def _parsed(path: Path) -> bytes:
    if path.suffix == ".json":
        return json.dumps(_lasting(json.loads(path.read_text()))).encode()
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        kept = [name for name in table.column_names if name not in VOLATILE]
        return repr(table.select(kept).to_pydict()).encode()
    return path.read_bytes()


def _lasting(value: object) -> object:
    if isinstance(value, dict):
        return {key: _lasting(each) for key, each in value.items() if key not in VOLATILE}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


def emptied(path: Path) -> bytes:
    return b""


def cut(path: Path) -> bytes:
    return path.read_bytes()[: path.stat().st_size // 2]


def a_list(path: Path) -> bytes:
    return b"[]"


def of_another_version(path: Path) -> bytes:
    """A sound file of its format, but not with what is read from it."""
    if path.suffix == ".parquet":
        table, sink = pq.read_table(path), io.BytesIO()
        pq.write_table(table.rename_columns([f"old_{name}" for name in table.column_names]), sink)
        return sink.getvalue()
    if path.suffix == ".safetensors":
        return save({"old": torch.zeros(3)})
    if path.suffix in (".png", ".jpg"):
        sink = io.BytesIO()
        Image.new("RGBA", (9, 9)).save(sink, "TIFF")
        return sink.getvalue()
    return {".csv": b"old,version\n1,2\n", ".yaml": b"version: 0\n"}.get(path.suffix, b'{"old": 0}')
