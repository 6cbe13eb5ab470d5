"""What a process finds in its environment: `.env`, the Hub, how its threads wait for each other."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from .credentials import unsafe_way
from .errors import LOGGER, MuseQuestError
from .home import root

# OpenMP reads these once, when torch is loaded. Its threads wait for each other many times a step,
# and by default they wait by spinning, which on a busy machine takes the core from the very thread
# that is waited for. So they sleep; GNU's OpenMP, which most builds of torch have, may spin for a
# moment before, as falling asleep has its price too. benchmarks/busy_machine.py measures it.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}


def wait_politely() -> None:
    """Let waiting threads of this process, and of those it starts, make room for other programs.

    Only if nothing of the kind is set already. To be called before torch is imported.
    """
    if not any(name in os.environ for name in (*WAITING, "KMP_BLOCKTIME")):
        os.environ.update(WAITING)


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
