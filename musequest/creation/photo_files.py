"""Photos as a museum's folder has them: found by name, listed by exhibit, and what is no photo."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ..errors import LOGGER, MuseQuestError
from ..photos import photo_suffixes

# What systems leave beside files of their own accord.
SYSTEM_FILES = {"thumbs.db", "desktop.ini", "icon\r"}
SHOWN = 60  # characters of a name in a sentence


def found_photo(folder: Path, listed: str) -> str:
    """Return the path of a listed photo within the folder, as the disk spells it.

    Accents may be written in one sign or two, as Macs and others do, and folders may be parted by
    backslashes. A photo that is absent, lies outside or has an impossible path raises
    MuseQuestError.
    """
    try:
        if not (folder / listed).resolve().is_relative_to(folder.resolve()):
            raise MuseQuestError(f"the photo {listed} lies outside {folder}; move it there.")
        if (folder / listed).is_file():
            return listed
        spelled = _spelled(folder, PurePosixPath(listed.replace("\\", "/")).parts)
        if spelled is not None and spelled.is_file():
            return spelled.relative_to(folder).as_posix()
    # A path with NUL, one longer than the system takes, or links that lead to themselves.
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MuseQuestError(
            f"the photo {listed[:SHOWN]!r} has a path that cannot be used ({reason}); correct it."
        ) from None
    raise MuseQuestError(f"the photo {folder / listed} is absent; add it, or unlist it.")


def images_of(folder: Path, item_name: str) -> list[str]:
    """Return the photos in photos/<item_name>/, relative to the folder, in the order of names."""
    found = sorted((folder / "photos" / item_name).glob("*"))
    return [path.relative_to(folder).as_posix() for path in found if _is_photo(path)]


def others_of(folder: Path, item_name: str) -> list[Path]:
    """Return what lies in photos/<item_name>/ or deeper and is none of its photos."""
    left: list[Path] = []
    for parent, folders, names in os.walk(folder / "photos" / item_name):
        folders.sort()
        inner = Path(parent) != folder / "photos" / item_name
        paths = [Path(parent) / name for name in sorted(names)]
        left += [each for each in paths if not _hidden(each) and (inner or not _is_photo(each))]
    return left


def warn_of_others(folder: Path, item_names: Iterable[str]) -> None:
    """Log one sentence that counts what lies in photos/<item_name>/ and was not taken."""
    left = [path for item_name in item_names for path in others_of(folder, item_name)]
    if left:
        LOGGER.warning(
            "%d files in photos/ were left out, first %s: a folder of its own within an exhibit's, "
            "or a format that is not read, is taken only if you list it or save it as JPEG.",
            len(left), left[0],
        )  # fmt: skip


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in photo_suffixes() and not _hidden(path) and path.is_file()


def _hidden(path: Path) -> bool:
    """Whether a system made the file for itself, as Macs do for each on other disks ("._a.jpg")."""
    return path.name.startswith(".") or path.name.casefold() in SYSTEM_FILES


def _spelled(folder: Path, parts: Iterable[str]) -> Path | None:
    """The path whose parts are the same letters, however their accents are encoded."""
    path = folder
    for part in parts:
        wanted = unicodedata.normalize("NFC", part)
        names = os.listdir(path) if path.is_dir() else []
        same = (name for name in names if unicodedata.normalize("NFC", name) == wanted)
        if (name := next(same, None)) is None:
            return None
        path = path / name
    return path
