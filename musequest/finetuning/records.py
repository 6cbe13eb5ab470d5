"""run.json: what a run was asked, on what it ran, how it ended, and whether it may go on."""

from __future__ import annotations

import datetime
import functools
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from ..core.errors import MuseQuestError
from ..core.files import check_digests, read_json, read_remade, write_json
from ..core.home import root, run_dir
from ..core.json_shapes import FinishedRun
from ..core.settings import Profile, approach_names
from .distributed import rank

GIB = 1024**3
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "datasets", "bitsandbytes")
UNFINISHED = "the process ended before it could say why"
ROWS, STEPS = "per_device_train_batch_size", "gradient_accumulation_steps"
RECOMPUTE, EVERY = "activation_checkpointing", "every_n_layers"
RECOMPUTE_HOW = f"{RECOMPUTE}_kwargs"
# What the approaches' config.yaml said, until these parts were found in the base model itself: the
# same as is found in the model of the runs that say so.
FOUND_NOW = {
    "lora.target_modules": (
        r".*\b(text_model|connector)\..*\b((q|k|v|o|gate|up|down)_proj|modality_projection\.proj)"
    ),
    "quantization.llm_int8_skip_modules": ["model.vision_model", "lm_head"],
}
# Keys of TrainingArguments that part a step's rows otherwise or save memory.
FITTED_SETTINGS = (
    *(ROWS, STEPS, RECOMPUTE, RECOMPUTE_HOW),
    "auto_find_batch_size",
)
# Keys of TrainingArguments that only say where curves go: a run may go on with others.
TRACKER_SETTINGS = (
    *("report_to", "run_name", "project"),
    *("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
)
# Keys of TrainingArguments that say how rows are read, not which.
READING_SETTINGS = (
    "dataloader_num_workers",
    "dataloader_persistent_workers",
    "dataloader_prefetch_factor",
    "dataloader_pin_memory",
)


class RunRecord:
    """The record of one run; `asked` holds all that decides what the run will learn.

    begin, then one of finish, interrupt or fail, each of which writes run.json whole. Until one
    of the three is called the file says `interrupted`, which is true if the process is killed.

    Of several processes the first writes, but any that fails does. The first failure stands: what
    the others see of it is a partner that has gone.
    """

    def __init__(self, folder: Path, asked: dict[str, Any]) -> None:
        self.path = folder / "run.json"
        self.asked: dict[str, Any] = json.loads(json.dumps(asked, default=str))
        self.values: dict[str, Any] = {}

    @property
    def fitted(self) -> dict[str, Any]:
        """Keys of TrainingArguments as this device allows them, once they are found."""
        return self.values.get("fitted") or {}

    def remembered(self) -> dict[str, Any]:
        """What an earlier process found to fit, if settings and device are still the same."""
        earlier = self.earlier() or {}
        same = _deciding_fit(earlier) == _deciding_fit(self.asked)
        gpus = (earlier.get("hardware") or {}).get("gpus")
        return (earlier.get("fitted") or {}) if same and gpus == hardware()["gpus"] else {}

    def earlier(self) -> dict[str, Any] | None:
        """The record that is there already; None if there is none, or it cannot be read."""
        return read_remade(self.path) or None

    def check_same(self, earlier: dict[str, Any]) -> None:
        """Raise MuseQuestError if the earlier run was asked something else."""
        changes = asked_otherwise(earlier, self.asked)
        if changes:
            raise MuseQuestError(
                f"{self.path.parent} holds a run with other settings ({'; '.join(changes)}); set "
                "them back, or discard that run and start anew with fresh=True (--fresh)."
            )

    def begin(self, **values: Any) -> dict[str, Any]:
        """Write that the run has started, on what, and what is known to fit; returns the record."""
        self.values = {
            **self.asked,
            "git_commit": git_commit(),
            "versions": versions(),
            "hardware": hardware(),
            "started_at": _now(),
            "fitted": self.remembered(),
            **values,
        }
        if rank() == 0:
            write_json(self.path, {**self.values, "status": "interrupted", "reason": UNFINISHED})
        return self.values

    def note(self, **values: Any) -> None:
        """Write what became known while the run is going on."""
        self.values |= values
        self._write("interrupted", UNFINISHED)

    def finish(self, **values: Any) -> dict[str, Any]:
        """Write how the run ended well; returns the record."""
        self.values |= {"finished_at": _now(), **self._costs(), **values}
        return self._write("done", None)

    def interrupt(self, reason: str) -> None:
        """Write that somebody stopped the run."""
        self.values |= self._costs()
        self._write("interrupted", reason)

    def fail(self, error: BaseException) -> None:
        """Write which error ended the run, unless the disk has no room for it."""
        name = "" if isinstance(error, MuseQuestError) else f"{type(error).__name__}: "
        reason = f"{name}{error}".strip()
        with suppress(OSError):
            self.values |= self._costs()
            if rank() == 0:
                self._write("failed", reason)
            elif (there := self._of_this_start()) and there["status"] != "failed":
                write_json(self.path, {**there, "status": "failed", "reason": reason})

    def overrule(self, error: BaseException) -> None:
        """Write which error of any process ended the run, unless all agree that it was stopped.

        The first may have seen it only as a partner that had gone; if there is room on the disk.
        """
        self.values = {**self.asked, **(self.earlier() or {})}
        if self.values.get("status") == "interrupted" and UNFINISHED not in self.values["reason"]:
            return
        self.values |= {"status": "failed", "reason": str(error)}
        with suppress(OSError):
            write_json(self.path, self.values | self._costs())

    def _costs(self) -> dict[str, Any]:
        held, disk = held_memory_gib(), disk_gib(self.path.parent)
        of_gpus = {"held_memory_gib": held} if held else {}
        return {"peak_memory_gib": peak_memory_gib(), **of_gpus, "disk_gib": disk}

    def _write(self, status: str, reason: str | None) -> dict[str, Any]:
        there = self._of_this_start()
        if there.get("status") == "failed":
            status, reason = "failed", there["reason"]
        record = {**self.values, "status": status, "reason": reason}
        if rank() == 0:
            write_json(self.path, record)
        return record

    def _of_this_start(self) -> dict[str, Any]:
        """What the processes of this very start have written; empty if it is an earlier one's."""
        there = self.earlier() or {}
        return there if there.get("started_at") == self.values.get("started_at") else {}


def rows_a_step(settings: dict[str, Any]) -> int:
    """Rows of one optimizer step on one device."""
    return int(settings.get(ROWS, 8)) * int(settings.get(STEPS, 1))


def finished_record(folder: Path) -> dict[str, Any]:
    """The record in `folder`; MuseQuestError unless it says `done` and the weights are its own."""
    record = read_json(folder / "run.json") if (folder / "run.json").exists() else {}
    if record.get("status") != "done":
        state = record.get("status", "not started")
        raise MuseQuestError(
            f"The run in {folder} is {state}, so it has no tuned weights yet; run "
            "`python -m musequest train` with its profile and approach first."
        )
    record = read_json(folder / "run.json", FinishedRun)
    check_weights(folder, record)
    return record


def check_weights(folder: Path, record: dict[str, Any]) -> None:
    """Raise MuseQuestError if a done run's weights are not its own; older runs do not say."""
    remedy = "bring it back, or train again with fresh=True (--fresh)"
    check_digests(folder, record.get("weights_sha256") or {}, remedy)


def check_base_files(base: Path, record: dict[str, Any], run: Path) -> None:
    """The same of the files in a base model's folder, from which the run was made."""
    remedy = f"{run} was made from another one, so bring that back, or train again with --fresh"
    check_digests(base, record.get("base_model_sha256") or {}, remedy, absent=True)


def check_ready(profile: Profile, system: str) -> None:
    """Raise MuseQuestError if a system is an approach whose run cannot answer.

    It is told without a model library; of a base model on the Hub only loading it can tell.
    """
    if system in approach_names():
        run, base = run_dir(profile.name, system), Path(profile.base_model_source)
        record = finished_record(run)
        if base.is_dir():
            check_base_files(base, record, run)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _shown(values: dict[str, Any], key: str) -> str:
    """A value for a sentence; of a long fingerprint its beginning."""
    text = str(values.get(key, "not set"))
    return f"{text[:12]}..." if len(text) > 40 else text


def asked_otherwise(earlier: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """How what a run is `asked` differs from an earlier one: "lora.r was 8 and is 16"."""
    there, here = _decisive(earlier), _decisive(asked)
    # Of `earlier` only what was asked counts; a setting left out now counts as a change too.
    there = {key: value for key, value in there.items() if key.split(".")[0] in asked}
    there = {key: value for key, value in there.items() if value != FOUND_NOW.get(key)}
    return [
        f"{key} was {_shown(there, key)} and is {_shown(here, key)}"
        for key in sorted({*there, *here})
        if there.get(key, "not set") != here.get(key, "not set")
    ]


def _decisive(values: dict[str, Any]) -> dict[str, Any]:
    """All keys but those that do not change what is learned: trackers, how rows come together."""
    from transformers import TrainingArguments

    training = values.get("training") or {}
    beside = (*TRACKER_SETTINGS, *FITTED_SETTINGS, *READING_SETTINGS)
    kept = {key: value for key, value in training.items() if key not in beside}
    kept.setdefault("optim", TrainingArguments.default_optim)  # as of runs that did not say
    flat = _flat({**values, "training": {**kept, "rows_a_step": rows_a_step(training)}})
    flat.pop(f"parallel.{RECOMPUTE}", None)
    return flat


def _deciding_fit(values: dict[str, Any]) -> list[Any]:
    """What was asked of the things that are fitted: a choice holds only for the same."""
    training, parallel = (values.get(block) or {} for block in ("training", "parallel"))
    return [*map(training.get, FITTED_SETTINGS), parallel.get(RECOMPUTE)]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as one level: training.learning_rate; an empty block has no keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            flat[prefix + key] = value
    return flat


@functools.cache
def versions() -> dict[str, str]:
    """Python and the installed libraries that a run depends on."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[library] = version(library)
    return found


def hardware() -> dict[str, Any]:
    """Processor cores, memory (GiB) and GPUs of this machine."""
    import torch

    gpus = range(torch.cuda.device_count())
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / GIB, 1),
        "gpus": [torch.cuda.get_device_name(index) for index in gpus],
    }


def peak_memory_gib() -> dict[str, float]:
    """Most memory ever held, GiB: of this process (`cpu`), and reserved on each GPU (`cuda:0`)."""
    import torch

    unit = 1 if sys.platform == "darwin" else 1024
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    peaks = {"cpu": resident}
    for index in range(torch.cuda.device_count()):
        peaks[f"cuda:{index}"] = torch.cuda.max_memory_reserved(index)
    return {device: round(held / GIB, 3) for device, held in peaks.items()}


def held_memory_gib() -> dict[str, float]:
    """Most that tensors ever held on each GPU (`cuda:0`), GiB; empty on a processor."""
    import torch

    gpus = range(torch.cuda.device_count())
    return {f"cuda:{n}": round(torch.cuda.max_memory_allocated(n) / GIB, 3) for n in gpus}


def most_of(peaks: list[dict[str, float]]) -> dict[str, float]:
    """Of every device the most that a process saw."""
    return {device: max(each.get(device, 0.0) for each in peaks) for device in peaks[0]}


def free_gib(folder: Path) -> float:
    """GiB that are free on the disk on which `folder` lies or will lie."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / GIB


def disk_gib(folder: Path) -> float:
    """`bytes_under`, in GiB."""
    return round(bytes_under(folder) / GIB, 4)


def bytes_under(folder: Path) -> int:
    """Bytes of all files under `folder`; a file with two names counts once.

    What another process removes meanwhile does not count.
    """
    sizes: dict[int, int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                status = Path(place, name).stat()
                sizes[status.st_ino] = status.st_size
    return sum(sizes.values())


def git_commit() -> str | None:
    """The commit of the repository, with `-dirty` behind it if files were changed since."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(root()), "describe", "--always", "--dirty", "--abbrev=40"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
