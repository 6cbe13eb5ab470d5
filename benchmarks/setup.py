"""Sets the project up from nothing and measures what that takes: seconds, download, disk.

    python benchmarks/setup.py                                     with this Python
    python benchmarks/setup.py python3.11 python3.12 python3.13    with each of these
    python benchmarks/setup.py python3.11 python3.13 --record      kept in benchmarks/records/

Each gets a new virtual environment in a temporary folder, nothing from a cache, and what `make
setup` installs, from the index that pip asks where no settings of this machine interfere. Then
`musequest --help` is run there. A hundred packages and some gigabytes come over the network.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from musequest.book.walks import where_and_when
from musequest.core.files import write_json
from musequest.core.home import root
from musequest.finetuning.records import disk_gib

RECORD = root() / "benchmarks/records/setup.json"
BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
DOWNLOADED = re.compile(r"^\s*Downloading \S+ \(([\d.]+) (kB|MB|GB)\)", re.MULTILINE)


def measure(python: str, folder: Path) -> dict[str, Any]:
    """One set-up with the interpreter `python` in the new folder `folder`."""
    own = {**os.environ, "PIP_CONFIG_FILE": os.devnull}
    own = {key: value for key, value in own.items() if key != "PIP_FIND_LINKS"}
    start = time.monotonic()
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    inside = str(folder / "bin/python")
    asked = [inside, "-m", "pip", "install", "--no-cache-dir", "--progress-bar", "off"]
    asked += ["--constraint", "constraints.txt", "--editable", ".[dev]"]
    done = subprocess.run(asked, cwd=root(), env=own, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{python} could not be set up:\n{done.stderr[-2000:]}")
    seconds = time.monotonic() - start
    subprocess.run([inside, "-m", "musequest", "--help"], check=True, capture_output=True)
    version = [inside, "-c", "import sys, torch; print(sys.version.split()[0], torch.__version__)"]
    told = subprocess.run(version, check=True, capture_output=True, text=True).stdout.split()
    return {
        "python": told[0],
        "torch": told[1],
        "seconds": round(seconds, 1),
        "download_gb": round(downloaded(done.stdout), 2),
        "disk_gib": round(disk_gib(folder), 2),
    }


def downloaded(printed: str) -> float:
    """GB of all files that pip says it downloaded."""
    return sum(float(size) * BYTES[unit] for size, unit in DOWNLOADED.findall(printed)) / 1e9


def main() -> None:
    """Measure each interpreter in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", default=[sys.executable])
    parser.add_argument("--record", action="store_true")
    chosen = parser.parse_args()
    setups = []
    for python in chosen.pythons:
        with tempfile.TemporaryDirectory() as folder:
            setups.append(measure(python, Path(folder) / "venv"))
        print(setups[-1], flush=True)
        if chosen.record:
            write_json(RECORD, {"setups": setups, **where_and_when()})


if __name__ == "__main__":
    main()
