"""Settings and keys from `.env`, a file of NAME=value lines in the repository's folder."""

from __future__ import annotations

import os
from pathlib import Path

from dotenv import dotenv_values

from .home import root


def read_env(path: Path | None = None) -> None:
    """Put what `.env` sets into the environment, but for empty values and what is set there.

    Libraries that look for a key themselves, such as that of the Hub, then find it too.
    """
    values = dotenv_values(path or root() / ".env", interpolate=False)
    for name, value in values.items():
        if value and not os.environ.get(name):
            os.environ[name] = value
