"""What a step wrote is what the next one reads: digests are recorded, and verified when read."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .errors import MuseQuestError
from .files import file_digest


def digests_of(folder: Path, files: Iterable[Path] | None = None) -> dict[str, str]:
    """The SHA-256 of each file, by its path below `folder`; of all that lie there unless told.

    Large files are read side by side. Within a process a file is read again only if it changed.
    """
    paths = sorted(folder.rglob("*") if files is None else files)
    paths = [path for path in paths if path.is_file()]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(pool.map(_digest, paths))
    return {
        path.relative_to(folder).as_posix(): digest
        for path, digest in zip(paths, found, strict=True)
    }


def check_digests(
    folder: Path, recorded: Mapping[str, str], remedy: str, *, absent: bool = False
) -> None:
    """Raise MuseQuestError unless the files in `folder` are those that were recorded.

    `remedy` says what to do, as the end of the sentence. With `absent` a file may be missing.
    """
    paths = [folder / name for name in recorded]
    found = digests_of(folder, paths)
    for name, digest in recorded.items():
        if name not in found:
            if absent:
                continue
            raise MuseQuestError(f"{folder / name} is missing; {remedy}.")
        if found[name] != digest:
            raise MuseQuestError(
                f"{folder / name} is not the file that was written (SHA-256 {found[name][:12]}... "
                f"instead of {digest[:12]}...); {remedy}."
            )


def _digest(path: Path) -> str:
    there = path.stat()
    stamp = (there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns)
    return _digest_once(path, stamp)


@functools.lru_cache(maxsize=4096)
def _digest_once(path: Path, stamp: tuple[int, ...]) -> str:
    return file_digest(path) or ""
