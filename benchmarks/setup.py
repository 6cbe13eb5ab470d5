"""Sets the project up from nothing and measures what that takes: seconds, download, disk.

    python benchmarks/setup.py                                     with this Python
    python benchmarks/setup.py python3.11 python3.12 python3.13    with each of these
    python benchmarks/setup.py python3.12 --record                 kept in benchmarks/records/
    python benchmarks/setup.py python3.13 --hosted LIST --record   what a hosted notebook's becomes

Each gets a new virtual environment in a temporary folder, nothing from a cache, and what `make
setup` installs, from the index that pip asks where no settings of this machine interfere. Then
`musequest --help` is run there. A hundred packages and some gigabytes come over the network.

LIST is what `pip freeze` says in a hosted notebook; Colab's is published. Of these packages, those
that MuseQuest needs too are installed in their versions. Then one notebook, alone in a folder, is
executed there from its first cell, which installs the rest, from this clone in place of an address.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from musequest.book.walks import where_and_when
from musequest.core.files import read_json, write_json
from musequest.core.home import root
from musequest.finetuning.records import disk_gib

SETUP, HOSTED = (root() / f"benchmarks/records/{name}.json" for name in ("setup", "hosted"))
NOTEBOOK = root() / "1_synthetic_data_creation/1.1_exhibit_collection/exhibit_collection.ipynb"
ADDRESS = "ADDRESS-OF-THIS-REPOSITORY"
BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
DOWNLOADED = re.compile(r"^\s*Downloading \S+ \(([\d.]+) (kB|MB|GB)\)", re.MULTILINE)


def measure(python: str, folder: Path) -> dict[str, Any]:
    """One set-up with the interpreter `python` in the new folder `folder`."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    inside = environment(python, folder)
    pinned = "--require-hashes", "--no-deps", "--requirement", "requirements-encoder.txt"
    printed = install(inside, *pinned)
    printed += install(inside, "--constraint", "constraints.txt", "--editable", ".[dev]")
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    subprocess.run([inside, "-m", "musequest", "--help"], check=True, capture_output=True)
    version = [inside, "-c", "import sys, torch; print(sys.version.split()[0], torch.__version__)"]
    told = subprocess.run(version, check=True, capture_output=True, text=True).stdout.split()
    return {
        "python": told[0],
        "torch": told[1],
        "seconds": round(seconds, 1),
        "processor_seconds": round(worked, 1),
        "download_gb": round(downloaded(printed), 2),
        "disk_gib": round(disk_gib(folder), 2),
    }


def measure_hosted(python: str, folder: Path, frozen: str) -> dict[str, Any]:
    """What becomes of a hosted notebook's packages once a notebook of ours has run there."""
    needed = versions_in((root() / "constraints.txt").read_text())
    had = {name: version for name, version in versions_in(frozen).items() if name in needed}
    inside = environment(python, folder / "venv")
    install(inside, *(f"{name}=={version}" for name, version in had.items()))
    before, alone = versions_of(inside), folder / "alone"
    alone.mkdir()
    text = NOTEBOOK.read_text(encoding="utf-8").replace(ADDRESS, root().as_uri())
    (alone / NOTEBOOK.name).write_text(text, encoding="utf-8")
    asked = [inside, "-m", "nbconvert", "--execute", "--to", "notebook", "--inplace"]
    run(*asked, NOTEBOOK.name, folder=alone)
    after = versions_of(inside)
    replaced = {name: [had[name], after[name]] for name in had if after[name] != before[name]}
    kept = {name: version for name, version in had.items() if name not in replaced}
    version = subprocess.run([inside, "--version"], check=True, capture_output=True, text=True)
    return {
        "python": version.stdout.split()[1],
        "notebook": NOTEBOOK.name,
        "replaced": replaced,
        "kept": kept,
    }


def environment(python: str, folder: Path) -> str:
    """A new virtual environment; returns the path of its interpreter."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    return str(folder / "bin/python")


def install(inside: str, *asked: str) -> str:
    """Install with pip what is asked; returns what it printed."""
    return run(inside, "-m", "pip", "install", "--no-cache-dir", "--progress-bar", "off", *asked)


def run(*command: str, folder: Path | None = None) -> str:
    """What a command printed, run where no settings of this machine interfere, or its error."""
    own = {**os.environ, "PIP_CONFIG_FILE": os.devnull}
    own = {key: value for key, value in own.items() if key not in ("PIP_FIND_LINKS", "PYTHONPATH")}
    done = subprocess.run(command, cwd=folder or root(), env=own, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:5])} ... did not work:\n{done.stderr[-2000:]}")
    return done.stdout


def versions_of(inside: str) -> dict[str, str]:
    """The version of each package in an environment."""
    listed = json.loads(run(inside, "-m", "pip", "list", "--format", "json"))
    return {normal(each["name"]): each["version"] for each in listed}


def versions_in(frozen: str) -> dict[str, str]:
    """The version of each package in what `pip freeze` wrote, without the builds of its own."""
    lines = re.findall(r"^([\w.-]+)==([\w.]+)", frozen, re.MULTILINE)
    return {normal(name): version for name, version in lines}


def normal(name: str) -> str:
    """A package's name as an index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def downloaded(printed: str) -> float:
    """GB of all files that pip says it downloaded."""
    return sum(float(size) * BYTES[unit] for size, unit in DOWNLOADED.findall(printed)) / 1e9


def main() -> None:
    """Measure each interpreter in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", default=[sys.executable])
    parser.add_argument("--hosted", type=Path, metavar="LIST")
    parser.add_argument("--record", action="store_true")
    chosen = parser.parse_args()
    frozen = chosen.hosted.read_text(encoding="utf-8") if chosen.hosted else None
    for python in chosen.pythons:
        with tempfile.TemporaryDirectory() as folder:
            if frozen:
                measured = measure_hosted(python, Path(folder), frozen)
            else:
                measured = measure(python, Path(folder) / "venv")
        print(measured, flush=True)
        if chosen.record:
            keep(HOSTED if frozen else SETUP, measured)


def keep(record: Path, measured: dict[str, Any]) -> None:
    """Write what was measured beside what the record has of other Pythons."""

    def minor(each: dict[str, Any]) -> list[int]:
        return [int(part) for part in each["python"].split(".")[:2]]

    known = read_json(record)["setups"] if record.exists() else []
    setups = [each for each in known if minor(each) != minor(measured)] + [measured]
    write_json(record, {"setups": sorted(setups, key=minor), **where_and_when()})


if __name__ == "__main__":
    main()
