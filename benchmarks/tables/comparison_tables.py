"""Tables of the readmes that compare: all approaches, retrieval, and one demo with the next.

Ours come from the records of `make six`, of the notebook of 3.2 and of `make demo`; beside them
stand the published ones.
"""

from __future__ import annotations

import datetime
import functools
from typing import Any

import pandas as pd

from musequest.book.walks import DOCENT, SCORES, comparison_frame, docent_scores
from musequest.core.errors import MuseQuestError
from musequest.core.files import read_json, write_csv, write_json
from musequest.core.home import results_dir, root, run_dir
from musequest.core.settings import approach_names, load_profile
from musequest.evaluation.metrics import METRICS
from musequest.evaluation.report_tables import (
    cell,
    cost_frame,
    difference_frame,
    headed,
    key_cells,
    key_rows,
)
from musequest.evaluation.results import load_results
from musequest.finetuning.records import hardware
from musequest.systems.registry import OUTSIDERS, system

from .blocks import (
    BLOCKS,
    RECORDS,
    Record,
    block,
    machine,
    markdown,
    measured,
    read_csv,
    read_record,
    spaced,
    where,
)

SIX = RECORDS / "pocket_six.json"
GPU = RECORDS / "gpu_training.json"
RETRIEVAL = RECORDS / "pocket_retrieval.json"
DOCENTS = RECORDS / "time_to_docent.csv"
DOCENT_COLUMNS = ("date", "commit", "seconds", *DOCENT, "machine")
NO_SIX = "No run of all approaches is recorded yet; `make six` makes one.\n"
NO_RETRIEVAL = "No comparison is recorded yet; `make notebooks` makes one.\n"
COMPARED = ("base", "lora", "retrieval", "rag")
# What of a published run a readme shows, and the approach beside which each is put.
PUBLISHED = [
    *("gpu", "gpu_count", "vram_gb_each", "batch_size_per_gpu", "learning_rate"),
    *("training_minutes", "similarity_score", "volume_disk_gb"),
]
BUILDS_ON = {
    "qlora": "lora",
    "lora_ddp": "lora",
    "full": "lora",
    "full_mp": "full",
    "full_fsdp": "full",
}
REFUSAL = "false_recognition_rate"
# What of a recorded run a readme shows: keys of run.json, those within one behind a dot.
EXCERPT = (
    *("base_model", "dtype", "tuning", "lora.r", "lora.lora_alpha"),
    *("quantization.bnb_4bit_quant_type", "parallel.strategy", "training.optim", "world_size"),
    *("trainable_parameters", "total_parameters", "train_rows", "global_batch.rows_a_step"),
    *("steps", "best_step", "samples_per_second", "padding_share"),
)
KEPT = (
    "Where kept activations do not fit they are recomputed, and as many rows take less memory: "
    "`preflight` says how much."
)


def trained(run: Record) -> str:
    """How many parameters of a model a run trained."""
    share = run["trainable_parameters"] / run["total_parameters"]
    return (
        f"{run['trainable_parameters']:,} of {run['total_parameters']:,} parameters trained "
        f"({share:.1%})"
    )


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


@block(SIX, NO_SIX)
def pocket_six(record: Record) -> str:
    """The table of all approaches on the pocket museum."""
    own = [[*each["seeds"].values()] for each in record["approaches"].values()]
    fewest, trainings = min(map(len, own)), [seed for seeds in own for seed in seeds]
    told = (
        f"{measured(record)}. At least {fewest} seed{'s' * (fewest > 1)} an approach: "
        f"{len(trainings)} trainings of {sum(seed['minutes'] for seed in trainings):.0f} minutes "
        f"together. Scores on `{record['track']}`: means over seeds, "
        "in brackets their 95 % intervals over exhibits, then how far the seeds lie apart."
    )
    lora = pd.DataFrame(record["approaches"]["lora"]["seeds"]).T
    lowest = (
        f"The lowest of LoRA's {len(lora)} seeds has an identity of {lora.identity_at_1.min():.3f} "
        f"and recalls {lora.number_recall.min():.3f} of the numbers; the largest embedding "
        f"distance is {lora.embedding_distance.max():.3f}."
    )
    return f"{told}\n\n{markdown(comparison_frame(record))}\n{lowest}\n"


def results_of(approach: str) -> str:
    """One approach: its published runs and ours on the pocket museum, beside what it builds on."""
    return (
        "**Published**, Idefics2-8B on 65 exhibits, three epochs (similarity score: 0 is best; "
        f"measured in that experiment, not here):\n\n{_published(approach)}\n{_on_gpu(approach)}"
        "**Ours, on the pocket museum** (a rehearsal; not evidence about the 8B model): "
        f"{_ours(approach)}"
    )


def run_of(approach: str) -> str:
    """An excerpt of run.json of the recorded run, and what each process held."""
    record = read_record(SIX)
    found = record["approaches"].get(approach) if record else None
    if not (record and found):
        return NO_SIX
    run = found["run"]
    values = {key: functools.reduce(_within, key.split("."), run) for key in EXCERPT}
    rows = [{"key": key, "value": value} for key, value in values.items() if value is not None]
    for each in run["held_by_rank"]:
        told = f"{each['parameters']:,} parameters, {each['peak_memory_gib']:.2f} GiB at the peak"
        rows.append({"key": f"held_by_rank, {each['rank']}", "value": told})
    return markdown(pd.DataFrame(rows))


