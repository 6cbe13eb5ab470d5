"""What `make clean` does: data, runs and results of a profile are removed, wherever they lie.

Make itself cannot know where: `.env` may say so, and to make its lines would be commands. It runs
with nothing installed but Python.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from .errors import MuseQuestError
from .home import collection_dir, home, results_dir, root


def clean(profile_name: str) -> list[Path]:
    """Remove the folders of a profile and of the collection of its name; return what was there."""
    if (root() / ".env").is_file() and importlib.util.find_spec("dotenv") is None:
        raise MuseQuestError(
            f"{root() / '.env'}, which may say where the data lies, cannot be read without "
            "python-dotenv; run `make setup` first."
        )
    collection = collection_dir(profile_name)
    folders = (collection, home() / "runs" / collection.name, results_dir(profile_name))
    found = [folder for folder in folders if folder.exists() or folder.is_symlink()]
    for folder in found:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    return found


if __name__ == "__main__":
    try:
        for removed in clean(sys.argv[1]):
            print(f"Removed {removed}.")
    except (MuseQuestError, OSError) as problem:
        sys.exit(str(problem))
