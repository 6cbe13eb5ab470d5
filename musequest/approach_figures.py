"""The figures in the readmes of stage 2: ours, from the record of `make six`, and published ones.

Each is a markdown text; readme_figures.py puts it between its marks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from .errors import MuseQuestError
from .evaluation.report_tables import key_rows, show
from .files import read_json, write_json
from .home import results_dir, root
from .markdown import machine, markdown
from .settings import approach_names
from .six import frame

RECORDS = Path("benchmarks/records")
SIX = RECORDS / "pocket_six.json"
GPU = RECORDS / "gpu_training.json"
PUBLISHED = RECORDS / "published_runs.csv"
KEPT = (
    "Where kept activations do not fit they are recomputed, and as many rows take less memory: "
    "`preflight` says how much."
)
NONE_YET = "No run of all approaches is recorded yet; `make six` makes one.\n"


def keep_six(profile_name: str) -> None:
    """Copy the record of `make six` to where the readmes find it; one with failures is refused."""
    source = results_dir(profile_name) / "six.json"
    record = read_json(source)
    missing = [name for name, each in record["approaches"].items() if not each["scores"]]
    if record["failures"] or missing:
        raise MuseQuestError(
            f"{source} is of a run in which not every approach was finished and scored "
            f"({', '.join([*record['failures'], *missing])}); run `make six` again."
        )
    rows = read_json(results_dir(profile_name) / "differences.json")[record["track"]]
    write_json(root() / SIX, record | {"differences": key_rows(rows, approach_names())})


def pocket_six() -> str:
    """The table of all approaches on the pocket museum."""
    if not (root() / SIX).exists():
        return NONE_YET
    record = read_json(root() / SIX)
    minutes = sum(record["seconds"].values()) / 60
    measured = f"Measured on {record['date']} ({machine(record['hardware'])})"
    where = f"{measured}, {minutes:.0f} minutes in all."
    return f"{where} Scores on `{record['track']}`.\n\n{markdown(frame(record))}"


def results_of(approach: str) -> str:
    """One approach: our run on the pocket museum, its speed on a GPU, then its published runs."""
    title = "**Ours, on the pocket museum** (a rehearsal; not evidence about the 8B model):"
    return f"{title}\n\n{_ours(approach)}\n{_on_gpu(approach)}{_published(approach)}"


def device_maps() -> str:
    """The planner's splits beside the published ones: layers a device, and the fullest device."""
    rows = pd.DataFrame(read_json(root() / RECORDS / "device_maps.json")["splits"])
    for key in ("published_layers", "planned_layers"):
        rows[key] = rows[key].map(lambda layers: " + ".join(map(str, layers)))
    for key in rows.columns[rows.columns.str.endswith("_gib")]:
        rows[key] = rows[key].map("{:.1f}".format)
    rows["devices"] = rows["devices"].astype(str) + " x " + rows["gpu"]
    rows = rows.drop(columns=["gpu", "vram_gb_each"])
    return markdown(rows.rename(columns=lambda name: name.replace("_", " ")))


def gpu_training() -> str:
    """Speed and memory of the 8B model's shape on a GPU, a row a measurement."""
    if not (root() / GPU).exists():
        return "No GPU has been measured yet; the command above does so.\n"
    record = read_json(root() / GPU)
    rows = pd.DataFrame(record["runs"], dtype=object).fillna("")
    peaks = rows["peak_memory_gib"].map(lambda held: list(held.values())[-1] if held else "")
    rows = rows.assign(peak_memory_gib=peaks).rename(columns=lambda name: name.replace("_", " "))
    rows = rows.rename(columns={"held gib": "tensors (GiB)", "peak memory gib": "reserved (GiB)"})
    where = (
        f"{record['date']}, {machine(record['hardware'])}, PyTorch {record['versions']['torch']}"
    )
    note = f"\n{record['note']}\n" if record.get("note") else ""
    return f"{where}, photos of {record['photo_px']} px:\n\n{markdown(rows)}{note}"


def published_approaches() -> str:
    """What each approach needed in the published experiment: one line a run."""
    runs = pd.read_csv(root() / PUBLISHED, dtype=str).fillna("")
    runs = runs[runs["gpu"] != ""]
    needed = ["approach", "gpu", "gpu_count", "vram_gb_each", "volume_disk_gb", "training_minutes"]
    return markdown(runs[needed].rename(columns=lambda name: name.replace("_", " ")))


def published_rental() -> str:
    """What the GPUs of the published experiment cost to rent."""
    prices = pd.read_csv(root() / RECORDS / "gpu_rental.csv", dtype=str).fillna("")
    return markdown(prices.rename(columns=lambda name: name.replace("_", " ")))


def _ours(approach: str) -> str:
    record = read_json(root() / SIX) if (root() / SIX).exists() else {"approaches": {}}
    found = record["approaches"].get(approach)
    if not found:
        return NONE_YET
    run = found["run"]
    share = run["trainable_parameters"] / run["total_parameters"]
    peak = max(run["peak_memory_gib"].values())
    scores = [f"{metric} {show(score)}" for metric, score in found["scores"].items()]
    processes = f"{run['world_size']} process" + ("es" if run["world_size"] > 1 else "")
    return (
        f"{run['steps']} steps in {run['minutes']:.1f} minutes, {processes}, "
        f"{run['trainable_parameters']:,} of {run['total_parameters']:,} parameters trained "
        f"({share:.1%}), {peak:.1f} GiB of memory a process, {run['disk_gib']:.3f} GiB of disk; "
        f"lowest validation loss {run['best_eval_loss']:.3f} at step {run['best_step']}. "
        f"Measured on {record['date']} ({machine(record['hardware'])}).\n\n"
        f"On `{record['track']}`: {'; '.join(scores)}.\n"
    )


def _on_gpu(approach: str) -> str:
    """A sentence a measurement of the 8B model's shape; nothing where there is none."""
    record = read_json(root() / GPU) if (root() / GPU).exists() else {"runs": []}
    runs = [
        run for run in record["runs"] if run["approach"] == approach and "samples_per_second" in run
    ]
    told = "".join(
        f"{run['rows_a_step']} rows a step, all activations "
        f"{'recomputed' if run['recomputed'] else 'kept'}: "
        f"{run['samples_per_second']:.1f} samples a second, {run['held_gib']:.1f} GiB of tensors. "
        for run in runs
    )
    if any(not run["recomputed"] for run in runs):
        told += f"{KEPT} "
    title = (
        "**Ours, on a GPU** with the 8B model's shape and random weights (speed and memory only)"
    )
    return f"{title}: {told}{record['date']}, {machine(record['hardware'])}.\n\n" if told else ""


def _published(approach: str) -> str:
    runs = pd.read_csv(root() / PUBLISHED, dtype=str).fillna("")
    mine = runs[runs["approach"] == approach].drop(columns="approach")
    title = (
        "**Published**, Idefics2-8B on 65 exhibits (similarity score: 0 is best; measured in that "
        "experiment, not here):"
    )
    return f"{title}\n\n{markdown(mine.rename(columns=lambda name: name.replace('_', ' ')))}"


BLOCKS: dict[str, Callable[[], str]] = {
    "pocket_six": pocket_six,
    "published_approaches": published_approaches,
    "published_rental": published_rental,
    "device_maps": device_maps,
    "gpu_training": gpu_training,
    **{f"results_{name}": partial(results_of, name) for name in approach_names()},
}
