"""Settings and keys from `.env`, a file of NAME=value lines in the repository's folder."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import LOGGER
from .home import root


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
