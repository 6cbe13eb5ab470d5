"""All approaches, one after the other, on one profile, with their notebooks; one table at the end.

    python -m musequest six --profile pocket

An approach belongs to it once its folder of 2_model_finetuning/ holds a config.yaml and a notebook.
What is done already is not done again; an approach that fails does not stop the next one.
"""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import pandas as pd

from .creation.dataset import split_path
from .errors import MuseQuestError
from .files import read_json, write_json
from .home import results_dir, root, run_dir
from .notebooks import WALK, run, save_refreshed
from .settings import Profile, approach_names, load_approach, load_profile

TRACK = "unseen_photo"
SCORES = ("embedding_distance", "identity_at_1", "number_recall", "invented_number_rate")


def six(profile_name: str = "pocket", *, refresh: bool = False) -> dict[str, Any]:
    """Run every approach's notebook with the profile, and compare them.

    Returns what results/<profile>/six.json holds. `refresh` puts the executed notebooks where the
    committed ones are. Raises MuseQuestError, after the table is written, if an approach failed.
    """
    if profile_name.endswith((".yaml", ".yml")):
        profile_name = str(Path(profile_name).resolve())
    profile = load_profile(profile_name)
    results = results_dir(profile.name)
    seconds, failures = {}, {}
    books = [*_creation(profile), *approach_notebooks().values()]
    for number, name in enumerate(books, start=1):
        print(f"\n[{number}/{len(books)}] {name}", flush=True)
        start = time.monotonic()
        try:
            run(root() / name, results / "notebooks" / Path(name).name, profile_name)
        except MuseQuestError as error:
            failures[name] = str(error)
            print(f"\n{error}", flush=True)
        seconds[name] = round(time.monotonic() - start, 1)
    record = _record(profile, seconds, failures)
    write_json(results / "six.json", record)
    print(f"\n{frame(record).to_string(index=False)}")
    print(f"\n{sum(seconds.values()) / 60:.1f} minutes. Record: {results / 'six.json'}")
    if failures:
        raise MuseQuestError(
            f"{len(failures)} of {len(books)} notebooks stopped: {', '.join(failures)}; what they "
            f"said stands above, and as far as they ran they are kept in {results / 'notebooks'}."
        )
    if refresh:
        for name in approach_notebooks().values():
            save_refreshed(results / "notebooks" / Path(name).name, name)
    return record


def approach_notebooks() -> dict[str, str]:
    """The notebook of each approach, relative to the repository, in the order of the folders."""
    found = {}
    for name in approach_names():
        folder = load_approach(name).folder
        books = sorted(folder.glob("*.ipynb"))
        if len(books) != 1:
            raise MuseQuestError(f"{folder} has to hold one notebook, and holds {len(books)}.")
        found[name] = str(books[0].relative_to(root()))
    return found


def frame(record: dict[str, Any]) -> pd.DataFrame:
    """The record as a table: a row an approach."""
    return pd.DataFrame([_row(name, each) for name, each in record["approaches"].items()])


def _row(name: str, found: dict[str, Any]) -> dict[str, Any]:
    run_record, scores = found["run"], found["scores"]
    row: dict[str, Any] = {"approach": name, "status": run_record.get("status", "not started")}
    if row["status"] != "done":
        return row
    peaks = run_record["peak_memory_gib"]
    gpus = [held for device, held in peaks.items() if device != "cpu"]
    row |= {
        "processes": run_record["world_size"],
        "trainable parameters": f"{run_record['trainable_parameters']:,}",
        "minutes": f"{run_record['minutes']:.1f}",
        "peak memory per process (GiB)": f"{max(gpus) if gpus else peaks['cpu']:.2f}",
        "disk (GiB)": f"{run_record['disk_gib']:.3f}",
        "best validation loss": f"{run_record['best_eval_loss']:.4f}",
    }
    for metric in SCORES:
        mean = scores.get(metric, {}).get("mean")
        row[metric] = "–" if mean is None else f"{mean:.3f}"
    return row


def _creation(profile: Profile) -> list[str]:
    """The notebooks of stage 1, unless the dataset is there."""
    there = split_path(profile.collection, "train").is_file()
    return [] if there else [name for name in WALK if name.startswith("1_")]


def _record(profile: Profile, seconds: dict[str, float], failures: dict[str, str]) -> Any:
    """What came out, on which machine; the scores are those on photos never seen in training."""
    from .evaluation.scoring import evaluate
    from .finetuning.machine import git_commit, hardware, versions

    try:
        summary = evaluate(profile).get(TRACK, {})
    except MuseQuestError as error:
        print(f"\nThere are no scores: {error}", flush=True)
        summary = {}
    approaches = {}
    for name in approach_names():
        path = run_dir(profile.name, name) / "run.json"
        ran = read_json(path) if path.exists() else {}
        approaches[name] = {"run": ran, "scores": summary.get(name, {})}
    return {
        "profile": profile.name,
        "track": TRACK,
        "approaches": approaches,
        "failures": failures,
        "seconds": seconds,
        "hardware": hardware(),
        "versions": versions(),
        "git_commit": git_commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
