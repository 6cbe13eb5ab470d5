"""Where things lie, the repository and the folders that the stages write, and what `.env` says.

The environment also says how threads wait for each other, and whether the Hub may be asked.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path

from .errors import LOGGER, MuseQuestError, unsafe_way

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# OpenMP reads these once, when torch is loaded. Its threads wait for each other many times a step,
# and by default they wait by spinning, which on a busy machine takes the core from the very thread
# that is waited for. So they sleep; GNU's OpenMP, which most builds of torch have, may spin for a
# moment before, as falling asleep has its price too. benchmarks/busy_machine.py measures it.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
# How torch takes a GPU's memory, read before the first of it is taken: in segments that grow, else
# batches of many lengths leave gaps that nothing fits into. The second is the name it had before.
ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")


def root() -> Path:
    """The repository's folder, which holds assets/, profiles/ and the stage folders."""
    return Path(__file__).resolve().parents[2]


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
    runs = home() / "runs"
    folders = [collection, runs / collection.name, results_dir(profile_name)]
    seeds = sorted(runs.glob(f"{collection.name}__seed*"))
    folders += [each for each in seeds if each.name.rpartition("__seed")[2].isdecimal()]
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
            f"{name!r} cannot name a {noun}; use the letters a to z, digits, '-', '_' and '.' only."
        )
    return name


def set_up_torch() -> None:
    """Let waiting threads make room for other programs, and torch's memory of a GPU grow.

    Only where nothing of the kind is set already. To be called before torch is imported.
    """
    if not any(name in os.environ for name in (*WAITING, "KMP_BLOCKTIME")):
        os.environ.update(WAITING)
    if not any(name in os.environ for name in ALLOCATOR):
        os.environ[ALLOCATOR[0]] = "expandable_segments:True"


def read_env(path: Path | None = None) -> None:
    """Put what `.env` sets into the environment, but for empty values and what is set there.

    Libraries that look for a key themselves, such as that of the Hub, then find it too. A Python
    without python-dotenv gets a warning, so that a command can still say what it has not installed.
    """
    path = path or root() / ".env"
    if not path.is_file():
        return
    try:
        from dotenv import dotenv_values
    except ModuleNotFoundError:
        LOGGER.warning("%s is not read, for python-dotenv is not installed.", path)
        return
    try:
        values = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        LOGGER.warning("%s is not read (%s); write it as plain text in UTF-8.", path, error)
        return
    for name, value in values.items():
        if value and not os.environ.get(name):
            os.environ[name] = value


def check_env() -> None:
    """Raise MuseQuestError where `.env` may say where the data lies and cannot be read."""
    path = root() / ".env"
    if path.is_file() and importlib.util.find_spec("dotenv") is None:
        raise MuseQuestError(
            f"{path}, which may say where the data lies, cannot be read without python-dotenv; run "
            "`make setup` first."
        )


def check_hub() -> None:
    """Raise MuseQuestError where HF_ENDPOINT would have HF_TOKEN travel for all to read."""
    from huggingface_hub import constants

    if reason := unsafe_way("HF_TOKEN", constants.ENDPOINT):
        raise MuseQuestError(reason)
