"""The machine that a run is on: versions, hardware, the memory and disk that it takes."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from ..home import root
from .distributed import local_world_size

GIB = 1024**3
# Of a device's memory: the rest is its context, kernels' workspace and what lies in gaps.
USABLE = 0.92
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "datasets", "bitsandbytes")


def versions() -> dict[str, str]:
    """Python and the installed libraries that a run depends on."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor cores, memory (GiB) and GPUs of this machine."""
    gpus = range(torch.cuda.device_count())
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "gpus": [torch.cuda.get_device_name(index) for index in gpus],
    }


def available_bytes(device: str) -> int:
    """Bytes that a process may take to train: of a GPU all but a reserve, else its share of what
    is free, for the processes of one machine share its memory.
    """
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory * USABLE)
    return int(psutil.virtual_memory().available * USABLE) // local_world_size()


def peak_memory_gib() -> dict[str, float]:
    """Most memory ever held, GiB: of this process (`cpu`), and reserved on each GPU (`cuda:0`)."""
    unit = 1 if sys.platform == "darwin" else 1024
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    peaks = {"cpu": resident}
    for index in range(torch.cuda.device_count()):
        peaks[f"cuda:{index}"] = torch.cuda.max_memory_reserved(index)
    return {device: round(held / GIB, 3) for device, held in peaks.items()}


def disk_gib(folder: Path) -> float:
    """Bytes of all files under `folder`, GiB; a file with two names counts once."""
    files = (file.stat() for file in folder.rglob("*") if file.is_file())
    sizes = {status.st_ino: status.st_size for status in files}
    return round(sum(sizes.values()) / GIB, 4)


def git_commit() -> str | None:
    """The commit of the repository, with `-dirty` behind it if files were changed since."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(root()), "describe", "--always", "--dirty", "--abbrev=40"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
