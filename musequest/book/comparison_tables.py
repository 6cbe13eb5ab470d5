"""Tables of the readmes that compare: all approaches, retrieval, how fast answers are scored.

Ours come from the records of `make six`, of the notebook of 3.2 and of the benchmarks; beside them
stand the published ones. Each is a text in markdown, which `readme_tables` puts between its marks.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import MuseQuestError
from ..evaluation.metrics import METRICS
from ..evaluation.report_tables import (
    KEY,
    cell,
    cost_frame,
    difference_frame,
    headed,
    key_rows,
    show,
)
from ..evaluation.results import load_results
from ..files import read_json, write_json
from ..finetuning.records import hardware
from ..home import results_dir, root, run_dir
from ..settings import approach_names, load_profile
from ..systems.registry import OUTSIDERS, system
from .notebooks import comparison_frame

RECORDS = Path("benchmarks/records")
SIX = RECORDS / "pocket_six.json"
GPU = RECORDS / "gpu_training.json"
PUBLISHED = RECORDS / "published_runs.csv"
KEPT = (
    "Where kept activations do not fit they are recomputed, and as many rows take less memory: "
    "`preflight` says how much."
)
NO_SIX = "No run of all approaches is recorded yet; `make six` makes one.\n"
RETRIEVAL = RECORDS / "pocket_retrieval.json"
COMPARED = ("base", "lora", "retrieval", "rag")
REFUSAL = "false_recognition_rate"
NO_RETRIEVAL = "No comparison is recorded yet; `make notebooks` makes one.\n"
SCORING = RECORDS / "scoring.json"
WAYS = {
    "encoding": "encoding answer and ground truth alone, one by one",
    "encoding_with_every_reference": "the same, and every exhibit's reference for each answer",
    "all_metrics": "all metrics for one answer at a time, the references encoded once",
    "all_metrics_with_every_reference": "the same, the references encoded for each answer",
}
BELOW_ONE = (
    "Below 1 the loop is faster, for it does less: none of them has controls, intervals or "
    "differences, and one that only encodes has no published score, no numbers, names or ROUGE."
)


def markdown(frame: pd.DataFrame) -> str:
    """A table in markdown."""
    lines = [list(map(str, frame.columns)), ["---"] * frame.shape[1]]
    lines += [list(map(str, row)) for row in frame.itertuples(index=False)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def machine(hardware: Mapping[str, Any]) -> str:
    """A machine in words, of `hardware` as records hold it."""
    gpus = ", ".join(hardware["gpus"]) or "no GPU"
    return f"{hardware['cpu_cores']} CPU cores, {hardware['memory_gib']:.0f} GiB of memory, {gpus}"


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
        return NO_SIX
    record = read_json(root() / SIX)
    minutes = sum(record["seconds"].values()) / 60
    measured = f"Measured on {record['date']} ({machine(record['hardware'])})"
    where = f"{measured}, {minutes:.0f} minutes in all."
    return f"{where} Scores on `{record['track']}`.\n\n{markdown(comparison_frame(record))}"


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
        return NO_SIX
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


def keep_retrieval(profile_name: str) -> None:
    """Write the record of the last comparison to where the readme finds it.

    One that lacks a system is refused with MuseQuestError.
    """
    results = load_results(load_profile(profile_name))
    if missing := set(COMPARED) - set(results.systems):
        raise MuseQuestError(
            f"{results.folder} has no scores of {', '.join(sorted(missing))}; run "
            "`python -m musequest demo --longer` first."
        )
    answered = run_dir(results.profile.name, "retrieval") / "predictions.parquet"
    moment = datetime.datetime.fromtimestamp(answered.stat().st_mtime, datetime.UTC)
    costs = results.costs[results.costs.approach.isin(COMPARED)].astype(object)
    tracks = (results.main_track, OUTSIDERS)
    record = {
        "profile": results.profile.name,
        "date": moment.date().isoformat(),
        "hardware": hardware(),
        "track": results.main_track,
        "scores": {
            track: {name: results.summary[track][name] for name in COMPARED}
            for track in tracks
            if track in results.summary
        },
        "differences": key_rows(results.differences[results.main_track], COMPARED),
        "costs": costs.where(costs.notna(), None).to_dict("records"),
    }
    write_json(root() / RETRIEVAL, record)


def retrieval_scores() -> str:
    """The key scores of tuned model, retrieval and RAG, a row a system."""
    record = _retrieval()
    if not record:
        return NO_RETRIEVAL
    rows = []
    for name in COMPARED:
        own = record["scores"][record["track"]][name]
        row = {"system": system(name).label, **{headed(m): cell(own[m], METRICS[m]) for m in KEY}}
        if outside := record["scores"].get(OUTSIDERS):
            row[headed(REFUSAL)] = cell(outside[name][REFUSAL], METRICS[REFUSAL])
        rows.append(row)
    where = f"Measured on {record['date']} ({machine(record['hardware'])})."
    return f"{where} Scores on `{record['track']}`.\n\n{markdown(pd.DataFrame(rows))}"


def retrieval_differences() -> str:
    """Which of these systems truly differ."""
    record = _retrieval()
    if not record:
        return NO_RETRIEVAL
    return markdown(difference_frame(record["differences"]).rename_axis("pair").reset_index())


def retrieval_costs() -> str:
    """What each of them costs."""
    record = _retrieval()
    if not record:
        return NO_RETRIEVAL
    costs = pd.DataFrame(record["costs"])
    return markdown(cost_frame(costs).rename_axis("system").reset_index())


def _retrieval() -> dict[str, Any] | None:
    path = root() / RETRIEVAL
    return read_json(path) if path.exists() else None


def scoring_speed() -> str:
    """Seconds and memory of scoring, beside loops that take one answer at a time."""
    if not (root() / SCORING).exists():
        return "Not measured yet; the command above does so.\n"
    record = read_json(root() / SCORING, dict[str, Any])
    few, many = record["scored"]
    told = (
        f"{few['answers']:,} answers of about {record['words_an_answer']} words about "
        f"{record['exhibits']} exhibits, with all metrics, {few['controls']:,} answers of controls "
        f"beside them, intervals and differences: **{few['seconds']:.0f} s** "
        f"({machine(record['hardware'])}). {many['answers']:,} answers take "
        f"{many['seconds']:.0f} s. The most memory held is {few['peak_memory_mib']:,} MiB for the "
        f"smaller number and {many['peak_memory_mib']:,} MiB for the larger "
        f"({record['memory_growth_mib']:+,} MiB)."
    )
    return f"{told}\n\n{markdown(_loops(record))}\n{BELOW_ONE}\n"


def _loops(record: dict[str, Any]) -> pd.DataFrame:
    """A row a way of scoring the same answers in a loop."""
    return pd.DataFrame(
        {
            "a loop over the same answers": WAYS[way],
            "seconds": f"{spent['seconds']:,.0f}",
            "times as many": f"{times['seconds']:.1f}",
            "processor seconds": f"{spent['processor_seconds']:,.0f}",
            "times as many of these": f"{times['processor_seconds']:.1f}",
        }
        for (way, spent), times in zip(
            record["one_by_one"].items(), record["times_faster"].values(), strict=True
        )
    )


BLOCKS: dict[str, Callable[[], str]] = {
    block.__name__: block
    for block in (
        pocket_six,
        published_approaches,
        published_rental,
        device_maps,
        gpu_training,
        retrieval_scores,
        retrieval_differences,
        retrieval_costs,
        scoring_speed,
    )
} | {f"results_{name}": partial(results_of, name) for name in approach_names()}
