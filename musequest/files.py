"""Files are written whole or not at all: to a temporary name first, then renamed."""

from __future__ import annotations

import csv
import filecmp
import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from psutil import pid_exists

from .errors import MuseQuestError, refusal

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{6}([0-9a-f]{6})(\.\w+)?")
_OPEN: set[Path] = set()  # what this process is writing


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` when the block ends well.

    The temporary file lies in the same folder (made if need be) and keeps the suffix; after an
    error it is removed and whatever `path` held before stays. A file that holds the same bytes
    already is left as it is.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unique = f"{uuid.uuid4().hex[:6]}{os.getpid() & 0xFFFFFF:06x}"
    temporary = path.with_name(f".{path.stem}.{unique}{path.suffix}")
    _OPEN.add(temporary)
    try:
        _clear_left(path)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if not (path.is_file() and filecmp.cmp(temporary, path, shallow=False)):
            os.replace(temporary, path)
    except Exception as error:
        refused = None if isinstance(error, MuseQuestError) else refusal(error)
        if refused and refused.filename in (None, str(temporary)):  # as most libraries tell it
            raise OSError(refused.errno, os.strerror(refused.errno), str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
        _OPEN.discard(temporary)


def _clear_left(path: Path) -> None:
    """Remove what processes that are gone left when they were writing `path`."""
    for left in path.parent.glob(f".{escape(path.stem)}.*{escape(path.suffix)}"):
        found = TEMPORARY.fullmatch(left.name)
        writer = int(found[1], 16) if found else os.getppid()
        if left not in _OPEN and (writer == os.getpid() or not pid_exists(writer)):
            left.unlink(missing_ok=True)


def clear_temporaries(folder: str | Path) -> None:
    """Remove what `write_whole` was writing below `folder` when its process was killed."""
    for path in Path(folder).rglob(".*"):
        if is_temporary(path):
            path.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether a file has the name that `write_whole` gives while it is being written."""
    return TEMPORARY.fullmatch(path.name) is not None


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, obj: Any) -> None:
    """Write `obj` as indented UTF-8 JSON; a NaN raises ValueError, since JSON has none."""
    write_text(path, json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: str | Path, columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as CSV in UTF-8 under a header, whole or not at all."""
    with write_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def file_digest(path: str | Path | None) -> str | None:
    """The SHA-256 of a file, in hexadecimal; None where there is none."""
    if path is None or not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a missing or broken one raises MuseQuestError."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MuseQuestError(f"{path} does not exist; run the step that writes it first.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise MuseQuestError(
            f"{path} is not a readable JSON file ({error}); delete it and run its step again."
        ) from None
