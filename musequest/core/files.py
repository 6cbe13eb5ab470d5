"""Files are written whole or not at all: to a temporary name first, then renamed.

What a step wrote is what the next one reads: digests are recorded, and verified when read.

One process at a time works on a collection or a run; a second one says so and ends. Its lock is a
file beside the folder, data/.<collection>.lock or runs/<profile>/.<approach>.lock. It is the system
that holds it: the lock of a process that has died is free at once. The file goes with the lock, and
so does a folder that was made for it alone. What reads alone needs no lock.
"""

from __future__ import annotations

import csv
import errno
import filecmp
import fnmatch
import functools
import hashlib
import inspect
import json
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from psutil import pid_exists

from .errors import LOGGER, MuseQuestError, refusal
from .home import collection_dir

Function = TypeVar("Function", bound=Callable[..., Any])
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{6}([0-9a-f]{6})(\.\w+)?")
_OPEN: set[Path] = set()  # what this process is writing
# An environment variable, a line for each folder that is held: process and path. Processes that the
# holder starts, as the ranks of a run, inherit it and work under its lock.
HELD = "MUSEQUEST_HELD"
SHEET = "utf-8-sig"  # UTF-8 with a mark at its beginning, by which spreadsheets know it


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` when the block ends well.

    The temporary file lies in the same folder (made if need be) and keeps the suffix; after an
    error it is removed and whatever `path` held before stays. A file that holds the same bytes
    already is left as it is.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    _OPEN.add(temporary)
    try:
        _clear_left(path)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if not (path.is_file() and filecmp.cmp(temporary, path, shallow=False)):
            os.replace(temporary, path)
            sync_folder(path.parent)
    except Exception as error:
        refused = None if isinstance(error, MuseQuestError) else refusal(error)
        if refused and refused.filename in (None, str(temporary)):  # as most libraries tell it
            raise OSError(refused.errno, os.strerror(refused.errno or 0), str(path)) from error
        raise
    finally:
        with suppress(OSError):  # a read-only disk refuses that even where there is nothing
            temporary.unlink(missing_ok=True)
        _OPEN.discard(temporary)


def temporary_name(path: Path) -> Path:
    """A name beside `path` that says which process writes there, and that it is not done yet."""
    unique = f"{uuid.uuid4().hex[:6]}{os.getpid() & 0xFFFFFF:06x}"
    return path.with_name(f".{path.stem}.{unique}{path.suffix}")


def _clear_left(path: Path) -> None:
    """Remove what processes that are gone left when they were writing `path`."""
    for left in path.parent.glob(f".{escape(path.stem)}.*{escape(path.suffix)}"):
        found = TEMPORARY.fullmatch(left.name)
        if found and left not in _OPEN:
            writer = int(found[1], 16)
            if writer == os.getpid() or not pid_exists(writer):
                left.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk, so that a power cut does not undo a rename in it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # where a folder cannot be opened, as on Windows
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that syncs no folders
            raise
    finally:
        os.close(descriptor)


def plain_files(folder: str | Path, names: Iterable[str]) -> tuple[list[Path], list[Path]]:
    """What of a folder may be handed on, the plain files that `names` allow; and all else in it.

    Names are relative to the folder, as in `fnmatch`. A link by an allowed name, which may lead
    anywhere, raises MuseQuestError; other links are among the rest and are not followed.
    """
    allowed: list[Path] = []
    rest: list[Path] = []
    names = tuple(names)
    for place, inner, files in os.walk(folder):
        links = [name for name in inner if Path(place, name).is_symlink()]
        for path in sorted(Path(place, name) for name in (*files, *links)):
            name = path.relative_to(folder).as_posix()
            named = any(fnmatch.fnmatchcase(name, each) for each in names)
            within = any(each.startswith(f"{name}/") for each in names)
            if path.is_symlink() and (named or within):
                raise MuseQuestError(f"{path} is a link; put what it leads to in its place.")
            (allowed if named and path.is_file() else rest).append(path)
    return sorted(allowed), sorted(rest)


def clear_temporaries(folder: str | Path) -> None:
    """Remove what `write_whole` was writing below `folder` when its process was killed."""
    for path in Path(folder).rglob(".*"):
        if TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, obj: Any) -> None:
    """Write `obj` as indented UTF-8 JSON; a NaN raises ValueError, since JSON has none."""
    write_text(path, json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(
    path: str | Path,
    columns: Iterable[str],
    rows: Iterable[dict[str, Any]],
    encoding: str = "utf-8",
) -> None:
    """Write rows as CSV under a header, whole or not at all.

    What people fill in takes `SHEET` as its encoding: without its mark Excel reads "Krüge" as
    "KrÃ¼ge", and would give it back so.
    """
    with csv_writer(path, columns, encoding) as write:
        for row in rows:
            write(row)


@contextmanager
def csv_writer(
    path: str | Path, columns: Iterable[str], encoding: str = "utf-8"
) -> Iterator[Callable[..., Any]]:
    """Give a function that writes one row more, as `write_csv` does."""
    with write_whole(path) as temporary, temporary.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        yield writer.writerow


def file_digest(path: str | Path | None) -> str | None:
    """The SHA-256 of a file, in hexadecimal; None where there is none."""
    if path is None or not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: str | Path, shape: Any = None) -> Any:
    """Read a JSON file and check its shape, that of its name in json_shapes.py unless given.

    A file of another name holds an object. One that is missing, broken or of another shape raises
    MuseQuestError; what the machine refuses stays an OSError.
    """
    from .json_shapes import SHAPES, remedy

    path = Path(path)
    shape = shape or SHAPES.get(path.name, dict[str, Any])
    try:
        return parse_json(path.read_text(encoding="utf-8"), shape)
    except FileNotFoundError:
        raise MuseQuestError(f"{path} does not exist; run the step that writes it first.") from None
    except (OSError, ValueError) as error:
        if refusal(error):  # the machine's fault, not that of the file
            raise
        told = str(error) or type(error).__name__
        raise MuseQuestError(
            f"{path} is not a readable JSON file ({told}); {remedy(path.name)}."
        ) from None


def parse_json(text: str | bytes, shape: Any) -> Any:
    """What a JSON text holds; ValueError says what is wrong with it, or with its shape."""
    from .json_shapes import misfit

    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if (flaw := misfit(content, shape)) is not None:
        raise ValueError(flaw)
    return content


def json_lines(text: str | bytes) -> Iterator[dict[str, Any]]:
    """The objects of a text that has one a line; a line that is none, or was cut short, is left."""
    for line in text.split("\n") if isinstance(text, str) else text.split(b"\n"):
        with suppress(ValueError):
            yield parse_json(line, dict[str, Any])


def dig(value: Any, *keys: str) -> dict[str, Any]:
    """The object under the keys; an empty one where something on the way is absent or no object."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def read_remade(path: str | Path, shape: Any = None) -> dict[str, Any]:
    """A JSON file that its step makes anew at need: {} without one, or with one that is broken."""
    if not Path(path).is_file():
        return {}
    try:
        return read_json(path, shape)
    except MuseQuestError as error:
        LOGGER.warning("Made anew: %s", str(error).partition(";")[0])
        return {}


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


def stamp_of(path: Path) -> tuple[int, ...]:
    """What is another one when a file has changed; () where there is none."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return ()
    return there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns


def _digest(path: Path) -> str:
    return _digest_once(path, stamp_of(path))


@functools.lru_cache(maxsize=4096)
def _digest_once(path: Path, stamp: tuple[int, ...]) -> str:
    return file_digest(path) or ""


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
        there = next(each for each in (folder, *folder.parents) if each.exists())
        if os.access(there, os.W_OK):
            raise
        yield  # where nothing can be written
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