def _within(found: Any, key: str) -> Any:
    return (found or {}).get(key)


def _published(approach: str) -> str:
    """The published runs, with factors against the single run of what the approach builds on."""
    runs = read_csv(root() / RECORDS / "published_runs.csv")
    mine, before = runs[runs["approach"] == approach], BUILDS_ON.get(approach)
    table = spaced(mine[PUBLISHED])
    if before:
        one = runs[runs["approach"] == before].iloc[0]
        for title, key in (("time", "training_minutes"), ("size of a GPU", "vram_gb_each")):
            factor = mine[key].astype(float) / float(one[key])
            table[f"{title}, times {before}"] = factor.map("{:.2f}".format)
    return markdown(table)


for _name in approach_names():
    BLOCKS[f"results_{_name}"] = functools.partial(results_of, _name)
    BLOCKS[f"run_{_name}"] = functools.partial(run_of, _name)


def _ours(approach: str) -> str:
    record = read_record(SIX)
    found = record["approaches"].get(approach) if record else None
    if not (record and found):
        return NO_SIX
    run, before = found["run"], BUILDS_ON.get(approach)
    processes = f"{run['world_size']} process" + ("es" if run["world_size"] > 1 else "")
    factors = ""
    if before:
        other = record["approaches"][before]["run"]
        times = run["minutes"] / other["minutes"]
        memory = _peak(run) / _peak(other)
        factors = f" ({times:.1f} times the minutes and {memory:.1f} times the memory of {before})"
    scores = "; ".join(f"{key} {cell(found['scores'][key])}" for key in SCORES)
    return (
        f"{run['steps']} steps in {run['minutes']:.1f} minutes, {processes}, {trained(run)}, "
        f"{_peak(run):.1f} GiB of memory a process, {run['disk_gib']:.3f} GiB of disk{factors}; "
        f"lowest validation loss {run['best_eval_loss']:.3f} at step {run['best_step']}. "
        f"{measured(record)}. On `{record['track']}`: {scores}.\n"
    )


def _peak(run: Record) -> float:
    return max(run["peak_memory_gib"].values())


def _on_gpu(approach: str) -> str:
    """A sentence a measurement of the 8B model's shape; nothing where there is none."""
    record = read_record(GPU) or {"runs": []}
    ours = (
        run for run in record["runs"] if run.get("way", "ours") == "ours" and not run.get("round")
    )
    runs = [run for run in ours if run["approach"] == approach and "samples_per_second" in run]
    if not runs:
        return ""
    told = "".join(
        f"{run['rows_a_step']} rows a step, all activations "
        f"{'recomputed' if run['recomputed'] else 'kept'}: "
        f"{run['samples_per_second']:.1f} samples a second, {run['held_gib']:.1f} GiB of tensors. "
        for run in runs
    )
    kept = f"{KEPT} " if any(not run["recomputed"] for run in runs) else ""
    return (
        "**Ours, on a GPU** with the 8B model's shape and random weights (speed and memory only): "
        f"{told}{kept}{where(record)}.\n\n"
    )


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


@block(RETRIEVAL, NO_RETRIEVAL)
def retrieval_scores(record: Record) -> str:
    """The key scores of tuned model, retrieval and RAG, a row a system."""
    rows = []
    for name in COMPARED:
        row = {"system": system(name).label, **key_cells(record["scores"][record["track"]][name])}
        if outside := record["scores"].get(OUTSIDERS):
            row[headed(REFUSAL)] = cell(outside[name][REFUSAL], METRICS[REFUSAL].decimals)
        rows.append(row)
    table = markdown(pd.DataFrame(rows))
    return f"{measured(record)}. Scores on `{record['track']}`.\n\n{table}"


@block(RETRIEVAL, NO_RETRIEVAL)
def retrieval_differences(record: Record) -> str:
    """Which of these systems truly differ."""
    return markdown(difference_frame(record["differences"]).rename_axis("pair").reset_index())


@block(RETRIEVAL, NO_RETRIEVAL)
def retrieval_costs(record: Record) -> str:
    """What each of them costs."""
    costs = pd.DataFrame(record["costs"])
    return markdown(cost_frame(costs).rename_axis("system").reset_index())


def keep_time_to_docent(demo: Record, summary: Record) -> None:
    """Add a line to the records of how long a docent takes, unless this very demo has one."""
    hardware, path = demo["hardware"], root() / DOCENTS
    line = {
        "date": demo["date"],
        "commit": demo["git_commit"],
        "seconds": demo["total_seconds"],
        **{name: round(score, 3) for name, score in docent_scores(summary).items()},
        "machine": f"{machine(hardware)}, {hardware['threads']} threads",
    }
    lines = read_csv(path).to_dict("records") if path.exists() else []
    texts = {name: str(value) for name, value in line.items()}
    if len(line) == len(DOCENT_COLUMNS) and texts not in lines:
        write_csv(path, DOCENT_COLUMNS, [*lines, texts])


@block(DOCENTS, "No time to a docent is recorded yet.\n")
def docent_times(kept: pd.DataFrame) -> str:
    """Every recorded time to a docent; a dash where the scores were not those of one."""
    reached = [
        all(float(row[name]) >= least for name, least in DOCENT.items())
        for row in kept.to_dict("records")
    ]
    shown = kept.assign(
        commit=[commit[:8] for commit in kept["commit"]], seconds=kept.seconds.where(reached, "–")
    )
    return markdown(shown)
