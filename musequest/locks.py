"""One process at a time works on a collection or a run; a second one says so and ends.

The lock is a file beside the folder, data/.<collection>.lock or runs/<profile>/.<approach>.lock. It
is the system that holds it: the lock of a process that has died is free at once. The file goes with
the lock, and so does a folder that was made for it alone. What reads alone needs no lock.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from .errors import MuseQuestError
from .home import collection_dir

Function = TypeVar("Function", bound=Callable[..., Any])
# An environment variable, a line for each folder that is held: process and path. Processes that the
# holder starts, as the ranks of a run, inherit it and work under its lock.
HELD = "MUSEQUEST_HELD"


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep `folder` to this process and those it starts while the block runs.

    MuseQuestError while another process holds it. In the process that holds it already, and where
    nothing can be written, the block just runs.
    """
    mine = f"{os.getpid()} {folder}"
    if mine in _held():
        yield
        return
    started = any(line.partition(" ")[2] == str(folder) for line in _held())
    with _locked(folder, "started" if started else "lock"):
        # A holder that was killed leaves what it started, which may be saving its state.
        if not started and _lock_path(folder, "started").exists():
            with _locked(folder, "started"):
                pass
        os.environ[HELD] = "\n".join([*_held(), mine])
        try:
            yield
        finally:
            os.environ[HELD] = "\n".join(line for line in _held() if line != mine)


def holds_collection(function: Function) -> Function:
    """Decorate what writes to the collection that its argument `collection` names."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def holding(*arguments: Any, **options: Any) -> Any:
        name = signature.bind(*arguments, **options).arguments["collection"]
        with hold(collection_dir(name)):
            return function(*arguments, **options)

    return holding  # type: ignore[return-value]


def _held() -> list[str]:
    return os.environ.get(HELD, "").splitlines()


def _lock_path(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


@contextmanager
def _locked(folder: Path, kind: str) -> Iterator[None]:
    path = _lock_path(folder, kind)
    lock = FileLock(path, timeout=0, thread_local=False)
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise MuseQuestError(
            f"{folder} is in use by another process; wait until that one has ended, or stop it, "
            "and run the same command again."
        ) from None
    except OSError:
        if _writable(folder):
            raise
        yield
        return
    try:
        yield
    finally:
        # Still held, so that whoever has opened the file meanwhile finds it gone and opens another.
        path.unlink(missing_ok=True)
        with suppress(OSError):  # where something was written
            for parent in made:
                parent.rmdir()
        lock.release()


def _writable(folder: Path) -> bool:
    """Whether anything could be written to the folder, or to the nearest one that is there."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(there, os.W_OK)
