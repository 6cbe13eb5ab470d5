"""Where things lie: the repository, and the folders that the stages write."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from .errors import MuseQuestError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def root() -> Path:
    """The repository's folder, which holds assets/, profiles/ and the stage folders."""
    return Path(__file__).resolve().parent.parent


def home() -> Path:
    """The folder under which data/, runs/ and results/ lie.

    It is MUSEQUEST_HOME where that is set; else the repository around the current folder, so that
    a notebook in a stage folder writes beside the others; else the current folder.
    """
    if chosen := os.environ.get("MUSEQUEST_HOME"):
        return Path(chosen).expanduser().resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "profiles").is_dir():
            return folder
    return here


def collection_dir(collection: str) -> Path:
    """data/<collection>: the exhibits, photos, dialogs and dataset of one collection."""
    return home() / "data" / plain_name(collection, "collection")


def run_dir(profile_name: str, approach: str) -> Path:
    """runs/<profile>/<approach>: the record, weights and predictions of one run."""
    folder = home() / "runs" / plain_name(profile_name, "profile")
    return folder / plain_name(approach, "approach")


def results_dir(profile_name: str) -> Path:
    """results/<profile>: scores, figures and report of one profile."""
    return home() / "results" / plain_name(profile_name, "profile")


def remove_made(profile_name: str) -> list[Path]:
    """Remove the folders of a profile and of the collection of its name; return what was there."""
    collection = collection_dir(profile_name)
    folders = (collection, home() / "runs" / collection.name, results_dir(profile_name))
    found = [folder for folder in folders if folder.exists() or folder.is_symlink()]
    for folder in found:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    return found


def plain_name(name: str, noun: str) -> str:
    """`name` itself if it can name a folder; else MuseQuestError says which `noun` is wrong."""
    if not NAME.fullmatch(name):
        raise MuseQuestError(
            f"{name!r} cannot name a {noun}; use letters, digits, '-', '_' and '.' only."
        )
    return name
